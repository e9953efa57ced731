"""Runs of one seed are paired, runs of one spec are the same, and their rows hold all that was promised."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asal.errors import BusyError, DamageError, UserError
from asal.experiments import pairs
from asal.experiments.evaluation import Evaluation
from asal.experiments.results import load as load_results
from asal.experiments.round_log import RoundLog
from asal.experiments.round_row import RoundRow
from asal.experiments.run import RunTask, begin, run_one
from asal.project.project import Project
from asal.project.spec import Spec, load, parse
from asal.runtime.meter import Meter
from asal.runtime.progress import no_progress
from asal.session.events import Record

STRATEGIES = ("random", "uncertainty", "subset", "asal")
KEYS = {
    "strategy", "seed", "round", "labels", "accuracy", "mean_score", "class_counts", "evaluations", "generated",
    "seconds",
    "last", "spec_hash", "commit",
}  # fmt: skip


def run(project: Path, spec: Spec, out: Path, names: Sequence[str] = STRATEGIES, seeds: Sequence[int] = (0,)) -> Path:
    """Run all of it in this process, one after another."""
    begin(Project(project, spec), names, seeds, out)
    for name in names:
        for seed in seeds:
            run_one(RunTask(project, spec, name, seed, out), no_progress)
    return out


def rows(out: Path, name: str, seed: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name / f"seed-{seed}" / "rows.jsonl").read_text().splitlines()]


def timeless(out: Path, name: str, seed: int = 0) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows(out, name, seed)]


def asked(out: Path, name: str, seed: int = 0) -> list[list[int]]:
    """Return the ids of every batch."""
    with Record.open(out / name / f"seed-{seed}" / "labels.db") as record:
        return [event.body["ids"] for event in record.read() if event.kind == "asked"]


@pytest.fixture(scope="module")
def done(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of four strategies over two seeds. To be read, not written."""
    return run(prepared, load(prepared), tmp_path_factory.mktemp("runs"), seeds=(0, 1))


@pytest.fixture
def own(done: Path, tmp_path: Path) -> Path:
    """Return such a folder of one's own."""
    return Path(shutil.copytree(done, tmp_path / "runs"))


# Rows ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
def test_rows_hold_every_promised_key(name: str, done: Path) -> None:
    found = rows(done, name)
    assert [row["round"] for row in found] == [1, 2, 3]
    assert [row["labels"] for row in found] == [20, 30, 40]
    for row in found:
        assert set(row) == KEYS
        assert (row["strategy"], row["seed"]) == (name, 0)
        assert 0 <= row["accuracy"] <= 1 and sum(row["class_counts"]) == row["labels"]
        assert len(row["class_counts"]) == 10 and min(row["class_counts"]) >= 1
        assert tuple(row["seconds"]) == Meter.PARTS and all(second >= 0 for second in row["seconds"].values())
        assert row["seconds"]["train"] > 0
    assert all(0 <= row["mean_score"] <= np.log(10) + 1e-6 for row in found[:-1])
    assert [row["last"] for row in found] == [False, False, True]
    assert found[-1]["mean_score"] is None and found[-1]["evaluations"] == 0, "the last round asks nothing"


def test_evaluations_are_counted(done: Path) -> None:
    pool = 400
    for row in rows(done, "uncertainty")[:-1]:
        assert row["evaluations"] == pool - row["labels"]
    for row in rows(done, "subset")[:-1]:
        assert row["evaluations"] == 50  # its `size`
    for row in rows(done, "asal")[:-1]:
        assert 10 <= row["evaluations"] <= 20 * 10  # 20 candidates for each of 10, some of them shared
    assert all(row["evaluations"] == 0 for row in rows(done, "random"))


def test_time_is_split_by_what_was_done(done: Path) -> None:
    for row in rows(done, "asal")[:-1]:
        assert row["seconds"]["generate"] > 0 and row["seconds"]["match"] > 0 and row["seconds"]["score"] > 0
    for row in rows(done, "uncertainty")[:-1]:
        assert row["seconds"]["generate"] == row["seconds"]["match"] == 0 < row["seconds"]["io"]


