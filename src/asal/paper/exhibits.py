"""The paper's exhibits: what each compares, on which benchmark, and what the paper says of it.

Mayer & Timofte, *Adversarial Sampling for Active Learning*, WACV 2020; sentences are quoted or shortened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from asal.errors import unknown
from asal.evaluate import at
from asal.paper.claims import (
    Claim,
    accuracy_of_all_labels,
    alike,
    all_of,
    beats,
    closes_the_gap,
    highest,
    lowest,
    needs,
    reaches,
    rises_and_falls_back,
    score_ratio,
)

FIXED = ("asal-autoencoder", "asal-discriminator", "asal-pixels")
SUBSETS = ("subset-100", "subset-1000")  # the baseline that the paper leaves out
Kind: TypeAlias = Literal["curves", "pairs", "timings", "setups", "costs"]


@dataclass(frozen=True)
class Panel:
    """One benchmark of an exhibit, and the strategies that are compared on it."""

    spec: str
    title: str
    strategies: tuple[str, ...]
    claims: tuple[Claim, ...]
    of_scores: bool = False  # the picks' mean score against labels, instead of the accuracy


@dataclass(frozen=True)
class Exhibit:
    """A figure or table of the paper."""

    name: str
    title: str
    kind: Kind
    seeds: int  # the paper's
    panels: tuple[Panel, ...] = ()


def exhibit(name: str) -> Exhibit:
    """Return the exhibit of this name.

    Raises:
        UserError: there is none.
    """
    if name not in EXHIBITS:
        raise unknown("exhibit of the paper", name, EXHIBITS)
    return EXHIBITS[name]


def _beat_random(*strategies: str) -> Claim:
    return Claim(
        "All three feature spaces exceed random sampling.",
        "5.2",
        all_of(*(beats(name, "random") for name in strategies)),
    )


def _left_out(*asal: str) -> Claim:
    return Claim(
        "(Ours: the paper leaves the comparison out.) ASAL is ahead of the best of 100 random images.",
        "ours",
        all_of(*(beats(name, "subset-100") for name in asal)),
    )


MNIST_TWO = ("random", "uncertainty", *SUBSETS, "asal-pixels", "asal-autoencoder", "asal-discriminator", "asal-rerank")
MNIST_TEN = ("random", "uncertainty", *SUBSETS, *FIXED, "asal-classifier", "asal-rerank", "coreset", "learning-loss")
PCA = ("asal-pca-5", "asal-pca-50", "asal-pca-500")

_FIG3A = Panel(
    "mnist-two",
    "MNIST, the digits 5 and 7, linear classifier",
    (*MNIST_TWO, "gaal", "gaal-sure", "adba", "margin-svm", "hyperplane-hash"),
    (
        Claim("All ASAL strategies reach 98.5% with only 200 labelled samples.", "5.1", reaches(FIXED, 0.985, 200)),
        Claim("Random sampling requires 500 labelled samples for 98.5%.", "5.1", needs("random", 0.985, 500)),
        Claim(
            "All three feature spaces for sample matching perform equally well.",
            "5.1",
            all_of(
                alike("asal-autoencoder", "asal-pixels"),
                alike("asal-discriminator", "asal-pixels"),
                alike("asal-autoencoder", "asal-discriminator"),
            ),
        ),
        Claim("ASAL outperforms random sampling.", "5.1", all_of(*(beats(name, "random") for name in FIXED))),
        Claim(
            "ASAL approaches maximum entropy sampling quickly: at 200 labels they are alike.",
            "5.1",
            all_of(*(alike(name, "uncertainty", at(200), "accuracy at 200 labels") for name in FIXED)),
        ),
        Claim(
            "GAAL is above random sampling at the beginning; beyond 350 labels it drops and approaches it.",
            "5.3",
            all_of(
                rises_and_falls_back("gaal", "random", 100, 500), rises_and_falls_back("gaal-sure", "random", 100, 500)
            ),
        ),
        Claim("ASAL outperforms GAAL.", "5.3", all_of(*(beats(name, "gaal") for name in FIXED))),
        Claim(
            "ADBA achieves worse performance than all other methods.",
            "5.3",
            lowest("adba", ("random", "uncertainty", *FIXED, "gaal", "margin-svm", "hyperplane-hash")),
        ),
        _left_out(*FIXED),
    ),
)
_FIG3B = Panel(
    "mnist-two",
    "Entropy of new samples",
    MNIST_TWO,
    (
        Claim(
            "All three ASAL strategies retrieve samples with 63% higher entropy than random sampling, on average.",
            "5.4",
            score_ratio(FIXED, "random", 1.63),
        ),
    ),
    of_scores=True,
)
_FIG3C = Panel(
    "mnist-ten",
    "MNIST, ten classes, convolutional classifier",
    MNIST_TEN,
    (
        _beat_random(*FIXED),
        Claim(
            "The discriminator's features lead to the highest accuracy of the three.",
            "5.2",
            highest("asal-discriminator", ("asal-pixels", "asal-autoencoder")),
        ),
        Claim(
            "ASAL-Discriminator achieves almost the accuracy of core-set selection.",
            "5.2",
            alike("asal-discriminator", "coreset"),
        ),
        Claim(
            "The classifier's own features perform better than fixed ones and approach maximum entropy sampling.",
            "5.4",
            closes_the_gap("asal-classifier", FIXED, "uncertainty"),
        ),
        _left_out(*FIXED),
    ),
)
_FIG3D = Panel(
    "mnist-ten",
    "PCA to 5, 50 and 500 dimensions",
    ("random", "uncertainty", *PCA),
    (
        Claim(
            "More than 50 dimensions increase the run-time and lead to similar accuracy.",
            "4.2",
            alike("asal-pca-500", "asal-pca-50"),
        ),
        Claim("(Read off the figure.) Five dimensions are too few.", "fig. 3d", beats("asal-pca-50", "asal-pca-5")),
    ),
)
_FIG4A = Panel(
    "cifar-two",
    "CIFAR-10, automobile and horse, linear classifier",
    (*MNIST_TWO, "gaal", "gaal-sure"),
    (
        Claim(
            "Only ASAL-Autoencoder exceeds random sampling: the others do not.",
            "5.1",
            all_of(
                beats("asal-autoencoder", "random"),
                alike("asal-pixels", "random"),
                alike("asal-discriminator", "random"),
            ),
        ),
        Claim(
            "ASAL-Autoencoder reaches maximum entropy's accuracy with 500 labels.",
            "5.1",
            alike("asal-autoencoder", "uncertainty", at(500), "accuracy at 500 labels"),
        ),
        Claim(
            "GAAL performs clearly worse than random sampling and than ASAL.",
            "5.3",
            all_of(beats("random", "gaal"), beats("asal-autoencoder", "gaal")),
        ),
        _left_out("asal-autoencoder"),
    ),
)
_FIG4B = Panel(
    "cifar-ten",
    "CIFAR-10, ten classes, convolutional classifier",
    ("random", "uncertainty", *SUBSETS, *FIXED, "asal-classifier", "asal-rerank"),
    (
        Claim(
            "ASAL performs similar to random sampling whatever the feature space.",
            "5.2",
            all_of(*(alike(name, "random") for name in FIXED)),
        ),
        Claim("Uncertainty sampling exceeds random sampling.", "5.2", beats("uncertainty", "random")),
        Claim("The classifier's own features only marginally exceed it.", "5.4", beats("asal-classifier", "random")),
    ),
)
_FIG4C = Panel(
    "svhn",
    "SVHN, ten classes, convolutional classifier",
    ("random", "uncertainty", *SUBSETS, "asal-autoencoder", "asal-rerank", "coreset"),
    (
        Claim("ASAL outperforms random sampling.", "5.2", beats("asal-autoencoder", "random")),
        Claim(
            "ASAL is below core-set selection and uncertainty sampling.",
            "5.2",
            all_of(beats("coreset", "asal-autoencoder"), beats("uncertainty", "asal-autoencoder")),
        ),
    ),
)
_FIG4D = Panel(
    "lsun",
    "LSUN scenes, ten classes, convolutional classifier",
    ("random", "uncertainty", *SUBSETS, "asal-autoencoder", "asal-rerank"),
    (
        Claim("ASAL outperforms random sampling.", "5.2", beats("asal-autoencoder", "random")),
        Claim("Fully supervised: 89.52 ± 0.11%.", "fig. 4d", accuracy_of_all_labels(0.8941, 0.8963)),
    ),
)


def _celeba(attribute: str, title: str, *claims: Claim, more: tuple[str, ...] = ()) -> Panel:
    names = ("random", "uncertainty", *SUBSETS, "asal-autoencoder", *more, "asal-rerank")
    return Panel(f"celeba-{attribute}", title, names, claims)


_ABOVE_RANDOM = Claim("ASAL outperforms random sampling.", "5.2", beats("asal-autoencoder", "random"))
_FIG5 = (
    _celeba("wearing-hat", "(a) Wearing Hat", _ABOVE_RANDOM),
    _celeba(
        "blond-hair",
        "(b) Blond Hair",
        _ABOVE_RANDOM,
        Claim("Almost the performance of maximum entropy.", "5.2", alike("asal-autoencoder", "uncertainty")),
    ),
    _celeba("bangs", "(c) Bangs", _ABOVE_RANDOM),
    _celeba(
        "eyeglasses",
        "(d) Eyeglasses",
        Claim(
            "ASAL exceeds random sampling during the first cycles, and equals it beyond 750 labels.",
            "5.2",
            rises_and_falls_back("asal-autoencoder", "random", 200, 1_000),
        ),
        Claim(
            "The classifier's own features achieve maximum entropy's performance.",
            "5.4",
            alike("asal-classifier", "uncertainty"),
        ),
        more=("asal-classifier",),
    ),
)

EXHIBITS = {
    it.name: it
    for it in (
        Exhibit("fig2", "Synthetic images of high entropy and their closest matches", "pairs", 1),
        Exhibit("fig3a", "MNIST, two classes: accuracy", "curves", 5, (_FIG3A,)),
        Exhibit("fig3b", "MNIST, two classes: entropy of new samples", "curves", 5, (_FIG3B,)),
        Exhibit("fig3c", "MNIST, ten classes: accuracy", "curves", 5, (_FIG3C,)),
        Exhibit("fig3d", "MNIST, ten classes: PCA ablation", "curves", 5, (_FIG3D,)),
        Exhibit("fig4a", "CIFAR-10, two classes: accuracy", "curves", 5, (_FIG4A,)),
        Exhibit("fig4b", "CIFAR-10, ten classes: accuracy", "curves", 3, (_FIG4B,)),
        Exhibit("fig4c", "SVHN: accuracy", "curves", 3, (_FIG4C,)),
        Exhibit("fig4d", "LSUN: accuracy", "curves", 3, (_FIG4D,)),
        Exhibit("fig5", "CelebA, four attributes: accuracy", "curves", 5, _FIG5),
        Exhibit("fig6", "Selection time, and the round from which the preparation has paid", "timings", 1),
        Exhibit("table1", "The set-ups of all experiments", "setups", 1),
        Exhibit("table2", "Complexity, and seconds of a round with reading from the disk", "costs", 1),
    )
}
