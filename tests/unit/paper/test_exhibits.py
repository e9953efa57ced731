"""Every exhibit of the paper: what it compares can be run, and its quotations are the paper's."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from support.toy_results import level, showcase_of, world

from asal.errors import UserError
from asal.paper import costs, curves
from asal.paper.claims import Claim, evaluate
from asal.paper.context import CheckedClaim, ExhibitContext
from asal.paper.exhibits import EXHIBITS, Panel, exhibit
from asal.paper.reproduce import set_ups
from asal.paper.timings import Timing
from asal.project.spec import load, shipped
from asal.project.validate import check
from asal.registry import Part
from asal.runtime.progress import no_progress
from asal.strategies import strategies

NAMES = (
    "fig2", "fig3a", "fig3b", "fig3c", "fig3d", "fig4a", "fig4b", "fig4c", "fig4d", "fig5", "fig6", "table1", "table2",
)  # fmt: skip
PANELS = [(it.name, panel) for it in EXHIBITS.values() for panel in it.panels]
PLACES = r"\d(\.\d)?|fig\. \d[a-d]?|table \d|ours"
panels = pytest.mark.parametrize(("name", "panel"), PANELS, ids=[f"{name}-{panel.spec}" for name, panel in PANELS])


def all_claims(tmp_path: Path) -> list[CheckedClaim | Claim]:
    """Return every claim of every exhibit."""
    taken = [Timing(name, 1_000, 1.0, 0.5, 0.0, 0) for name in {*costs.COMPLEXITY, *costs.COMPARED}]
    (table,) = set_ups(exhibit("table1"), ExhibitContext(tmp_path, 1, no_progress)).parts
    return [
        *(claim for _, panel in PANELS for claim in panel.claims),
        *costs.against_maximum_entropy(taken),
        costs.at_16m(taken),
        costs.grows(taken),
        costs.pays({"asal": {10: 1.0}}, 10),
        *table.checked,
        *showcase_of().claims(),
    ]


# What is compared


def test_every_figure_and_table_is_there() -> None:
    assert tuple(EXHIBITS) == NAMES
    assert all(exhibit(name).name == name for name in NAMES)
    assert {it.kind for it in EXHIBITS.values()} == {"curves", "pairs", "timings", "setups", "costs"}
    assert all(bool(it.panels) == (it.kind == "curves") for it in EXHIBITS.values())


def test_a_misspelt_name_gets_a_suggestion(asal: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean 'fig3[a-d]'"):
        exhibit("figg3")
    asal("reproduce", "figg3", "--out", tmp_path / "out").refused("is called 'figg3'", "did you mean 'fig3", "table2")
    asal("reproduce", "fig4e", "--out", tmp_path / "out").refused("did you mean 'fig4")
    assert not (tmp_path / "out").exists()


@panels
def test_what_a_panel_compares_can_be_run(name: str, panel: Panel) -> None:
    spec = load(shipped(panel.spec))
    assert set(check(spec, panel.strategies).tables) == set(panel.strategies)
    assert set(panel.strategies) <= set(spec.strategies), "defaults of a registered strategy would be nobody's choice"
    assert len(set(panel.strategies)) == len(panel.strategies)


@panels
def test_the_bounds_and_the_baseline_that_the_paper_leaves_out_are_in_every_panel(name: str, panel: Panel) -> None:
    assert {"random", "uncertainty"} <= set(panel.strategies)
    spec = load(shipped(panel.spec))
    subsets = [spec.strategies[it] for it in panel.strategies if spec.strategies[it].kind == "subset"]
    assert len(subsets) == 2
    for table in subsets:
        assert table.options["size"] >= 2 * spec.protocol.batch, (
            "of no more images than are taken it is random sampling"
        )


@panels
def test_a_claim_is_about_what_is_compared(name: str, panel: Panel) -> None:
    """On runs of all that a panel compares, every claim but of the supervised line finds what it looks for."""
    budget = load(shipped(panel.spec)).protocol.budget
    rounds = budget // 10
    names = {it: level((0.5, 0.6, 0.7), rounds) for it in panel.strategies}
    scores = {it: [[0.1] * (rounds - 1)] * 3 for it in panel.strategies}
    for claim in panel.claims:
        of = evaluate(claim.check, world(names, scores=scores))
        assert of.verdict != "not measured" or "every label" in of.measured, (claim.says, of)
        assert evaluate(claim.check, world({"z": [[0.5] * rounds]})).verdict == "not measured"


@panels
def test_ours_costs_no_more_evaluations_than_asal(name: str, panel: Panel) -> None:
    ours = [claim for claim in panel.claims if "no more network evaluations" in claim.says]
    assert len(ours) == (not panel.of_scores and name != "fig3d")
    for claim in ours:
        (images,) = re.findall(r"from ([\d,]+) random images", claim.says)
        part: Part = strategies["asal"]
        steps = part.options({})["steps"]
        assert int(images.replace(",", "")) <= steps * load(shipped(panel.spec)).protocol.batch
        assert f"subset-{images.replace(',', '')}" in panel.strategies


def test_seeds_are_the_papers() -> None:
    few = {it.name for it in EXHIBITS.values() if it.kind == "curves" and it.seeds == 3}
    assert few == {"fig4b", "fig4c", "fig4d"}  # section 4.2: CIFAR-10 ten classes, SVHN and LSUN
    assert {it.seeds for it in EXHIBITS.values() if it.kind == "curves"} == {3, 5}


def test_figure_5_has_the_papers_four_attributes_in_its_order() -> None:
    assert [panel.title for panel in EXHIBITS["fig5"].panels] == [
        "(a) Wearing Hat", "(b) Blond Hair", "(c) Bangs", "(d) Eyeglasses",
    ]  # fmt: skip


# What is claimed


def test_every_claim_has_its_place(tmp_path: Path) -> None:
    for it in all_claims(tmp_path):
        assert re.fullmatch(PLACES, it.where), it
        assert it.says.strip() == it.says and it.says


def test_our_claims_are_sentences_without_quotation_marks(tmp_path: Path) -> None:
    ours = [it.says for it in all_claims(tmp_path) if it.where == "ours"]
    assert any("leaves this comparison out" in says for says in ours)
    assert all(says[0].isupper() and says.endswith(".") and "…" not in says for says in ours)


def plain(text: str) -> str:
    """Return a text without ligatures, hyphenation, line breaks and capitals."""
    text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("’", "'")
    text = re.sub(r"(\w)-\s*\n\s*(\w)", r"\1-\2", text)
    return re.sub(r"[\s-]+", "", text).lower()


def section(text: str, where: str) -> str:
    """Return a section of the paper by its number."""
    if not re.fullmatch(r"\d(\.\d)?", where):
        return text
    begin = re.search(rf"^{re.escape(where)}\.? [A-Z]", text, re.MULTILINE)
    assert begin, where
    after = re.search(r"^\d(\.\d)?\. [A-Z]", text[begin.end() :], re.MULTILINE)
    return text[begin.start() : begin.end() + after.start()] if after else text[begin.start() :]


def quoted(says: str) -> list[str]:
    """Return the parts of a claim that stand in the paper word by word."""
    return [part for part in re.split(r"…|\[[^]]*\]", says) if part.strip(" .,")]


@pytest.mark.skipif("ASAL_PAPER" not in os.environ, reason="ASAL_PAPER does not say where the paper's text is")
def test_the_papers_claims_are_its_own_words(tmp_path: Path) -> None:
    text = Path(os.environ["ASAL_PAPER"]).read_text(encoding="utf-8")
    for it in all_claims(tmp_path):
        if it.where != "ours":
            at, words = 0, plain(section(text, it.where))
            for part in quoted(it.says):
                at = words.find(plain(part).strip(".,"), at)
                assert at >= 0, f"section {it.where} does not say, in this order: {part}"


def test_the_check_of_quotations_can_fail() -> None:
    text = "5.1. Linear Models\nASAL ap-\nproaches maximum\nentropy.\n5.2. Networks\nIt fails.\n6. Conclusion\nGood."
    assert plain("approaches maximum entropy") in plain(section(text, "5.1"))
    assert plain("It fails") not in plain(section(text, "5.1"))
    assert plain(section(text, "5.2")).endswith("itfails.")
    assert quoted("[All ASAL] strategies … are [rather] good.") == [" strategies ", " are ", " good."]


# Settings


def test_specs_of_the_user_replace_the_shipped_ones(tmp_path: Path) -> None:
    text = shipped("mnist-two").read_text().replace("budget = 500", "budget = 300")
    (tmp_path / "mnist-two.toml").write_text(text)
    order = ExhibitContext(tmp_path / "out", 1, no_progress, specs=tmp_path)
    assert order.spec("mnist-two").protocol.budget == 300
    assert order.spec("mnist-ten") == load(shipped("mnist-ten"))
    with pytest.raises(UserError, match="names a folder of specs") as caught:
        ExhibitContext(tmp_path / "out", 1, no_progress, specs=tmp_path / "nowhere").spec("svhn")
    assert "nowhere is not a folder" in caught.value.got and "svhn.toml" in caught.value.hint


def test_a_budget_replaces_the_specs() -> None:
    spec = load(shipped("mnist-two"))
    assert curves.with_budget(spec, None) is spec
    changed = curves.with_budget(spec, 40)
    assert changed.protocol.budget == 40
    assert changed.model_dump() | {"protocol": None} == spec.model_dump() | {"protocol": None}
    with pytest.raises(UserError, match="begins with 10 labels and asks for 10 per round") as caught:
        curves.with_budget(spec, 10)
    assert caught.value.hint == "take 20 or more"


def test_projects_lie_together_by_default(tmp_path: Path) -> None:
    order = ExhibitContext(tmp_path, 1, no_progress)
    assert order.project("svhn") == tmp_path / "projects" / "svhn"
    assert ExhibitContext(tmp_path, 1, no_progress, projects=tmp_path / "p").project("svhn") == tmp_path / "p" / "svhn"
