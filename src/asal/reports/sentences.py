"""The results in sentences, which claim no more than the intervals and tests support."""

from __future__ import annotations

from collections.abc import Sequence

from asal.experiments.metrics import Summary
from asal.experiments.pairwise import Matrix
from asal.experiments.statistics import SIGNIFICANT, holm, smallest_p


def verdict(summaries: Sequence[Summary], baseline: str) -> str:
    """Say in one sentence which strategies differ from the baseline, and claim no more than the intervals do."""
    compared = [(summary.strategy, summary.gain) for summary in summaries if summary.gain]
    if not compared:
        return f"There is nothing to compare yet: no other strategy has finished a seed that {baseline} has finished."
    ranked = sorted(compared, key=lambda pair: -pair[1].estimate.mean)
    better = [name for name, gain in ranked if gain.estimate.sign > 0]
    worse = [name for name, gain in ranked if gain.estimate.sign < 0]
    undecided = [name for name, gain in ranked if gain.estimate.sign == 0]
    parts = []
    if better:
        parts.append(f"{joined(better)} {_s(better, 'beats', 'beat')} {baseline}")
    if worse:
        parts.append(f"{joined(worse)} {_s(worse, 'does', 'do')} worse than {baseline}")
    if undecided:
        parts.append(f"{joined(undecided)} cannot be distinguished from {baseline}")
    seeds = sorted({len(gain.seeds) for _, gain in compared})
    if seeds == [1]:
        return f"One paired seed gives no interval, so no difference from {baseline} can be claimed: run more seeds."
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    measure = "in area under the budget curve, by the 95% intervals of the paired differences"
    return f"Over {span} paired seeds, {'; '.join(parts)} ({measure}). {_tested(summaries, better + worse)}"


def _tested(summaries: Sequence[Summary], differing: Sequence[str]) -> str:
    """Say what a test finds that is corrected for all comparisons together."""
    compared = [s for s in summaries if s.gain]
    corrected = f", corrected for {len(compared)} comparisons (Holm)" if len(compared) > 1 else ""
    test = f"Wilcoxon’s signed-rank test{corrected}"
    if underpowered(compared):
        return f"With so few seeds no difference can be significant in {test}."
    names = [s.strategy for s in compared if s.holm <= SIGNIFICANT]
    if set(names) == set(differing):
        return f"{test}, finds the same at 5%." if corrected else f"{test} finds the same at 5%."
    return f"Significant at 5% in {test}: {joined(names) if names else 'none'}."


def underpowered(compared: Sequence[Summary]) -> bool:
    """Say whether no difference can be significant after the correction, even if all seeds agree."""
    return min(holm([smallest_p(len(s.gain.seeds)) for s in compared if s.gain])) > SIGNIFICANT


def standing(matrix: Matrix, baseline: str, benchmarks: int) -> str:
    """Say on how many benchmarks each strategy beats the baseline, those that do on as many together."""
    groups: dict[tuple[int, int, int], list[str]] = {}
    for name in matrix.strategies:
        if cell := matrix.cells.get((name, baseline)):
            groups.setdefault((cell.wins, cell.losses, cell.count), []).append(name)
    if not groups:
        return f"No strategy has two finished seeds in common with {baseline}."
    ranked = sorted(groups.items(), key=lambda group: ((group[0][1] - group[0][0]) / group[0][2], -group[0][2]))
    parts = [f"{joined(names)} {_outcome(*outcome, len(names) > 1)}" for outcome, names in ranked]
    return f"Against {baseline}, over {benchmarks} benchmarks: {'; '.join(parts)}."


def _outcome(wins: int, losses: int, count: int, many: bool) -> str:
    parts = [f"{'beat' if many else 'beats'} it on {wins}"] if wins else []
    parts += [f"{'lose' if many else 'loses'} to it on {losses}"] if losses else []
    parts = parts or ["cannot be distinguished from it on any"]
    return f"{' and '.join(parts)} of {count}"


def totals(matrix: Matrix) -> str:
    """Describe a matrix in words: each strategy's wins, ties and losses against all others, the best first."""
    rows = {name: [cell for (row, _), cell in matrix.cells.items() if row == name] for name in matrix.strategies}
    sums = {n: [sum(t.wins for t in of), sum(t.ties for t in of), sum(t.losses for t in of)] for n, of in rows.items()}
    return f"Totals: {'; '.join(f'{name} {won}–{tied}–{lost}' for name, (won, tied, lost) in sums.items())}."


def joined(names: Sequence[str]) -> str:
    """Return the names as part of a sentence: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _s(names: Sequence[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many
