"""Observations and holdings for tests, and strategies that make them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import strategies as st

from loaders.caip import AccountAddress, AccountId, AssetId
from loaders.records import AsOf, HoldingSource, Observation
from resolvers.reconcile import HoldingRecord, SourceAgreement, ValueStatus

ADDRESS = AccountAddress("0x" + "ab" * 20)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def asset(number: int = 1, chain: str = "eip155:1") -> AssetId:
    return AssetId(f"{chain}/erc20:0x{number:040x}")


def observation(
    source: HoldingSource = HoldingSource.ONEBALANCE,
    *,
    asset_id: AssetId | None = None,
    amount: str | None = None,
    raw: int | None = None,
    decimals: int | None = None,
    value: str | None = None,
    time: datetime | None = None,
) -> Observation:
    asset_id = asset() if asset_id is None else asset_id
    return Observation(
        source,
        AccountId.of(asset_id.chain_id, ADDRESS),
        asset_id,
        str(asset_id),
        None if amount is None else Decimal(amount),
        raw,
        decimals,
        None if value is None else Decimal(value),
        NOW,
        None if time is None else AsOf(1, int(time.timestamp())),
    )


values = st.none() | st.decimals(min_value=0, max_value=10**9, places=2)
amounts = st.none() | st.decimals(min_value=0, max_value=10**12, places=4)
times = st.none() | st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))


@st.composite
def holdings(draw: st.DrawFn, *, max_size: int = 30) -> list[HoldingRecord]:
    """Holdings of different assets; few different values, so that ties are common."""
    numbers = draw(st.lists(st.integers(1, 10_000), unique=True, max_size=max_size))
    few = draw(st.lists(values, min_size=1, max_size=4))
    records = []
    for number in numbers:
        amount, time = draw(amounts), draw(times)
        chain = draw(st.sampled_from(["eip155:1", "eip155:56", "eip155:8453"]))
        seen = observation(
            asset_id=asset(number, chain),
            amount=None if amount is None else str(amount),
            raw=None if amount is not None else 5,
            time=time,
        )
        value = draw(st.sampled_from(few))
        status = ValueStatus.UNPRICED if value is None else ValueStatus.REPORTED
        records.append(
            HoldingRecord(
                seen.account_id,
                seen.asset_id,
                value,
                status,
                None if value is None else seen.source,
                SourceAgreement.SINGLE,
                seen,
                (seen,),
            )
        )
    return records
