"""Ondo Global Markets: balances of tokenised stocks and funds by chain, and the registers of all assets.

Source of the facts here: Ondo's GM Backend API 1.0.0 and its pages on endpoint caching and error codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Struct
from pydantic import PlainValidator

from loaders.upstream.fields import (
    Amount,
    AnswerReader,
    Decimals,
    OptionalDecimal,
    OptionalMilliseconds,
    OptionalText,
    RowReader,
    Rows,
    Unchecked,
    UpstreamRecord,
    amount_of,
    checked_rows,
    convertible_rows,
    member,
    readable_rows,
)
from loaders.upstream.http import Fetched, HttpClient, Listing


class BalanceRecord(Struct, frozen=True, gc=False):
    """``balance`` whole tokens (not smallest units) of one token in one holder's account."""

    token_address: str
    symbol: str
    account: str
    balance: Decimal


class _HolderAddress(Struct, gc=False):
    account: str


class _TokenBalance(Struct, gc=False):
    holderAddress: _HolderAddress  # noqa: N815
    balance: Unchecked[Decimal]

    def check(self) -> None:
        """As any ``Checkable``."""
        self.balance = amount_of(self.balance)


class _Token(Struct):
    tokenAddress: str  # noqa: N815
    tokenSymbol: str  # noqa: N815
    balances: list[_TokenBalance]


class _Unread(Struct):
    tokenAddress: str  # noqa: N815
    tokenSymbol: str  # noqa: N815
    balances: list[Any]


class _Answer(Struct):
    tokens: list[_Token]


class AddressRecord(UpstreamRecord):
    """Where an asset is deployed."""

    networkChainId: str  # noqa: N815
    address: str
    decimals: Decimals


class _Tags(UpstreamRecord):
    assetClass: OptionalText = None  # noqa: N815
    instrumentType: OptionalText = None  # noqa: N815


class MetadataRecord(UpstreamRecord):
    """An asset in Ondo's register."""

    symbol: str
    ticker: str
    tags: _Tags | None = None
    addresses: Annotated[Rows[AddressRecord], PlainValidator(RowReader(AddressRecord))] = Rows(())


class _PrimaryPrice(UpstreamRecord):
    symbol: str
    price: Amount


class _UnderlyingPrice(UpstreamRecord):
    price: OptionalDecimal = None


class PriceRecord(UpstreamRecord):
    """US dollars for one token (``primaryMarket``) and for one share (``underlyingMarket``)."""

    primaryMarket: _PrimaryPrice  # noqa: N815
    underlyingMarket: _UnderlyingPrice | None = None  # noqa: N815
    timestamp: OptionalMilliseconds = None


class EnhancedPriceRecord(UpstreamRecord):
    """A token's change over 24 hours, in US dollars and in percent."""

    symbol: str
    priceChange24h: OptionalDecimal = None  # noqa: N815
    priceChangePct24h: OptionalDecimal = None  # noqa: N815


class _PrimaryMarket(UpstreamRecord):
    symbol: str
    sharesMultiplier: OptionalDecimal = None  # noqa: N815


class _UnderlyingMarket(UpstreamRecord):
    name: OptionalText = None
    price: OptionalDecimal = None


class MarketRecord(UpstreamRecord):
    """Shares per token, and the name of what the token stands for; None for baskets."""

    primaryMarket: _PrimaryMarket  # noqa: N815
    underlyingMarket: _UnderlyingMarket | None = None  # noqa: N815


_METADATA = RowReader(MetadataRecord)
_PRICES = RowReader(PriceRecord)
_ENHANCED_PRICES = RowReader(EnhancedPriceRecord)
_MARKETS = RowReader(MarketRecord)


def _read_balances(answer: _Answer) -> Rows[BalanceRecord]:
    return _records([(token, checked_rows(token.balances)) for token in answer.tokens])


def _rescue_balances(body: Any) -> Rows[BalanceRecord]:
    tokens = convertible_rows(member(body, "tokens"), _Unread)
    read = [(token, readable_rows(token.balances, _TokenBalance)) for token in tokens.rows]
    return _records(read, tokens.dropped)


def _records(read: Sequence[tuple[_Token | _Unread, Rows[_TokenBalance]]], dropped: int = 0) -> Rows[BalanceRecord]:
    rows = [
        BalanceRecord(token.tokenAddress, token.tokenSymbol, row.holderAddress.account, row.balance)
        for token, balances in read
        for row in balances.rows
    ]
    return Rows(tuple(rows), dropped + sum([balances.dropped for _, balances in read]))


_BALANCES = AnswerReader(_Answer, _read_balances, _rescue_balances)


class OndoClient:
    """Asks Ondo GM. Every method raises a ``LoadError``; ``deadline`` is event-loop time."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self.fingerprint = http.fingerprint
        self.metadata = Listing(http, "/v1/assets/all/metadata", _METADATA)
        """Symbol, ticker, tags and addresses of every asset."""
        self.prices = Listing(http, "/v1/assets/all/prices/latest", _PRICES)
        """Latest token and share price of every asset."""
        self.enhanced_prices = Listing(http, "/v1/assets/all/prices/latest/enhanced", _ENHANCED_PRICES)
        """Change over 24 hours of every asset."""
        self.markets = Listing(http, "/v1/assets/all/market", _MARKETS)
        """Underlying name and shares per token of every asset."""

    async def fetch_balances(
        self,
        chain: str,
        deadline: float,
        *,
        user_address: str | None = None,
        token_address: str | None = None,
    ) -> Fetched[Rows[BalanceRecord]]:
        """Balances on ``ethereum-1``, ``bsc-56`` or ``solana-900``: of a user, of a token, of both, or of all.

        Without a user the answer holds every holder, and without either every holder of every token.
        """
        filters = {"userAddress": user_address, "tokenAddress": token_address}
        params = {name: value for name, value in filters.items() if value is not None}
        return await self._http.get_body(f"/v1/chains/{chain}/balances", params, _BALANCES, deadline)

    async def fetch_chain(self, chain: str, deadline: float) -> Fetched[bytes]:
        """Every holder of every token on a chain, as JSON: large, and a minute old."""
        return await self._http.get_body(f"/v1/chains/{chain}/balances", {}, lambda body: body, deadline)
