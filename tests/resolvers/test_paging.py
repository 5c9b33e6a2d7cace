from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.errors import BadInputError
from resolvers.paging import (
    DEFAULT_PAGE,
    Fingerprint,
    HoldingOrderField,
    Order,
    OrderDirection,
    Page,
    PageArguments,
    cut_page,
    sort_holdings,
)
from resolvers.reconcile import HoldingRecord
from tests.resolvers.records import holdings

orders = st.builds(Order, st.sampled_from(HoldingOrderField), st.sampled_from(OrderDirection))
LIST = Fingerprint(lambda: "a list")


def symbol(holding: HoldingRecord) -> str | None:
    """Some symbols differ only in case, and some holdings have none."""
    return {"0": None, "1": "usdc", "2": "USDC"}.get(holding.asset_id[-1], holding.asset_id[-2:])


def ids(records: Sequence[HoldingRecord]) -> list[str]:
    return [holding.id for holding in records]


def cut(records: Sequence[HoldingRecord], order: Order, arguments: PageArguments) -> Page:
    return cut_page(sort_holdings(records, order, symbol), order, LIST, arguments)


@given(holdings(), orders, st.integers(1, 7))
def test_paging_forwards_visits_each_holding_once_in_order(
    records: list[HoldingRecord], order: Order, size: int
) -> None:
    visited: list[str] = []
    page = cut(records, order, PageArguments(first=size))
    assert not page.has_previous
    while page.cursors:
        visited += ids(page.holdings)
        if not page.has_next:
            break
        page = cut(records, order, PageArguments(first=size, after=page.cursors[-1]))
        assert page.has_previous
    assert visited == ids([holding for _, holding in sort_holdings(records, order, symbol)])


@given(holdings(), orders, st.integers(1, 7))
def test_paging_backwards_visits_each_holding_once_in_order(
    records: list[HoldingRecord], order: Order, size: int
) -> None:
    visited: list[str] = []
    page = cut(records, order, PageArguments(last=size))
    assert not page.has_next
    while page.cursors:
        visited = ids(page.holdings) + visited
        if not page.has_previous:
            break
        page = cut(records, order, PageArguments(last=size, before=page.cursors[0]))
        assert page.has_next
    assert visited == ids([holding for _, holding in sort_holdings(records, order, symbol)])


@given(holdings(), orders)
def test_the_order_does_not_depend_on_how_holdings_came(records: list[HoldingRecord], order: Order) -> None:
    one = sort_holdings(records, order, symbol)
    assert ids([h for _, h in one]) == ids([h for _, h in sort_holdings(records[::-1], order, symbol)])


@given(holdings(), orders)
def test_unknown_comes_last_in_both_directions_and_ties_are_by_id(records: list[HoldingRecord], order: Order) -> None:
    places = [place for place, _ in sort_holdings(records, order, symbol)]
    known = [place for place in places if place.key is not None]
    assert places[: len(known)] == known
    unknown = [place.id for place in places[len(known) :]]
    assert unknown == sorted(unknown)
    for one, other in pairwise(known):
        if one.key == other.key:
            assert one.id < other.id
        else:
            ascending = one.key < other.key  # type: ignore[operator]  # keys of one order are of one type
            assert ascending is (order.direction is OrderDirection.ASC)


@given(holdings(max_size=12), orders, st.data())
def test_a_page_goes_on_after_its_cursor_even_when_that_holding_is_gone(
    records: list[HoldingRecord], order: Order, data: st.DataObject
) -> None:
    page = cut(records, order, PageArguments(first=200))
    if not page.cursors:
        return
    index = data.draw(st.integers(0, len(page.cursors) - 1))
    left = [holding for holding in records if holding is not page.holdings[index]]
    after = cut(left, order, PageArguments(first=200, after=page.cursors[index]))
    assert ids(after.holdings) == ids(page.holdings)[index + 1 :]


@given(holdings(max_size=12), orders, st.data())
def test_between_two_cursors_lies_what_is_between_them(
    records: list[HoldingRecord], order: Order, data: st.DataObject
) -> None:
    page = cut(records, order, PageArguments(first=200))
    if len(page.cursors) < 2:
        return
    start = data.draw(st.integers(0, len(page.cursors) - 2))
    end = data.draw(st.integers(start + 1, len(page.cursors) - 1))
    between = cut(records, order, PageArguments(first=200, after=page.cursors[start], before=page.cursors[end]))
    assert ids(between.holdings) == ids(page.holdings)[start + 1 : end]


@given(st.text())
def test_no_text_breaks_the_reading_of_cursors(text: str) -> None:
    with pytest.raises(BadInputError):
        cut((), Order(), PageArguments(after=text + "!"))


def test_a_page_has_fifty_holdings_if_nothing_is_said_and_none_if_none_are_wanted() -> None:
    assert DEFAULT_PAGE == 50
    assert cut((), Order(), PageArguments(first=0)).holdings == []
    assert cut((), Order(), PageArguments(last=0)).holdings == []
