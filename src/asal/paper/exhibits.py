"""The paper's exhibits: what each compares, on which benchmark, and the paper's claims.

Mayer & Timofte, *Adversarial Sampling for Active Learning*, WACV 2020. Claims quote the paper, by section: "…" marks
words left out, [brackets] words put in. A claim marked "ours" is not the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from asal.errors import unknown
from asal.experiments.metrics import at
from asal.paper.claims import (
    Claim,
    accuracy_of_all_labels,
    alike,
    all_of,
    beats,
    equal,
    highest,
    lowest,
    needs,
    no_better,
    reaches,
    rises_and_falls_back,
    score_ratio,
)

FIXED = ("asal-pixels", "asal-autoencoder", "asal-discriminator")
SUBSETS = ("subset-100", "subset-1000")  # the baseline that the paper leaves out
LARGE_SUBSETS = ("subset-1000", "subset-10000")  # for rounds of hundreds, which would take all of 100 images
HUGE_SUBSETS = ("subset-10000", "subset-100000")
Kind: TypeAlias = Literal["curves", "pairs", "timings", "setups", "costs"]


@dataclass(frozen=True)
class Panel:
    """One benchmark of an exhibit, and the strategies that are compared on it."""

    spec: str
    title: str
    strategies: tuple[str, ...]
    claims: tuple[Claim, ...]
    of_scores: bool = False  # draws the picks' mean score instead of the accuracy


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
        UserError: there is no such exhibit.
    """
    if name not in EXHIBITS:
        raise unknown("exhibit of the paper", name, EXHIBITS)
    return EXHIBITS[name]


def _beat_random(says: str, where: str, *strategies: str) -> Claim:
    return Claim(says, where, all_of(*(beats(name, "random") for name in strategies)))


def _left_out(subset: str, *asal: str) -> Claim:
    images = int(subset.removeprefix("subset-"))
    return Claim(
        f"ASAL is ahead of maximum entropy sampling from {images:,} random images, which takes no more network "
        "evaluations. The paper "
        "leaves this comparison out.",
        "ours",
        all_of(*(beats(name, subset) for name in asal)),
    )


MNIST_TWO = ("random", "uncertainty", *SUBSETS, *FIXED, "asal-rerank")
MNIST_TEN = ("random", "uncertainty", *SUBSETS, *FIXED, "asal-classifier", "asal-rerank", "coreset", "learning-loss")
PCA = ("asal-pca-5", "asal-pca-50", "asal-pca-500")

