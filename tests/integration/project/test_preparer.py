"""The steps of preparing: listed without making anything, made in order, and found complete afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asal.cli.label import generator_warnings
from asal.errors import DamageError, UserError
from asal.experiments.api import run
from asal.project import durations
from asal.project.parts import ProjectParts
from asal.project.preparer import Preparer
from asal.project.project import Project
from asal.project.spec import load
from asal.project.step import Step, Work
from asal.runtime import artifacts

NAMES = [
    "take the images in",
    "make the extractor autoencoder",
    "compute the features 'autoencoder'",
    "build the index over 'autoencoder'",
    "train the generator wgan-gp",
]


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def test_a_dry_run_lists_every_step_and_makes_nothing(
    asal: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    project = write_spec(tmp_path)
    before = files(project)
    plan = Preparer(Project.open(project)).plan()
    assert [step.name for step in plan] == NAMES and {step.status for step in plan} == {"to do"}
    assert [step.makes for step in plan][:2] == ["pool, test", "parts/autoencoder-…"]
    said = asal("prepare", project, "--dry-run")
    assert said.code == 0 and said.out.count("to do") == len(NAMES) and not said.err
    assert files(project) == before


def test_what_is_there_and_what_is_begun_is_listed_as_such(asal: Any, tiny: Path) -> None:
    plan = Preparer(Project.open(tiny)).plan()
    assert [step.name for step in plan] == NAMES and {step.status for step in plan} == {"there"}
    assert all((tiny / step.makes).is_dir() for step in plan[1:]) and not any(str(step.estimate) for step in plan)

    (index,) = tiny.glob("indexes/auto-*")
    index.rename(index.with_name(f"{index.name}.partial"))
    (index.with_name(f"{index.name}.partial") / "part.json").unlink()
    assert {step.name: step.status for step in Preparer(Project.open(tiny)).plan()}[NAMES[3]] == "partly done"
    assert "partly done" in asal("prepare", tiny, "--dry-run").out


def test_only_the_steps_of_the_chosen_strategies_are_listed(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    preparer = Preparer(Project.open(write_spec(tmp_path)))
    assert [step.name for step in preparer.plan(["random"])] == NAMES[:1]
    # The generator is judged in the auto-encoder's features, so it comes after that one.
    assert [step.name for step in preparer.plan(["asal"])] == [NAMES[i] for i in (0, 1, 4, 2, 3)]


WITHOUT_SEARCH: dict[str, Any] = {"asal": None, "spread": {"size": 50, "first": "typiclust"}}


def test_no_index_and_no_generator_is_made_that_no_strategy_uses(
    write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    project = Project.open(write_spec(tmp_path, strategies=WITHOUT_SEARCH))
    assert [step.name for step in Preparer(project).plan()] == NAMES[:3]
    project.prepare()
    assert not (tmp_path / "indexes").exists() and not list(tmp_path.glob("parts/wgan-gp-*"))
    assert Preparer(project).warnings() == [] and Preparer(project).missing() == []
    session, oracle = project.session("spread"), project.oracle("pool")
    project.tools("spread").open()
    for _ in range(2):
        batch = session.ask(20)
        session.tell(zip(batch.ids, oracle.answer(batch.ids), strict=True))
    assert len(session.labelled) == 40
    with pytest.raises(UserError, match="'spread' uses `index` but declares only features"):
        _ = project.tools("spread").index


def test_a_session_takes_the_strategy_that_people_label_with(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    project = Project.open(write_spec(tmp_path, labelling={"strategy": "subset"}, strategies={"subset": {"size": 50}}))
    project.prepare(["subset"])
    assert project.session().plan.name == "subset"


def test_spread_without_features_prepares_nothing_and_asks(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    plain = {
        "generator": None,
        "features": None,
        "learner": {"kind": "cnn", "l2": None, "iterations": None, "steps": 5},
    }
    project = Project.open(write_spec(tmp_path, **plain, strategies={"asal": None, "spread": {"size": 50}}))
    assert [step.name for step in Preparer(project).plan()] == NAMES[:1]
    project.prepare()
    session, oracle = project.session("spread"), project.oracle("pool")
    for _ in range(2):
        batch = session.ask(20)
        session.tell(zip(batch.ids, oracle.answer(batch.ids), strict=True))
    notes = [session.state.notes[int(image)] for image in batch.ids]
    assert all(note["gain"] > 0 and note["labelled_distance"] > 0 for note in notes[:5])


def test_an_index_is_built_for_the_strategy_that_searches(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    spaces = {"features": {"pixels": {}}, "strategies": {**WITHOUT_SEARCH, "seals": {"features": "pixels"}}}
    project = Project.open(write_spec(tmp_path, **spaces))
    steps = [step.name for step in Preparer(project).plan()]
    assert "compute the features 'autoencoder'" in steps
    assert [name for name in steps if "index" in name or "generator" in name] == ["build the index over 'pixels'"]
    project.prepare(["spread"])
    project.tools("spread").open()
    with pytest.raises(UserError, match="asal prepare"):
        project.tools("seals").open()


def test_an_index_that_is_there_stays_and_is_found_again(
    asal: Any, write_spec: Callable[..., Path], tiny: Path
) -> None:
    before = {path: path.read_bytes() for path in files(tiny / "indexes")}
    write_spec(tiny, strategies=WITHOUT_SEARCH)
    assert asal("prepare", tiny).code == 0
    (index,) = tiny.glob("indexes/*")
    assert f"indexes/{index.name}" in asal("status", tiny).out and "damaged" not in asal("status", tiny).out
    assert {path: path.read_bytes() for path in files(tiny / "indexes")} == before
    write_spec(tiny)
    assert {step.status for step in Preparer(Project.open(tiny)).plan()} == {"there"}


def test_a_spec_without_strategies_gets_all_that_it_has(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    preparer = Preparer(Project.open(write_spec(tmp_path, strategies=None)))
    assert [step.name for step in preparer.plan()] == NAMES


def test_features_of_the_generator_wait_for_a_strategy_that_needs_them(
    write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    """Or a generator would be trained for what nobody uses."""
    spaces = {"features": {"discriminator": {}}, "strategies": WITHOUT_SEARCH}
    plan = Preparer(Project.open(write_spec(tmp_path, **spaces))).plan()
    assert [step.name for step in plan] == NAMES[:3]
    spaces["strategies"] = {**WITHOUT_SEARCH, "critic": {"kind": "spread", "features": "discriminator", "size": 50}}
    plan = Preparer(Project.open(write_spec(tmp_path, **spaces))).plan()
    names = [step.name for step in plan]
    assert names.index("train the generator wgan-gp") < names.index("compute the features 'discriminator'")


def test_what_was_validated_before_is_not_prepared_with_what_is_chosen(
    write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    two_classes = {"features": {"latent": {"dimensions": 0}}, "strategies": {"adba": {}}}
    project = Project.open(write_spec(tmp_path, **two_classes))
    project.validate(["asal", "adba"])
    assert list(project.validate(["random"]).strategies) == ["random"]
    assert [step.name for step in Preparer(project).plan(["random"])] == NAMES[:1]
    project.prepare(["random"])  # of ten classes, which adba would refuse
    assert not (tmp_path / "parts").exists()


def test_a_step_has_the_status_unknown_while_the_pool_is_repaired(asal: Any, tiny: Path) -> None:
    (tiny / "pool" / "keys.parquet").unlink()
    assert asal("doctor", tiny, "--repair").code == 0
    plan = Preparer(Project.open(tiny)).plan()
    assert [step.status for step in plan] == ["partly done", *["unknown"] * 4]
    assert {str(step.estimate) for step in plan} == {"unknown"}
    assert "unknown" in asal("prepare", tiny, "--dry-run").out


def test_a_dry_run_refuses_the_pool_options_that_preparing_refuses(
    asal: Any, write_spec: Callable[..., Path], tiny: Path
) -> None:
    write_spec(tiny, pool={"keep": ["3", "5"]})
    before = files(tiny)
    for options in ([], ["--dry-run"]):
        asal("prepare", tiny, *options).refused("made from other options: keep was [] and is ['3', '5']")
    assert files(tiny) - before <= {tiny / ".lock"}


def test_the_teacher_is_listed_before_there_are_images(
    write_spec: Callable[..., Path], tmp_path: Path, tiny: Path
) -> None:
    preparer = Preparer(Project.open(write_spec(tmp_path)))
    teacher = "train the teacher that labels synthetic images"
    assert [step.name for step in preparer.plan(["gaal"])][-1] == teacher
    assert teacher not in [step.name for step in preparer.plan(["asal"])]
    step = Preparer(Project.open(tiny)).plan(["gaal"])[-1]
    assert (step.name, step.status) == (teacher, "to do")


def test_the_estimate_of_a_step_that_was_begun_is_an_upper_limit(tiny: Path) -> None:
    (extractor,) = tiny.glob("parts/autoencoder-*")
    extractor.rename(extractor.with_name(f"{extractor.name}.partial"))
    (extractor.with_name(f"{extractor.name}.partial") / "part.json").unlink()
    step = Preparer(Project.open(tiny)).plan()[1]
    assert step.status == "partly done" and str(step.estimate).startswith("at most ")


def test_the_steps_over_additions_are_named_without_reading_their_images(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, verified, verify = Project.open(tiny), [], artifacts.verify
    parts = ProjectParts(project, project.context, [tiny / "pool"])
    monkeypatch.setattr(artifacts, "verify", lambda folder, **how: verified.append(folder) or verify(folder, **how))
    (step,) = parts.additions("autoencoder")
    assert step.status == "to do" and step.work.units == 400 * 8 * 8 and not verified
    step.make()
    assert tiny / "pool" in verified


def test_what_is_not_prepared_is_named(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    hashing = {"features": {"pixels": {"dimensions": 0}}, "strategies": {"hash": {"kind": "hyperplane-hash"}}}
    project = Project.open(write_spec(tmp_path, **hashing))
    project.ingest()
    uses = {
        "the extractor pixels is not prepared: no folder at": lambda: project.extractor(
            project.spec.features["pixels"]
        ),
        "the generator wgan-gp is not prepared: no folder at": lambda: project.generator,
        "the part of the strategy 'hash' is not prepared": lambda: project.strategy_part("hash"),
    }
    for message, use in uses.items():
        with pytest.raises(UserError, match=message):
            use()
    with pytest.raises(UserError, match="has no generator; add a"):
        _ = Project.open(write_spec(tmp_path, generator=None)).generator


def test_a_wrong_spec_is_refused_by_a_dry_run(asal: Any, write_spec: Callable[..., Path], tmp_path: Path) -> None:
    asal("prepare", write_spec(tmp_path, generator=None), "--dry-run").refused("needs a generator")


def test_a_project_makes_nothing_when_it_is_used(tiny: Path) -> None:
    import shutil

    for place in ("parts", "features", "indexes"):
        shutil.rmtree(tiny / place)
    project, before = Project.open(tiny), files(tiny)
    session = project.session("asal")
    session.tell({image: int(i % 10) for i, image in enumerate(session.ask(20).ids)})
    for use in (lambda: project.generator, lambda: project.space("autoencoder"), lambda: session.ask(5)):
        with pytest.raises(UserError, match="run `asal prepare`"):
            use()
    assert {path.name for path in files(tiny) - before} <= {
        f"labels.db{end}" for end in ("", "-wal", "-shm", "-checkpoint")
    }


def test_a_spec_is_checked_once_for_a_command(
    asal: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from asal.project import validate

    checked, whole = [], validate.supervised
    monkeypatch.setattr(validate, "supervised", lambda spec: checked.append(spec) or whole(spec))
    assert asal("prepare", tiny).code == 0
    assert len(checked) == 1
    project = Project.open(tiny)
    project.prepare(["random"])
    project.session("random", record=tmp_path / "labels.db")
    assert len(checked) == 2, "once for each project"
    run(tiny, ["random", "subset"], 2, tmp_path / "run")
    assert len(checked) == 3, "once for all runs of an experiment"


def test_a_validated_spec_holds_tables_needs_and_spaces(tiny: Path) -> None:
    validated = Project.open(tiny).validate(["asal", "random"])
    strategy = validated.strategies["asal"]
    assert strategy.space == "autoencoder" and {"generator", "features"} <= strategy.needs
    assert strategy.first == "random" and not strategy.first_space
    assert validated.tables["random"] == load(tiny).strategies["random"] and not validated.strategies["random"].space
    more = validated.including(["subset"])
    assert set(more.strategies) == {"asal", "random", "subset"} and more.including(["subset"]) is more
    with pytest.raises(UserError, match="no strategy is called 'nothing'"):
        validated.including(["nothing"])


# What is printed -----------------------------------------------------------------------------------------------------


def test_every_step_is_numbered_in_a_pipe_and_the_next_command_comes_last(
    shell: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    said = shell("prepare", write_spec(tmp_path))
    assert said.code == 0 and not said.err
    lines = said.out.splitlines()
    assert "5 steps: " + "; ".join(NAMES) in lines[2]
    for number, name in enumerate(NAMES, 1):
        assert any(line.startswith(f"{number} of 5: {name}") for line in lines), name
    assert f"5 of 5: {NAMES[4]}: 1 of 20" in said.out, "the first step of a training is reported"
    assert lines[-2:] == [
        f"Next: asal label {tmp_path}",
        f"Or, since the labels are known: asal run {tmp_path} --out runs/tiny",
    ]
    assert not [character for character in said.out if character < " " and character != "\n"]


def test_the_next_command_of_a_spec_apart_from_its_project_is_to_run_it(
    asal: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    spec = write_spec(tmp_path / "tiny.toml", generator=None, features=None, strategies={"asal": None})
    said = asal("prepare", spec, "--project", tmp_path / "project")
    next_command = f"asal run {spec} --project {tmp_path / 'project'} --out runs/tiny"
    assert said.out.splitlines()[-1] == f"Next: {next_command}"


def test_the_seconds_left_are_known_while_it_runs(write_spec: Callable[..., Path], tmp_path: Path) -> None:
    seen: list[float | None] = []
    project = Project.open(write_spec(tmp_path), progress=lambda *report: seen.append(preparer.left()))
    preparer = Preparer(project)
    assert preparer.left() is None
    preparer.run()
    known = [left for left in seen if left is not None]
    assert known and max(known) > 0 and known[-1] == 0


# Warnings ------------------------------------------------------------------------------------------------------------


def test_a_generator_far_from_the_real_images_is_warned_of_before_it_is_used(
    asal: Any, tiny: Path, tmp_path: Path
) -> None:
    (picture,) = tiny.glob("parts/wgan-gp-*/samples.png")
    preparer = Preparer(Project.open(tiny))
    for chosen in (None, ["asal"], ["random", "asal"]):
        (warning,) = preparer.warnings(chosen)
        assert "far from the real ones" in warning and str(picture) in warning
    assert preparer.warnings(["random", "uncertainty"]) == []
    assert f"warning: {warning}" in asal("prepare", tiny).out
    run_once = ("run", tiny, "--seeds", 1, "--jobs", 1)
    said = asal(*run_once, "--strategies", "asal", "--out", tmp_path / "with")
    assert said.out.count(str(picture)) == 1 and "warning: the generator's images" in said.out
    assert "warning" not in asal(*run_once, "--strategies", "random", "--out", tmp_path / "without").out


def test_labelling_warns_of_the_generator_that_its_strategy_uses(tiny: Path) -> None:
    spec = load(tiny)
    (warning,) = generator_warnings(tiny, spec, "asal")
    assert "samples.png" in warning and generator_warnings(tiny, spec, "subset") == []


def test_a_project_without_a_generator_or_images_has_no_warning(
    write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    assert Preparer(Project.open(write_spec(tmp_path))).warnings() == []
    spec = write_spec(tmp_path, generator=None, features=None, strategies={"asal": None})
    assert Preparer(Project.open(spec)).warnings() == []


# Damage --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["cut", "changed", "missing"])
@pytest.mark.parametrize(
    "place",
    ["pool/images/00000.npy", "test/images/00000.npy", "test/labels.npy", "test/pool.json", "test/keys.parquet",
     "features/*/vectors/00000.npy", "features/*/pca.safetensors", "indexes/*/exact/norms.npy",
     "parts/wgan-gp-*/samples.png"],
)  # fmt: skip
def test_preparing_refuses_any_damaged_file(place: str, harm: str, asal: Any, tiny: Path) -> None:
    (path,) = tiny.glob(place)
    content = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if harm == "cut" else bytes([*content[:-3], content[-3] ^ 1, *content[-2:]]))
    asal("prepare", tiny).refused(str(path), "is damaged", "--repair", "only that file is made again")
    assert asal("status", tiny).code == 0


def test_a_manifest_that_is_gone_is_refused_with_what_helps(asal: Any, tiny: Path) -> None:
    (tiny / "test" / "part.json").unlink()
    asal("prepare", tiny).refused("test exists, and asal did not make it", "restore that from a copy")


def test_the_contents_of_a_large_folder_are_checked_where_a_file_is_newer_than_its_manifest(tiny: Path) -> None:
    path = tiny / "pool" / "images" / "00000.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    artifacts.verify(tiny / "pool", contents_up_to=0)
    with pytest.raises(DamageError, match="its sha256 is not the one"):
        artifacts.verify(tiny / "pool", contents_up_to=0, newer=True)


# Estimates -----------------------------------------------------------------------------------------------------------


def test_a_measured_duration_is_the_next_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASAL_CACHE_DIR", str(tmp_path / "cache"))
    work = Work("train wgan-gp", 2e9)
    assert str(durations.estimate(work, "cpu")) == "about 80 s (rule of thumb)"
    assert str(durations.estimate(work, "cuda")) == str(durations.estimate(Work(), "cpu")) == "unknown"

    now = iter([0.0, 600.0, 0.0, 1.0])
    monkeypatch.setattr(durations.time, "monotonic", lambda: next(now))
    step = Step("train", tmp_path / "part", {}, lambda folder: None, work)
    with durations.measured(step, "cuda"):
        pass
    assert str(durations.estimate(Work("train wgan-gp", 4e9), "cuda")) == "about 20 min (measured here)"
    with durations.measured(step, "cpu"):  # too short to have measured anything
        pass
    assert str(durations.estimate(Work("train wgan-gp", 1e12), "cuda")) == "unknown"  # far more than was measured
    assert list(json.loads((tmp_path / "cache" / "rates.json").read_text())) == ["train wgan-gp on cuda"]


def test_rates_that_cannot_be_read_are_no_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASAL_CACHE_DIR", str(tmp_path))
    (tmp_path / "rates.json").write_text('{"train custom on cpu": "fast"')
    assert str(durations.estimate(Work("train custom", 1.0), "cpu")) == "unknown"


# Projects of earlier versions ----------------------------------------------------------------------------------------

FOLDERS = {  # as asal named the parts of the tiny project before there was a Preparer
    "parts/autoencoder-a8cf32171431",
    "parts/wgan-gp-91e04910e842",
    "features/autoencoder-f0e450228835",
    "indexes/auto-bb91ac984aa1",
}


def test_the_names_of_folders_are_those_of_earlier_versions(prepared: Path) -> None:
    """They are hashes of what the parts were made from: with other names a prepared project would be made again."""
    there = {str(path.parent.relative_to(prepared)) for path in prepared.glob("*/*/part.json")}
    assert there == FOLDERS
    assert artifacts.is_complete(prepared / "pool")


def test_a_part_of_a_strategy_that_is_given_by_its_path_has_a_folder_of_a_plain_name(tiny: Path) -> None:
    folder = Project.open(tiny).context.folder("parts", "package.module:function", {"a": 1})
    assert folder.name == f"package.module.function-{artifacts.fingerprint({'a': 1})}"
