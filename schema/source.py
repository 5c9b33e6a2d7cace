"""SourceReport: how each source did, as data beside the data."""

from __future__ import annotations

from datetime import datetime

import strawberry

from loaders.caip import AccountAddress
from loaders.errors import SourceErrorCode
from loaders.records import AsOf as AsOfRecord
from loaders.records import HoldingSource, Report, SourceStatus
from resolvers.context import Info
from schema.chain import Chain
from schema.of_record import OfRecord, of_record
from schema.scalars import BigInt


@strawberry.federation.type(
    shareable=True, description="How current the data is on chain, as far as the source says."
)
class AsOf(OfRecord):
    record: strawberry.Private[AsOfRecord]
    block_number: BigInt | None = of_record()
    time: datetime | None = of_record()


@strawberry.type(description="How one source did.")
class SourceReport(OfRecord):
    record: strawberry.Private[Report]
    source: HoldingSource = of_record()
    chain: Chain | None = of_record("chain_id", description="Null when one call covers several chains.")
    accounts: list[AccountAddress] = of_record()
    status: SourceStatus = of_record()
    code: SourceErrorCode | None = of_record()
    message: str | None = of_record(description="Safe to show: no keys, no upstream bodies.")
    retry_after_seconds: int | None = of_record()
    observation_count: int = of_record()
    truncated: bool = of_record(description="True if more rows exist than the page budget let us read.")
    fetched_at: datetime | None = of_record()
    cache_age_seconds: int | None = of_record()
    upstream_calls: int = of_record(
        "call_count",
        description="Upstream requests for balances that this answer caused; 0 when it came from a cache.",
    )

    @strawberry.field
    async def indexed_to(self, info: Info) -> AsOf | None:
        report = self.record
        indexed_to = None if report.fetched_at is None else await info.context.loaders.indexed_to(report.source)
        return None if indexed_to is None else AsOf.of(indexed_to)
