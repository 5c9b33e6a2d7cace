"""A read-through cache: each question is asked upstream once, by one replica, for all who want the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from msgspec.structs import replace

from loaders.cache import Age, Codec, Entry, Failure, Flight, Lifetime, MemoryCache, Shared, SharedCache, new_token
from loaders.errors import BudgetExhaustedError, LoadError, UpstreamTimeoutError, UpstreamUnreachableError
from loaders.upstream.background import Background
from loaders.upstream.http import Fetched
from loaders.upstream.metrics import BATCH_SIZE, CACHE_AGE_SECONDS, CACHE_READS, FETCHES
from loaders.upstream.shared import SharedStore, SharedStoreError

K = TypeVar("K")
V = TypeVar("V")

Outcome = Fetched[V] | LoadError
Land = Callable[[K, Fetched[V] | LoadError], None]
Fetch = Callable[[Sequence[K], float, Land[K, V]], Awaitable[None]]

_RENEW_SECONDS = 0.6
_POLL_SECONDS = (0.01, 0.1)
_LONGEST_REST_SECONDS = 30.0
_GRACE_SECONDS = 0.5
_NO_CALLS = frozenset[int]()


@dataclass(frozen=True, slots=True)
class Caches:
    """The memory and the store that all kinds of answers are kept in, and where refreshes run.

    ``refresh_seconds`` is the deadline of a refresh. The others are how long balances are of use (see ``Lifetime``);
    ``fresh_seconds`` None leaves it to each source.
    """

    memory: MemoryCache
    store: SharedStore | None
    background: Background
    refresh_seconds: float
    fresh_seconds: float | None
    stale_while_revalidate_seconds: float
    stale_if_error_seconds: float

    def balance_lifetime(self, fresh_seconds: float) -> Lifetime:
        """How long balances are of use that by their source's nature are fresh for ``fresh_seconds``."""
        fresh = fresh_seconds if self.fresh_seconds is None else self.fresh_seconds
        return Lifetime(fresh, self.stale_while_revalidate_seconds, self.stale_if_error_seconds)


class _Meters:
    """What operators see of answers of one kind; looking a meter up takes longer than moving it."""

    def __init__(self, kind: str) -> None:
        self.batch_size = BATCH_SIZE.labels(kind)
        self.age_seconds = CACHE_AGE_SECONDS.labels(kind)
        self.fetched = FETCHES.labels(kind, "OK")
        self.failed = FETCHES.labels(kind, "FAILED")
        self.reads = {
            tier: {age: CACHE_READS.labels(kind, tier, age.value) for age in Age} for tier in ("memory", "shared")
        }


@dataclass(slots=True, eq=False)
class _Flight(Generic[K, V]):
    """Some questions on their way to an answer. It ends with its last waiter, unless it is of use to others."""

    landed: dict[K, asyncio.Future[Outcome[V]]]
    for_others: bool = False
    max_age_seconds: float | None = None
    waiting: int = 0
    task: asyncio.Task[None] | None = None


