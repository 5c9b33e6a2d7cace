"""Field types for what upstreams send: exact numbers, bounded integers, and lists that lose only their bad rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, TypeAdapter, ValidationError

from loaders.amounts import MAX_DECIMALS, is_sane, parse_plain

R = TypeVar("R")

_DIGITS = re.compile(r"[0-9]{1,100}")


class UpstreamRecord(BaseModel):
    """A row as an upstream sent it; fields that it adds later are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _exact(value: Any) -> Decimal:
    if isinstance(value, str):
        value = parse_plain(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not is_sane(value):
        raise ValueError("expected a base-10 number")
    return value


def _not_negative(value: Any) -> Decimal:
    number = _exact(value)
    if number < 0:
        raise ValueError("expected a number of at least 0")
    return number


def _optional_exact(value: Any) -> Decimal | None:
    """Unreadable is as good as absent where the field only enriches a row."""
    try:
        return _exact(value)
    except ValueError:
        return None


def _raw(value: Any) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**100:
        return value
    raise ValueError("expected a whole number of at least 0")


def _decimals(value: Any) -> int:
    number = _raw(value)
    if number > MAX_DECIMALS:
        raise ValueError(f"expected at most {MAX_DECIMALS}")
    return number


def _optional_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _optional_milliseconds(value: Any) -> datetime | None:
    return instant(value / 1000) if isinstance(value, int) and abs(value) < 2**63 else None


def instant(unix_seconds: float) -> datetime | None:
    """The UTC instant of a Unix time, None when no calendar holds it."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


ExactDecimal = Annotated[Decimal, PlainValidator(_exact)]
Amount = Annotated[Decimal, PlainValidator(_not_negative)]
OptionalDecimal = Annotated[Decimal | None, PlainValidator(_optional_exact)]
RawAmount = Annotated[int, PlainValidator(_raw)]
Decimals = Annotated[int, PlainValidator(_decimals)]
OptionalText = Annotated[str | None, PlainValidator(_optional_text)]
OptionalMilliseconds = Annotated[datetime | None, PlainValidator(_optional_milliseconds)]


@dataclass(frozen=True, slots=True)
class Rows(Generic[R]):
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
