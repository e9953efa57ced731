"""The paper's exhibits, done again: each figure and table with what the paper says beside what was measured.

Mayer & Timofte, *Adversarial Sampling for Active Learning*, WACV 2020, arXiv 1808.06671.
"""
