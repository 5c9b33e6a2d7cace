"""Solana balances by owner, from The Graph Token API: token accounts page by page, SOL, and mints' metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from pydantic import TypeAdapter

from loaders.base import run_all
from loaders.cache import Codec, Lifetime
from loaders.caip import AccountAddress
from loaders.errors import LoadError
from loaders.read_through import Caches, Land, Outcome, ReadThrough
from loaders.records import TokenAccountRecord
from loaders.solana_tokens import token_account_of
from loaders.source import joined
from loaders.upstream.fields import decimals_of, raw_amount
from loaders.upstream.http import Fetched
from loaders.upstream.thegraph import MintRecord, NativeBalanceRecord, Plan, SplBalanceRecord, TheGraphClient

_T = TypeVar("_T")

_MAX_PAGES = 100
_BALANCE_SECONDS = 15.0
_MINTS = Lifetime(600, 3_600, 86_400)

# What a token account and a mint's metadata take in memory, by measurement.
_ROW_BYTES = 1_000
_MINT_BYTES = 1_800


class RowFilter(Struct, frozen=True):
    """What a request for token accounts is narrowed to: at most one of the lists; None does not narrow."""

    mints: frozenset[str] | None
    token_accounts: frozenset[str] | None
    program_id: str | None
    zero: bool

    def covers(self, other: RowFilter) -> bool:
        """Whether all that the other lets through passes here too."""
        return (
            _within(other.mints, self.mints)
            and _within(other.token_accounts, self.token_accounts)
            and self.program_id in (None, other.program_id)
            and (self.zero or not other.zero)
        )

    def united(self, other: RowFilter) -> RowFilter | None:
        """One filter that lets through what both do, and little else; None when they are better asked apart."""
        if self.covers(other):
            return self
        if other.covers(self):
            return other
        return self | other if self.shape == other.shape else None

    def __or__(self, other: RowFilter) -> RowFilter:
        """A filter of the same shape with the lists of both."""
        return replace(
            self,
            mints=joined(self.mints, other.mints),
            token_accounts=joined(self.token_accounts, other.token_accounts),
        )

    def allows(self, account: TokenAccountRecord) -> bool:
        """Whether it is one of those asked for; what a program's id means only the answer tells."""
        return (self.mints is None or account.mint in self.mints) and (
            self.token_accounts is None or account.address in self.token_accounts
        )

    def serves(self, other: RowFilter) -> bool:
        """Whether a request with this filter gives some of what the other wants."""
        return (
            _meet(self.mints, other.mints)
            and _meet(self.token_accounts, other.token_accounts)
            and self.program_id in (None, other.program_id)
            and (self.zero or not other.zero)
        )

    @property
    def shape(self) -> RowFilter:
        """The filter without its lists: owners whose filters have one shape share requests."""
        none = frozenset[str]()
        return replace(self, mints=self.mints and none, token_accounts=self.token_accounts and none)


def _within(inner: frozenset[str] | None, outer: frozenset[str] | None) -> bool:
    return outer is None or (inner is not None and inner <= outer)


def _meet(asked: frozenset[str] | None, wanted: frozenset[str] | None) -> bool:
    return asked is None or (wanted is not None and not asked.isdisjoint(wanted))


def united_filters(filters: Sequence[RowFilter]) -> list[RowFilter]:
    """As few filters as give what all of these do, the widest first."""
    united: list[RowFilter] = []
    for narrowed in sorted(filters, key=lambda one: (one.mints is not None) + (one.token_accounts is not None)):
        for index, seen in enumerate(united):
            together = seen.united(narrowed)
            if together is not None:
                united[index] = together
                break
        else:
            united.append(narrowed)
    return united


class OwnerRows(Struct, frozen=True):
    """Token accounts of one owner; ``truncated`` if there are more, and not by our own limit if there is an error."""

    accounts: tuple[TokenAccountRecord, ...]
    truncated: bool = False
    unreadable: bool = False
    error: LoadError | None = None


class OwnerSol(Struct, frozen=True):
    """One owner's SOL; no row where there is none."""

    row: NativeBalanceRecord | None
    unreadable: bool = False
    truncated: ClassVar[bool] = False
    error: ClassVar[LoadError | None] = None


class RowsOf(Struct, frozen=True):
    """A question for one owner's token accounts, through a filter whose lists are no longer than a plan allows."""

    owner: AccountAddress
    narrowed: RowFilter

    def __str__(self) -> str:
        narrowed = self.narrowed
        if narrowed == RowFilter(None, None, None, narrowed.zero):
            return f"{self.owner}:all:{narrowed.zero:d}"
        lists = [None if some is None else sorted(some) for some in (narrowed.mints, narrowed.token_accounts)]
        text = json.dumps([lists, narrowed.program_id, narrowed.zero])
        return f"{self.owner}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


class SolOf(Struct, frozen=True):
    """A question for one owner's SOL."""

    owner: AccountAddress
    zero: bool

    def __str__(self) -> str:
        return f"{self.owner}:{self.zero:d}"


_MINT_ROW = TypeAdapter(MintRecord | None)