class Begun(Generic[K, V]):
    """Questions some of which are on their way; used as a context, so that none is waited for when nobody does."""

    def __init__(self, answers: ReadThrough[K, V], deadline: float, max_age_seconds: float | None) -> None:
        self.deadline = deadline
        self.max_age_seconds = max_age_seconds
        self.kept: dict[K, Fetched[V]] = {}
        self.wanted: dict[K, _Flight[K, V] | None] = {}
        self.ours: frozenset[K] = frozenset()
        self._answers = answers

    async def outcomes(self) -> dict[K, Outcome[V]]:
        """An answer or a failure for each question."""
        answers = self._answers
        outcomes: dict[K, Outcome[V]] = {**self.kept}
        for key in self.wanted:
            outcomes[key] = await answers._wait(key, self)
        return {key: answers._with_freshness(outcome) for key, outcome in outcomes.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key, flight in self.wanted.items():
            if flight is not None:
                self.wanted[key] = None
                self._answers._leave(flight)


class ReadThrough(Generic[K, V]):
    """Answers of one kind, by question.

    ``fetch`` asks upstream for some questions, as many a request as it can, until the event-loop time that it gets,
    and lands each answer as it comes; it may answer more than it was asked. ``name`` is the canonical spelling of a
    question. ``incomplete`` says why an answer lacks something: an earlier whole one is served in its place, or else
    it is served itself, and not kept; neither is one that is ``passing``. One that is ``flawed`` is kept and served,
    but nobody shall take it for the whole truth.
    """

    def __init__(
        self,
        caches: Caches,
        kind: str,
        *,
        fingerprint: str,
        fetch: Fetch[K, V],
        name: Callable[[K], str],
        codec: Codec[V],
        lifetime: Lifetime,
        incomplete: Callable[[V], LoadError | None] = lambda value: None,
        passing: Callable[[V], bool] = lambda value: False,
        flawed: Callable[[V], bool] = lambda value: False,
    ) -> None:
        self._caches = caches
        self._memory = caches.memory
        self._meters = _Meters(kind)
        self._prefix = f"{kind}:{fingerprint}:"
        self._fetch = fetch
        self._name = name
        self._codec = codec
        self._lifetime = lifetime
        self._incomplete = incomplete
        self._passing = passing
        self._flawed = flawed
        self._flights: dict[K, _Flight[K, V]] = {}
        self._shared = None if caches.store is None else SharedCache(caches.store, kind, codec, lifetime)

    def peek(self, key: K) -> Entry[V] | None:
        """What memory holds; None when that is too old for any use."""
        entry = self._memory.get(self._key(key))
        return None if entry is None or entry.age(self._lifetime) is Age.DEAD else entry

    def fresh(self, key: K) -> V | None:
        """What memory can answer without asking anyone; None when it cannot."""
        entry = self.peek(key)
        return entry.value if entry is not None and entry.age(self._lifetime) is Age.FRESH else None

    def kept(self, key: K) -> Fetched[V] | None:
        """What memory has of a question, if it is fresh."""
        entry = self._memory.get(self._key(key))
        if entry is None or entry.age(self._lifetime) is not Age.FRESH:
            return None
        self._meters.reads["memory"][Age.FRESH].inc()
        return self._with_freshness_of(self._served(entry, None))

    async def load(
        self, keys: Iterable[K], deadline: float, max_age_seconds: float | None = None
    ) -> dict[K, Outcome[V]]:
        """An answer or a failure for each question, at the latest shortly after the event-loop time ``deadline``.

        One older than ``max_age_seconds`` is renewed and waited for, however fresh it still is by its lifetime.
        """
        with self.begin(keys, deadline, max_age_seconds) as begun:
            return await begun.outcomes()

    def begin(self, keys: Iterable[K], deadline: float, max_age_seconds: float | None = None) -> Begun[K, V]:
        """As ``load``, in two steps: all that is to be asked is on its way before anyone waits."""
        begun = Begun(self, deadline, max_age_seconds)
        old: list[K] = []
        for key in dict.fromkeys(keys):
            kept, renew = self._kept(key, max_age_seconds)
            if kept is None:
                begun.wanted[key] = None
            else:
                begun.kept[key] = kept
                if renew:
                    old.append(key)
        if old:
            self._refresh([key for key in old if key not in self._flights])
        new = [key for key in begun.wanted if key not in self._flights]
        if new:
            self._take_off(new, deadline, max_age_seconds)
        for key in begun.wanted:
            begun.wanted[key] = self._board(key)
        begun.ours = frozenset(new)
        return begun

    def _board(self, key: K) -> _Flight[K, V]:
        flight = self._flights[key]
        flight.waiting += 1
        return flight

    def _leave(self, flight: _Flight[K, V]) -> None:
        flight.waiting -= 1
        if flight.waiting or flight.for_others or flight.task is None:
            return
        if not all(landed.done() for landed in flight.landed.values()):
            flight.task.cancel()
            self._forget(flight)

    def _key(self, key: K) -> str:
        return self._prefix + self._name(key)

    def _kept(self, key: K, max_age_seconds: float | None, tier: str = "memory") -> tuple[Fetched[V] | None, bool]:
        """What is served at once, and whether it wants to be renewed."""
        entry = self._memory.get(self._key(key))
        age = Age.DEAD if entry is None else entry.age(self._lifetime)
        self._meters.reads[tier][age].inc()
        if entry is None or age is Age.DEAD:
            return None, False
        if age is Age.FRESH and (max_age_seconds is None or entry.seconds <= max_age_seconds):
            return self._served(entry, None), False
        resting = entry.failure is not None and time.monotonic() < entry.retry_at
        if resting or (age is Age.STALE_WHILE_REVALIDATE and max_age_seconds is None):
            return self._served(entry, entry.failure), not resting
        return None, False

    def _served(self, entry: Entry[V], failure: LoadError | None) -> Fetched[V]:
        seconds = entry.seconds
        self._meters.age_seconds.observe(seconds)
        if failure is None:
            return Fetched(entry.value, entry.fetched_at, _NO_CALLS, int(seconds))
        return Fetched(entry.value, entry.fetched_at, failure.calls, int(seconds), _spent(failure))

    def _with_freshness(self, outcome: Outcome[V]) -> Outcome[V]:
        return outcome if isinstance(outcome, LoadError) else self._with_freshness_of(outcome)

    def _with_freshness_of(self, fetched: Fetched[V]) -> Fetched[V]:
        value = fetched.value
        if fetched.stale is not None or self._flawed(value) or self._passing(value) or self._incomplete(value):
            return fetched
        fresh_seconds = max(0.0, self._lifetime.fresh - _age_seconds(fetched))
        return Fetched(value, fetched.fetched_at, fetched.calls, fetched.cache_age_seconds, None, fresh_seconds)

    def _refresh(self, keys: Sequence[K]) -> None:
        if keys:
            deadline = asyncio.get_running_loop().time() + self._caches.refresh_seconds
            self._take_off(keys, deadline, for_others=True)

    def _take_off(
        self, keys: Sequence[K], deadline: float, max_age_seconds: float | None = None, *, for_others: bool = False
    ) -> _Flight[K, V]:
        loop = asyncio.get_running_loop()
        flight: _Flight[K, V] = _Flight({key: loop.create_future() for key in keys}, for_others, max_age_seconds)
        for key in keys:
            self._flights[key] = flight
        flight.task = self._caches.background.start(self._fly(flight, deadline), for_others=for_others)
        return flight

    async def _wait(self, key: K, begun: Begun[K, V]) -> Outcome[V]:
        """The outcome of a question for which a flight is boarded, however many flights it takes."""
        loop = asyncio.get_running_loop()
        ours, deadline, max_age_seconds = key in begun.ours, begun.deadline, begun.max_age_seconds
        while True:
            flight = begun.wanted[key]
            assert flight is not None
            outcome = await self._arrive(flight, key, deadline + _GRACE_SECONDS if ours else deadline)
            if ours:
                return outcome
            enough = not (_is_anothers(outcome) or _is_older(outcome, max_age_seconds))
            if enough or loop.time() >= deadline:
                return _without_calls(outcome)
            if self._flights.get(key) is flight:
                del self._flights[key]
            self._leave(flight)
            begun.wanted[key] = None
            if key not in self._flights:
                self._take_off([key], deadline, max_age_seconds)
                ours = True
            begun.wanted[key] = self._board(key)

    async def _arrive(self, flight: _Flight[K, V], key: K, deadline: float) -> Outcome[V]:
        landed = flight.landed[key]
        if landed.done():
            return landed.result()
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(landed)
        except TimeoutError:
            return self._or_stale(key, UpstreamTimeoutError(), remember=False)

    def _forget(self, flight: _Flight[K, V]) -> None:
        for key in flight.landed:
            if self._flights.get(key) is flight:
                del self._flights[key]

    async def _fly(self, flight: _Flight[K, V], deadline: float) -> None:
        keys, token = list(flight.landed), "" if self._shared is None else new_token()
        try:
            ours, theirs = await self._ask_shared(flight, keys, token)
            if theirs:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._ask_upstream(flight, ours, token, deadline))
                    group.create_task(self._ask_others(flight, theirs, deadline))
            else:
                await self._ask_upstream(flight, ours, token, deadline)
        except Exception as error:
            for landed in flight.landed.values():
                if not landed.done():
                    landed.set_exception(error)
                    landed.exception()  # retrieved, also when every waiter is gone
        finally:
            self._forget(flight)
            flight.task = None  # which, cancelled, leads back here
            for key in keys:  # nobody waits any more, or the application ends
                self._land(flight, key, UpstreamUnreachableError())

    async def _ask_shared(self, flight: _Flight[K, V], keys: Sequence[K], token: str) -> tuple[list[K], list[K]]:
        """Serves what the shared store has; gives the questions that are ours to ask, and those others ask."""
        if self._shared is None:
            return list(keys), []
        try:
            said = await self._ask_store(self._shared, keys, token, flight.max_age_seconds)
        except SharedStoreError:
            return list(keys), []
        ours, theirs = [], []
        for key in keys:
            shared = said[self._key(key)]
            if shared.entry is not None:
                self._memory.put(self._key(key), shared.entry)
                if shared.failure is not None:
                    self._land(flight, key, self._or_stale(key, shared.failure))
                    continue
            kept, renew = self._kept(key, flight.max_age_seconds, "shared")
            if kept is not None:
                self._land(flight, key, kept)
            if shared.flight is Flight.OURS:
                flight.for_others |= renew
                ours.append(key)
            elif shared.flight is Flight.THEIRS:
                theirs.append(key)
            elif kept is None:  # what the store takes for an answer is none to us
                ours.append(key)
        return ours, theirs

    async def _ask_store(
        self,
        shared: SharedCache[V],
        keys: Sequence[K],
        token: str,
        max_age_seconds: float | None,
        *,
        awaits: bool = False,
    ) -> Mapping[str, Shared[V]]:
        try:
            return await shared.board([self._key(key) for key in keys], token, max_age_seconds, awaits=awaits)
        except asyncio.CancelledError:
            self._end_behind(dict.fromkeys(keys), token)  # some may have become ours
            raise

    async def _ask_upstream(self, flight: _Flight[K, V], keys: Sequence[K], token: str, deadline: float) -> None:
        if not keys:
            return
        self._meters.batch_size.observe(len(keys))
        renewing = None if self._shared is None else asyncio.create_task(self._renew(keys, token))
        told: dict[K, Entry[V] | Failure | None] = dict.fromkeys(keys)

        def land(key: K, outcome: Outcome[V]) -> None:
            told[key] = kept = self._keep(key, outcome)
            (self._meters.fetched if isinstance(kept, Entry) else self._meters.failed).inc()
            if key in flight.landed:
                self._land(flight, key, self._settled(key, outcome))

        try:
            await self._fetch(keys, deadline, land)
        finally:
            if renewing is not None:
                renewing.cancel()
            self._end_behind(told, token)  # cancelled or not: nobody shall wait for it

    def _keep(self, key: K, outcome: Outcome[V]) -> Entry[V] | Failure | None:
        """Keeps an answer in memory; gives what there is to tell the other replicas."""
        if isinstance(outcome, LoadError):
            if _is_a_cap(outcome):
                return None  # it says nothing of the upstream
            entry = self.peek(key)
            return Failure(outcome, _rest_seconds(outcome, 0 if entry is None else entry.failures))
        if self._passing(outcome.value) or self._incomplete(outcome.value) is not None:
            return None
        entry = Entry(outcome.value, outcome.fetched_at, self._codec.size(outcome.value))
        self._memory.put(self._key(key), entry)
        return entry if outcome.stale is None else None

    def _settled(self, key: K, outcome: Outcome[V]) -> Outcome[V]:
        """What is served of an outcome: an earlier answer rather than none, or than one that lacks something."""
        if isinstance(outcome, LoadError):
            return self._or_stale(key, outcome, remember=not _is_a_cap(outcome))
        lack = self._incomplete(outcome.value) if outcome.stale is None else outcome.stale
        if lack is None:
            return outcome
        return self._or_stale(key, lack.with_calls(lack.calls | outcome.calls), instead=outcome)

    def _end_behind(self, kept: Mapping[K, Entry[V] | Failure | None], token: str) -> None:
        shared = self._shared
        if shared is None or not kept:
            return
        outcomes = {self._key(key): outcome for key, outcome in kept.items()}

        async def land() -> None:
            with suppress(SharedStoreError):
                await shared.land(outcomes, token)

        self._caches.background.tell(land())

    async def _renew(self, keys: Sequence[K], token: str) -> None:
        while self._shared is not None:
            await asyncio.sleep(_RENEW_SECONDS)
            with suppress(SharedStoreError):
                await self._shared.renew([self._key(key) for key in keys], token)

    async def _ask_others(self, flight: _Flight[K, V], keys: Sequence[K], deadline: float) -> None:
        """Waits for what other replicas fetch; what they give up is ours."""
        pending, (pause, longest) = list(keys), _POLL_SECONDS
        loop, token = asyncio.get_running_loop(), new_token()
        while pending and self._shared is not None:
            if loop.time() >= deadline:
                for key in pending:
                    self._land(flight, key, self._or_stale(key, UpstreamTimeoutError(), remember=False))
                return
            await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
            pause = min(pause * 1.5, longest)
            try:
                said = await self._ask_store(self._shared, pending, token, flight.max_age_seconds, awaits=True)
            except SharedStoreError:
                await self._ask_upstream(flight, pending, token, deadline)
                return
            ours, still = [], []
            for key in pending:
                shared = said[self._key(key)]
                if shared.flight is Flight.THEIRS:
                    still.append(key)
                elif shared.failure is not None:
                    self._land(flight, key, self._or_stale(key, shared.failure))
                elif shared.flight is Flight.OURS or shared.entry is None:
                    ours.append(key)
                else:
                    self._memory.put(self._key(key), shared.entry)
                    self._land(flight, key, Fetched(shared.entry.value, shared.entry.fetched_at))
            await self._ask_upstream(flight, ours, token, deadline)
            pending = still

    def _land(self, flight: _Flight[K, V], key: K, outcome: Outcome[V]) -> None:
        if not flight.landed[key].done():
            flight.landed[key].set_result(outcome)

    def _or_stale(
        self, key: K, error: LoadError, *, instead: Outcome[V] | None = None, remember: bool = True
    ) -> Outcome[V]:
        """An earlier answer in place of a failure, if there is one that is not too old; else what there is.

        ``remember`` lets the next ones have it at once, without another try for a while.
        """
        entry = self.peek(key)
        if entry is None:
            return error if instead is None else instead
        if remember:
            entry.failure, entry.retry_at = _spent(error), time.monotonic() + _rest_seconds(error, entry.failures)
            entry.failures += 1
        return self._served(entry, error)


