"""Several accounts read as one: what all sources say of them, reconciled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from loaders.answers import AnswerKey, Asked
from loaders.books import Books
from loaders.caip import AccountAddress, AccountId, ChainId
from loaders.records import (
    Aggregate,
    HoldingSource,
    Observation,
    Report,
    SourceStatus,
    TokenKind,
    Wants,
)
from loaders.source import Answer, Scope
from resolvers.context import Context
from resolvers.reconcile import HoldingRecord, Pricing, reconcile
from resolvers.token import kind_of

_ANSWERED = (SourceStatus.OK, SourceStatus.STALE)


class View(Struct, frozen=True):
    """What some accounts hold within a scope; ``holdings`` in no order, those of zero included.

    ``summed`` are the sets of accounts that each source's ``aggregates`` are over.
    """

    addresses: tuple[AccountAddress, ...]
    holdings: Sequence[HoldingRecord]
    reports: Sequence[Report]
    aggregates: Sequence[Aggregate]
    summed: Mapping[HoldingSource, frozenset[frozenset[AccountAddress]]]
    books: Books

    @property
    def snapshot_at(self) -> datetime | None:
        """When the oldest answer behind it was fetched; None when nothing was."""
        return min((report.fetched_at for report in self.reports if report.fetched_at), default=None)

    @property
    def unsound_sources(self) -> list[HoldingSource]:
        """The sources that were asked and are not OK."""
        asked = [report for report in self.reports if report.status.was_asked]
        return list(dict.fromkeys(report.source for report in asked if report.status is not SourceStatus.OK))


class _Said(Struct, frozen=True):
    """What one source says of one address within some scopes."""

    source: HoldingSource
    address: AccountAddress
    observations: Sequence[Observation]
    reports: Sequence[Report]
    answer: Answer


async def load_view(context: Context, addresses: tuple[AccountAddress, ...], scope: Scope, wants: Wants) -> View:
    """Asks every source that the scope needs, all at the same time, and reconciles what they say."""
    names = _needed_sources(context, addresses, scope)
    begun = _begin(context, addresses, scope, wants)
    books = await context.loaders.read_books(names, wants)
    said = await _listen(context, begun, scope)
    key = (addresses, scope, Wants.PRICE in wants)
    if key not in context.reconciled:
        context.reconciled[key] = _reconcile(context, said, books)
    return View(
        addresses,
        context.reconciled[key],
        _merge(said),
        list(dict.fromkeys(aggregate for one in said for aggregate in one.answer.aggregates)),
        {
            name: frozenset(one.answer.accounts for one in said if one.source is name and one.answer.accounts)
            for name in context.loaders.sources
        },
        books,
    )


async def load_reports(context: Context, addresses: tuple[AccountAddress, ...], wants: Wants) -> Sequence[Report]:
    """How the sources did in whatever this operation asks of the addresses; asks everything if nothing else does."""
    return _merge(await _listen(context, _begin(context, addresses, None, wants), None))


def _needed_sources(context: Context, addresses: Iterable[AccountAddress], scope: Scope) -> frozenset[HoldingSource]:
    namespaces = {address.namespace for address in addresses}
    return frozenset(
        name
        for name, source in context.loaders.sources.items()
        if scope.allows_source(name)
        and any(namespace in source.namespaces and source.needed_parts(namespace, scope) for namespace in namespaces)
    )


_Begun = list[tuple[HoldingSource, AccountAddress, asyncio.Future[Asked]]]


def _begin(context: Context, addresses: tuple[AccountAddress, ...], scope: Scope | None, wants: Wants) -> _Begun:
    """Asks all sources; what they say is there to be waited for."""
    company = frozenset(addresses)
    return [
        (name, address, answers.begin(AnswerKey(address, scope, wants, company)))
        for name, answers in context.loaders.answers.items()
        for address in addresses
    ]


async def _listen(context: Context, begun: _Begun, scope: Scope | None) -> list[_Said]:
    for _, _, asked in begun:
        if not asked.done():
            await asyncio.shield(asked)
    return [_within(context, name, address, asked.result(), scope) for name, address, asked in begun]


def _within(
    context: Context, name: HoldingSource, address: AccountAddress, asked: Asked, scope: Scope | None
) -> _Said:
    """What an answer says within a scope, or within all that was asked: as if only that had been asked."""
    source = context.loaders.sources[name]
    scopes = [one for one in (asked.scopes if scope is None else (scope,)) if one.allows_source(name)]
    namespace = address.namespace
    parts = frozenset(part for one in scopes for part in source.needed_parts(namespace, one))
    said: list[Observation] = []
    counted: list[Observation] = []
    for one in scopes:
        needed = source.needed_parts(namespace, one)
        within = asked.answer.observations(one)
        if None not in needed and len(needed) < len(source.parts(namespace)):
            within = [observation for observation in within if observation.asset_id.chain_id in needed]
        said += within
        counted += within if one.kinds is None else [seen for seen in within if _may_be_of(one, seen)]
    if len(scopes) > 1:
        said, counted = _one_each(said), _one_each(counted)
    reports = [
        report.counting(_count(counted, report.chain_id)) if report.chain_id in parts else report.not_requested()
        for report in asked.answer.reports_within(scopes)
    ]
    return _Said(name, address, said, reports, asked.answer)


def _one_each(observations: Sequence[Observation]) -> list[Observation]:
    """The first one of each asset."""
    return list({observation.asset_id: observation for observation in reversed(observations)}.values())


def _may_be_of(scope: Scope, observation: Observation) -> bool:
    """Whether it is, or may be, of one of the kinds that a scope wants."""
    kind = kind_of(observation.asset_id, observation.facts)
    return kind is TokenKind.UNKNOWN or scope.allows_kind(kind)


def _count(observations: Sequence[Observation], chain_id: ChainId | None) -> int:
    """How many of the observations are of one chain; None means any."""
    if chain_id is None:
        return len(observations)
    return [observation.asset_id.chain_id for observation in observations].count(chain_id)


def _reconcile(context: Context, said: Sequence[_Said], books: Books) -> list[HoldingRecord]:
    statuses: dict[tuple[HoldingSource, AccountAddress, object], SourceStatus] = {
        (one.source, one.address, report.chain_id): report.status for one in said for report in one.reports
    }

    def status(source: HoldingSource, account_id: AccountId) -> SourceStatus | None:
        address = account_id.address
        return statuses.get((source, address, None)) or statuses.get((source, address, account_id.chain_id))

    any_stale = SourceStatus.STALE in statuses.values()

    def stale(observation: Observation) -> bool:
        return any_stale and status(observation.source, observation.account_id) is SourceStatus.STALE

    pricing = Pricing(
        books,
        [name for name, source in context.loaders.sources.items() if source.values_holdings],
        lambda source, account_id: status(source, account_id) in _ANSWERED,
    )
    return reconcile(chain.from_iterable(one.observations for one in said), stale, pricing)


def _merge(said: Sequence[_Said]) -> list[Report]:
    """One report for each source, chain and outcome, over the accounts that they have in common."""
    reports = [report for one in said for report in one.reports]
    merged: dict[object, Report] = {}
    applicable = {report.source for report in reports if report.status is not SourceStatus.NOT_APPLICABLE}
    for report in reports:
        if report.status is SourceStatus.NOT_APPLICABLE and report.source in applicable:
            continue  # it speaks for another of the accounts
        alike = (report.source, report.chain_id, report.status, report.code)
        same = merged.get(alike)
        merged[alike] = report if same is None else _join(same, report)
    return list(merged.values())


def _join(one: Report, other: Report) -> Report:
    return replace(
        one,
        accounts=one.accounts + other.accounts,
        retry_after_seconds=_latest(one.retry_after_seconds, other.retry_after_seconds),
        observation_count=one.observation_count + other.observation_count,
        truncated=one.truncated or other.truncated,
        fetched_at=min(filter(None, (one.fetched_at, other.fetched_at)), default=None),
        cache_age_seconds=_latest(one.cache_age_seconds, other.cache_age_seconds),
        calls=one.calls | other.calls,
    )


def _latest(one: int | None, other: int | None) -> int | None:
    return max((seconds for seconds in (one, other) if seconds is not None), default=None)