def _encode(*parts: Any) -> bytes:
    # In ASCII, as strangers' text may hold what UTF-8 does not.
    return json.dumps(parts, default=msgspec.to_builtins).encode("ascii")


def _encode_rows(value: OwnerRows) -> bytes:
    rows = [
        (
            *(one.address, one.mint, one.program_id, one.raw, one.block_number, one.unix_seconds),
            *(one.facts.decimals, one.facts.symbol, one.facts.name, one.facts.metadata_uri),
        )
        for one in value.accounts
    ]
    return _encode(value.truncated, value.unreadable, rows)


_Written = list[tuple[str, str, str, Any, int, int, Any, str | None, str | None, str | None]]


def _decode_rows(body: bytes) -> OwnerRows:
    truncated, unreadable, rows = json.loads(body)
    accounts = []
    for address, mint, program_id, raw, block, time, decimals, symbol, name, uri in msgspec.convert(rows, _Written):
        known = None if decimals is None else decimals_of(decimals)
        account = token_account_of(
            SplBalanceRecord(
                owner="",
                mint=mint,
                program_id=program_id,
                last_update_block_num=block,
                last_update_timestamp=time,
                amount=raw_amount(raw),
                account=address,
                decimals=known,
                name=name,
                symbol=symbol,
                uri=uri,
            )
        )
        if account is None:
            raise ValueError("not a token account")
        accounts.append(account)
    return OwnerRows(tuple(accounts), bool(truncated), bool(unreadable))


def _decode_mint(body: bytes) -> MintRecord | None:
    (row,) = json.loads(body)
    return _MINT_ROW.validate_python(row)


def _decode_native(body: bytes) -> OwnerSol:
    unreadable, row = json.loads(body)
    return OwnerSol(msgspec.convert(row, NativeBalanceRecord | None), bool(unreadable))


_ROWS: Codec[OwnerRows] = Codec(
    version=2,
    encode=_encode_rows,
    decode=_decode_rows,
    size=lambda value: _ROW_BYTES * (1 + len(value.accounts)),
)
_NATIVES: Codec[OwnerSol] = Codec(
    version=1,
    encode=lambda value: _encode(value.unreadable, value.row),
    decode=_decode_native,
    size=lambda value: _ROW_BYTES,
)
_METADATA: Codec[MintRecord | None] = Codec(
    version=1,
    encode=lambda value: _encode(_MINT_ROW.dump_python(value)),
    decode=_decode_mint,
    size=lambda value: _MINT_BYTES,
)


@dataclass(slots=True)
class _Pages:
    """What was read of some owners' token accounts through one filter; ``error`` is why it ended too early."""

    accounts: dict[str, list[TokenAccountRecord]] = field(default_factory=dict)
    calls: frozenset[int] = frozenset()
    fetched_at: list[datetime] = field(default_factory=list)
    truncated: bool = False
    unreadable: bool = False
    error: LoadError | None = None


