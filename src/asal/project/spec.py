"""A TOML file, or a plain dict, → a frozen spec of the right form. `asal.project.validate` checks what its names mean.

name = "mnist-two"
[source]      kind = "hub", and that source's options
[pool]        how its images are split, kept and resized
[generator]   kind = "wgan-gp", and its options
[features.X]  one table for each space; `kind` is X by default
[index]       kind = "auto"
[learner]     kind = "linear", or one that reads `features` = "X", the vectors of a space, in place of pictures
[reference]   trains the learner on every label too, for the fully supervised line; with options that then differ
[annotator]   kind = "teacher": who labels synthetic images where no person does
[protocol]    initial, batch and budget, in labels
[strategies.X]  one table for each; `kind` is X by default, or "package.module:function"
[labelling]   how people label
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from asal.data.decoding.transparency import hexadecimal
from asal.data.image_options import ImageOptions
from asal.errors import UserError, unknown
from asal.registry import explain
from asal.runtime.artifacts import fingerprint

FILE = "asal.toml"  # a project's own spec

Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # it becomes a folder's


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OptionsTable(_Table):
    """A table with few keys of its own; all others are options of the part that its `kind` names."""

    options: dict[str, Any] = {}
    omitted_if_off: ClassVar[frozenset[str]] = frozenset()  # keys that a dump leaves out where they are off
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType({})  # keys of earlier versions, and what they are now

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, table: Any) -> Any:
        """Put every key that is not the table's own among the options."""
        if not isinstance(table, Mapping):
            return table
        for old, new in cls.aliases.items():
            if old in table and new in table:
                raise UserError(f"'{old}' is the former name of '{new}', and both are given", hint=f"drop '{old}'")
        renamed = {cls.aliases.get(key, key): value for key, value in table.items()}
        fields = {key: value for key, value in renamed.items() if key in cls.model_fields and key != "options"}
        return {**fields, "options": {key: value for key, value in renamed.items() if key not in fields}}

    @model_serializer(mode="wrap")
    def _spread(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the options where they were read: beside the table's own keys."""
        table = dump(self)
        options = table.pop("options", {})  # a dump may leave defaults out
        return {**{key: value for key, value in table.items() if value or key not in self.omitted_if_off}, **options}


def _by_kind(value: Any) -> Any:
    """Read a part's name as its table: `first = "typiclust"`."""
    return {"kind": value} if isinstance(value, str) else value


class PartTable(_OptionsTable):
    """A part by its kind, with the options that the spec gives."""

    kind: str


class SplitTable(_Table):
    """Sizes of the pool, the validation and the test set; see `asal.data.splits.Split`."""

    train: Count | None = None
    validation: Annotated[int, Field(ge=0)] | str = 0
    test: Annotated[int, Field(ge=0)] | str = 0
    seed: Annotated[int, Field(ge=0)] = 0
    stratified: bool = False  # a dump leaves it out where it is off, as specs from before there was such a key do

    @model_serializer(mode="wrap")
    def _given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value or key != "stratified"}


def _colour(value: str | None) -> str | None:
    if value is not None:
        try:
            hexadecimal(value)
        except ValueError:
            raise ValueError(f'\'{value}\' is no colour: write "auto", "#rrggbb" or a name such as "white"') from None
    return value


def _range_word(value: Any) -> Any:
    if isinstance(value, str) and value not in ("auto", "image"):
        raise ValueError(f'\'{value}\' is no range: write "auto", "image" or [low, high]')
    return value


def _ascending(value: Any) -> Any:
    if isinstance(value, tuple) and not (isfinite(value[0]) and isfinite(value[1]) and value[0] < value[1]):
        raise ValueError(f"[{value[0]:g}, {value[1]:g}] is no range: the first value is below the second")
    return value