def test_the_score_of_new_picks_is_the_protocols_whatever_chose_them(
    prepared: Path, spec: Callable[..., Any], done: Path, tmp_path: Path
) -> None:
    changed = parse(spec(protocol={"score": "margin"}))
    run(prepared, changed, tmp_path, ["random"])
    assert asked(tmp_path, "random") == asked(done, "random")
    assert rows(tmp_path, "random")[0]["mean_score"] != rows(done, "random")[0]["mean_score"]
    uncertain, chance = (rows(done, name)[0]["mean_score"] for name in ("uncertainty", "random"))
    assert uncertain > chance


def test_run_json_tells_what_is_compared_and_on_what(done: Path, prepared: Path) -> None:
    facts = json.loads((done / "run.json").read_text())
    assert facts["strategies"] == list(STRATEGIES) and facts["seeds"] == [0, 1] and facts["threads"] == 1
    assert facts["spec_hash"] == load(prepared).hash and parse(facts["spec"]) == load(prepared)
    assert facts["versions"]["torch"] and facts["versions"]["python"] and "commit" in facts
    assert facts["hardware"]["cores"] >= 1 and facts["classes"] == [str(i) for i in range(10)]


def test_accuracy_is_measured_on_the_test_set_alone(prepared: Path) -> None:
    project = Project(prepared, load(prepared))
    test_set = Evaluation.of(project)
    truth = project.oracle("test").answer(np.arange(200))

    class Knows:
        """Says the truth of every other test image."""

        def predict(self, images: Any) -> Any:
            place = {image.tobytes(): i for i, image in enumerate(project.test.read(np.arange(200)))}
            probs = np.zeros((len(images), 10))
            for row, image in enumerate(images):
                i = place[image.tobytes()]
                probs[row, (truth[i] + i % 2) % 10] = 1
            return probs

    assert test_set.accuracy(Knows()) == pytest.approx(0.5, abs=0.01)  # type: ignore[arg-type]


# Seeds ---------------------------------------------------------------------------------------------------------------


def test_strategies_of_a_seed_begin_alike_and_seeds_differ(done: Path) -> None:
    begun = {seed: [asked(done, name, seed)[0] for name in STRATEGIES] for seed in (0, 1)}
    first = {seed: [rows(done, name, seed)[0] for name in STRATEGIES] for seed in (0, 1)}
    for seed in (0, 1):
        assert all(ids == begun[seed][0] for ids in begun[seed])
        assert len({row["accuracy"] for row in first[seed]}) == 1
    assert set(begun[0][0]) != set(begun[1][0])
    assert first[0][0]["accuracy"] != first[1][0]["accuracy"]
    assert len({tuple(asked(done, name)[1]) for name in STRATEGIES}) == len(STRATEGIES), "strategies choose alike"


def test_the_initial_images_cover_every_class_and_are_drawn_anew_by_seed(done: Path, prepared: Path) -> None:
    oracle = Project(prepared, load(prepared)).oracle("pool")
    for seed in (0, 1):
        ids = np.array(asked(done, "random", seed)[0])
        assert len(set(ids.tolist())) == 20 and set(oracle.answer(ids).tolist()) == set(range(10))


def test_the_same_seed_gives_the_same_rows(prepared: Path, done: Path, tmp_path: Path) -> None:
    run(prepared, load(prepared), tmp_path)
    for name in STRATEGIES:
        assert timeless(tmp_path, name) == timeless(done, name)
        assert asked(tmp_path, name) == asked(done, name)
    one, other = (np.load(out / "asal" / "seed-0" / "pairs.npz") for out in (tmp_path, done))
    assert all(np.array_equal(one[key], other[key]) for key in other.files)


