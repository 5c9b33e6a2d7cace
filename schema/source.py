"""SourceReport: how each source did, as data beside the data."""

from __future__ import annotations

from datetime import datetime
from typing import Self

import strawberry

from loaders.caip import AccountAddress
from loaders.errors import SourceErrorCode
from loaders.records import AsOf as AsOfRecord
from loaders.records import HoldingSource, Report, SourceStatus
from resolvers.context import Info
from schema.chain import Chain
from schema.scalars import BigInt


@strawberry.federation.type(
    shareable=True, description="How current the data is on chain, as far as the source says."
)
class AsOf:
    block_number: BigInt | None
    time: datetime | None

    @classmethod
    def from_record(cls, record: AsOfRecord | None) -> Self | None:
        if record is None:
            return None
        block = record.block_number
        return cls(block_number=None if block is None else BigInt(block), time=record.time)


@strawberry.type(description="How one source did.")
class SourceReport:
    source: HoldingSource
    chain: Chain | None = strawberry.field(description="Null when one call covers several chains.")
    accounts: list[AccountAddress]
    status: SourceStatus
    code: SourceErrorCode | None
    message: str | None = strawberry.field(description="Safe to show: no keys, no upstream bodies.")
    retry_after_seconds: int | None
    observation_count: int
    truncated: bool = strawberry.field(description="True if more rows exist than the page budget let us read.")
    fetched_at: datetime | None
    cache_age_seconds: int | None
    upstream_calls: int = strawberry.field(
        description="Upstream requests for balances that this answer caused; 0 when it came from a cache."
    )

    @strawberry.field
    async def indexed_to(self, info: Info) -> AsOf | None:
        if self.fetched_at is None:
            return None
        return AsOf.from_record(await info.context.loaders.indexed_to(self.source))

    @classmethod
    def from_record(cls, record: Report) -> Self:
        return cls(
            source=record.source,
            chain=None if record.chain_id is None else Chain.of(record.chain_id),
            accounts=list(record.accounts),
            status=record.status,
            code=record.code,
            message=record.message,
            retry_after_seconds=record.retry_after_seconds,
            observation_count=record.observation_count,
            truncated=record.truncated,
            fetched_at=record.fetched_at,
            cache_age_seconds=record.cache_age_seconds,
            upstream_calls=len(record.calls),
        )
