"""What trains the classifier: from scratch in every round, on the labelled images alone.

A learner is a frozen dataclass whose fields are the options of a spec and whose `fit` returns a `Model`.
One that provides "gradient" returns models with differentiable `logits`; strategies that climb a score need it.
"""

from __future__ import annotations

from asal.registry import Registry

learners = Registry("learner", "asal.learners")
