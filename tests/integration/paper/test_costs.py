"""Figures 2 and 6 and tables 1 and 2: verdicts on numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.toy_results import showcase_of

from asal.errors import UserError
from asal.paper import costs, setups, showcase
from asal.paper.claims import Verdict
from asal.paper.showcase import SYNTHETIC
from asal.paper.timings import Preparation, Timing, crossings, exponent
from asal.project.spec import load, shipped

# Table 1, figure 6 and table 2


def test_table_1_is_read_from_the_specs() -> None:
    specs = {name: load(shipped(name)) for name in setups.BENCHMARKS}
    rows = {name: setups.row(name, spec) for name, spec in specs.items()}
    assert all(tuple(row) == setups.HEADS for row in rows.values())
    two = rows["mnist-two"]
    assert (two["initial"], two["new"], two["budget"], two["rounds"]) == (10, 10, 500, 49)
    assert two["matching"] == "pixels, autoencoder, discriminator" and two["matching (paper)"] == "Gray/Disc/Auto"
    of = setups.spaces(specs)
    assert of.verdict == "agrees" and of.measured.endswith("mnist-ten also classifier; cifar-ten also classifier")
    lacking = specs | {"mnist-two": specs["svhn"]}
    assert setups.spaces(lacking).verdict == "disagrees" and "6 of 7" in setups.spaces(lacking).measured
    assert setups.numbers().verdict == "not measured"


def test_the_sizes_of_figure_6() -> None:
    assert costs.sizes(None) == [10_000, 20_000, 40_000, 80_000, 160_000]
    assert costs.sizes(4_000) == [250, 500, 1_000, 2_000, 4_000]
    assert costs.sizes(16_000_000)[4:] == [160_000, 500_000, 1_600_000, 5_000_000, 16_000_000]
    assert costs.sizes(300_000)[-1] == 300_000
    with pytest.raises(UserError, match="holds 250 images or more") as caught:
        costs.sizes(3_999)
    assert caught.value.hint == "take 4,000 or more"


def timed(matching: float, constant: float = 0.0, noise: float = 0.01) -> list[Timing]:
    """Return figure 6's timings, whose matching grows by this power of n."""
    rng = np.random.default_rng(0)
    return [
        Timing(name, n, constant + seconds, seconds, 0.0, 0)
        for n in costs.sizes(None)
        for name in costs.COMPARED
        for seconds in [1e-6 * n ** (matching if "tree" in name else 1.0) * rng.uniform(1 - noise, 1 + noise)]
    ]


@pytest.mark.parametrize(
    ("power", "noise", "expected"), [(0.5, 0.01, "agrees"), (1.5, 0.01, "disagrees"), (0.95, 0.4, "undecided")]
)
def test_sub_linear_refers_to_the_search_alone(power: float, noise: float, expected: Verdict) -> None:
    assert costs.grows(timed(power, noise=noise)).finding.verdict == expected
    hidden = costs.grows(timed(power, constant=1e4, noise=noise)).finding
    assert hidden.verdict == expected, "a constant part does not matter"
    assert "asal, k-d tree n^0.00" in hidden.measured.split(";")[0]


def test_a_linear_control_that_seems_sub_linear_leaves_it_undecided() -> None:
    flat = [Timing(it.strategy, it.images, it.seconds + 9, it.matching + 9, 0.0, 0) for it in timed(0.5)]
    of = costs.grows(flat).finding
    assert of.verdict == "undecided" and of.measured.endswith("too small")


def test_one_size_shows_no_growth() -> None:
    one = costs.grows([it for it in timed(0.5) if it.images == 10_000]).finding
    assert one.verdict == "not measured"
    two = costs.grows([it for it in timed(0.5) if it.images <= 20_000]).finding
    assert two.verdict == "undecided", "two points lie on any line"


