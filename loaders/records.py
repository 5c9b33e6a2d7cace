"""The records that sources and registers give, whatever upstream they came from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, Flag, auto
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from loaders.caip import AccountAddress, AccountId, AssetId, ChainId
from loaders.errors import SourceErrorCode
from loaders.upstream.fields import instant


class HoldingSource(Enum):
    """A source of holdings."""

    __hash__ = object.__hash__  # in C: there is one of each, and they are keys everywhere

    ONDO_GM = "ONDO_GM"
    ONEBALANCE = "ONEBALANCE"
    SOLANA_SPL = "SOLANA_SPL"


class TokenKind(Enum):
    """What sort of token an asset is."""

    __hash__ = object.__hash__

    NATIVE = "NATIVE"
    ERC20 = "ERC20"
    SPL = "SPL"
    SPL_2022 = "SPL_2022"
    UNKNOWN = "UNKNOWN"


class TokenTrust(Enum):
    """Evidence that registers hold about a token."""

    __hash__ = object.__hash__

    ISSUER = "ISSUER"
    LISTED = "LISTED"
    UNLISTED = "UNLISTED"


class SourceStatus(Enum):
    """How a source did."""

    OK = "OK"
    PARTIAL = "PARTIAL"
    STALE = "STALE"
    FAILED = "FAILED"
    NOT_CONFIGURED = "NOT_CONFIGURED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    NOT_REQUESTED = "NOT_REQUESTED"

    @property
    def was_asked(self) -> bool:
        """Whether the source had something to answer for."""
        return self not in (SourceStatus.NOT_CONFIGURED, SourceStatus.NOT_APPLICABLE, SourceStatus.NOT_REQUESTED)

    @property
    def lacks_data(self) -> bool:
        """Whether something that was asked for is not there."""
        return self in (SourceStatus.FAILED, SourceStatus.PARTIAL)


class Wants(Flag):
    """Facts about tokens that the selected fields need beyond the balances themselves."""

    NOTHING = 0
    PRICE = auto()
    PRICE_CHANGE = auto()
    MARKET = auto()
    FRESHNESS = auto()
    AGGREGATES = auto()


class AsOf(Struct, frozen=True, gc=False):
    """How current the data is on chain: block (or slot) and the Unix time of it, each None when not told."""

    block_number: int | None
    unix_seconds: int | None

    @property
    def time(self) -> datetime | None:
        """The time of the block; None also when no calendar holds it."""
        return None if self.unix_seconds is None else instant(self.unix_seconds)


MAX_KEPT_TEXT = 512
"""What strangers say of one token is remembered past its answer up to so many characters."""


class TokenFacts(Struct, frozen=True, gc=False):
    """What one source says of a token; None is unknown."""

    source: HoldingSource
    symbol: str | None = None
    name: str | None = None
    decimals: int | None = None
    kind: TokenKind | None = None
    trust: TokenTrust | None = None
    metadata_uri: str | None = None
    image_url: str | None = None
    group_id: str | None = None

    @property
    def describes(self) -> bool:
        """Whether there is anything here that names or scales the token."""
        return self.symbol is not None or self.name is not None or self.decimals is not None


class Price(Struct, frozen=True, gc=False):
    """US dollars for one whole token."""

    usd: Decimal
    source: HoldingSource
    change_24h: Decimal | None
    change_percent_24h: Decimal | None
    as_of: datetime | None


class Stock(Struct, frozen=True, gc=False):
    """What a tokenised stock or fund stands for; ``shares_per_token`` shares of the underlying."""

    ticker: str
    underlying_name: str | None
    underlying_price_usd: Decimal | None
    shares_per_token: Decimal | None
    asset_class: str | None
    instrument_type: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """The same asset on several chains, by a source's own register."""

    group_id: str
    defined_by: HoldingSource
    symbol: str | None
    name: str | None
    members: tuple[AssetId, ...]


class TokenAccountRecord(Struct, frozen=True, gc=False):
    """One Solana token account: ``raw`` smallest units of its mint, and what the mint says of itself."""

    address: str
    mint: str
    asset_id: AssetId
    program_id: str
    raw: int
    block_number: int
    unix_seconds: int
    facts: TokenFacts

    @property
    def as_of(self) -> AsOf:
        """The block of its last change."""
        return AsOf(self.block_number, self.unix_seconds)


