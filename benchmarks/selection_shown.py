"""The runs behind docs/results/selection.md: regimes, strategies, seeds and, where it is not the regime's own, l2."""

from __future__ import annotations

PEERS = "scikit-activeml {0}=selection_peers:query {{{1}}}"
CLUSTERS = "dropquery@1000,cluster-margin@1000,typiclust@1000,prob-cover@1000"
CORE = "spread,subset-margin,subset-entropy,random"


def peers(*names: str) -> list[str]:
    """Return what `--try` takes for query strategies of scikit-activeml."""
    more = {"UncertaintySampling": ', "options": {"method": "margin_sampling"}'}
    return [PEERS.format(name, f'"strategy": "{name}"{more.get(name, "")}') for name in names]


SHOWN: list[tuple[str, str, str, str | None, list[str]]] = [
    ("bal10,tail,dup,bal50,bal10R,bal10:mnist,tail:mnist", CORE, "0-19", None, []),
    ("bal10:fashion,tail:fashion,bal50:fashion", CORE, "0-19", None, []),
    ("bal10:clothing", CORE, "0-9", None, []),
    ("big", "subset-margin,climb,spread,pool-margin,random", "0-19", None, []),
    ("n1000", "subset-margin,climb,spread,random", "0-9", None, []),
    ("huge", "subset-margin,climb,spread,pool-margin", "0-4", None, []),
    ("bal10,tail,dup,bal10:mnist", "", "0-9", None, peers("MaxHerding", "Badge", "UncertaintySampling")),
    ("bal10,tail", "", "0-2", None, peers("TypiClust", "ProbCover", "CoreSet", "DropQuery")),
    ("bal10", "spread@200,subset-margin@200,spread@5000,subset-margin@5000", "0-4", None, []),
    ("bal10,tail", "spread,subset-margin,subset-entropy", "0-4", "auto", []),
    ("dup,bal50", "spread,subset-margin,subset-entropy", "0-4", "0.001", []),
    ("bal10,tail", "climb", "0-2", None, []),
    ("bal10", "uherding@1000,max-herding@1000", "0-9", None, []),
    ("tail,dup", "uherding@1000", "0-4", None, []),
    ("bal10,tail", f"max-herding@1000,badge,bald,{CLUSTERS},pool-margin", "0-2", None, []),
    ("bal10", "anchoral,cluster-margin", "0", None, []),
]