def test_the_slope_is_that_of_least_squares_over_what_was_measured() -> None:
    line = [Timing("a", n, 3.0 * n**2, 0.0, 0.0, 0) for n in (10, 100, 1_000)]
    of = exponent([*line, Timing("a", 10_000, 1.0, 0.0, 0.0, 0, predicted=True)])
    assert of.mean == pytest.approx(2) and of.high - of.low < 1e-6 and of.seeds == 3
    assert np.isnan(exponent(line, matching=True).mean), "nothing was matched"
    bent = [Timing("a", n, seconds, 0.0, 0.0, 0) for n, seconds in ((1, 1.0), (10, 10.0), (100, 10.0))]
    fit = exponent(bent)
    assert fit.mean == pytest.approx(0.5)
    assert fit.high - 0.5 == pytest.approx(12.706 * np.sqrt((1 / 6) / 2), rel=1e-3), "t × √(Σe² / (n − 2) / Σx²)"


def at(n: int, theirs: float, ours: float, predicted: bool = False) -> list[Timing]:
    return [
        Timing("maximum entropy", n, theirs, 0.0, 0.0, 0, predicted),
        Timing("asal, k-d tree", n, ours, 0.0, 0.0, 0),
    ]


def test_the_papers_ratio_is_compared_at_its_own_size_only() -> None:
    assert costs.at_16m(at(160_000, 100.0, 1.0)).finding.verdict == "not measured"
    assert costs.at_16m(at(16_000_000, 100.0, 1.0)).finding.verdict == "agrees"
    assert costs.at_16m(at(16_000_000, 10.0, 1.0)).finding.verdict == "disagrees"
    assert "takes by prediction 100.0 ×" in costs.at_16m(at(16_000_000, 100.0, 1.0, True)).finding.measured
    assert "at 16 million, 72 ×" in costs.at_16m(at(160_000, 1.0, 1.0)).finding.measured


def test_the_crossing_is_the_preparation_over_the_seconds_saved() -> None:
    prepared = Preparation(50.0, 30.0, {10: 10.0, 20: 20.0}, {10: 10.0, 20: 20.0})
    taken = [
        Timing(name, n, seconds, 0.0, 0.0, 0)
        for n, costs_of in {10: (1.0, 2.0, 2.0), 20: (12.0, 2.0, 2.0)}.items()
        for name, seconds in zip(("theirs", "k-d tree", "exact"), costs_of, strict=True)
    ]
    assert crossings(taken, prepared, "k-d tree", "theirs") == {10: float("inf"), 20: 12.0}
    assert crossings(taken, prepared, "exact", "theirs") == {10: float("inf"), 20: 10.0}, "which builds no tree"


def test_whether_the_preparation_ever_pays() -> None:
    inf = float("inf")
    of = costs.pays({"asal, k-d tree": {10: inf, 20: 1234.4}, "asal, exact scan": {10: 3.0, 20: inf}}, 20).finding
    assert of.verdict == "agrees"
    assert of.measured == "at 20 images it pays off: asal, k-d tree after 1,234 rounds, asal, exact scan never"
    never = {"a": {10: inf, 160_000: inf}, "b": {10: inf, 160_000: inf}}
    assert costs.pays(never, 160_000).finding.verdict == "disagrees"
    assert costs.pays(never, 10).finding.verdict == "not measured", "the paper begins at 160,000 images"


@pytest.mark.parametrize(
    ("strategy", "seconds", "expected"),
    [
        ("asal, k-d tree", 1.0, "agrees"), ("asal, k-d tree", 7.0, "disagrees"), ("learning loss", 12.0, "agrees"),
        ("learning loss", 1.0, "disagrees"), ("core-set", 40.0, "agrees"), ("core-set", 1.0, "disagrees"),
    ],
)  # fmt: skip
def test_table_2_goes_by_ratios_to_maximum_entropy(strategy: str, seconds: float, expected: Verdict) -> None:
    taken = [Timing(name, costs.LSUN, seconds if name == strategy else 10.0, 0.0, 0.0, 0) for name in costs.COMPLEXITY]
    (of,) = [it.finding for it in costs.against_maximum_entropy(taken) if f" {strategy} takes" in it.finding.measured]
    assert of.verdict == expected
    assert f"{seconds:.3g} s, {seconds / 10:.3g} × the 10 s" in of.measured


