"""Order, cursors and pages of holdings. Pure functions.

A cursor holds the place of a holding in one order of one list, so that a page begins right after it even when the
data has changed since; used with another order, filter or list it is refused.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import Any, Self, overload

import orjson
from msgspec import Struct

from loaders import amounts
from resolvers.errors import BadInputError
from resolvers.reconcile import HoldingRecord

DEFAULT_PAGE = 50
MAX_PAGE = 200


class HoldingOrderField(Enum):
    """What holdings can be ordered by."""

    VALUE_USD = "VALUE_USD"
    AMOUNT = "AMOUNT"
    SYMBOL = "SYMBOL"
    CHAIN = "CHAIN"
    UPDATED_AT = "UPDATED_AT"


class OrderDirection(Enum):
    """Ascending or descending."""

    ASC = "ASC"
    DESC = "DESC"


class Order(Struct, frozen=True):
    """Unknown comes last in both directions, and ties are by id ascending."""

    field: HoldingOrderField = HoldingOrderField.VALUE_USD
    direction: OrderDirection = OrderDirection.DESC


class PageArguments(Struct, frozen=True):
    """Relay's paging arguments; at most one of ``first`` and ``last``."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None

    @classmethod
    def of(
        cls,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> Self:
        """The arguments as a client gave them: what is absent, null or an empty cursor asks for nothing."""

        def count(given: int | None) -> int | None:
            return given if isinstance(given, int) else None

        return cls(count(first), after or None, count(last), before or None)

    def check(self) -> None:
        """Raises ``BadInputError`` for a page that cannot be."""
        for name, count in (("first", self.first), ("last", self.last)):
            if count is not None and not 0 <= count <= MAX_PAGE:
                raise BadInputError(name, count, f"is out of range: a page has 0 to {MAX_PAGE} holdings")
        if self.first is not None and self.last is not None:
            raise BadInputError("last", self.last, f"cannot be combined with first (here {self.first}): choose one")


_Key = Decimal | str | int | None


class Place(Struct, frozen=True, gc=False):
    """Where a holding stands in an order: its sort key, None for unknown, and its id."""

    key: _Key
    id: str


class Ordered(Sequence[tuple[Place, HoldingRecord]]):
    """Holdings in order, each with its place; places are made when they are looked at."""

    def __init__(self, holdings: Sequence[HoldingRecord], key_of: Callable[[HoldingRecord], _Key]) -> None:
        self.holdings = holdings
        self._key_of = key_of

    def __len__(self) -> int:
        return len(self.holdings)

    @overload
    def __getitem__(self, index: int) -> tuple[Place, HoldingRecord]: ...

    @overload
    def __getitem__(self, index: slice) -> Ordered: ...

    def __getitem__(self, index: int | slice) -> tuple[Place, HoldingRecord] | Ordered:
        if isinstance(index, slice):
            return Ordered(self.holdings[index], self._key_of)
        holding = self.holdings[index]
        return Place(self._key_of(holding), holding.id), holding


class Fingerprint:
    """A short digest that tells one list from another by what it is ``of``; made when a cursor wants it."""

    def __init__(self, of: Callable[[], object]) -> None:
        self._of = of

    def __str__(self) -> str:
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return hashlib.blake2b(repr(self._of()).encode(), digest_size=9).hexdigest()


@dataclass(slots=True)
class Page:
    """A run of an ordered list; ``listing`` is the fingerprint of that list."""

    placed: Ordered
    order: Order
    listing: Fingerprint
    has_next: bool
    has_previous: bool

    @property
    def holdings(self) -> Sequence[HoldingRecord]:
        """The holdings of the run."""
        return self.placed.holdings

    @property
    def cursors(self) -> list[str]:
        """The cursors of the holdings, one by one."""
        return [self.cursor(place) for place, _ in self.placed]

    @property
    def start_cursor(self) -> str | None:
        """The cursor of the first holding; None when the page is empty."""
        return self.cursor(self.placed[0][0]) if self.placed else None

    @property
    def end_cursor(self) -> str | None:
        """The cursor of the last holding; None when the page is empty."""
        return self.cursor(self.placed[-1][0]) if self.placed else None

    def cursor(self, place: Place) -> str:
        """The cursor of a place."""
        return _write_cursor(place, self.order, self.listing)


def sort_holdings(
    holdings: Sequence[HoldingRecord], order: Order, symbol_of: Callable[[HoldingRecord], str | None]
) -> Ordered:
    """The holdings in order."""
    key_of = _keys(order.field, symbol_of)
    # In the order of ids, which need not be made: "/" comes before all that an address can go on with.
    by_id = sorted(holdings, key=attrgetter("asset_id.local"))
    by_id.sort(key=attrgetter("account_id"))
    keyed = list(zip(map(key_of, by_id), by_id, strict=True))
    known = [item for item in keyed if item[0] is not None]
    known.sort(key=itemgetter(0), reverse=order.direction is OrderDirection.DESC)
    ordered = [holding for _, holding in known]
    if len(known) < len(keyed):
        ordered += [holding for key, holding in keyed if key is None]
    return Ordered(ordered, key_of)


def check_page(order: Order, listing: Fingerprint, arguments: PageArguments) -> None:
    """Raises ``BadInputError`` for a page that cannot be, and for a cursor of another list or order."""
    cut_page(Ordered((), lambda holding: None), order, listing, arguments)


def cut_page(placed: Ordered, order: Order, listing: Fingerprint, arguments: PageArguments) -> Page:
    """The page that the arguments describe; ``listing`` is the fingerprint of the list that cursors belong to."""
    arguments.check()
    start, end = 0, len(placed)
    if arguments.after is not None:
        after = _read_cursor("after", arguments.after, order, listing)
        start = _bisect(placed, order, lambda place: _precedes(after, place, order))
    if arguments.before is not None:
        before = _read_cursor("before", arguments.before, order, listing)
        end = _bisect(placed, order, lambda place: not _precedes(place, before, order))
    end = max(start, end)
    if arguments.last is not None:
        first, last = max(start, end - arguments.last), end
    else:
        count = DEFAULT_PAGE if arguments.first is None else arguments.first
        first, last = start, min(end, start + count)
    return Page(placed[first:last], order, listing, has_next=last < len(placed), has_previous=first > 0)


def _keys(
    field: HoldingOrderField, symbol_of: Callable[[HoldingRecord], str | None]
) -> Callable[[HoldingRecord], _Key]:
    def symbol(holding: HoldingRecord) -> str | None:
        text = symbol_of(holding)
        return None if text is None else text.casefold()

    def updated_at(holding: HoldingRecord) -> int | None:
        time = None if holding.as_of is None else holding.as_of.time
        return None if time is None else int(time.timestamp())

    keys: dict[HoldingOrderField, Callable[[HoldingRecord], _Key]] = {
        HoldingOrderField.VALUE_USD: attrgetter("value"),
        HoldingOrderField.AMOUNT: attrgetter("chosen.amount"),
        HoldingOrderField.SYMBOL: symbol,
        HoldingOrderField.CHAIN: lambda holding: str(holding.chain_id),
        HoldingOrderField.UPDATED_AT: updated_at,
    }
    return keys[field]


def _precedes(one: Place, other: Place, order: Order) -> bool:
    """Whether ``one`` stands strictly before ``other``."""
    if one.key is None or other.key is None:
        if one.key is None and other.key is None:
            return one.id < other.id
        return other.key is None
    if one.key == other.key:
        return one.id < other.id
    ascending: bool = one.key < other.key  # type: ignore[operator]  # keys of one order are of one type
    return ascending is (order.direction is OrderDirection.ASC)


def _bisect(placed: Ordered, order: Order, found: Callable[[Place], bool]) -> int:
    low, high = 0, len(placed)
    while low < high:
        middle = (low + high) // 2
        if found(placed[middle][0]):
            high = middle
        else:
            low = middle + 1
    return low


def _write_cursor(place: Place, order: Order, listing: Fingerprint) -> str:
    key = amounts.plain(place.key) if isinstance(place.key, Decimal) else place.key
    fields = [order.field.value, order.direction.value, str(listing), key, place.id]
    return urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode("ascii")


def _read_cursor(argument: str, cursor: str, order: Order, listing: Fingerprint) -> Place:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        fields: Any = orjson.loads(urlsafe_b64decode(padded))
        field, direction, of_listing, key, id = fields
        place = Place(_read_key(order.field, key), id)
    except (ValueError, TypeError, UnicodeEncodeError):
        raise BadInputError(argument, cursor, "is not a cursor of this graph") from None
    if not isinstance(id, str) or not isinstance(of_listing, str):
        raise BadInputError(argument, cursor, "is not a cursor of this graph")
    if (field, direction) != (order.field.value, order.direction.value):
        raise BadInputError(argument, cursor, "belongs to another order")
    if of_listing != str(listing):
        raise BadInputError(argument, cursor, "belongs to another list or filter")
    return place


def _read_key(field: HoldingOrderField, key: Any) -> _Key:
    if key is None:
        return None
    if field is HoldingOrderField.UPDATED_AT:
        if isinstance(key, int):
            return key
        raise TypeError
    if not isinstance(key, str):
        raise TypeError
    numeric = field in (HoldingOrderField.VALUE_USD, HoldingOrderField.AMOUNT)
    return amounts.parse_plain(key) if numeric else key