def test_pairs_show_what_was_made_up_and_what_it_led_to(done: Path, prepared: Path) -> None:
    project = Project(prepared, load(prepared))
    pairs = np.load(done / "asal" / "seed-0" / "pairs.npz")
    assert pairs["synthetic"].shape == pairs["matched"].shape == (2, 8, 8, 1)
    assert pairs["ids"].tolist() == [ids[0] for ids in asked(done, "asal")[1:]]
    assert np.array_equal(pairs["matched"], project.pool.read(pairs["ids"]))
    assert not (done / "random" / "seed-0" / "pairs.npz").exists()


# Folders -------------------------------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "learner": ({"learner": {"l2": 0.5}}, "[learner]"),
    "budget": ({"protocol": {"budget": 60}}, "[protocol]"),
    "generator": ({"generator": {"steps": 30}}, "[generator]"),
    "a strategy's option": ({"strategies": {"subset": {"size": 20}}}, "[strategies.subset]"),
    "name": ({"name": "other"}, "[name]"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_spec_that_changed_under_a_run_folder_is_refused(
    what: str, prepared: Path, spec: Callable[..., Any], own: Path
) -> None:
    changes, place = CHANGES[what]
    before = (own / "run.json").read_bytes()
    with pytest.raises(UserError, match="a run folder belongs to one spec") as refused:
        begin(Project(prepared, parse(spec(**changes))), ["random"], [0], own)
    assert place in refused.value.got and "--out" in refused.value.hint
    assert (own / "run.json").read_bytes() == before


FORMER = {"raw_samples": "starts", "num_restarts": "restarts", "backend": "stepper", "score_tolerance": "saturated"}


def test_a_run_folder_with_former_names_of_options_goes_on(
    prepared: Path, spec: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"raw_samples": 30, "num_restarts": 1, "score_tolerance": 0.1, "backend": "eager"}
    former = {FORMER[name]: value for name, value in options.items()}
    present, old = (parse(spec(strategies={"asal": {"steps": 2} | given})) for given in (options, former))
    out = run(prepared, old, tmp_path, ["asal"])
    path, before = out / "run.json", rows(out, "asal")
    facts = json.loads(path.read_text())
    for table in facts["spec"]["strategies"].values():  # as an asal of before wrote it
        table["sure"] = table.pop("min_confidence", table.get("sure", 0.0))
    assert facts["spec"]["strategies"]["asal"]["starts"] == 30
    path.write_text(json.dumps(facts))
    assert load_results(out).unfinished == []
    assert rows(run(prepared, present, out, ["asal"], seeds=(0, 1)), "asal") == before
    assert rows(run(prepared, old, out, ["asal"], seeds=(0, 1)), "asal") == before
    with pytest.raises(UserError, match=r"changed: \[strategies.asal\]"):
        begin(
            Project(prepared, parse(spec(strategies={"asal": {"steps": 2, **options, "raw_samples": 31}}))),
            ["asal"],
            [0],
            out,
        )


def test_other_threads_are_other_results(prepared: Path, own: Path) -> None:
    with pytest.raises(UserError, match="changed: threads"):
        begin(Project(prepared, load(prepared)), STRATEGIES, [0], own, threads=2)


def test_a_run_folder_grows_by_strategies_and_seeds(prepared: Path, spec: Callable[..., Any], own: Path) -> None:
    before = {name: rows(own, name) for name in STRATEGIES}
    grown = parse(spec(strategies={"small": {"kind": "subset", "size": 15}}))
    run(prepared, grown, own, ["small", "random"], seeds=(0, 2))
    facts = json.loads((own / "run.json").read_text())
    assert facts["strategies"] == [*STRATEGIES, "small"] and facts["seeds"] == [0, 1, 2]
    assert {name: rows(own, name) for name in STRATEGIES} == before, "what was done is done again"
    assert rows(own, "small")[0]["accuracy"] == before["random"][0]["accuracy"], "a later strategy is not paired"
    assert len(rows(own, "random", 2)) == 3


def test_what_is_done_is_not_done_again(prepared: Path, own: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in own.rglob("pairs.npz")}
    reports: list[tuple[str, int, int, str]] = []
    run_one(RunTask(prepared, load(prepared), "asal", 0, own), lambda *report: reports.append(report))  # type: ignore[arg-type]
    assert [report[:3] for report in reports] == [("asal, seed 0", 40, 40)] and reports[0][3].startswith("accuracy 0.")
    assert {path: path.stat().st_mtime_ns for path in own.rglob("pairs.npz")} == before


def test_one_run_is_done_by_one_process(prepared: Path, own: Path) -> None:
    from asal.runtime import artifacts

    job = RunTask(prepared, load(prepared), "random", 0, own)
    with artifacts.exclusive(job.folder), pytest.raises(BusyError, match="another process is at work"):
        run_one(job, no_progress)


# Damage --------------------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def delete(path: Path) -> None:
    path.unlink()


def overwrite(path: Path) -> None:
    path.write_bytes(b"{}\n" * 3000)


def flip(path: Path) -> None:
    """Change bytes in the middle."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(byte ^ 0x55 for byte in content[middle : middle + 40])
    path.write_bytes(content)


HARMS: list[Callable[[Path], None]] = [delete, cut, overwrite, flip]


def pairs_of(out: Path) -> dict[str, list[Any]]:
    with np.load(out / "asal" / "seed-0" / "pairs.npz") as stored:
        return {key: stored[key].tolist() for key in stored.files}


def read_all(out: Path) -> None:
    """Read all that a report reads of a folder."""
    assert not load_results(out).unfinished
    pairs.read(out / "asal" / "seed-0" / "pairs.npz", classes=10)


@pytest.mark.parametrize("name", ["rows.jsonl", "pairs.npz"])
@pytest.mark.parametrize("harm", HARMS)
def test_what_is_lost_beside_the_record_is_made_again(
    harm: Callable[[Path], None], name: str, prepared: Path, own: Path
) -> None:
    job = RunTask(prepared, load(prepared), "asal", 0, own)
    expected, expected_pairs = timeless(own, "asal"), pairs_of(own)
    record = (job.folder / "labels.db").read_bytes()
    harm(job.folder / name)
    if harm is not delete and (harm, name) != (cut, "rows.jsonl"):  # those look like a run that is not finished
        with pytest.raises(DamageError) as refused:
            read_all(own)
        assert str(job.folder / name) in refused.value.got
        assert f"asal run … --out {own}" in refused.value.hint and "delete nothing" in refused.value.hint
    run_one(job, no_progress)
    assert timeless(own, "asal") == expected and pairs_of(own) == expected_pairs
    assert (job.folder / "labels.db").read_bytes() == record
    read_all(own)


@pytest.mark.parametrize("harm", HARMS)
def test_lost_rows_of_an_unfinished_run_are_made_again(
    harm: Callable[[Path], None], prepared: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = RunTask(prepared, load(prepared), "asal", 0, tmp_path)
    begin(Project(prepared, job.spec), ["asal"], [0], tmp_path)

    def killed(self: RoundLog, row: RoundRow) -> None:
        if row.round == 2:
            raise KeyboardInterrupt
        add(self, row)

    add = RoundLog.add
    with monkeypatch.context() as patch:
        patch.setattr(RoundLog, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            run_one(job, no_progress)
    assert len(rows(tmp_path, "asal")) == 1 and len(asked(tmp_path, "asal")) == 3
    harm(job.folder / "rows.jsonl")
    run_one(job, no_progress)
    assert timeless(tmp_path, "asal") == timeless(done, "asal") and pairs_of(tmp_path) == pairs_of(done)


def test_seconds_of_rows_that_are_made_again_are_the_records(prepared: Path, own: Path) -> None:
    path, before = own / "asal" / "seed-0" / "rows.jsonl", rows(own, "asal")
    path.unlink()
    told: list[tuple[Any, ...]] = []
    run_one(RunTask(prepared, load(prepared), "asal", 0, own), lambda *said: told.append(said))  # type: ignore[arg-type]
    assert [row["seconds"] for row in rows(own, "asal")[:-1]] == [row["seconds"] for row in before[:-1]]
    assert "making the row of round 1 again" in told[0]


ROW_DAMAGES: dict[str, Callable[[list[str]], list[str]]] = {
    "a row that was cut short": lambda lines: [*lines[:-1], lines[-1][:-30]],
    "no JSON": lambda lines: ["{" + lines[0], *lines[1:]],
    "no row": lambda lines: ["[3]\n", *lines],
    "a round is gone": lambda lines: lines[1:],
    "a round in the middle is gone": lambda lines: [lines[0], lines[2]],
    "a round is there twice": lambda lines: [lines[0], *lines],
    "rounds out of order": lambda lines: lines[::-1],
    "all is gone": lambda lines: [],
    "a row of another seed": lambda lines: [lines[0].replace('"seed": 0', '"seed": 1'), *lines[1:]],
    "labels are lost": lambda lines: [line.replace('"labels": 30', '"labels": 5') for line in lines],
    "a key is lost": lambda lines: [line.replace('"accuracy"', '"acuracy"') for line in lines],
    "an infinite count": lambda lines: [
        line.replace('"class_counts": [', '"class_counts": [Infinity, ') for line in lines
    ],
    "an infinite score": lambda lines: [line.replace('"mean_score": ', '"mean_score": 1e999, "x": ') for line in lines],
    "a line nested endlessly": lambda lines: ["[" * 100_000 + "\n", *lines[1:]],
    "an accuracy above one": lambda lines: [line.replace('"accuracy": 0', '"accuracy": 50') for line in lines],
}


@pytest.mark.parametrize("damage", ROW_DAMAGES)
def test_damaged_rows_are_made_again(damage: str, prepared: Path, own: Path) -> None:
    path, expected = own / "subset" / "seed-0" / "rows.jsonl", timeless(own, "subset")
    path.write_text("".join(ROW_DAMAGES[damage](path.read_text().splitlines(keepends=True))))
    run_one(RunTask(prepared, load(prepared), "subset", 0, own), no_progress)
    assert timeless(own, "subset") == expected


def test_a_folder_in_the_place_of_the_rows_is_named(prepared: Path, own: Path) -> None:
    path = own / "subset" / "seed-0" / "rows.jsonl"
    path.unlink()
    path.mkdir()
    with pytest.raises(DamageError, match=r"it is a folder, not a file.*; move that folder away"):
        run_one(RunTask(prepared, load(prepared), "subset", 0, own), no_progress)


def test_rows_that_are_not_damaged_are_not_touched(prepared: Path, own: Path) -> None:
    path = own / "subset" / "seed-0" / "rows.jsonl"
    before = path.read_text().splitlines()
    path.write_text("\n".join(before[:1] + before[2:]) + "\n")
    run_one(RunTask(prepared, load(prepared), "subset", 0, own), no_progress)
    after = path.read_text().splitlines()
    assert (after[0], after[2]) == (before[0], before[2])


def test_a_damaged_record_is_named_and_nothing_is_written_over_it(prepared: Path, own: Path) -> None:
    folder = own / "asal" / "seed-0"
    path = folder / "labels.db"
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = b"x" * (len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(DamageError) as refused:
        run_one(RunTask(prepared, load(prepared), "asal", 0, own), no_progress)
    assert str(path) in refused.value.got
    assert refused.value.hint.startswith(f"delete {folder}, and run the same command again")
    assert path.read_bytes() == content


def test_a_record_of_another_pool_is_refused(
    prepared: Path, write_spec: Callable[..., Path], own: Path, tmp_path: Path
) -> None:
    other = write_spec(tmp_path, pool={"split": {"train": 390}})
    project = Project(other, load(other))
    project.prepare(["random"])
    with pytest.raises(UserError, match="pool"):
        begin(project, ["random"], [0], own)
    with pytest.raises(UserError, match="a record belongs to one pool"):
        run_one(RunTask(other, load(other), "random", 0, own), no_progress)


def test_rows_are_on_the_disk_when_they_are_added(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    first = RoundRow("random", 0, 1, 10, 0.5, None, (5, 5), 0, 0, dict.fromkeys(Meter.PARTS, 0.0))
    written = RoundLog(path)
    written.add(first)
    assert written.has(1) and not written.has(2) and written.note == "accuracy 0.500"
    path.write_bytes(path.read_bytes() + b'{"round": 2, "accu')
    again = RoundLog(path)
    assert again.has(1) and not again.has(2)
    again.add(replace(first, round=2, accuracy=0.25))
    assert [json.loads(line)["round"] for line in path.read_text().splitlines()] == [1, 2]


# Endings -------------------------------------------------------------------------------------------------------------


def test_a_budget_may_be_the_whole_pool(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    project = write_spec(
        tmp_path, pool={"split": {"train": 60, "test": 20}}, protocol={"initial": 25, "batch": 20, "budget": 60}
    )
    Project(project, load(project)).prepare()
    out = run(project, load(project), tmp_path / "out")
    for name in STRATEGIES:
        assert [row["labels"] for row in rows(out, name)] == [25, 45, 60]
        assert sorted(i for ids in asked(out, name) for i in ids) == list(range(60))
    accuracies = {rows(out, name)[-1]["accuracy"] for name in STRATEGIES}
    assert len(accuracies) == 1, "with every image labelled the strategies agree"


def test_images_without_a_label_are_skipped_and_do_not_count(tmp_path: Path, spec: Callable[..., Any]) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(90):
        folder = tmp_path / "images" / ("a", "b", "")[number % 3]  # every third lies beside the classes
        folder.mkdir(parents=True, exist_ok=True)
        picture = rng.integers(100, size=(8, 8), dtype=np.uint8) + 80 * (number % 3)
        Image.fromarray(picture).save(folder / f"{number}.png")
    changed = parse(
        spec(
            source={"kind": "folder", "path": str(tmp_path / "images")},
            pool={"split": {"train": 60, "test": 30}},
            protocol={"initial": 10, "batch": 10, "budget": 40},
            strategies={"asal": None, "subset": None},
        )
    )
    project = Project(tmp_path / "project", changed)
    project.prepare(["random"])
    truth = project.oracle("pool").answer(np.arange(60))
    out = run(project.root, changed, tmp_path / "out", ["random", "uncertainty"])
    for name in ("random", "uncertainty"):
        ids = np.array([i for batch in asked(out, name) for i in batch])
        assert len(set(ids.tolist())) == len(ids) > 40, "nobody was asked who could not tell"
        assert rows(out, name)[-1]["labels"] == (truth[ids] >= 0).sum() == 40
    too_many = parse({**changed.model_dump(), "protocol": {**changed.protocol.model_dump(), "budget": 41}})
    with pytest.raises(UserError, match="budget = 41 is too large: the pool has 40 labelled images"):
        begin(Project(project.root, too_many), ["random"], [0], tmp_path / "other")


def test_a_damaged_run_json_costs_no_run(prepared: Path, own: Path) -> None:
    there, facts = own / "run.json", json.loads((own / "run.json").read_text())
    rows = {path: path.read_bytes() for path in own.rglob("rows.jsonl")}
    there.write_text("{")
    begins = partial(begin, Project(prepared, load(prepared)), facts["strategies"], facts["seeds"], own)
    with pytest.raises(DamageError) as refused:
        begins()
    assert f"delete {there} alone" in refused.value.hint
    there.unlink()
    begins()
    assert {path: path.read_bytes() for path in own.rglob("rows.jsonl")} == rows
    assert json.loads(there.read_text())["spec_hash"] == facts["spec_hash"]
