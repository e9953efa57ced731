"""Probabilities (n, k) → how badly each image's label is wanted (n,): higher = ask sooner.

A score is written once, against the array API, so that one definition ranks the pool in numpy and is
optimised by gradient in torch. One that needs "loss" takes the losses (n,) that a classifier predicts instead.
"""

from __future__ import annotations

from asal.registry import Registry

scores = Registry("score", "asal.strategies.scores", group="asal.scores", dotted=True)
