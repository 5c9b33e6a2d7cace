"""What a source of holdings is: whom it speaks for, what it is asked, and what it says.

Everything above this module treats sources alike. A further source is a module with a ``Source`` in it, a value of
``HoldingSource``, and a line in ``loaders.SOURCES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, ClassVar, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from loaders.books import Book
from loaders.caip import AccountAddress, AssetId, ChainId, Namespace
from loaders.errors import LoadError
from loaders.records import (
    Aggregate,
    AsOf,
    HoldingSource,
    Observation,
    Report,
    SourceStatus,
    TokenKind,
    Wants,
)
from loaders.registers import Reading
from loaders.upstream.http import Fetched

_T = TypeVar("_T")


class Scope(Struct, frozen=True):
    """Which observations are wanted; None leaves a dimension open. ``zero`` includes balances of zero."""

    sources: frozenset[HoldingSource] | None = None
    chains: frozenset[ChainId] | None = None
    asset_ids: frozenset[AssetId] | None = None
    token_accounts: frozenset[str] | None = None
    kinds: frozenset[TokenKind] | None = None
    zero: bool = False

    def __or__(self, other: Scope) -> Scope:
        """A scope that holds both."""
        return Scope(
            joined(self.sources, other.sources),
            joined(self.chains, other.chains),
            joined(self.asset_ids, other.asset_ids),
            joined(self.token_accounts, other.token_accounts),
            joined(self.kinds, other.kinds),
            self.zero or other.zero,
        )

    def allows_source(self, source: HoldingSource) -> bool:
        """Whether this source's word is wanted."""
        return self.sources is None or source in self.sources

    def allows_chain(self, chain_id: ChainId) -> bool:
        """Whether something on this chain can be in the scope."""
        if self.chains is not None and chain_id not in self.chains:
            return False
        return self.asset_ids is None or any(asset.chain_id == chain_id for asset in self.asset_ids)

    def allows_asset(self, asset_id: AssetId) -> bool:
        """Whether this asset can be in the scope."""
        if self.asset_ids is not None and asset_id not in self.asset_ids:
            return False
        return self.chains is None or asset_id.chain_id in self.chains

    def allows_kind(self, *kinds: TokenKind) -> bool:
        """Whether a token of one of these kinds can be in the scope."""
        return self.kinds is None or not self.kinds.isdisjoint(kinds)


def joined(one: frozenset[_T] | None, other: frozenset[_T] | None) -> frozenset[_T] | None:
    """One dimension that holds both; None leaves it open."""
    return None if one is None or other is None else one | other


EVERYTHING = Scope()

KINDS: Mapping[Namespace, frozenset[TokenKind]] = {
    Namespace.EIP155: frozenset({TokenKind.NATIVE, TokenKind.ERC20, TokenKind.UNKNOWN}),
    Namespace.SOLANA: frozenset({TokenKind.NATIVE, TokenKind.SPL, TokenKind.SPL_2022, TokenKind.UNKNOWN}),
}
"""What kinds of token there can be on the chains of a namespace."""


class Question(Struct, frozen=True):
    """What one operation wants of one address, all its fields together.

    ``company`` are the addresses that it is read as one with. ``apart`` says that its figures must not be mixed
    with another address's.
    """

    address: AccountAddress
    scopes: tuple[Scope, ...]
    wants: Wants = Wants.NOTHING
    company: frozenset[AccountAddress] = frozenset()
    apart: bool = False

    @property
    def scope(self) -> Scope:
        """One scope that holds all of them."""
        return reduce(or_, self.scopes)


class Answer(ABC):
    """What a source said of one address: a report for each part of it, its rows, and its own aggregates.

    The aggregates are over exactly ``accounts``; no accounts when the source did not answer.
    """

    def __init__(
        self,
        reports: Sequence[Report],
        aggregates: Sequence[Aggregate] = (),
        accounts: frozenset[AccountAddress] = frozenset(),
    ) -> None:
        self.reports = tuple(reports)
        self.aggregates = tuple(aggregates)
        self.accounts = accounts

    def reports_within(self, scopes: Sequence[Scope]) -> Sequence[Report]:
        """The reports as if only these scopes had been asked."""
        return self.reports

    @abstractmethod
    def observations(self, scope: Scope) -> list[Observation]:
        """The observations within a scope, which is within what was asked, as if only that had been asked.

        Of each asset there is at most one.
        """


