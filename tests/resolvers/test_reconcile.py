from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.books import Book, Books
from loaders.caip import AssetId
from loaders.records import HoldingSource, Observation, Price, Report, SourceStatus, TokenFacts
from resolvers.reconcile import (
    HoldingRecord,
    Pricing,
    SourceAgreement,
    ValueStatus,
    reconcile,
    sum_holdings,
)
from tests.resolvers.records import ADDRESS, asset, holdings, observation

ONDO, ONEBALANCE, SPL = HoldingSource.ONDO_GM, HoldingSource.ONEBALANCE, HoldingSource.SOLANA_SPL


class Facts(Book):
    """A book of one token's decimals and price."""

    def __init__(self, decimals: int | None = None, price: str | None = None, *, failed: bool = False) -> None:
        self._failed, self.prices_whole = failed, not failed
        self.prices = {} if price is None else {asset(): Price(Decimal(price), ONDO, None, None, None)}
        self.facts = {asset(): TokenFacts(ONDO, decimals=decimals)}

    def price_failed(self, asset_id: AssetId) -> bool:
        return self._failed


def one(
    *observations: Observation, book: Facts | None = None, stale: Sequence[HoldingSource] = (), answered: bool = True
) -> HoldingRecord:
    """The one holding that these observations of one asset make."""
    pricing = Pricing(Books() if book is None else Books({ONDO: book}), [ONEBALANCE], lambda *_: answered)
    (holding,) = reconcile(observations, lambda seen: seen.source in stale, pricing)
    return holding


def test_sources_are_never_added_to_each_other() -> None:
    holding = one(observation(SPL, raw=5, decimals=0), observation(ONEBALANCE, raw=5, decimals=0, value="5"))
    assert holding.amount == 5
    assert (holding.value, holding.value_source) == (Decimal(5), ONEBALANCE)
    assert holding.value_status is ValueStatus.REPORTED
    assert holding.agreement is SourceAgreement.AGREE


def test_the_source_that_reads_the_chain_is_shown_and_all_are_kept() -> None:
    holding = one(
        observation(ONEBALANCE, raw=7, decimals=0), observation(ONDO, amount="6"), observation(SPL, raw=5, decimals=0)
    )
    assert [seen.source for seen in holding.observations] == [SPL, ONDO, ONEBALANCE]
    assert (holding.amount, holding.agreement) == (Decimal(5), SourceAgreement.DIFFER)


def test_a_stale_source_loses_to_one_that_is_not() -> None:
    seen = observation(SPL, raw=5, decimals=0), observation(ONEBALANCE, raw=7, decimals=0)
    assert one(*seen, stale=[SPL]).amount_source is ONEBALANCE
    assert one(*seen, stale=[SPL, ONEBALANCE]).amount_source is SPL


def test_decimals_are_taken_from_whoever_knows_them() -> None:
    seen = observation(ONDO, amount="1.5"), observation(ONEBALANCE, raw=1_500_000)
    assert one(*seen).agreement is SourceAgreement.NOT_COMPARABLE
    holding = one(*seen, book=Facts(decimals=6))
    assert (holding.raw, holding.agreement) == (1_500_000, SourceAgreement.AGREE)


def test_the_value_of_another_amount_is_scaled_to_the_one_shown() -> None:
    holding = one(observation(SPL, raw=3, decimals=0), observation(ONEBALANCE, raw=7, decimals=0, value="10"))
    expected = Decimal("4.285714285714285714")
    assert (holding.value, holding.value_status, holding.value_source) == (expected, ValueStatus.DERIVED, ONEBALANCE)


def test_an_issuers_price_leads_and_where_it_is_missing_the_reported_value_stands() -> None:
    seen = observation(ONDO, amount="2"), observation(ONEBALANCE, raw=2, decimals=0, value="3")
    assert one(*seen, book=Facts(price="1.1")).value == Decimal("2.2")
    assert one(*seen, book=Facts()).value == 3


def test_a_value_of_0_beside_a_balance_is_no_price() -> None:
    holding = one(observation(raw=5, decimals=0, value="0"))
    assert (holding.value, holding.value_status) == (None, ValueStatus.UNPRICED)


