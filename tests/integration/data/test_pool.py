"""Images taken in and read back: the same pixels under the same ids, whatever happened in between."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image

from asal.core import Images, Labels
from asal.data import ingest_shard, pool
from asal.data.ingest import IngestContext, Split, ingest, make_splits
from asal.data.ingest_shard import ImageFormat, IngestShardTask
from asal.data.pool import StoredPool, shard_size
from asal.data.sources import kind_of, sources
from asal.data.sources.arrays import Arrays
from asal.data.sources.digits import Digits
from asal.data.sources.folder import Folder
from asal.data.sources.hub import Hub
from asal.errors import DamageError, UserError
from asal.runtime import artifacts
from asal.runtime.engine.local import Local
from asal.runtime.rng import stream
from asal.session.oracles import oracles
from asal.session.oracles.stored import Stored

RNG = np.random.default_rng(8)
IMAGES = RNG.integers(0, 256, (300, 5, 6), np.uint8)
LABELS = RNG.integers(0, 3, 300)


def write_set(path: Path, images: Images = IMAGES, labels: Labels | None = LABELS) -> Arrays:
    np.savez(path, x=images, **({} if labels is None else {"y": labels}))
    return Arrays(str(path))


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SHARD_IMAGES", 64)
    monkeypatch.setattr(pool, "KEY_GROUP", 64)


@pytest.fixture
def stored(tmp_path: Path, small_shards: None) -> StoredPool:
    source = write_set(tmp_path / "set.npz")
    return StoredPool.open(ingest(source, tmp_path / "project", gray=True)["pool"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=some.lists(some.integers(0, 299), max_size=90))
def test_any_ids_in_any_order_are_those_images(stored: StoredPool, ids: list[int]) -> None:
    wanted = np.array(ids, np.int64)
    images = stored.read(wanted)
    assert images.dtype == np.uint8 and np.array_equal(images[..., 0], IMAGES[wanted])
    assert stored.keys(wanted) == [f"train/{i}" for i in ids]
    assert Stored.open(stored.folder).answer(wanted).tolist() == LABELS[wanted].tolist()


def test_a_view_shows_the_images_of_one_file(stored: StoredPool) -> None:
    for start, end in ((0, 64), (70, 100), (256, 300), (299, 300)):
        view = stored.view(start, end)
        assert view is not None and np.array_equal(view[..., 0], IMAGES[start:end]) and not view.flags.writeable
    for start, end in ((0, 65), (60, 70), (299, 301), (300, 301), (7, 7), (-3, 2)):
        assert stored.view(start, end) is None


def test_a_pool_says_what_it_is(stored: StoredPool) -> None:
    assert len(stored) == 300 and stored.shape == (5, 6, 1) and stored.unreadable == 0
    shards = list(stored.shards())
    assert np.array_equal(np.concatenate(shards), np.arange(300)) and len(shards[0]) == 64 and len(shards) == 5


@pytest.mark.parametrize("ids", [[-1], [300], [0, 5, 2**40]])
def test_ids_of_another_pool_are_refused(stored: StoredPool, ids: list[int]) -> None:
    for read in (stored.read, stored.keys, Stored.open(stored.folder).answer):
        with pytest.raises(UserError, match="is outside 0 … 299"):
            read(np.array(ids))


def test_few_maps_are_open_at_once(stored: StoredPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "OPEN_SHARDS", 2)
    for _ in range(3):
        ids = RNG.permutation(300)
        assert np.array_equal(stored.read(ids)[..., 0], IMAGES[ids])
        assert len(stored._maps) <= 2


def test_shards_are_bounded_powers_of_two() -> None:
    for shape in [(1, 1, 1), (8, 8, 1), (28, 28, 1), (32, 32, 3), (64, 64, 3), (224, 224, 3), (5000, 5000, 3)]:
        images = shard_size(shape)
        assert images & (images - 1) == 0 and 1 <= images <= 16384
        assert images == 1 or images * np.prod(shape) <= 2**25


def test_the_fingerprint_hangs_on_the_images_alone(tmp_path: Path, small_shards: None) -> None:
    def made(name: str, images: Images, labels: Labels | None) -> str:
        source = write_set(tmp_path / f"{name}.npz", images, labels)
        return StoredPool.open(ingest(source, tmp_path / name, gray=True)["pool"]).fingerprint

    brighter = IMAGES.copy()
    brighter[150, 2, 2] ^= 1
    one = made("one", IMAGES, LABELS)
    assert one == made("two", IMAGES, 2 - LABELS) == made("three", IMAGES, None) != made("four", brighter, LABELS)


# What goes in


def test_parts_do_not_overlap_and_keep_their_labels(tmp_path: Path) -> None:
    digits = Digits()
    folders = ingest(digits, tmp_path, Split(1000, 200, 300, seed=3), keep=("7", "5"), gray=True)
    assert list(folders) == ["pool", "validation", "test"]
    target, seen = digits.labels("train"), []
    for folder in folders.values():
        images, answers = StoredPool.open(folder), Stored.open(folder)
        assert answers.classes == ("7", "5")
        ids = np.arange(len(images))
        rows = np.array([int(key.partition("/")[2]) for key in images.keys(ids)])
        assert (np.diff(rows) > 0).all()
        assert target is not None and np.array_equal(np.array([7, 5])[answers.answer(ids)], target[rows])
        assert np.array_equal(images.read(ids)[..., 0], np.stack([r.raw for r in digits.records("train", rows)]))
        seen.extend(rows.tolist())
    assert len(set(seen)) == len(seen)


def test_the_size_of_the_pool_leaves_the_other_parts_alone() -> None:
    one, two = (make_splits(Digits(), Split(train, 200, 300)) for train in (None, 500))
    for name in ("validation", "test"):
        assert np.array_equal(one[name].rows, two[name].rows)
    assert len(one["pool"].rows) == 1297 and len(two["pool"].rows) == 500
    assert not np.array_equal(make_splits(Digits(), Split(None, 200, 300, seed=1))["test"].rows, one["test"].rows)


def test_a_test_split_of_its_own_is_taken_whole(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=IMAGES, y=LABELS, x_test=IMAGES[:7], y_test=LABELS[:7])
    parts = make_splits(Arrays(str(tmp_path / "set.npz")), Split(100, 50, "test"))
    assert parts["test"].split == "test" and np.array_equal(parts["test"].rows, np.arange(7))


@pytest.mark.parametrize(
    ("split", "keep", "match"),
    [
        (Split(1700, 200), (), "add up to 1,797"),
        (Split(None, 1000, 797), (), "none for|some for the pool"),
        (Split(0), (), "one or more"),
        (Split(-5), (), "none negative"),
        (Split(100, -1, 5), (), "none negative"),
        (Split(100, 0, "tset"), (), "'tset'"),
        (Split(100, 0, "train"), (), "no split for the test set is called 'train'"),
        (Split(), ("5", "nine"), "did you mean|choose one"),
        (Split(), ("5",), "of one class only: '5'"),
        (Split(), ("5", "5"), "twice"),
        (Split(3, seed=2), ("0", "1"), "of the kept classes|two classes"),
    ],
)
def test_options_that_do_not_fit_are_told_at_once(
    tmp_path: Path, split: Split, keep: tuple[str, ...], match: str
) -> None:
    with pytest.raises(UserError, match=match):
        ingest(Digits(), tmp_path / "project", split, keep=keep)
    assert not (tmp_path / "project").exists()


def test_without_labels_nothing_is_kept_by_class_and_nothing_answers(tmp_path: Path) -> None:
    source = write_set(tmp_path / "set.npz", labels=None)
    with pytest.raises(UserError, match="no labels"):
        ingest(source, tmp_path, keep=("1", "2"))
    with pytest.raises(UserError, match="name the classes"):
        Stored.open(ingest(source, tmp_path)["pool"])


def test_unknown_labels_stay_unknown(tmp_path: Path) -> None:
    labels = LABELS.copy()
    labels[:10] = -1
    source = write_set(tmp_path / "set.npz", labels=labels)
    answers = oracles["stored"].make(ingest(source, tmp_path / "all")["pool"])
    assert answers.answer(np.arange(20)).tolist() == labels[:20].tolist()
    kept = make_splits(source, Split(), ("2", "0"))["pool"]
    assert np.array_equal(kept.rows, np.flatnonzero(np.isin(labels, [0, 2])))


def broken_folder(root: Path, files: int = 40) -> Folder:
    for number in range(files):
        path = root / f"{'ab'[number % 2]}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9 + number % 3, 8), 5 * number % 256).save(path)
        if number % 7 == 3:
            path.write_bytes(path.read_bytes()[:30])
    (root / "a" / "notes, with a comma.txt").write_text("not a picture")
    return Folder(str(root))


def test_what_cannot_be_read_is_listed_and_counted(tmp_path: Path) -> None:
    folder = ingest(broken_folder(tmp_path / "images"), tmp_path / "project", size=8, fit="crop")["pool"]
    images, answers = StoredPool.open(folder), Stored.open(folder)
    assert len(images) == 34 and images.unreadable == 7
    lines = (folder / pool.UNREADABLE).read_text().splitlines()
    assert lines[0] == "key,reason" and len(lines) == 8
    assert '"a/notes, with a comma.txt","it is not an image, but text"' in lines
    ids = np.arange(34)
    keys = images.keys(ids)
    assert [("a", "b")[label] for label in answers.answer(ids)] == [key[0] for key in keys]
    values = [5 * int(Path(key).stem) % 256 for key in keys]
    assert np.array_equal(images.read(ids), np.broadcast_to(np.reshape(values, (-1, 1, 1, 1)), (34, 8, 8, 3)))


def test_images_of_several_shapes_need_a_size(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a/2.png has .*set a `size`"):
        ingest(broken_folder(tmp_path / "images"), tmp_path / "project")
    with pytest.raises(UserError, match="have no pixels"):
        ingest(Digits(), tmp_path / "project", size=0)


def test_a_source_of_rubbish_is_refused(tmp_path: Path) -> None:
    for number in range(110):
        path = tmp_path / "letters" / "ab"[number % 2] / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Dear Sir")
    with pytest.raises(UserError, match=r"none of 110 images can be read, such as a/0\.txt"):
        ingest(Folder(str(tmp_path / "letters")), tmp_path / "project")


def test_progress_is_reported_from_the_start_to_the_end(tmp_path: Path) -> None:
    reports: list[tuple[str, int, int, str]] = []
    ingest(
        broken_folder(tmp_path / "images", 400), tmp_path / "project", Split(None, 100), size=8,
        context=IngestContext(progress=lambda *report: reports.append(report)),
    )  # fmt: skip
    assert {stage for stage, *_ in reports} == {"ingest pool", "ingest validation"}
    done = [done for stage, done, *_ in reports if stage == "ingest pool"]
    assert done == sorted(done) and done[0] == 0 and done[-1] == 301 == reports[0][2] and "unreadable" in reports[1][3]


# What is there already


def test_a_whole_pool_is_left_alone_even_when_its_source_has_gone(tmp_path: Path) -> None:
    source = broken_folder(tmp_path / "images")
    ingest(source, tmp_path / "project", size=8)
    before = (tmp_path / "project/pool/part.json").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "images")
    ingest(Folder(str(tmp_path / "images")), tmp_path / "project", size=8)
    assert (tmp_path / "project/pool/part.json").stat().st_mtime_ns == before


def test_other_options_or_images_never_overwrite_a_pool(tmp_path: Path) -> None:
    source = broken_folder(tmp_path / "images")
    ingest(source, tmp_path / "project", Split(30, seed=1), size=8)
    with pytest.raises(UserError, match=r"gray was False and is True; size was 8 and is 9; split.seed was 1 and is 2"):
        ingest(source, tmp_path / "project", Split(30, seed=2), size=9, gray=True)
    (tmp_path / "images/a/new.png").touch()
    before = (tmp_path / "project" / "pool" / "part.json").read_bytes()
    ingest(Folder(str(tmp_path / "images")), tmp_path / "project", Split(30, seed=1), size=8)
    assert (tmp_path / "project" / "pool" / "part.json").read_bytes() == before, "a pool is a snapshot"


def test_a_part_that_is_missing_is_made_beside_the_others(tmp_path: Path) -> None:
    ingest(Digits(), tmp_path, Split(500, 100), gray=True)
    shutil.rmtree(tmp_path / "validation")
    folders = ingest(Digits(), tmp_path, Split(500, 100), gray=True)
    assert len(StoredPool.open(folders["validation"])) == 100


@dataclass(frozen=True)
class PlainDigits(Digits):
    """A plug-in's source, whose class is called otherwise than its kind."""


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sources._load(), "plain-digits", dataclasses.replace(sources["digits"], make=PlainDigits))
    return "plain-digits"