class PoolTable(_Table):
    """Which of the source's images are taken in, and in what form."""

    split: SplitTable = SplitTable()
    keep: tuple[str, ...] = ()  # classes; all by default
    size: Count | None = None  # pixels; the images' own by default
    gray: bool = False
    # By default as the pool was made; of a new one as `asal.data.image_options` says. A dump leaves them out where they
    # are not given, or run folders from before there were such keys would be of other specs.
    fit: Literal["pad", "crop", "squeeze"] | None = None
    background: Annotated[str | None, AfterValidator(_colour)] = None  # under transparency; "auto" differs from it
    # The values of more than 8 bits that become 0 and 255.
    range: Annotated[
        tuple[float, float] | Literal["auto", "image"] | None, BeforeValidator(_range_word), AfterValidator(_ascending)
    ] = None
    pixel_limit: Count | None = None  # a larger image is decoded at a fraction of its size, or left out

    @model_serializer(mode="wrap")
    def _given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        later = ("fit", "background", "range", "pixel_limit")
        return {key: value for key, value in dump(self).items() if value is not None or key not in later}

    @property
    def images(self) -> ImageOptions:
        """How images become pixels, as `asal.data.ingest` takes it."""
        return {
            "size": self.size, "gray": self.gray, "fit": self.fit, "background": self.background,
            "range": self.range, "pixel_limit": self.pixel_limit,
        }  # fmt: skip


class FeatureTable(PartTable):
    """A space: what extracts it, and how PCA compresses it."""

    dimensions: Annotated[int, Field(ge=0)] = 50  # the paper's; 0 keeps them as they are
    fit_on: Annotated[int, Field(ge=0)] = 20_000  # images drawn at random; 0 is all of them, in a stream
    storage: Literal["float32", "float16"] = "float32"  # float16 takes half the disk
    # The index and the strategies see so many of the first dimensions; 0 is all. A classifier reads all.
    index_dimensions: Annotated[int, Field(ge=0)] = 0
    omitted_if_off = frozenset({"index_dimensions"})  # as specs from before there was such a key

    @model_validator(mode="after")
    def _are_ordered(self) -> FeatureTable:
        if self.index_dimensions and not self.index_dimensions <= self.dimensions:
            raise ValueError(
                f"index_dimensions = {self.index_dimensions} are the first of dimensions = {self.dimensions}, "
                "which PCA orders by how much they vary"
            )
        return self


class LearnerTable(PartTable):
    """The learner, and the space whose stored vectors it reads in place of pictures."""

    features: str | None = None
    omitted_if_off = frozenset({"features"})  # or run folders from before there was such a key would be of other specs


class StrategyTable(PartTable):
    """A strategy, the space it matches in, and what comes before and after it."""

    features: str | None = None
    first: Annotated[PartTable | None, BeforeValidator(_by_kind)] = (
        None  # chooses the first batch, without a classifier
    )
    # With less confidence than this, an annotator cannot tell what a synthetic image shows.
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    balance: Annotated[int, Field(ge=0)] = 0  # times as many picks, of which the rarest classes' are taken; 0 is off
    omitted_if_off = frozenset({"balance"})  # or run folders from before there was such a key would be of other specs
    aliases = MappingProxyType({"sure": "min_confidence"})


class ReferenceTable(_OptionsTable):
    """The fully supervised classifier: options that differ from the learner's, and how often it is trained."""

    seeds: Count = 1


class ProtocolTable(_Table):
    """How an experiment goes, counted in labels."""

    initial: Count = 10
    batch: Count = 10
    budget: Count = 200
    score: str = "entropy"  # measures the picks of every strategy alike
    draw: Literal["covering", "random"] = "covering"  # the initial images: drawn until every class is there, or once

    @model_validator(mode="after")
    def _in_order(self) -> ProtocolTable:
        if self.budget <= self.initial:
            raise ValueError(f"budget = {self.budget} leaves nothing to ask after initial = {self.initial}")
        return self


class LabellingTable(_Table):
    """How people label. None of it changes what is prepared, or a run with stored labels."""

    classes: tuple[str, ...] = ()  # their names; by default those that came with the images
    record: str = ""  # a file or a database URL; by default labels.db in the project
    strategy: str = ""  # by default the spec's first; of a spec without any, "spread"
    pace: Literal["ahead", "strict"] = "ahead"  # strict: the next batch is chosen when every answer is in
    overlap: Count = 1  # people who label the same image, independently
    share: Annotated[float, Field(ge=0, le=1)] = 1.0  # of the images, to which `overlap` applies
    lease: Annotated[float, Field(ge=5)] = 120.0  # seconds until an image goes to somebody else
    grid: Annotated[int, Field(ge=1, le=100)] = 24  # images on a page of the grid
    duplicates: Literal["once", "each"] = "once"  # exact copies: the first one is asked about, and answers for all

    def place(self, root: Path) -> str | Path:
        """Return where the answers of a project are kept."""
        return self.record if "://" in self.record else root / (self.record or "labels.db")