class NoAnswer(Answer):
    """An answer without rows: the source was not asked, or does not speak for the address."""

    def observations(self, scope: Scope) -> list[Observation]:
        """None at all."""
        return []


class Source(ABC):
    """A source of holdings, for the life of the application. One operation's state is in its ``Reading``."""

    name: ClassVar[HoldingSource]
    namespaces: ClassVar[frozenset[Namespace]]
    values_holdings: ClassVar[bool] = False
    """Whether its observations carry dollar values."""
    wants_answered: ClassVar[Wants] = Wants.NOTHING
    """The wants on which it depends how the source is asked for balances."""

    configured: bool

    @abstractmethod
    def parts(self, namespace: Namespace) -> Sequence[ChainId | None]:
        """The chains it reports on one by one for addresses of a namespace; None for one call over several."""

    @abstractmethod
    def needed_parts(self, namespace: Namespace, scope: Scope) -> frozenset[ChainId | None]:
        """The parts that a scope needs; none when it needs nothing of this source."""

    @abstractmethod
    async def ask(self, questions: Sequence[Question], reading: Reading) -> Mapping[AccountAddress, Answer]:
        """Asks for many addresses, each once, in as few requests as possible. Failures are in the reports."""

    def begin_book(self, wants: Wants, reading: Reading) -> None:
        """Lets the registers be read that its book is made of."""
        return

    @abstractmethod
    async def read_book(self, asset_ids: Collection[AssetId], wants: Wants, reading: Reading) -> Book:
        """What it knows of tokens: of all in its registers, and of ``asset_ids`` where it must be asked by name."""

    @abstractmethod
    async def chains(self, reading: Reading) -> frozenset[ChainId]:
        """The chains it covers; raises a ``LoadError``."""

    async def indexed_to(self, reading: Reading) -> AsOf | None:
        """How far the source has read the chain; None when it does not say."""
        return None

    async def holders(self, asset_id: AssetId, reading: Reading) -> Answer | None:
        """All who hold a token; None when the source cannot list its holders."""
        return None

    def unasked(self, address: AccountAddress) -> Answer:
        """The answer of a source that is not asked, with the reason in its reports."""
        if address.namespace not in self.namespaces:
            chains = {part for namespace in self.namespaces for part in self.parts(namespace)}
            only = next(iter(chains)) if len(chains) == 1 else None
            return NoAnswer([Report(self.name, only, (address,), SourceStatus.NOT_APPLICABLE)])
        status = SourceStatus.NOT_REQUESTED if self.configured else SourceStatus.NOT_CONFIGURED
        return NoAnswer([Report(self.name, part, (address,), status) for part in self.parts(address.namespace)])


def answered_report(
    source: HoldingSource, chain_id: ChainId | None, accounts: tuple[AccountAddress, ...], fetched: Fetched[Any]
) -> Report:
    """The report of a request that was answered, now or earlier; STALE if it could not be renewed."""
    report = Report(
        source,
        chain_id,
        accounts,
        SourceStatus.OK,
        fetched_at=fetched.fetched_at,
        cache_age_seconds=fetched.cache_age_seconds,
        calls=fetched.calls,
    )
    return report if fetched.stale is None else stale_report(report, fetched.stale)


def stale_report(report: Report, error: LoadError) -> Report:
    """A report of an earlier answer, which could not be renewed for this reason."""
    return replace(_with_error(report, error), status=SourceStatus.STALE)


def failed_report(
    source: HoldingSource, chain_id: ChainId | None, accounts: tuple[AccountAddress, ...], error: LoadError
) -> Report:
    """The report of a request that failed."""
    return _with_error(Report(source, chain_id, accounts, SourceStatus.FAILED), error)


def partial_report(report: Report, error: LoadError, *, truncated: bool = False) -> Report:
    """A report with part of its data missing for this reason."""
    return replace(_with_error(report, error), status=SourceStatus.PARTIAL, truncated=truncated)


def _with_error(report: Report, error: LoadError) -> Report:
    return replace(
        report,
        code=error.code,
        message=error.message,
        retry_after_seconds=error.retry_after_seconds,
        calls=report.calls | error.calls,
    )