def rename_source(folder: Path, name: str) -> None:
    """Write a pool's manifest as a version of asal did that wrote the name of the source's class."""
    facts = artifacts.manifest(folder)
    facts["options"]["source"]["name"] = name
    (folder / artifacts.MANIFEST).write_text(json.dumps(facts))


def test_a_manifest_holds_the_kind_of_its_source(plug_in: str, tmp_path: Path) -> None:
    folders = ingest(PlainDigits(), tmp_path, Split(500, 100), gray=True)
    for folder in folders.values():
        assert artifacts.manifest(folder)["options"]["source"]["name"] == plug_in


@pytest.mark.parametrize("name", sorted(sources))
def test_the_kind_of_a_source_is_what_it_is_registered_as(name: str) -> None:
    assert kind_of(object.__new__(sources[name].make)) == name


def test_a_pool_that_holds_the_class_of_its_source_is_used(plug_in: str, tmp_path: Path) -> None:
    folders = ingest(PlainDigits(), tmp_path, Split(500, 100), gray=True)
    for folder in folders.values():
        rename_source(folder, "plaindigits")
    before = contents(tmp_path)
    shutil.rmtree(folders["validation"])
    ingest(PlainDigits(), tmp_path, Split(500, 100), gray=True)
    manifest = "validation/part.json"
    assert contents(tmp_path) | {manifest: b""} == before | {manifest: b""}
    assert artifacts.manifest(folders["validation"])["options"]["source"]["name"] == plug_in