_FIG3A = Panel(
    "mnist-two",
    "MNIST, the digits 5 and 7, linear classifier",
    (*MNIST_TWO, "gaal", "gaal-sure", "adba", "margin-svm", "hyperplane-hash"),
    (
        Claim(
            "[All ASAL] strategies reach a classification accuracy of 98.5% with only 200 labelled samples",
            "5.1",
            reaches(FIXED, 0.985, 200),
        ),
        Claim("random sampling requires 500 labelled samples", "5.1", needs("random", 0.985, 500)),
        Claim(
            "all three proposed feature spaces for sample matching perform equally well",
            "5.1",
            all_of(
                equal("asal-autoencoder", "asal-pixels"),
                equal("asal-discriminator", "asal-pixels"),
                equal("asal-autoencoder", "asal-discriminator"),
            ),
        ),
        _beat_random("ASAL outperforms random sampling", "5.1", *FIXED),
        Claim(
            "ASAL … approaches maximum entropy sampling quickly",
            "5.1",
            all_of(*(alike(name, "uncertainty", at(200), "accuracy at 200 labels") for name in FIXED)),
        ),
        Claim(
            "GAAL achieves a higher accuracy than random sampling … at the beginning of AL. However, after adding more "
            "than 350 samples, the classification accuracy … drops and approaches the quality of random sampling.",
            "5.3",
            rises_and_falls_back("gaal", "random", 100, 350, 500),
        ),
        Claim("ASAL outperforms GAAL", "5.3", all_of(*(beats(name, "gaal") for name in FIXED))),
        Claim(
            "ADBA achieves worse performance than all other methods",
            "5.3",
            lowest("adba", ("random", "uncertainty", *FIXED, "gaal")),
        ),
        _left_out("subset-1000", *FIXED),
    ),
)
_FIG3B = Panel(
    "mnist-two",
    "Entropy of new samples",
    MNIST_TWO,
    (
        Claim(
            "all three ASAL strategies retrieve on average samples with 63% higher entropy than random sampling",
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
        _beat_random("all three feature spaces … exceed the performance of random sampling", "5.2", *FIXED),
        Claim(
            "the discriminator features lead to the highest classification accuracy",
            "5.2",
            highest("asal-discriminator", ("asal-pixels", "asal-autoencoder")),
        ),
        Claim(
            "ASAL-discriminator achieves almost similar test accuracy as core-set based AL",
            "5.2",
            alike("asal-discriminator", "coreset"),
        ),
        Claim(
            "using FCLS [the classifier’s own features] approaches quickly the quality of maximum entropy sampling",
            "5.4",
            alike("asal-classifier", "uncertainty"),
        ),
        Claim("FCLS performs better than fixed features", "5.4", highest("asal-classifier", FIXED)),
        _left_out("subset-1000", *FIXED),
    ),
)
_FIG3D = Panel(
    "mnist-ten",
    "PCA to 5, 50 and 500 dimensions",
    ("random", "uncertainty", *SUBSETS, *PCA),
    (
        Claim("more dimensions [than 50] … lead to similar accuracy", "4.2", alike("asal-pca-500", "asal-pca-50")),
        Claim("Five dimensions are too few.", "ours", beats("asal-pca-50", "asal-pca-5")),
    ),
)
_FIG4A = Panel(
    "cifar-two",
    "CIFAR-10, automobile and horse, linear classifier",
    (*MNIST_TWO, "gaal", "gaal-sure"),
    (
        Claim(
            "only ASAL-Autoencoder exceeds the performance of random sampling",
            "5.1",
            all_of(
                beats("asal-autoencoder", "random"),
                no_better("asal-pixels", "random"),
                no_better("asal-discriminator", "random"),
            ),
        ),
        Claim(
            "auto-encoder features for sample matching reaches the classification accuracy of maximum entropy sampling "
            "already with 500 labelled samples",
            "5.1",
            no_better("uncertainty", "asal-autoencoder", at(500), "accuracy at 500 labels"),
        ),
        Claim(
            "ASAL achieves almost the same performance as maximum entropy sampling",
            "5.2",
            alike("asal-autoencoder", "uncertainty"),
        ),
        Claim(
            "GAAL performs clearly worse than random sampling and ASAL",
            "5.3",
            all_of(beats("random", "gaal"), *(beats(name, "gaal") for name in FIXED)),
        ),
        _left_out("subset-1000", "asal-autoencoder"),
    ),
)
_FIG4B = Panel(
    "cifar-ten",
    "CIFAR-10, ten classes, convolutional classifier",
    ("random", "uncertainty", *LARGE_SUBSETS, *FIXED, "asal-classifier", "asal-rerank"),
    (
        Claim(
            "ASAL performs similar to random sampling … independent of feature space",
            "5.2",
            all_of(*(alike(name, "random") for name in FIXED)),
        ),
        Claim(
            "classical uncertainty sampling exceeds the performance of random sampling",
            "5.2",
            beats("uncertainty", "random"),
        ),
        Claim(
            "using FCLS only marginally exceeds the quality of random sampling",
            "5.4",
            all_of(beats("asal-classifier", "random"), alike("asal-classifier", "random")),
        ),
        _left_out("subset-10000", *FIXED),
    ),
)
_FIG4C = Panel(
    "svhn",
    "SVHN, ten classes, convolutional classifier",
    ("random", "uncertainty", *HUGE_SUBSETS, "asal-autoencoder", "asal-rerank", "coreset"),
    (
        _beat_random("ASAL outperforms random sampling", "5.2", "asal-autoencoder"),
        Claim(
            "[ASAL] achieves lower test accuracy than the more costly core-set based AL and uncertainty sampling",
            "5.2",
            lowest("asal-autoencoder", ("coreset", "uncertainty")),
        ),
        _left_out("subset-100000", "asal-autoencoder"),
    ),
)
_FIG4D = Panel(
    "lsun",
    "LSUN scenes, ten classes, convolutional classifier",
    ("random", "uncertainty", *HUGE_SUBSETS, "asal-autoencoder", "asal-rerank"),
    (
        _beat_random("ASAL outperforms random sampling on LSUN", "5.2", "asal-autoencoder"),
        Claim("Fully Supervised: 89.52 ± 0.11", "fig. 4d", accuracy_of_all_labels(0.8941, 0.8963)),
        _left_out("subset-100000", "asal-autoencoder"),
    ),
)


def _celeba(attribute: str, title: str, *claims: Claim, more: tuple[str, ...] = ()) -> Panel:
    names = ("random", "uncertainty", *SUBSETS, "asal-autoencoder", *more, "asal-rerank")
    return Panel(f"celeba-{attribute}", title, names, (*claims, _left_out("subset-1000", "asal-autoencoder")))


_ABOVE_RANDOM = _beat_random("ASAL outperforms random sampling", "5.2", "asal-autoencoder")
_FIG5 = (
    _celeba("wearing-hat", "(a) Wearing Hat", _ABOVE_RANDOM),
    _celeba(
        "blond-hair",
        "(b) Blond Hair",
        _ABOVE_RANDOM,
        Claim(
            "ASAL achieves almost the same performance as maximum entropy sampling",
            "5.2",
            alike("asal-autoencoder", "uncertainty"),
        ),
    ),
    _celeba("bangs", "(c) Bangs", _ABOVE_RANDOM),
    _celeba(
        "eyeglasses",
        "(d) Eyeglasses",
        Claim(
            "ASAL exceeds random sampling during the first cycles but equals its performance when using more than 750 "
            "labelled samples",
            "5.2",
            all_of(
                beats("asal-autoencoder", "random", at(200), "accuracy at 200 labels"),
                alike("asal-autoencoder", "random", at(1_000), "accuracy at 1,000 labels"),
            ),
        ),
        Claim(
            "FCLS [the classifier’s own features] achieves the same performance as maximum entropy sampling",
            "5.4",
            equal("asal-classifier", "uncertainty"),
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
        Exhibit("fig6", "Selection time, and the round from which the preparation pays off", "timings", 1),
        Exhibit("table1", "The set-ups of all experiments", "setups", 1),
        Exhibit("table2", "Complexity, and seconds per round including reading from disk", "costs", 1),
    )
}
