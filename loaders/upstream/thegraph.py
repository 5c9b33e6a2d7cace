"""The Graph Token API on Solana: token accounts, native balances, token metadata, and how far it has indexed.

Source of the facts here: the published OpenAPI document and the open-source server, releases 3.16 to 3.19.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from msgspec import Struct
from pydantic import PlainValidator, model_validator

from loaders.amounts import MAX_DECIMALS
from loaders.upstream.fields import (
    AnswerReader,
    Decimals,
    OptionalText,
    RowReader,
    Rows,
    Unchecked,
    UpstreamRecord,
    checked_rows,
    decimals_of,
    member,
    raw_amount,
    readable_rows,
)
from loaders.upstream.http import Fetched, HttpClient, Listing


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan allows: rows a page, values a list parameter, and requests a minute (0: as many as one likes)."""

    page: int
    batch: int
    requests_per_minute: int = 0

    @classmethod
    def parse(cls, text: str) -> Plan:
        """Reads ``free``, ``scale``, ``pro`` or ``<page>/<batch>``; raises ValueError."""
        if text.lower() in _PLANS:
            return _PLANS[text.lower()]
        page, _, batch = text.partition("/")
        if not (page.isdecimal() and batch.isdecimal() and 1 <= int(page) <= 1_000 and int(batch) >= 1):
            raise ValueError(f'"{text}" is not a plan: expected free, scale, pro or <page>/<batch>, e.g. 100/25')
        return cls(int(page), int(batch))


_PLANS = {"free": Plan(10, 1, 200), "scale": Plan(100, 25, 500), "pro": Plan(500, 50, 1_000)}


class SplBalanceRecord(Struct, gc=False):
    """``amount`` smallest units in one token account.

    An unknown mint comes with 0 decimals, as a token without fractions does; only its text tells them apart. Once the
    row is checked, it has none. The float ``value`` is not read.
    """

    owner: str
    mint: str
    program_id: str
    last_update_block_num: int
    last_update_timestamp: int
    amount: Unchecked[int]
    account: str = ""
    token_account: str | None = None
    """The same under another key, by the release; None once it is checked."""
    decimals: Unchecked[int | None] = None
    name: str | None = None
    symbol: str | None = None
    uri: str | None = None

    def check(self) -> None:
        """As any ``Checkable``."""
        self.amount = raw_amount(self.amount)
        decimals = self.decimals
        if decimals is not None and (type(decimals) is not int or not 0 <= decimals <= MAX_DECIMALS):
            self.decimals = decimals = decimals_of(decimals)
        if not decimals and not self.symbol and not self.name:
            self.decimals = None
        if self.token_account is not None:
            self.account, self.token_account = self.token_account, None


class NativeBalanceRecord(Struct, gc=False):
    """``amount`` lamports of one wallet."""

    address: str
    last_update_block_num: int
    last_update_timestamp: int
    amount: Unchecked[int]

    def check(self) -> None:
        """As any ``Checkable``."""
        self.amount = raw_amount(self.amount)


class MintRecord(UpstreamRecord):
    """A mint's metadata; missing text is empty. Decimals that come as 0 are unknown where there is no text at all."""

    mint: str
    program_id: str
    decimals: Decimals | None = None
    name: OptionalText = None
    symbol: OptionalText = None
    uri: OptionalText = None

    @model_validator(mode="after")
    def _without_unknown_decimals(self) -> Self:
        if not (self.decimals or self.symbol or self.name):
            object.__setattr__(self, "decimals", None)
        return self


class _IndexedTo(UpstreamRecord):
    category: str
    block_num: int
    timestamp: int


class NetworkRecord(UpstreamRecord):
    """How far a network is indexed, by category of data."""

    id: str
    indexed_to: Annotated[Rows[_IndexedTo], PlainValidator(RowReader(_IndexedTo))] = Rows(())


class _SplBalances(Struct):
    data: list[SplBalanceRecord]


class _NativeBalances(Struct):
    data: list[NativeBalanceRecord]


_SPL = AnswerReader(
    _SplBalances,
    lambda answer: checked_rows(answer.data),
    lambda body: readable_rows(member(body, "data"), SplBalanceRecord, texts=("name", "symbol", "uri")),
)
_NATIVE = AnswerReader(
    _NativeBalances,
    lambda answer: checked_rows(answer.data),
    lambda body: readable_rows(member(body, "data"), NativeBalanceRecord),
)
_MINTS = RowReader(MintRecord)
_NETWORKS = RowReader(NetworkRecord)


class TheGraphClient:
    """Asks The Graph Token API. Every method raises a ``LoadError``; ``deadline`` is event-loop time."""

    def __init__(self, http: HttpClient, plan: Plan) -> None:
        self._http = http
        self.fingerprint = http.fingerprint
        self.plan = plan
        self.networks = Listing(http, "/v1/networks", lambda body: _NETWORKS(member(body, "networks")))
        """Every network and how far it is indexed."""

    async def fetch_spl_balances(
        self,
        owners: Sequence[str],
        page: int,
        deadline: float,
        *,
        mints: Sequence[str] = (),
        token_accounts: Sequence[str] = (),
        program_id: str | None = None,
        include_zero: bool = False,
    ) -> Fetched[Rows[SplBalanceRecord]]:
        """One page of token accounts, newest change first; lists hold at most ``plan.batch`` values each."""
        params = {"network": "solana", "owner": ",".join(owners)}
        if mints:
            params["mint"] = ",".join(mints)
        if token_accounts:
            params["token_account"] = ",".join(token_accounts)
        if program_id is not None:
            params["program_id"] = program_id
        params |= self._page_params(page, include_zero)
        return await self._http.get_body("/v1/svm/balances", params, _SPL, deadline)

    async def fetch_native_balances(
        self, addresses: Sequence[str], page: int, deadline: float, *, include_zero: bool = False
    ) -> Fetched[Rows[NativeBalanceRecord]]:
        """One page of native balances, one row a wallet; at most ``plan.batch`` addresses."""
        params = {
            "network": "solana",
            "address": ",".join(addresses),
            **self._page_params(page, include_zero),
        }
        return await self._http.get_body("/v1/svm/balances/native", params, _NATIVE, deadline)

    async def fetch_mints(self, mints: Sequence[str], deadline: float) -> Fetched[Rows[MintRecord]]:
        """Metadata of at most ``plan.batch`` mints; an unknown mint has no row."""
        params = {"network": "solana", "mint": ",".join(mints)}
        return await self._http.get("/v1/svm/tokens", params, lambda body: _MINTS(member(body, "data")), deadline)

    def _page_params(self, page: int, include_zero: bool) -> dict[str, str]:
        params = {"limit": str(self.plan.page), "page": str(page)}
        return params | {"include_null_balances": "true"} if include_zero else params