def test_a_pool_of_another_source_is_refused_by_either_name(plug_in: str, tmp_path: Path) -> None:
    folder = ingest(PlainDigits(), tmp_path, gray=True)["pool"]
    for name in ("plain-digits", "plaindigits"):
        rename_source(folder, name)
        with pytest.raises(UserError, match=rf"source\.name was '{name}' and is 'digits'"):
            ingest(Digits(), tmp_path, gray=True)


# What goes wrong


def other_shape(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 3), np.uint8))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, 700),
    "gone": lambda path: path.unlink(),
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
    "of another shape": other_shape,
    "empty": lambda path: os.truncate(path, 0),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["images/00001.npy", pool.KEYS, pool.FACTS, pool.LABELS])
def test_damage_is_named_with_its_remedy(stored: StoredPool, damage: str, name: str) -> None:
    DAMAGE[damage](stored.folder / name)
    with pytest.raises(DamageError, match=rf"{name}.*asal doctor .*pool --repair"):
        StoredPool.open(stored.folder)


@pytest.mark.parametrize("damage", ["cut", "gone", "of another shape", "empty"])
def test_damage_to_an_open_pool_is_named_too(stored: StoredPool, damage: str) -> None:
    DAMAGE[damage](stored.folder / "images/00001.npy")
    assert np.array_equal(stored.read(np.arange(64))[..., 0], IMAGES[:64])
    with pytest.raises(DamageError, match=r"images/00001\.npy"):
        stored.read(np.arange(65))
    DAMAGE[damage](stored.folder / pool.KEYS)
    with pytest.raises(DamageError, match=pool.KEYS):
        stored.keys(np.arange(5))


