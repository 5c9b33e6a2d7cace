"""Field types for what upstreams send: exact numbers, bounded integers, and lists that lose only their bad rows.

Registers are read by pydantic. Balances, of which every answer has many, are read by msgspec in one pass from the
bytes, some ten times as fast; only an answer in which something is amiss is looked at row by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, PlainValidator, TypeAdapter, ValidationError

from loaders.amounts import MAX_DECIMALS, is_sane, parse_plain
from loaders.errors import LoadError, UpstreamResponseError
from loaders.upstream.http import decode_json

R = TypeVar("R")
B = TypeVar("B", bound=msgspec.Struct)
T = TypeVar("T")

_SHORT = 60
"""A plain number of so many characters is of a sane magnitude, whatever they are."""
_PAST_ALL_AMOUNTS = 10**100
_DIGITS = re.compile(r"[0-9]{1,100}").fullmatch

if TYPE_CHECKING:
    Unchecked = Annotated[T, ...]
else:

    class Unchecked:
        """A field of a msgspec structure that may be anything until the structure is checked."""

        def __class_getitem__(cls, kind: Any) -> Any:
            return Any


class UpstreamRecord(BaseModel):
    """A row as an upstream sent it; fields that it adds later are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def exact_decimal(value: Any) -> Decimal:
    """A base-10 number, as text or as JSON has numbers; raises ValueError."""
    if type(value) is Decimal and is_sane(value):
        return value
    if isinstance(value, str):
        number = parse_plain(value)
        if len(value) <= _SHORT:
            return number
        value = number
    elif isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not is_sane(value):
        raise ValueError("expected a base-10 number")
    return value


def amount_of(value: Any) -> Decimal:
    """As ``exact_decimal``, of at least 0."""
    number = exact_decimal(value)
    if number < 0:
        raise ValueError("expected a number of at least 0")
    return number


def _optional_exact(value: Any) -> Decimal | None:
    """Unreadable is as good as absent where the field only enriches a row."""
    try:
        return exact_decimal(value)
    except ValueError:
        return None


def raw_amount(value: Any) -> int:
    """A whole number of at least 0 and at most 100 digits, as text or as JSON has it; raises ValueError."""
    if type(value) is str and _DIGITS(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _PAST_ALL_AMOUNTS:
        return value
    raise ValueError("expected a whole number of at least 0")


def decimals_of(value: Any) -> int:
    """How many decimals a token has; raises ValueError."""
    if type(value) is int and 0 <= value <= MAX_DECIMALS:
        return value
    number = raw_amount(value)
    if number > MAX_DECIMALS:
        raise ValueError(f"expected at most {MAX_DECIMALS}")
    return number


def optional_text(value: Any) -> str | None:
    """A text; None for anything else."""
    return value if isinstance(value, str) else None


def _optional_milliseconds(value: Any) -> datetime | None:
    return instant(value / 1000) if isinstance(value, int) and abs(value) < 2**63 else None


def instant(unix_seconds: float) -> datetime | None:
    """The UTC instant of a Unix time, None when no calendar holds it."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


Amount = Annotated[Decimal, PlainValidator(amount_of)]
OptionalDecimal = Annotated[Decimal | None, PlainValidator(_optional_exact)]
Decimals = Annotated[int, PlainValidator(decimals_of)]
OptionalText = Annotated[str | None, PlainValidator(optional_text)]
OptionalMilliseconds = Annotated[datetime | None, PlainValidator(_optional_milliseconds)]


class Rows(Struct, Generic[R], frozen=True):
    """The rows that could be read, and how many could not."""

    rows: tuple[R, ...]
    dropped: int = 0


class RowReader(Generic[R]):
    """Reads a JSON list of one kind of row and drops the rows that are not of that kind."""

    def __init__(self, record: type[R]) -> None:
        self._one = TypeAdapter(record)
        self._many = TypeAdapter(list[record])  # type: ignore[valid-type]

    def __call__(self, items: Any) -> Rows[R]:
        """The rows of a list; ValueError when it is no list."""
        if not isinstance(items, list):
            raise ValueError("expected a list")
        try:
            return Rows(tuple(self._many.validate_python(items)))
        except ValidationError:
            return self._one_by_one(items)

    def _one_by_one(self, items: list[Any]) -> Rows[R]:
        rows, dropped = [], 0
        for item in items:
            try:
                rows.append(self._one.validate_python(item))
            except ValidationError:
                dropped += 1
        return Rows(tuple(rows), dropped)


def member(body: Any, name: str) -> Any:
    """A member of a JSON object; ValueError when the body is no object or lacks it."""
    if not isinstance(body, dict) or name not in body:
        raise ValueError(f"expected an object with {name}")
    return body[name]


class AnswerReader(Generic[B, T]):
    """Reads an answer as a msgspec structure in one pass, or, where that cannot be, by ``rescue`` from its JSON.

    Numbers with a fraction or an exponent are exact decimals where a structure's field is ``Any``. A member that the
    structure does not have may hold any number, also one past all bounds.
    """

    def __init__(self, kind: type[B], read: Callable[[B], T], rescue: Callable[[Any], T]) -> None:
        self._decoder = msgspec.json.Decoder(kind, float_hook=Decimal)
        self._read = read
        self._rescue = rescue

    def __call__(self, body: bytes) -> T:
        """What is made of the answer; raises a ``LoadError``."""
        try:
            answer = self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
            return self._one_by_one(body)
        return self._read(answer)

    def _one_by_one(self, body: bytes) -> T:
        try:
            return self._rescue(decode_json(body))
        except LoadError:
            raise
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise UpstreamResponseError() from error


class Checkable(Protocol):
    """A row that was read without a look at each of its fields."""

    def check(self) -> None:
        """Sees to the fields that may be anything; raises ValueError for a row of no use. Twice is as once."""


C = TypeVar("C", bound=Checkable)


def checked_rows(rows: Iterable[C], dropped: int = 0) -> Rows[C]:
    """The rows that are of use; ``dropped`` were none to begin with."""
    some = tuple(rows)
    try:
        for row in some:
            row.check()
    except ValueError:
        checked = [row for row in some if _is_of_use(row)]
        return Rows(tuple(checked), dropped + len(some) - len(checked))
    return Rows(some, dropped)


def _is_of_use(row: Checkable) -> bool:
    try:
        row.check()
    except ValueError:
        return False
    return True


def convertible_rows(items: Any, kind: type[R], *, texts: Sequence[str] = ()) -> Rows[R]:
    """The rows of a list that are of this kind, not yet checked; ValueError when it is no list.

    Members named in ``texts`` are as good as absent where they are no text.
    """
    if not isinstance(items, list):
        raise ValueError("expected a list")
    rows, dropped = [], 0
    for item in items:
        if texts and isinstance(item, dict):
            item = {name: value for name, value in item.items() if name not in texts or isinstance(value, str)}
        try:
            rows.append(msgspec.convert(item, kind, strict=False))
        except (msgspec.MsgspecError, ArithmeticError):
            dropped += 1
    return Rows(tuple(rows), dropped)


def readable_rows(items: Any, kind: type[C], *, texts: Sequence[str] = ()) -> Rows[C]:
    """As ``convertible_rows``, those that are of use."""
    converted = convertible_rows(items, kind, texts=texts)
    return checked_rows(converted.rows, converted.dropped)
