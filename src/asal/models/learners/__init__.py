"""What trains the classifier: from scratch in every round, on the labelled images alone.

A learner is a frozen dataclass whose fields are the options of a spec and whose `fit` returns a `Model`.
One that provides "gradient" returns models with differentiable `logits`, which strategies that climb a score need; one
that provides "linear" models that are linear in features that stand still (`core.LinearModel`); one that provides
"loss" has `foretelling()`, which returns a learner whose models foretell their loss (`core.LossModel`).
"""

from __future__ import annotations

from asal.registry import Registry

learners = Registry("learner", "asal.models.learners", group="asal.learners")
