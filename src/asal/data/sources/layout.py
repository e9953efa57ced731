"""Which folders of a tree are splits, which are classes, and which are neither: judged by the folders that hold images.

    cat/1.png                      classes: each first-level folder is a class
    train/cat/1.png  test/…        splits: each first-level folder is a split, with the classes inside
    cat/train/1.png  cat/test/…    classes/splits: the classes, with the splits inside each
    1.png                          neither

A folder that all lies in, such as an unzipped archive's, and folders called images are looked into. Where the names
allow two readings, a word in the spec is asked for: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from asal.data.sources.split_names import common_words, contains, is_annotations, is_images, part_of, split_key
from asal.errors import UserError, counted, quoted

Layout: TypeAlias = Literal["auto", "classes", "splits", "classes/splits"]
OPEN = 'write layout = "{}" under [source] in asal.toml'


@dataclass(frozen=True)
class Place:
    """The split and the class of the images in a folder; the class is "" where they have none."""

    split: str
    name: str = ""


@dataclass(frozen=True)
class Reading:
    """What the folders of a tree are.

    Args:
        places: by folder, "" for the root; the files of a folder that is not here are passed over.
        splits: for each split the folders that it is made of, "" for the root.
    """

    form: Layout
    places: Mapping[str, Place]
    splits: Mapping[str, tuple[str, ...]]
    base: str = ""  # the folder that all lies in


@dataclass
class Folder:
    """A folder with images somewhere below it."""

    path: str = ""
    images: int = 0  # directly in it
    inside: dict[str, Folder] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Images in it and below."""
        return self.images + sum(folder.total for folder in self.inside.values())

    def below(self) -> Iterator[Folder]:
        """Yield the folder and all below it."""
        yield self
        for folder in self.inside.values():
            yield from folder.below()


def tree(images: Mapping[str, int]) -> Folder:
    """Return the folders that have images, given how many lie directly in each; the root is ""."""
    root = Folder()
    for path, number in images.items():
        if not number:
            continue
        here = root
        for step in path.split("/") if path else ():
            here = here.inside.setdefault(step, Folder(f"{here.path}/{step}" if here.path else step))
        here.images += number
    return root


def read(root: Folder, layout: Layout, *, labelled: bool = True) -> Reading:
    """Return what the folders are.

    Args:
        layout: "auto", or the reading that the spec asks for.
        labelled: whether classes are wanted; where not, folders that might be classes need no decision.

    Raises:
        UserError: two readings are possible, or the asked one is not.
    """
    base = _base(root, layout)
    form = layout if layout != "auto" else _form(base, labelled)
    if form == "splits":
        return _as_splits(base)
    if form == "classes/splits":
        return _as_classes_with_splits(base)
    places = {folder.path: Place("train") for folder in _to(root, base)}
    for name in base.inside if layout == "classes" else _named(base):
        places |= {folder.path: Place("train", name) for folder in base.inside[name].below()}
    return Reading("classes", places, {"train": (base.path,)}, base.path)


def _passed(folder: Folder, name: str) -> bool:
    """Whether a folder beside others holds annotations: masks beside images, train_masks beside train_images."""
    others = [other for other in folder.inside if other != name]
    images = any(is_images(other) or (part_of(other) and not is_annotations(other)) for other in others)
    return is_annotations(name) and images


def _named(folder: Folder) -> list[str]:
    """Return the folders inside that are no annotations."""
    return [name for name in folder.inside if not _passed(folder, name)]


def _base(root: Folder, layout: Layout) -> Folder:
    """Return the folder that everything lies in: of an unzipped archive, or called images."""
    base = root
    while len(names := list(base.inside) if layout == "classes" else _named(base)) == 1:
        (name,) = names
        inner = base.inside[name]
        if not (inner.inside or is_images(name)) or (layout != "classes" and part_of(name)):
            break
        base = inner
    return base


def _form(base: Folder, labelled: bool) -> Layout:
    names = _named(base)
    parts = _parts(names)
    if names and all(parts.values()):
        if list(parts.values()).count("train") != 1:
            raise _no_single_train(base, [name for name, part in parts.items() if part == "train"])
        return "splits"
    if _is_doubtful(names, parts, labelled):
        raise _two_readings(base, names, parts)
    return _inner_form(base, names)


def _parts(names: Sequence[str]) -> dict[str, str]:
    beside = common_words(list(names)) if len(names) > 1 else ()
    return {name: part_of(name, beside=beside) for name in names}


def _is_doubtful(names: Sequence[str], parts: Mapping[str, str], labelled: bool) -> bool:
    """Whether some of the names are those of splits, or of images, and others are not."""
    spoken = {contains(name) for name in names}
    if {"train", "held out"} <= spoken:
        return True
    if not labelled:
        return False
    if "invalid" in {name.casefold() for name in names}:  # a class, and so is "valid" beside it
        parts = {name: part for name, part in parts.items() if name.casefold() != "valid"}
    return any(parts.values()) or (len(names) > 1 and any(map(is_images, names)))


def _inner_form(base: Folder, names: Sequence[str]) -> Layout:
    """Look for splits inside the classes."""
    split_inside = [name for name in names if _has_splits(base.inside[name])]
    deeper = [folder for name in names for folder in base.inside[name].below() if folder.path != base.inside[name].path]
    if not split_inside and not any(map(_has_both, deeper)):
        return "classes"
    if len(split_inside) == len(names) and not any(map(_has_both, deeper)) and _is_plain(base, names):
        return "classes/splits"
    found = split_inside or [folder.path for folder in deeper if _has_both(folder)][:1]
    raise UserError(
        f"some folders have splits inside, such as '{found[0]}', and it is not clear whether all are classes",
        rule="folders of splits inside classes are recognised where each class has them, with its images right inside",
        hint=f"{OPEN.format('classes/splits')} if the first folders are classes with splits inside, or "
        'layout = "classes" if no image is held out; else give the folder of one data set as `path`',
    )


