"""The forms of requests. What does not fit is refused before any code reads it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from asal.session.class_changes import ClassChange


def digits(value: Any) -> Any:
    """Refuse in an address what pydantic would read as a whole number, too: 1.0, +1, 1_000, other scripts' digits."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("a number is written in digits")
    return value


Place = Annotated[int, BeforeValidator(digits), Field(ge=0, lt=2**63)]  # an image, in an address
Image = Annotated[int, Field(ge=0, lt=2**63)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Tab = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)  # true and "1" are not the image 1


class ErrorDetail(_Schema):
    """Why a request was refused."""

    got: str  # what happened
    rule: str
    hint: str  # what to do


class ErrorResponse(_Schema):
    """The body of every refusal."""

    error: ErrorDetail


class TokenRequest(_Schema):
    """The token that somebody signs in with."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


class EmptyRequest(_Schema):
    """An empty object."""


class NextRequest(_Schema):
    """A tab asks for images."""

    tab: Tab
    n: Annotated[int, Field(ge=0, le=200)] = 1
    have: Annotated[list[Image], Field(max_length=200)] = []


class AnswerBody(_Schema):
    """An answer to one image; a label of null is "can't tell"."""

    image: Image
    label: Annotated[int, Field(ge=0, lt=2**31)] | None
    seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] | None = None
    guess: bool = False


class AnswersRequest(_Schema):
    """Answers of one person, all of them or none."""

    key: Key
    tab: Tab = "none"
    answers: Annotated[list[AnswerBody], Field(min_length=1, max_length=200)]


class WithdrawalRequest(_Schema):
    """An answer that is withdrawn."""

    key: Key
    tab: Tab
    image: Image


Number = Annotated[int, Field(ge=0, lt=2**31)]
ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class ClassesRequest(_Schema):
    """A change of the classes: names to add, or one class by its number and what becomes of it."""

    key: Key
    change: Literal["add", "rename", "merge", "drop", "restore"]
    names: Annotated[list[ClassName], Field(max_length=200)] = []  # of add
    number: Number | None = None  # of the others
    name: ClassName | None = None  # of rename
    into: Number | None = None  # of merge
    skipped: bool = False  # of drop: its answers count as "can't tell"

    def to_change(self) -> ClassChange:
        """Return the change that is wanted."""
        classes = tuple(self.names) if self.change == "add" else () if self.number is None else (self.number,)
        to = self.name if self.change == "rename" else self.into
        return ClassChange(self.change, classes, to, self.skipped)