def _rest_seconds(error: LoadError, failures: int) -> float:
    """How long to let a question rest that has failed so often before, while there is an older answer to it."""
    return min(max(2.0 ** min(failures, 10), error.retry_after_seconds or 0), _LONGEST_REST_SECONDS)


def _spent(error: LoadError | None) -> LoadError | None:
    """The failure as others meet it, who caused no request."""
    return None if error is None else error.with_calls(frozenset())


def _is_a_cap(outcome: Outcome[V]) -> bool:
    """Whether a question was not asked because one operation had asked too many."""
    return isinstance(outcome, BudgetExhaustedError) and outcome.retry_after_seconds is None


def _is_anothers(outcome: Outcome[V]) -> bool:
    """Whether a question failed because the time or the cap of the operation was up that asked it."""
    return isinstance(outcome, UpstreamTimeoutError) or _is_a_cap(outcome)


def _is_older(outcome: Outcome[V], max_age_seconds: float | None) -> bool:
    """Whether a question was answered in another's flight by what is too old here."""
    if max_age_seconds is None or isinstance(outcome, LoadError) or outcome.stale is not None:
        return False
    return _age_seconds(outcome) > max_age_seconds


def _age_seconds(fetched: Fetched[V]) -> float:
    return max(0.0, time.time() - fetched.fetched_at.timestamp())  # the clock of another replica may be ahead


def _without_calls(outcome: Outcome[V]) -> Outcome[V]:
    if isinstance(outcome, LoadError):
        return outcome.with_calls(frozenset())
    return replace(outcome, calls=frozenset())
