"""OneBalance: balances aggregated over EVM chains and Solana, with dollar values.

Source of the facts here: the Toolkit API 1.6.2. Its makers have announced its end, so its absence is ordinary.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import chain
from typing import Annotated, Any

from msgspec import Struct
from pydantic import PlainValidator

from loaders.upstream.fields import (
    AnswerReader,
    Decimals,
    OptionalText,
    RowReader,
    Rows,
    Unchecked,
    UpstreamRecord,
    checked_rows,
    convertible_rows,
    exact_decimal,
    member,
    raw_amount,
    readable_rows,
)
from loaders.upstream.http import Fetched, HttpClient, Listing


class AssetBalanceRecord(Struct, gc=False):
    """``balance`` in the asset's own smallest units on its chain; ``fiatValue`` 0 may mean that it has no price."""

    assetType: str  # noqa: N815
    balance: Unchecked[int]
    fiatValue: Unchecked[Decimal]  # noqa: N815

    def check(self) -> None:
        """As any ``Checkable``."""
        self.balance = raw_amount(self.balance)
        self.fiatValue = exact_decimal(self.fiatValue)


class AggregateRecord(Struct):
    """An aggregate as OneBalance gives it; ``balance`` need not be the sum of its parts."""

    aggregatedAssetId: str  # noqa: N815
    balance: Unchecked[int]
    fiatValue: Unchecked[Decimal]  # noqa: N815

    def check(self) -> None:
        """As any ``Checkable``."""
        self.balance = raw_amount(self.balance)
        self.fiatValue = exact_decimal(self.fiatValue)


class _AggregateWithParts(AggregateRecord):
    individualAssetBalances: list[AssetBalanceRecord]  # noqa: N815


class _Parts(Struct):
    individualAssetBalances: list[Any]  # noqa: N815


class _Answer(Struct):
    balanceByAggregatedAsset: list[_AggregateWithParts]  # noqa: N815
    balanceBySpecificAsset: list[AssetBalanceRecord]  # noqa: N815
    accounts: Any = None


class EntityRecord(UpstreamRecord):
    """A member of an aggregate on one chain, with that chain's own decimals."""

    assetType: str  # noqa: N815
    decimals: Decimals
    name: OptionalText = None
    symbol: OptionalText = None


class AssetRecord(UpstreamRecord):
    """An aggregate in OneBalance's register."""

    aggregatedAssetId: str  # noqa: N815
    symbol: OptionalText = None
    name: OptionalText = None
    decimals: Decimals
    logoUrl: OptionalText = None  # noqa: N815
    aggregatedEntities: Annotated[Rows[EntityRecord], PlainValidator(RowReader(EntityRecord))] = Rows(())  # noqa: N815


class _ChainName(UpstreamRecord):
    namespace: str
    reference: str


class ChainRecord(UpstreamRecord):
    """A chain that OneBalance covers."""

    chain: _ChainName

    @property
    def chain_id(self) -> str:
        """The chain as CAIP-2."""
        return f"{self.chain.namespace}:{self.chain.reference}"


class AggregatedBalance(Struct, frozen=True):
    """One answer: the rows of all assets, the aggregates beside them, and the accounts it speaks of."""

    rows: Rows[AssetBalanceRecord]
    aggregates: Rows[AggregateRecord]
    evm_account: str | None
    solana_account: str | None


_ASSETS = RowReader(AssetRecord)
_CHAINS = RowReader(ChainRecord)


class OneBalanceClient:
    """Asks OneBalance. Every method raises a ``LoadError``; ``deadline`` is event-loop time."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self.fingerprint = http.fingerprint
        self.assets = Listing(http, "/assets/list", self._read_assets)
        """Every aggregate with its members, names and decimals."""
        self._balances = AnswerReader(_Answer, _read_balances, self._rescue_balances)
        self.chains = Listing(http, "/chains/supported-list", self._read_chains)
        """Every chain that balances are aggregated over."""

    async def fetch_balances(
        self,
        accounts: Sequence[str],
        aggregated_ids: Sequence[str],
        asset_ids: Sequence[str],
        deadline: float,
    ) -> Fetched[AggregatedBalance]:
        """Balances of at most one EVM and one Solana account; at least one list of assets is not empty."""
        params = {"account": ",".join(accounts)}
        if aggregated_ids:
            params["aggregatedAssetId"] = ",".join(aggregated_ids)
        if asset_ids:
            params["assetId"] = ",".join(asset_ids)
        return await self._http.get_body("/v3/balances/aggregated-balance", params, self._balances, deadline)

    def _read_assets(self, body: Any) -> Rows[AssetRecord]:
        return _ASSETS(self._answer(body))

    def _read_chains(self, body: Any) -> Rows[ChainRecord]:
        return _CHAINS(self._answer(body))

    def _rescue_balances(self, body: Any) -> AggregatedBalance:
        items = member(self._answer(body), "balanceByAggregatedAsset")
        parts = convertible_rows(items, _Parts)
        rows = [readable_rows(part.individualAssetBalances, AssetBalanceRecord) for part in parts.rows]
        rows.append(readable_rows(member(body, "balanceBySpecificAsset"), AssetBalanceRecord))
        return AggregatedBalance(
            Rows(tuple(row for some in rows for row in some.rows), parts.dropped + sum(r.dropped for r in rows)),
            readable_rows(items, AggregateRecord),
            *_accounts(body.get("accounts")),
        )

    def _answer(self, body: Any) -> Any:
        if failure := self._http.failure_in_body(body):
            raise failure
        return body


def _read_balances(answer: _Answer) -> AggregatedBalance:
    aggregates = answer.balanceByAggregatedAsset
    parts = chain.from_iterable(aggregate.individualAssetBalances for aggregate in aggregates)
    rows = checked_rows(chain(parts, answer.balanceBySpecificAsset))
    return AggregatedBalance(rows, checked_rows(aggregates), *_accounts(answer.accounts))


def _accounts(accounts: Any) -> tuple[Any, Any]:
    return (accounts.get("evm"), accounts.get("solana")) if isinstance(accounts, dict) else (None, None)