class Spec(_Table):
    """What was asked for; nothing derived."""

    name: Name
    seed: Annotated[int, Field(ge=0)] = 0  # of everything that is prepared once
    source: PartTable
    pool: PoolTable = PoolTable()
    generator: PartTable | None = None
    features: dict[Name, FeatureTable] = {}
    index: PartTable = PartTable(kind="auto")
    learner: LearnerTable = LearnerTable(kind="linear")
    reference: ReferenceTable | None = None
    annotator: PartTable = PartTable(kind="teacher")
    protocol: ProtocolTable = ProtocolTable()
    strategies: dict[Name, StrategyTable] = {}
    labelling: LabellingTable = LabellingTable()

    @model_validator(mode="before")
    @classmethod
    def _name_kinds(cls, spec: Any) -> Any:
        if not isinstance(spec, Mapping):
            return spec
        named = dict(spec)
        for section in ("features", "strategies"):
            tables = named.get(section)
            if isinstance(tables, Mapping):
                named[section] = {k: {"kind": k, **t} if isinstance(t, Mapping) else t for k, t in tables.items()}
        return named

    @property
    def default_strategy(self) -> str:
        """What chooses the images that people label, unless they say otherwise."""
        return self.labelling.strategy or next(iter(self.strategies), "spread")

    @property
    def hash(self) -> str:
        """12 hex digits that change with any setting of a run; the same for a spec of an earlier version."""
        facts = self.model_dump(mode="json", exclude={"labelling"})
        for table in facts["strategies"].values():
            table["sure"] = table.pop("min_confidence")  # what it was called when the first runs were done
        return fingerprint(facts)


def parse(tables: Mapping[str, Any], place: str = "the spec") -> Spec:
    """Return the spec that a plain dict describes.

    Raises:
        UserError: a key that does not exist, one that is missing, or a value that does not fit.
    """
    try:
        return Spec.model_validate(tables)
    except ValidationError as error:
        raise _explained(error, place) from None


def shipped(name: str) -> Path:
    """Return the file of a spec that comes with asal: one for each benchmark of the paper.

    Raises:
        UserError: there is none of this name.
    """
    folder = Path(str(resources.files("asal").joinpath("specs")))
    names = [file.stem for file in folder.glob("*.toml")]
    if name not in names:
        raise unknown("benchmark", name, names)
    return folder / f"{name}.toml"


def load(path: Path) -> Spec:
    """Read a spec from a TOML file, or from the `asal.toml` of a project folder."""
    file = path / FILE if path.is_dir() else path
    try:
        return parse(tomllib.loads(file.read_text(encoding="utf-8-sig")), str(file))
    except FileNotFoundError:
        raise UserError(
            f"no spec at {file}",
            rule="a spec is a TOML file, or a project folder that holds asal.toml",
            hint="check the path, or make a project with `asal init`",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid TOML: {error}", hint="correct that line") from None


def to_toml(table: Mapping[str, Any]) -> str:
    """Write a spec as it would stand in a TOML file; entries that are None are left out, since TOML has no null.

    >>> print(to_toml({"name": "two", "pool": {"kind": "digits", "side": None}}))
    name = "two"
    <BLANKLINE>
    [pool]
    kind = "digits"
    <BLANKLINE>
    """
    return tomli_w.dumps(_without_none(table))


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if value is not None
    }


def _explained(error: ValidationError, place: str) -> UserError:
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return explain(f"settings in {place}", error)
    *parents, name = (str(step) for step in first["loc"])
    model: Any = Spec
    for step in parents:
        field = model.model_fields.get(step)
        model = field.annotation if field is not None else model
    return unknown(f"setting of [{'.'.join(parents)}]" if parents else "section of a spec", name, model.model_fields)