def test_a_pool_that_is_not_there_is_told(tmp_path: Path) -> None:
    for open_it in (StoredPool.open, Stored.open):
        with pytest.raises(UserError, match="asal prepare"):
            open_it(tmp_path / "pool")


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    source = write_set(tmp_path / "set.npz")
    (tmp_path / "project").mkdir(mode=0o555)
    me = os.geteuid()
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)
    if me == 0:  # root may write anywhere, so somebody else tries
        "".encode("cp437")  # zip files need it, and somebody else may not read where Python keeps it
        os.seteuid(65534)
    try:
        with pytest.raises(UserError, match="not permitted"):
            ingest(source, tmp_path / "project")
    finally:
        os.seteuid(me)


# Shards that stand alone


@pytest.fixture
def taken(tmp_path: Path, small_shards: None) -> Path:
    """A pool of 200 files, some of them broken, in shards of 64 rows."""
    ingest(broken_folder(tmp_path / "images", 200), tmp_path / "project", size=8)
    return tmp_path / "project/pool"


def test_a_shard_holds_what_can_be_read_of_its_rows(taken: Path) -> None:
    facts = artifacts.read_json(taken / pool.FACTS)
    sizes = [len(np.load(path)) for path in sorted(taken.glob("images/*.npy"))]
    assert facts["starts"] == [0, *np.cumsum(sizes)[:-1].tolist()] and max(sizes) < 64
    rows = [int(Path(key).stem) for key in StoredPool.open(taken).keys(np.arange(sum(sizes)))]
    in_order = [*range(0, 200, 2), *range(1, 200, 2)]  # a/0, a/2 … and then b/1, b/3 …
    assert rows == [row for row in in_order if row % 7 != 3]