def _has_splits(folder: Folder) -> bool:
    """Whether the folders inside are all called as splits are, or some as training and some as held-out images."""
    parts = [part_of(name) for name in _named(folder)]
    return bool(parts) and (all(parts) or _has_both(folder))


def _has_both(folder: Folder) -> bool:
    return {"train", "held out"} <= {part_of(name) for name in folder.inside}


def _is_plain(base: Folder, names: Sequence[str]) -> bool:
    """Whether classes hold splits and nothing else, and are not numbered alike, as the folds of one data set are."""
    classes = [base.inside[name] for name in names]
    trains = [[name for name in folder.inside if part_of(name) == "train"] for folder in classes]
    alike = {name.rstrip("0123456789").rstrip("_- ").casefold() for name in names}
    return (
        all(all(map(part_of, _named(folder))) and not folder.images for folder in classes)
        and all(not inner.inside for folder in classes for inner in folder.inside.values())
        and max(map(len, trains)) == 1
        and (len(names) == 1 or len(alike) > 1 or alike == {""})
    )


def _as_splits(base: Folder) -> Reading:
    """Read the first folders as splits, and the folders inside as classes."""
    names = _named(base)
    beside = common_words(names) if len(names) > 1 else ()
    keys = {name: "train" if part_of(name, beside=beside) == "train" else split_key(name) for name in names}
    if "train" not in keys.values():
        raise _no_single_train(base, [])
    places: dict[str, Place] = {}
    splits: dict[str, tuple[str, ...]] = {}
    homes = _homes([base.inside[name] for name in names])
    for name, home in zip(names, homes, strict=True):
        split = keys[name]
        splits[split] = (*splits.get(split, ()), base.inside[name].path)
        places |= {folder.path: Place(split) for folder in _to(base.inside[name], home)}
        for inner in _named(home):
            places |= {folder.path: Place(split, inner) for folder in home.inside[inner].below()}
    return Reading("splits", places, splits, base.path)


def _homes(splits: Sequence[Folder]) -> list[Folder]:
    """Return for each split the folder that the classes lie in: mostly its own."""
    homes = [_inside_named(split) for split in splits]
    while (
        len(homes) > 1
        and all(len(_named(home)) == 1 for home in homes)
        and len({_named(home)[0] for home in homes}) == 1
        and all(home.inside[_named(home)[0]].inside for home in homes)
    ):
        homes = [_inside_named(home.inside[_named(home)[0]]) for home in homes]
    return homes


def _inside_named(split: Folder) -> Folder:
    """Look into train/train and train/images."""
    home = split
    while len(names := _named(home)) == 1:
        (name,) = names
        if not (part_of(name) or is_images(name) or name == home.path.rpartition("/")[2]):
            break
        home = home.inside[name]
    return home


def _to(start: Folder, end: Folder) -> Iterator[Folder]:
    """Yield the folders on the way from one to one below it."""
    yield start
    for folder in start.inside.values():
        if end.path == folder.path or end.path.startswith(f"{folder.path}/"):
            yield from _to(folder, end)


def _as_classes_with_splits(base: Folder) -> Reading:
    """Read the first folders as classes, and the folders inside as splits."""
    places: dict[str, Place] = {}
    splits: dict[str, tuple[str, ...]] = {}
    for name in _named(base):
        top = base.inside[name]
        named = {inner: split_key(inner) for inner in top.inside if part_of(inner)}
        if "train" not in named.values():  # then what lies right in the class's folder is for training
            splits["train"] = (*splits.get("train", ()), top.path)
            rest = (folder for inner, folder in top.inside.items() if inner not in named)
            places |= {folder.path: Place("train", name) for one in rest for folder in one.below()}
            places[top.path] = Place("train", name)
        for inner, split in named.items():
            splits[split] = (*splits.get(split, ()), top.inside[inner].path)
            places |= {folder.path: Place(split, name) for folder in top.inside[inner].below()}
    if not any(place.split == "train" for place in places.values()):
        raise _no_single_train(base, [])
    return Reading("classes/splits", places, splits, base.path)


def _two_readings(base: Folder, names: Sequence[str], parts: Mapping[str, str]) -> UserError:
    some = list(names)[:6]
    named = [name for name in names if parts[name] or contains(name) or is_images(name)][:6]
    counts = ", ".join(f"{name} ({counted(base.inside[name].total, 'image')})" for name in some)
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    verb = "is a split or a class" if len(named) == 1 else "are splits or classes"
    return UserError(
        f"it is not clear whether {quoted(named)} {verb}: the folders are {counts}{more}",
        rule="folders are splits if all of them are called train, test, validation or the like, and classes if none is",
        hint=f'{OPEN.format("classes")} if each folder is a class, or layout = "splits" if they are splits, with the '
        "classes inside",
    )


def _no_single_train(base: Folder, trains: Sequence[str]) -> UserError:
    names = quoted(list(base.inside)[:6])
    if trains:
        return UserError(
            f"the folders {quoted(trains)} are both called as training images are, beside {names}",
            rule="one folder has the training images, which become the pool",
            hint=f'{OPEN.format("splits")} if they are the same split, or layout = "classes" if they are classes',
        )
    return UserError(
        f"the folders are {names}, and none has the training images",
        rule="the pool is made of training images, and never of those that are held out for a test",
        hint=f"{OPEN.format('classes')} if these are classes; else give the folder of one of them as `path`, such as "
        f'path = ".../{next(iter(base.inside), "train")}"',
    )