class SolanaBalances:
    """Everything that is asked about Solana owners and mints, each thing once."""

    rows: ReadThrough[RowsOf, OwnerRows]
    sol: ReadThrough[SolOf, OwnerSol]
    mints: ReadThrough[str, MintRecord | None]

    def __init__(self, client: TheGraphClient, caches: Caches) -> None:
        self._client = client
        lifetime, fingerprint = caches.balance_lifetime(_BALANCE_SECONDS), client.fingerprint
        self.rows = ReadThrough(
            caches,
            "thegraph:balances",
            fingerprint=fingerprint,
            fetch=self._fetch_rows,
            name=str,
            codec=_ROWS,
            lifetime=lifetime,
            incomplete=lambda value: value.error,
            flawed=lambda value: value.truncated or value.unreadable,
        )
        self.sol = ReadThrough(
            caches,
            "thegraph:native",
            fingerprint=fingerprint,
            fetch=self._fetch_sol,
            name=str,
            codec=_NATIVES,
            lifetime=lifetime,
            flawed=lambda value: value.unreadable,
        )
        self.mints = ReadThrough(
            caches,
            "thegraph:mints",
            fingerprint=fingerprint,
            fetch=self._fetch_mints,
            name=str,
            codec=_METADATA,
            lifetime=_MINTS,
        )

    @property
    def _plan(self) -> Plan:
        return self._client.plan

    def questions(self, owner: AccountAddress, narrowed: RowFilter) -> list[RowsOf]:
        """The questions that a filter comes to: all of the owner's rows if they are known already."""
        for zero in (True, False) if not narrowed.zero else (True,):
            everything = RowsOf(owner, RowFilter(None, None, None, zero))
            known = self.rows.fresh(everything) if everything.narrowed.covers(narrowed) else None
            if known is not None and not (known.truncated or known.unreadable):
                return [everything]
        return [RowsOf(owner, part) for part in _parts(narrowed, self._plan.batch)]

    async def _fetch_rows(self, questions: Sequence[RowsOf], deadline: float, land: Land[RowsOf, OwnerRows]) -> None:
        """Owners whose filters have one shape share requests."""

        async def read(some: Sequence[RowsOf]) -> None:
            united = reduce(or_, [question.narrowed for question in some])
            owners = list(dict.fromkeys(question.owner for question in some))
            parts = _parts(united, self._plan.batch)
            pages = await run_all([self._read_pages(owners, part, deadline) for part in parts])
            for question in some:
                serving = [one for part, one in zip(parts, pages, strict=True) if part.serves(question.narrowed)]
                land(question, _of_pages(question, serving))

        by_shape: dict[RowFilter, list[RowsOf]] = {}
        for question in questions:
            by_shape.setdefault(question.narrowed.shape, []).append(question)
        size = min(self._plan.batch, self._plan.page)
        await run_all([read(some) for alike in by_shape.values() for some in _chunks(alike, size)])

    async def _read_pages(self, owners: Sequence[str], narrowed: RowFilter, deadline: float) -> _Pages:
        pages = _Pages()
        for page in range(1, _MAX_PAGES + 1):
            try:
                fetched = await self._client.fetch_spl_balances(
                    owners,
                    page,
                    deadline,
                    mints=sorted(narrowed.mints or ()),
                    token_accounts=sorted(narrowed.token_accounts or ()),
                    program_id=narrowed.program_id,
                    include_zero=narrowed.zero,
                )
            except LoadError as error:
                pages.calls |= error.calls
                pages.error, pages.truncated = error, page > 1
                break
            read = fetched.value
            for row in read.rows:
                account = token_account_of(row)
                if account is None:
                    pages.unreadable = True
                elif row.owner in pages.accounts:
                    pages.accounts[row.owner].append(account)
                else:
                    pages.accounts[row.owner] = [account]
            pages.calls |= fetched.calls
            pages.fetched_at.append(fetched.fetched_at)
            pages.unreadable |= read.dropped > 0
            if len(read.rows) + read.dropped < self._plan.page:
                break
        else:
            pages.truncated = True
        return pages

    async def _fetch_sol(self, questions: Sequence[SolOf], deadline: float, land: Land[SolOf, OwnerSol]) -> None:
        """As many owners a request as the plan allows."""

        async def read(some: Sequence[AccountAddress], zero: bool) -> None:
            try:
                fetched = await self._client.fetch_native_balances(some, 1, deadline, include_zero=zero)
            except LoadError as error:
                for owner in some:
                    land(SolOf(owner, zero), error)
                return
            rows: dict[str, NativeBalanceRecord] = {}
            for row in fetched.value.rows:
                seen = rows.get(row.address)
                if seen is None or row.last_update_block_num > seen.last_update_block_num:
                    rows[row.address] = row
            unreadable = fetched.value.dropped > 0
            for owner in some:
                land(SolOf(owner, zero), fetched.with_value(OwnerSol(rows.get(owner), unreadable)))

        size = min(self._plan.batch, self._plan.page)
        by_zero = {zero: [q.owner for q in questions if q.zero is zero] for zero in (False, True)}
        await run_all([read(some, zero) for zero, owners in by_zero.items() for some in _chunks(owners, size)])

    async def _fetch_mints(self, mints: Sequence[str], deadline: float, land: Land[str, MintRecord | None]) -> None:
        """As many mints a request as the plan allows."""

        async def read(some: Sequence[str]) -> None:
            try:
                fetched = await self._client.fetch_mints(some, deadline)
            except LoadError as error:
                for mint in some:
                    land(mint, error)
                return
            rows = {row.mint: row for row in fetched.value.rows}
            for mint in some:
                land(mint, fetched.with_value(rows.get(mint)))

        await run_all([read(some) for some in _chunks(mints, self._plan.batch)])


def _of_pages(question: RowsOf, read: Sequence[_Pages]) -> Outcome[OwnerRows]:
    """One owner's part of what was read for several."""
    calls = frozenset[int]().union(*[pages.calls for pages in read])
    fetched_at = [instant for pages in read for instant in pages.fetched_at]
    error = next((pages.error for pages in read if pages.error is not None), None)
    if error is not None and not fetched_at:
        return error.with_calls(calls)
    accounts = [account for pages in read for account in pages.accounts.get(question.owner, ())]
    if question.narrowed.mints is not None or question.narrowed.token_accounts is not None:
        accounts = [account for account in accounts if question.narrowed.allows(account)]
    truncated, unreadable = any(pages.truncated for pages in read), any(pages.unreadable for pages in read)
    return Fetched(OwnerRows(tuple(accounts), truncated, unreadable, error), min(fetched_at), calls)


def _parts(narrowed: RowFilter, size: int) -> list[RowFilter]:
    """The filter in parts whose lists are no longer than this."""
    if narrowed.mints is not None:
        return [replace(narrowed, mints=frozenset(some)) for some in _chunks(sorted(narrowed.mints), size)]
    if narrowed.token_accounts is not None:
        accounts = _chunks(sorted(narrowed.token_accounts), size)
        return [replace(narrowed, token_accounts=frozenset(some)) for some in accounts]
    return [narrowed]


def _chunks(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