class Observation(Struct, frozen=True, gc=False):
    """One source's word on one account's balance of one asset.

    ``amount`` is whole tokens, ``raw`` smallest units: the source gives one of them, and the other is filled in
    where ``decimals`` are known. ``value`` is US dollars as the source gave it, a 0 included.
    """

    source: HoldingSource
    account_id: AccountId
    asset_id: AssetId
    reported_asset: str
    amount: Decimal | None
    raw: int | None
    decimals: int | None
    value: Decimal | None
    fetched_at: datetime
    as_of: AsOf | None = None
    token_accounts: tuple[TokenAccountRecord, ...] = ()
    facts: TokenFacts | None = None


class Aggregate(Struct, frozen=True, gc=False):
    """A source's own sum over the members of a group, for exactly these accounts."""

    source: HoldingSource
    group_id: str
    accounts: frozenset[AccountAddress]
    raw: int
    decimals: int | None
    value: Decimal | None


class Report(Struct, frozen=True):
    """How one source did for some accounts on one chain; ``chain_id`` None when a call covers several chains.

    ``calls`` are the numbers of the upstream requests for the balances, none when they came from a cache.
    """

    source: HoldingSource
    chain_id: ChainId | None
    accounts: tuple[AccountAddress, ...]
    status: SourceStatus
    code: SourceErrorCode | None = None
    message: str | None = None
    retry_after_seconds: int | None = None
    observation_count: int = 0
    truncated: bool = False
    fetched_at: datetime | None = None
    cache_age_seconds: int | None = None
    calls: frozenset[int] = frozenset()

    @property
    def call_count(self) -> int:
        """How many upstream requests for balances there were."""
        return len(self.calls)

    def not_requested(self) -> Report:
        """The same part of the source, had it not been asked."""
        if self.status in (SourceStatus.NOT_CONFIGURED, SourceStatus.NOT_APPLICABLE):
            return self
        return Report(self.source, self.chain_id, self.accounts, SourceStatus.NOT_REQUESTED)

    def counting(self, observations: int) -> Report:
        """The same report with the number of observations that came of it."""
        return replace(self, observation_count=observations)


@lru_cache(maxsize=16_384)
def merged_facts(*facts: TokenFacts) -> TokenFacts:
    """One view of a token from what several sources say, the first one that names it leading.

    The others fill in only what it leaves open.
    """
    leading = next((fact for fact in facts if fact.describes), facts[0])
    merged = leading
    for fact in facts:
        if fact is not leading:
            merged = TokenFacts(
                source=leading.source,
                symbol=_first(merged.symbol, fact.symbol),
                name=_first(merged.name, fact.name),
                decimals=merged.decimals if merged.decimals is not None else fact.decimals,
                kind=merged.kind or fact.kind,
                trust=_stronger(merged.trust, fact.trust),
                metadata_uri=_first(merged.metadata_uri, fact.metadata_uri),
                image_url=_first(merged.image_url, fact.image_url),
                group_id=_first(merged.group_id, fact.group_id),
            )
    return merged


def _first(one: str | None, other: str | None) -> str | None:
    return one if one is not None else other


_TRUST = (TokenTrust.ISSUER, TokenTrust.LISTED, TokenTrust.UNLISTED)


def _stronger(one: TokenTrust | None, other: TokenTrust | None) -> TokenTrust | None:
    return next((trust for trust in _TRUST if trust in (one, other)), None)


# Control characters, and the marks that reorder, join or hide text: a token's name must not dress up as another's.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def clean_text(text: str | None, limit: int) -> str | None:
    """A stranger's text without control and bidirectional characters, at most ``limit`` long; None when empty."""
    if text is None:
        return None
    return _UNSAFE.sub("", text).strip()[:limit] or None


def clean_symbol(text: str | None) -> str | None:
    """A stranger's symbol, at most 64 characters."""
    return clean_text(text, 64)


def clean_name(text: str | None) -> str | None:
    """A stranger's name, at most 128 characters."""
    return clean_text(text, 128)


def clean_metadata_uri(text: str | None) -> str | None:
    """A stranger's URI if it is https, ipfs or ar and at most 2,048 characters, else None."""
    return _clean_uri(text, ("https://", "ipfs://", "ar://"))


def clean_image_url(text: str | None) -> str | None:
    """A stranger's image URL if it is https and at most 2,048 characters, else None."""
    return _clean_uri(text, ("https://",))


def _clean_uri(text: str | None, schemes: tuple[str, ...]) -> str | None:
    if text is None or len(text) > 2_048:
        return None
    cleaned = _UNSAFE.sub("", text).strip()
    return cleaned if cleaned.lower().startswith(schemes) else None