def test_an_unknown_price_is_unavailable_as_long_as_someone_might_know_it() -> None:
    assert one(observation(SPL, raw=5)).value_status is ValueStatus.UNPRICED
    assert one(observation(SPL, raw=5), answered=False).value_status is ValueStatus.UNAVAILABLE
    assert one(observation(ONDO, amount="5"), book=Facts(failed=True)).value_status is ValueStatus.UNAVAILABLE


def test_nothing_is_worth_nothing_whatever_is_known_of_the_token() -> None:
    holding = one(observation(raw=0, value="0"), answered=False)
    assert (holding.amount, holding.value, holding.value_status) == (Decimal(0), Decimal(0), ValueStatus.REPORTED)


def test_a_zero_beside_another_sources_balance_is_a_disagreement() -> None:
    holding = one(observation(SPL, raw=5, decimals=0), observation(ONEBALANCE, raw=0))
    assert (holding.amount, holding.agreement) == (Decimal(5), SourceAgreement.DIFFER)


raws = st.integers(0, 2**256 - 1)
reported = st.decimals(min_value="0.000001", max_value=10**12, places=6)


@given(st.integers(1, 2**64), st.integers(1, 2**64), reported, st.integers(0, 24))
def test_a_derived_value_is_exact_to_half_of_the_eighteenth_place(
    shown: int, other: int, value: Decimal, decimals: int
) -> None:
    holding = one(
        observation(SPL, raw=shown, decimals=decimals),
        observation(ONEBALANCE, raw=other, decimals=decimals, value=str(value)),
    )
    assert holding.value is not None
    exact = Fraction(value) * shown / other
    assert abs(Fraction(holding.value) - exact) <= Fraction(1, 2 * 10**18)


@given(raws, st.integers(0, 255))
def test_whole_tokens_are_exact_whatever_the_size(raw: int, decimals: int) -> None:
    holding = one(observation(raw=raw, decimals=decimals))
    assert holding.amount is not None
    assert Fraction(holding.amount) * 10**decimals == raw


@given(st.permutations([observation(SPL, raw=5, decimals=0), observation(ONDO, amount="6"), observation(raw=7)]))
def test_the_order_in_which_sources_answer_changes_nothing(seen: list[Observation]) -> None:
    assert one(*seen) == one(observation(SPL, raw=5, decimals=0), observation(ONDO, amount="6"), observation(raw=7))


def report(status: SourceStatus = SourceStatus.OK, source: HoldingSource = ONEBALANCE) -> Report:
    return Report(source, None, (ADDRESS,), status)


@given(holdings())
def test_a_total_is_the_sum_of_its_holdings(records: list[HoldingRecord]) -> None:
    total = sum_holdings(records, [report()])
    priced = [Fraction(holding.value) for holding in records if holding.value is not None and not holding.is_zero]
    if priced or all(holding.is_zero for holding in records):
        assert total.value is not None
        assert Fraction(total.value) == sum(priced)
    else:
        assert total.value is None
    assert total.holding_count == len(records)
    assert total.unpriced_count == sum(holding.value is None for holding in records)
    assert total.complete is (total.unpriced_count == 0)


@given(holdings(), st.randoms())
def test_a_total_does_not_depend_on_the_order_of_adding(records: list[HoldingRecord], random: object) -> None:
    mixed = list(records)
    random.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert sum_holdings(mixed, [report()]) == sum_holdings(records, [report()])


@pytest.mark.parametrize(
    ("statuses", "value", "complete", "missing"),
    [
        ([SourceStatus.OK], "0", True, ()),
        ([SourceStatus.OK, SourceStatus.NOT_CONFIGURED, SourceStatus.NOT_APPLICABLE], "0", True, ()),
        ([SourceStatus.OK, SourceStatus.FAILED], None, False, (ONEBALANCE,)),
        ([SourceStatus.OK, SourceStatus.PARTIAL], None, False, (ONEBALANCE,)),
        ([SourceStatus.OK, SourceStatus.STALE], "0", False, ()),
        ([SourceStatus.NOT_CONFIGURED], None, False, ()),
        ([], None, False, ()),
    ],
)
def test_an_empty_total_is_0_only_when_nothing_is_missing(
    statuses: list[SourceStatus], value: str | None, complete: bool, missing: tuple[HoldingSource, ...]
) -> None:
    total = sum_holdings([], [report(status) for status in statuses])
    assert total.value == (None if value is None else Decimal(value))
    assert (total.complete, total.missing_sources) == (complete, missing)
