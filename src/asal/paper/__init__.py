"""The paper's exhibits, reproduced: each figure and table with the paper's claims beside what was measured.

Mayer & Timofte, *Adversarial Sampling for Active Learning*, WACV 2020, arXiv 1808.06671.
"""