def test_engines_end_in_the_same_bytes(taken: Path, tmp_path: Path) -> None:
    context = IngestContext(Local(2))
    ingest(Folder(str(tmp_path / "images")), tmp_path / "other", size=8, context=context)
    assert contents(tmp_path / "other/pool") == contents(taken)


def test_a_shard_without_a_readable_image_is_empty(tmp_path: Path, small_shards: None) -> None:
    source = broken_folder(tmp_path / "images", 200)
    names = [record.key for record in source.records("train", np.arange(64, 128))]
    for name in names:
        (tmp_path / "images" / name).write_bytes(b"")
    images = StoredPool.open(ingest(source, tmp_path / "project", size=8, fit="crop")["pool"])
    starts = artifacts.read_json(images.folder / pool.FACTS)["starts"]
    assert starts[1] == starts[2] and images.unreadable > 64
    ids = np.concatenate(list(images.shards()))
    assert np.array_equal(ids, np.arange(len(images)))
    values = [5 * int(Path(key).stem) % 256 for key in images.keys(ids)]
    assert images.read(ids)[:, 0, 0, 0].tolist() == values


def test_a_pool_of_an_older_version_is_read(stored: StoredPool) -> None:
    facts = artifacts.read_json(stored.folder / pool.FACTS)
    del facts["starts"]
    older = StoredPool(stored.folder, facts, stored.fingerprint)
    ids = RNG.permutation(300)
    assert np.array_equal(older.read(ids), stored.read(ids))
    assert [len(ids) for ids in older.shards()] == [len(ids) for ids in stored.shards()]


def a_piece(source: object, rows: int) -> IngestShardTask:
    return IngestShardTask(
        source, "order", "train", np.arange(rows), 0, ImageFormat(8, True, (8, 8, 1)), Path("pool.partial")
    )  # type: ignore[arg-type]


def test_what_travels_to_a_process_is_small(tmp_path: Path) -> None:
    source = broken_folder(tmp_path / "images", 2000)
    assert len(pickle.dumps(a_piece(source, 10))) < 2_000 < len(pickle.dumps(source.labels("train")))
    np.savez_compressed(tmp_path / "set.npz", x=np.zeros((5000, 8, 8), np.uint8), y=np.arange(5000) % 3)
    arrays = Arrays(str(tmp_path / "set.npz"))
    assert arrays.classes and next(arrays.records("train", np.arange(3)))
    travelled = pickle.loads(pickle.dumps(a_piece(arrays, 10)))
    assert len(pickle.dumps(a_piece(arrays, 10))) < 2_000
    assert travelled.source == arrays and set(vars(travelled.source)) == {"path"}


