"""A round and a number → the images to ask about. Functions without state; their options are keyword-only.

`needs` says what has to be prepared before a strategy can run (generator, features, index) and what the classifier
must provide (gradient); `cost` says how its work grows with the pool.
"""

from __future__ import annotations

from asal.registry import Registry

strategies = Registry("strategy", "asal.strategies", group="asal.strategies", dotted=True)