def test_a_small_pool_does_not_show_that_asal_is_slower() -> None:
    def of(n: int, seconds: float) -> Verdict:
        taken = [Timing(name, n, seconds if "tree" in name else 10.0, 0.0, 0.0, 0) for name in costs.COMPLEXITY]
        return costs.against_maximum_entropy(taken)[0].finding.verdict

    assert (of(1_000, 20.0), of(1_000, 1.0), of(costs.LSUN, 20.0)) == ("not measured", "agrees", "disagrees")


def test_reading_counts_in_table_2() -> None:
    taken = [Timing(name, 1_000, 1.0, 0.0, 9.0 if name != "asal, k-d tree" else 0.0, 0) for name in costs.COMPLEXITY]
    (asal, *_) = costs.against_maximum_entropy(taken)
    assert asal.finding.verdict == "agrees" and "1 s, 0.1 × the 10 s" in asal.finding.measured


# Figure 2


def test_labelling_is_possible_where_a_network_is_confident_on_half() -> None:
    of = showcase_of().labelable()
    assert of.verdict == "agrees" and "95% confident on 100% (96% … 100%) of 100 synthetic images" in of.measured
    assert showcase_of(teacher=np.full((SYNTHETIC, 2), 0.5)).labelable().verdict == "disagrees"
    half = np.where(np.arange(SYNTHETIC) < 55, 0.99, 0.5)
    assert showcase_of(teacher=np.stack([half, 1 - half], 1)).labelable().verdict == "undecided"


def test_nearer_is_more_similar_by_ranks() -> None:
    rng = np.random.default_rng(1)
    apart = rng.permutation(SYNTHETIC) / 1_000
    like = {"scores": np.linspace(0.5, 1.0, SYNTHETIC) - apart}
    of = showcase_of(distances=apart, **like).nearer_is_more_similar()
    assert of.verdict == "agrees" and "pixels +1.00, classifier +1.00; by chance within ± 0.20" in of.measured
    back = showcase_of(distances=1 - apart, **like).nearer_is_more_similar()
    assert back.verdict == "disagrees" and "−1.00" in back.measured
    assert showcase_of(distances=np.ones(SYNTHETIC), **like).nearer_is_more_similar().verdict == "undecided"
    assert showcase_of(distances=rng.permutation(SYNTHETIC), **like).nearer_is_more_similar().verdict == "undecided"


def test_what_the_synthetic_entropy_explains_is_no_similarity() -> None:
    """Entropies differ by half of the synthetic ones', which rise with the distance."""
    assert showcase_of().nearer_is_more_similar().verdict == "undecided"


def test_matches_are_as_uncertain_where_they_are_nearer_to_the_synthetic_images_than_to_the_pool() -> None:
    low = showcase_of(scores=np.linspace(0.2, 0.4, SYNTHETIC)).as_uncertain()
    assert low.verdict == "disagrees", "0.3 lies nearer to 0.1 than to 0.75"
    between = showcase_of(scores=np.tile([0.1, 0.75], SYNTHETIC // 2)).as_uncertain()
    assert between.verdict == "undecided", "a hundred images do not decide"
    of = showcase_of(scores=np.full(SYNTHETIC, 0.5)).as_uncertain()
    assert of.verdict == "agrees"
    assert of.measured == (
        "mean entropy: synthetic 0.750, matches by pixels 0.500, matches by classifier 0.500, random images 0.100"
    )


def test_the_classifiers_own_space_is_no_fixed_one() -> None:
    pixels = showcase_of(scores=np.full(SYNTHETIC, 0.2)).spaces[0]
    classifier = showcase_of(scores=np.full(SYNTHETIC, 0.7)).spaces[1]
    mixed = replace(showcase_of(), spaces=(pixels, classifier))
    assert mixed.as_uncertain().verdict == "disagrees"


def test_matches_have_the_class_that_is_predicted() -> None:
    assert showcase_of().same_class().verdict == "agrees"
    of = showcase_of(predicted=1 - np.arange(SYNTHETIC) % 2).same_class()
    assert of.verdict == "disagrees" and "pixels 0% (0% … 4%), classifier 0% (0% … 4%); chance 50%" in of.measured


def test_every_claim_of_figure_2_is_checked() -> None:
    assert len(showcase_of().claims()) == 4
    assert showcase.SHOWN <= SYNTHETIC
