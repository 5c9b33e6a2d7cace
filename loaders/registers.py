"""Registers: lists that an upstream gives as a whole, one request for everybody, kept for as long as they live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct

from loaders.cache import Codec, Lifetime
from loaders.errors import LoadError
from loaders.read_through import Begun, Caches, Land, Outcome, ReadThrough
from loaders.upstream.http import Document, Fetched, Listing

K = TypeVar("K")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)

# Records and an index of them take about so many times the bytes of the JSON that they were read from.
_MEMORY_PER_BYTE = 6

# Balances are asked for when no field has wanted more for some ticks. They go first: an upstream that refuses a list
# is not asked anything else for a while.
_TICKS_BEHIND_BALANCES = 16


class _Built(Struct, Generic[T_co], frozen=True):
    """A list as it came, and the index built of it."""

    body: bytes
    index: T_co


class Register(Generic[T_co]):
    """One list, indexed by ``build`` when it is fetched; ``flawed`` if it is not whole. A failure is never kept."""

    def __init__(
        self,
        caches: Caches,
        name: str,
        listing: Listing[R],
        build: Callable[[R], T_co],
        lifetime: Lifetime,
        *,
        flawed: Callable[[T_co], bool] | None = None,
    ) -> None:
        def built(document: Document[R]) -> _Built[T_co]:
            return _Built(document.body, build(document.records))

        async def fetch(keys: Sequence[None], deadline: float, land: Land[None, _Built[T_co]]) -> None:
            try:
                fetched = await listing.fetch(deadline)
            except LoadError as error:
                land(None, error)
            else:
                land(None, fetched.with_value(built(fetched.value)))

        codec = Codec(
            version=1,
            encode=lambda value: value.body,
            decode=lambda body: built(listing.read(body)),
            size=lambda value: _MEMORY_PER_BYTE * len(value.body),
        )
        self._answers: ReadThrough[None, _Built[T_co]] = ReadThrough(
            caches,
            name,
            fingerprint=listing.fingerprint,
            fetch=fetch,
            name=lambda key: "all",
            codec=codec,
            lifetime=lifetime,
            flawed=lambda built: flawed is not None and flawed(built.index),
        )

    def kept(self) -> Fetched[T_co] | None:
        """The list, if memory has it and it is fresh."""
        kept = self._answers.kept(None)
        return None if kept is None else kept.with_value(kept.value.index)

    async def read(self, deadline: float) -> T_co:
        """The list; raises a ``LoadError``."""
        return (await self.fetch(deadline)).value

    async def fetch(self, deadline: float) -> Fetched[T_co]:
        """The list, and for how long it is good; raises a ``LoadError``."""
        kept = self.kept()
        if kept is not None:
            return kept
        outcome = (await self._answers.load([None], deadline))[None]
        if isinstance(outcome, LoadError):
            raise outcome
        return outcome.with_value(outcome.value.index)


class Reading:
    """One operation's reading of one source: its deadline, and every register as first seen.

    So all fields of an operation speak of the same prices, and a register that failed is not asked again. Balances
    are renewed that are older than ``max_age_seconds``; None leaves it to their lifetime.
    """

    def __init__(self, deadline: float, max_age_seconds: float | None = None) -> None:
        self.deadline = deadline
        self.max_age_seconds = max_age_seconds
        self._fresh_until: float | None = None
        self._seen: dict[Register[object], object] = {}
        self._being_read: dict[Register[object], asyncio.Task[None]] = {}

    def close(self) -> None:
        """Cancels what is still being read."""
        for reading in self._being_read.values():
            reading.cancel()
        self._being_read = {}  # which, cancelled, lead back here

    @property
    def fresh_seconds(self) -> float | None:
        """How long from now all that was read stays fresh: None when nothing was read, 0 when something failed.

        It is 0 as well when something is stale, or lacks something.
        """
        return None if self._fresh_until is None else max(0.0, self._fresh_until - time.monotonic())

    def note(self, outcome: Outcome[Any]) -> None:
        """Takes note of an answer, or of a failure, that went into the operation."""
        seconds = 0.0 if isinstance(outcome, LoadError) else outcome.fresh_seconds
        until = time.monotonic() + seconds if seconds else 0.0
        self._fresh_until = until if self._fresh_until is None else min(until, self._fresh_until)

    async def balances(self, answers: ReadThrough[K, V], keys: Iterable[K]) -> dict[K, Outcome[V]]:
        """An answer or a failure for each question, none of them too old for this operation."""
        with self.begin_balances(answers, keys) as begun:
            return await self.outcomes(begun)

    def begin_balances(self, answers: ReadThrough[K, V], keys: Iterable[K]) -> Begun[K, V]:
        """Lets the questions be asked; ``outcomes`` gives what came of them, within the context of what is given."""
        return answers.begin(keys, self.deadline, self.max_age_seconds)

    async def outcomes(self, begun: Begun[K, V]) -> dict[K, Outcome[V]]:
        """What came of questions."""
        return self._noted(await begun.outcomes())

    async def facts(self, answers: ReadThrough[K, V], keys: Iterable[K]) -> dict[K, Outcome[V]]:
        """The same for what hardly changes, as old as its lifetime allows."""
        return self._noted(await answers.load(keys, self.deadline))

    def _noted(self, outcomes: dict[K, Outcome[V]]) -> dict[K, Outcome[V]]:
        for outcome in outcomes.values():
            self.note(outcome)
        return outcomes

    async def try_read(self, register: Register[T]) -> T | LoadError:
        """The register's list, or why it could not be read."""
        try:
            return await self.read(register)
        except LoadError as error:
            return error

    async def read(self, register: Register[T]) -> T:
        """The register's list; raises a ``LoadError``."""
        self.begin(register)
        if register not in self._seen:
            await asyncio.shield(self._being_read[register])
        seen = self._seen[register]
        if isinstance(seen, LoadError):
            raise seen
        return seen  # type: ignore[return-value]  # what this register gave

    def begin(self, *registers: Register[object]) -> None:
        """Lets registers be read, for whoever will want them."""
        for register in registers:
            if register in self._seen or register in self._being_read:
                continue
            kept = register.kept()
            if kept is None:
                self._being_read[register] = asyncio.create_task(self._read(register))
            else:
                self._see(register, kept)

    async def _read(self, register: Register[object]) -> None:
        for _ in range(_TICKS_BEHIND_BALANCES):
            await asyncio.sleep(0)
        try:
            self._see(register, await register.fetch(self.deadline))
        except LoadError as error:
            self._see(register, error)

    def _see(self, register: Register[object], outcome: Outcome[object]) -> None:
        self.note(outcome)
        self._seen[register] = outcome if isinstance(outcome, LoadError) else outcome.value