def test_a_process_opens_a_source_once(tmp_path: Path) -> None:
    arrays = write_set(tmp_path / "set.npz")
    pieces = [pickle.loads(pickle.dumps(a_piece(arrays, 10))) for _ in range(2)]
    one, two = (ingest_shard.opened(piece.order, piece.source) for piece in pieces)
    assert one is two and ingest_shard.opened("another order", pieces[1].source) is pieces[1].source
    ingest_shard.close()


def test_a_packed_array_is_unpacked_once(tmp_path: Path, small_shards: None) -> None:
    np.savez_compressed(tmp_path / "set.npz", x=IMAGES, y=LABELS)
    arrays = Arrays(str(tmp_path / "set.npz"))
    for start in range(0, 300, 64):
        rows = np.arange(start, min(start + 64, 300))
        assert np.array_equal([record.raw for record in arrays.records("train", rows)], IMAGES[rows])
        (stream,) = arrays._unpacking.values()
        assert stream.tell() >= (rows[-1] + 1) * 30, "it stands where it was left"


# What survives

CHILD = """
import os, signal, sys
from pathlib import Path
from asal.runtime import artifacts
from asal.data import ingest_shard as intake, pool
from asal.data.ingest import Split, ingest
from asal.data.sources.folder import Folder

pool.SHARD_IMAGES = pool.KEY_GROUP = 16
left = int(sys.argv[3])

def count(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

if left:
    sys.addaudithook(count)
ingest(Folder(sys.argv[1]), Path(sys.argv[2]), Split(None, 30), size=8)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ingest_in_small_shards(source: Folder, project: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "SHARD_IMAGES", 16)
        patch.setattr(pool, "KEY_GROUP", 16)
        ingest(source, project, Split(None, 30), size=8)


def test_killed_anywhere_and_run_again_it_is_the_same_to_the_byte(tmp_path: Path) -> None:
    source = broken_folder(tmp_path / "images", 200)
    ingest_in_small_shards(source, tmp_path / "uncut")
    uncut, killed = contents(tmp_path / "uncut"), 0
    for moment in [*stream(int(os.environ.get("ASAL_TEST_SEED", "0")), "kills").integers(20, 300, 3)]:
        command = [sys.executable, "-c", CHILD, str(source.path), str(tmp_path / "cut"), str(moment)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode in (0, -9), ran.stderr
        killed += ran.returncode == -9
    ingest_in_small_shards(source, tmp_path / "cut")
    assert killed >= 2 and contents(tmp_path / "cut") == uncut


MEASURED = """
import resource, sys
from pathlib import Path
from asal.data.ingest import ingest
from asal.data.sources.arrays import Arrays
import pyarrow.parquet

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ingest(Arrays(sys.argv[1]), Path(sys.argv[2]), gray=True)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_is_bounded_whatever_the_number_of_images(tmp_path: Path) -> None:
    images = np.lib.format.open_memmap(tmp_path / "set.npy", "w+", np.uint8, (2000, 300, 300))  # 172 MiB, sparse
    images[::100] = 7
    del images
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "set.npy"), str(tmp_path / "project")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    grown = int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert grown < 100, f"{grown} MiB for two shards of 32 MiB in hand"


# The real thing


@pytest.fixture
def mnist() -> Hub:
    if "ASAL_DATA_DIR" not in os.environ:
        pytest.skip("ASAL_DATA_DIR is not set")
    pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    return Hub("ylecun/mnist")


def test_mnist_is_cut_as_in_the_paper(mnist: Hub, tmp_path: Path) -> None:
    split = Split(50_000, 10_000, "test")
    assert {n: len(p.rows) for n, p in make_splits(mnist, split).items()} == {
        "pool": 50_000, "validation": 10_000, "test": 10_000,
    }  # fmt: skip
    folders = ingest(mnist, tmp_path, split, keep=("5", "7"), gray=True)
    images, answers = StoredPool.open(folders["pool"]), Stored.open(folders["pool"])
    assert 9_000 < len(images) < 10_500 and images.shape == (28, 28, 1) and images.unreadable == 0
    assert answers.classes == ("5", "7") and 0.4 < answers.answer(np.arange(len(images))).mean() < 0.6
    assert len(StoredPool.open(folders["test"])) == 892 + 1028
