"""The command line: what goes wrong is said in three lines, with what to do, and costs nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.kills import bytes_of

from asal.project.validate import REGISTRIES

Spec = dict[str, Any]

# Settings ------------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Spec, tuple[str, ...]]] = {
    "unknown learner": ({"learner": {"kind": "lineer"}}, ("'lineer'", "did you mean 'linear'?")),
    "unknown generator": ({"generator": {"kind": "wgangp"}}, ("'wgangp'", "did you mean 'wgan-gp'?")),
    "unknown source": ({"source": {"kind": "digit"}}, ("'digit'", "did you mean 'digits'?")),
    "unknown index": ({"index": {"kind": "kd-tree"}}, ("'kd-tree'", "did you mean 'kdtree'?")),
    "unknown features": ({"features": {"x": {"kind": "auto"}}}, ("'auto'", "autoencoder")),
    "unknown strategy": ({"strategies": {"x": {"kind": "asla"}}}, ("'asla'", "did you mean 'asal'?")),
    "unknown score": ({"strategies": {"asal": {"score": "entropie"}}}, ("'entropie'", "did you mean 'entropy'?")),
    "unknown score of the rows": ({"protocol": {"score": "margn"}}, ("'margn'", "did you mean 'margin'?")),
    "unknown space": ({"strategies": {"asal": {"features": "pixles"}}}, ("'pixles'", "autoencoder")),
    "misspelt section": ({"protocoll": {}}, ("'protocoll'", "did you mean 'protocol'?")),
    "misspelt setting": ({"protocol": {"bugdet": 9}}, ("'bugdet'", "did you mean 'budget'?")),
    "misspelt deep setting": ({"pool": {"split": {"tset": 9}}}, ("'tset'", "did you mean 'test'?")),
    "misspelt option": ({"generator": {"widht": 9}}, ("'widht'", "did you mean 'width'?")),
    "misspelt strategy's option": ({"strategies": {"subset": {"sise": 9}}}, ("'sise'", "did you mean 'size'?")),
    "words for a number": ({"protocol": {"budget": "lots"}}, ("valid integer", "protocol.budget = 'lots'")),
    "words for an option's number": ({"learner": {"l2": "much"}}, ("valid number", "l2 = 'much'")),
    "a number too small": ({"generator": {"steps": 0}}, ("greater than or equal to 1", "steps = 0")),
    "a negative size": ({"pool": {"split": {"test": -1}}}, ("test", "-1")),
    "a name of a folder": ({"name": "../up"}, ("name", "../up")),
    "no source": ({"source": None}, ("'source' is missing", "add `source = …`")),
    "no kind": ({"source": {"kind": None}}, ("source.kind",)),
    "nothing to ask": ({"protocol": {"initial": 40}}, ("leaves nothing to ask", "initial = 40")),
    "asal without a gradient": (
        {"learner": {"kind": "sklearn", "factory": "sklearn.svm:SVC", "l2": None, "iterations": None}},
        ("gradient", "does not go with the learner 'sklearn'", "linear"),
    ),
    "asal without features": ({"features": None}, ("'asal' needs a feature space", "add a [features.autoencoder]")),
    "asal without a generator": ({"generator": None}, ("'asal' needs a generator", "add a [generator] section")),
    "a critic without a generator": (
        {"generator": None, "features": {"discriminator": {}}, "strategies": {"asal": None}},
        ("features 'discriminator' needs a generator", "add a [generator] section"),
    ),
    "one class": ({"pool": {"keep": ["3"]}}, ("two classes or more", "only: '3'")),
    "no such class": ({"pool": {"keep": ["3", "eight"]}}, ("'eight'",)),
    "more images than there are": ({"pool": {"split": {"train": 2000}}}, ("2000", "make them smaller")),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_spec_is_refused_before_any_work(
    name: str, asal: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    changes, words = WRONG[name]
    spec, project = write_spec(tmp_path / "spec.toml", **changes), tmp_path / "project"
    asal("prepare", spec, "--project", project).refused(*words)
    assert not project.exists() or not [path for path in project.iterdir() if path.name != ".lock"]


OF_PROJECTS = (  # every command that needs a project whose images have been taken in; ? is the project, ! another path
    ("add ?", "export ? !", "backup ? !", "duplicates ?", "duplicates ? --near", "classes ?", "classes ? add bird")
)


@pytest.mark.parametrize("command", OF_PROJECTS)
def test_a_command_without_a_prepared_project_says_what_is_missing(
    command: str, asal: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    def run(project: Path) -> Any:
        return asal(
            *(project if word == "?" else tmp_path / "out" if word == "!" else word for word in command.split())
        )

    run(tmp_path / "nowhere").refused("no spec at")
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty").refused("no spec at")
    (tmp_path / "new").mkdir()
    project = write_spec(tmp_path / "new")
    run(project).refused("there ")
    assert [path.name for path in project.iterdir() if path.name != ".lock"] == ["asal.toml"]
    assert not (tmp_path / "out").exists()


OUT_OF_PLACE: dict[str, tuple[Spec, tuple[str, ...]]] = {
    "budget": ({"protocol": {"budget": 401}}, ("a budget is at most the pool", "budget = 401")),
    "initial": (
        {"protocol": {"initial": 9}},
        ("hold every class", "initial = 9 is too few", "raise `initial`"),
    ),
}


@pytest.mark.parametrize("name", OUT_OF_PLACE)
def test_a_protocol_that_the_pool_cannot_fill_is_refused(
    name: str, asal: Any, write_spec: Callable[..., Path], tiny: Path, tmp_path: Path
) -> None:
    changes, words = OUT_OF_PLACE[name]
    asal("run", write_spec(tiny, **changes), "--out", tmp_path / "out").refused(*words)
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_class_that_the_initial_images_lack_is_named(
    start: Any, write_spec: Callable[..., Path], tiny: Path, tmp_path: Path
) -> None:
    write_spec(tiny, protocol={"initial": 10, "draw": "random"})
    said = start("run", tiny, "--out", tmp_path / "out", "--strategies", "random", "--seeds", "1").wait()
    said.refused("hold every class", "10 images of seed 0 hold none of '", "set draw = 'covering'")


def test_an_experiment_without_a_test_set_is_refused(
    start: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    project = write_spec(tmp_path, pool={"split": {"test": 0}})
    words = ("run", project, "--out", tmp_path / "out", "--strategies", "random")
    start(*words).wait().refused("accuracy is measured on a test set", "tiny has no test set", "add `test = 500`")
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_pool_smaller_than_a_batch_is_refused_before_it_is_asked(
    asal: Any, write_spec: Callable[..., Path], tiny: Path, tmp_path: Path
) -> None:
    write_spec(tiny, protocol={"batch": 500, "budget": 520}, strategies={"subset": None})
    asal("run", tiny, "--out", tmp_path / "out").refused("a budget is at most the pool")


def test_a_pool_smaller_than_a_generators_batch_is_learnt_all_the_same(
    start: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    project = write_spec(
        tmp_path,
        pool={"split": {"train": 12, "test": 10}},
        generator={"batch": 64},
        features={"autoencoder": {"batch": 64}},
    )
    said = start("prepare", project).wait()
    assert said.code == 0, said.err


# Files ---------------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DERIVED = (
    "parts/wgan-gp-*/weights.safetensors",
    "parts/autoencoder-*/weights.safetensors",
    "features/autoencoder-*/vectors/00000.npy",
    "features/autoencoder-*/pca.safetensors",
    "indexes/auto-*/exact/norms.npy",
    "pool/images/00000.npy",
    "pool/labels.npy",
    "pool/pool.json",
    "test/images/00000.npy",
)


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink], ids=["changed", "cut short", "missing"])
@pytest.mark.parametrize("place", DERIVED)
def test_a_damaged_file_is_named_and_the_remedy_mends_it(
    place: str, harm: Callable[[Path], None], asal: Any, start: Any, tiny: Path, tmp_path: Path
) -> None:
    before = bytes_of(tiny)
    (path,) = tiny.glob(place)
    harm(path)
    run = ("run", tiny, "--out", tmp_path / "out", "--strategies", "asal", "--seeds", "1")
    said = asal(*run)
    said.refused(str(path), "only that file is made again")
    named = re.search(r"run `asal doctor (\S+) --repair`, then `asal prepare`", said.err)
    assert named and path.is_relative_to(named[1]) and Path(named[1]) != tiny
    assert {k: v for k, v in bytes_of(tiny).items() if tiny / k != path}.items() <= before.items(), "something was lost"
    if harm is Path.unlink:  # the remedy is the same for all three
        assert str(path) in asal("doctor", named[1], "--repair").out
        assert start("prepare", tiny).wait().code == 0
        assert bytes_of(tiny) == before


def test_a_manifest_that_is_no_json_is_named(asal: Any, tiny: Path) -> None:
    (path,) = tiny.glob("parts/wgan-gp-*/part.json")
    cut(path)
    asal("prepare", tiny).refused(str(path), "not readable JSON", f"delete {path.parent}")
    assert "damaged" in asal("status", tiny).out
    assert asal("doctor", tiny).code == 1


def test_a_changed_spec_does_not_touch_a_pool_that_labels_belong_to(
    asal: Any, write_spec: Callable[..., Path], tiny: Path
) -> None:
    before = bytes_of(tiny / "pool")
    asal("prepare", write_spec(tiny, pool={"split": {"seed": 1}})).refused("split.seed was 0 and is 1", "restore them")
    assert bytes_of(tiny / "pool") == before


NO_SPECS: dict[str, tuple[bytes | None, tuple[str, ...]]] = {
    "is not there": (None, ("no spec at", "check the path")),
    "is not TOML": (b'name = "x\n', ("is not valid TOML", "line 1")),
    "is not text": (b"\xff\xfe\x00name", ("is not valid TOML", "correct that line")),
    "is empty": (b"", ("'name' is missing",)),
}


@pytest.mark.parametrize("what", NO_SPECS)
def test_a_file_that_is_no_spec_is_refused(what: str, asal: Any, tmp_path: Path) -> None:
    content, words = NO_SPECS[what]
    if content is not None:
        (tmp_path / "spec.toml").write_bytes(content)
    asal("prepare", tmp_path / "spec.toml").refused("spec.toml" if what != "is empty" else "", *words)
    asal("run", tmp_path / "spec.toml", "--out", tmp_path / "out").refused(*words)


def test_a_folder_without_a_spec_is_refused(asal: Any, tmp_path: Path) -> None:
    asal("prepare", tmp_path).refused(f"no spec at {tmp_path / 'asal.toml'}", "asal init")


# Words ---------------------------------------------------------------------------------------------------------------


def test_words_that_mean_nothing_are_refused_in_three_lines(asal: Any, tiny: Path, tmp_path: Path) -> None:
    asal("report", tmp_path).refused(str(tmp_path), "run.json")
    asal("report", tmp_path, "--budgets", "20,many").refused("--budgets 20,many", "--budgets 100,200")
    asal("report", tmp_path, "--targets", "0.9,most").refused("--targets 0.9,most", "--targets 0.95,0.98")
    asal("compare", tmp_path, "--out", tmp_path / "o").refused("two run folders or more", "asal report")
    asal("compare", tmp_path, tiny, "--out", tmp_path / "o").refused("holds a run.json")
    asal("list", "nonsense").refused("no kind of parts is called 'nonsense'", "strategies")
    asal("run", tiny, "--out", tmp_path / "o", "--strategies", "random,nonsense").refused(
        "no strategy is called 'nonsense'", "asal"
    )
    asal("run", tiny, "--out", tmp_path / "o", "--strategies", "asla").refused("did you mean 'asal'?")
    asal("run", tiny).refused("--out", "see `")
    asal("run", tiny, "--out", tmp_path / "o", "--jobs", "0").refused("--jobs")
    asal("run", tiny, "--out", tmp_path / "o", "--seeds", "many").refused("--seeds", "see `asal run --help`")
    asal("prepair", tiny).refused("prepair")
    asal("prepare", tiny, "--protect").refused("--protect")
    assert not (tmp_path / "o").exists()


def test_no_words_at_all_give_the_help(asal: Any) -> None:
    said = asal()
    assert "Usage" in said.out + said.err and "error" not in said.err


def test_the_real_command_refuses_alike(shell: Any, write_spec: Callable[..., Path], tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "spec.toml", learner={"kind": "lineer"})
    shell("prepare", spec, cwd=tmp_path).refused("no learner is called 'lineer'", "did you mean 'linear'?")
    said = shell("--debug", "prepare", spec, cwd=tmp_path)
    assert said.code == 1 and "Traceback" in said.err and "UserError" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["spec.toml"]


def test_an_unexpected_error_is_reported_in_two_lines(asal: Any, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("run 'x' failed:\nTraceback …\nKeyError: 'seven'")

    monkeypatch.setattr("asal.project.status.summary", broken)
    said = asal("status", tiny)
    assert said.code == 1 and len(said.lines) == 2 and "RuntimeError: KeyError: 'seven'" in said.err
    with pytest.raises(RuntimeError, match="seven"):
        asal("--debug", "status", tiny)


def test_help_names_every_command(asal: Any) -> None:
    said = asal("--help")
    commands = ("demo", "init", "prepare", "run", "report", "compare", "list", "status", "doctor")
    assert said.code == 0
    for name in commands:
        assert re.search(rf"^\W*{name}\s+\w", said.out, re.MULTILINE), name
        told = asal(name, "--help")
        assert told.code == 0 and "Usage" in told.out


def test_list_shows_every_part_with_its_line(asal: Any) -> None:
    said = asal("list")
    shown = " ".join(said.out.split())
    for title, registry in REGISTRIES.items():
        assert title in said.out
        for name in registry:
            assert registry[name].summary, f"{name} says nothing of itself"
            assert re.search(rf"^{re.escape(name)}\s+\w", said.out, re.MULTILINE), name
            assert registry[name].summary.split()[0] in shown
    one = asal("list", "scores")
    assert one.code == 0 and "entropy" in one.out and "wgan-gp" not in one.out


def test_the_version_is_printed(asal: Any) -> None:
    import asal as package

    said = asal("--version")
    assert said.code == 0 and said.out.strip() == f"asal {package.__version__}"


def test_a_former_name_of_an_option_is_accepted_and_not_shown(asal: Any, tiny: Path) -> None:
    said = asal("doctor", tiny, "--mend")
    assert said.code == 0 and "every file is as it was written" in said.out
    shown = asal("doctor", "--help").out
    assert "--repair" in shown and "--mend" not in shown
