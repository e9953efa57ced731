"""Learners: they train the classifier, from scratch in every round, on the labelled images.

A learner is a frozen dataclass whose fields are the options of a spec and whose `fit` returns a `Model`.
One that provides "gradient" returns models with differentiable `logits`, as latent optimisation needs; one that
provides "linear" returns models that are linear in fixed features (`core.LinearModel`); one that provides "loss" has
`loss_predicting()`, which returns a learner whose models predict their loss (`core.LossPredictingModel`). One that
provides "dropout" returns models that can predict with dropout (`core.DropoutModel`).

One that needs "features" is fitted to stored vectors in place of pictures; one that provides "features" can be fitted
to either. One that needs "features" and provides "gradient" has `through(extractor)`, which returns a learner whose
models have the logits of images; it is given what opens the extractor.
"""

from __future__ import annotations

from asal.registry import Registry

learners = Registry("learner", "asal.models.learners", group="asal.learners")
