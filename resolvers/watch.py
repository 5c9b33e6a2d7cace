"""Wallets that are watched: asked again and again, once for all who watch them, to tell each what changed."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge

from loaders import Loaders, Sources
from loaders.caip import AccountAddress
from loaders.records import SourceStatus, Wants
from loaders.source import EVERYTHING, Scope
from loaders.upstream.calls import logging_requests
from loaders.upstream.logs import log
from resolvers.changes import Holdings, delta, known_for_certain, same_amount, same_value
from resolvers.context import Context
from resolvers.errors import BadInputError, NoRoomError
from resolvers.holdings import ListedHolding
from resolvers.view import View, load_view

_WATCHES = Gauge(
    "walletgraph_watches", "Wallets that are asked again and again, each interval of a wallet for itself."
)
_SUBSCRIBERS = Gauge("walletgraph_watch_subscribers", "Who is told of changes in a watched wallet.")
_POLLS = Counter(
    "walletgraph_watch_polls",
    "Times that a watched wallet was asked for: OK, PARTIAL (some source was not OK), FAILED (none answered).",
    ["outcome"],
)

_LONGEST_SECONDS = 86_400

Needs = Mapping[Scope, Wants]
"""What is asked of a wallet, and what is wanted to be known of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What changed in a wallet since its subscriber was last told; ``context`` answers by what was asked then."""

    changed: Sequence[ListedHolding]
    removed_ids: Sequence[str]
    at: datetime
    context: Context


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What a wallet held when it was asked for the ``number``-th time."""

    number: int
    at: datetime
    holdings: Holdings
    needs: Needs
    context: Context


class Watches:
    """All watched wallets of an application; ``close`` ends them.

    At most ``max_watches`` pairs of address and interval are watched. No interval is shorter than ``floor_seconds``.
    Intervals count in units of ``unit_seconds``.
    """

    def __init__(
        self, sources: Sources, *, max_watches: int = 1_000, floor_seconds: int = 15, unit_seconds: float = 1.0
    ) -> None:
        self._sources = sources
        self._max_watches = max_watches
        self._floor_seconds = floor_seconds
        self._unit_seconds = unit_seconds
        self._watches: dict[tuple[AccountAddress, int], _Watch] = {}
        self._closed = False

    def check(self, address: AccountAddress, every_seconds: int) -> None:
        """Raises ``BadInputError`` for an interval that cannot be, ``NoRoomError`` where there is no room."""
        if not self._floor_seconds <= every_seconds <= _LONGEST_SECONDS:
            reason = f"is out of range: at least {self._floor_seconds}, at most {_LONGEST_SECONDS}"
            raise BadInputError("everySeconds", every_seconds, reason)
        if (address, every_seconds) not in self._watches and len(self._watches) >= self._max_watches:
            raise NoRoomError(f"There are {self._max_watches} watched wallets: no other can be added now.")

    async def changes(
        self, address: AccountAddress, every_seconds: int, needs: Needs, *, valued: bool
    ) -> AsyncGenerator[Change, None]:
        """Each change since the one before, from the first poll after this begins that asks for what is needed.

        Whoever takes them slowly is told of several at once. ``valued``: another value is a change as well. It ends
        when the application does; raises as ``check``.
        """
        if self._closed:
            return
        self.check(address, every_seconds)
        with self._watched(address, every_seconds, needs) as watch:
            same = same_value if valued else same_amount
            seen: Holdings | None = None
            number = 0
            while (snapshot := await watch.after(number, needs)) is not None:
                number, before, seen = snapshot.number, seen, snapshot.holdings
                if before is None:
                    continue
                changed, removed = delta(before, seen, same)
                if changed or removed:
                    held = [seen[id] for id in changed]
                    listed = [ListedHolding(one.record, one.books) for one in held]
                    yield Change(listed, removed, snapshot.at, snapshot.context)

    async def close(self) -> None:
        """Ends all watching; who is still told of changes is told that there are no more."""
        self._closed = True
        await asyncio.gather(*[watch.close() for watch in self._watches.values()])

    @contextmanager
    def _watched(self, address: AccountAddress, every_seconds: int, needs: Needs) -> Iterator[_Watch]:
        """The watch of a wallet, which ends with the last who is told of it."""
        key = (address, every_seconds)
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = _Watch(self._sources, address, every_seconds * self._unit_seconds)
            _WATCHES.inc()
        watch.add(needs)
        try:
            with _SUBSCRIBERS.track_inprogress():
                yield watch
        finally:
            watch.remove(needs)
            if not watch.needed:
                del self._watches[key]
                _WATCHES.dec()


class _Watch:
    """One wallet, asked for every ``seconds`` as long as somebody needs it."""

    def __init__(self, sources: Sources, address: AccountAddress, seconds: float) -> None:
        self._sources = sources
        self._address = address
        self._seconds = seconds
        self._needed: list[Needs] = []
        self._asked: Needs = {}
        self._latest: _Snapshot | None = None
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._closed = False
        # Nothing of whoever happens to be the first goes into what is done for all: no trace, no count of requests.
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    @property
    def needed(self) -> bool:
        """Whether there is anybody who needs it."""
        return bool(self._needed)

    def add(self, needs: Needs) -> None:
        """One more is told, who needs this; asks at once if that is not what was asked, or is being asked."""
        self._needed.append(needs)
        if self._asked and not _covers(self._asked, needs):
            self._hurry.set()

    def remove(self, needs: Needs) -> None:
        """One less is told; after the last nobody is asked any more."""
        self._needed.remove(needs)
        if not self._needed:
            self._task.cancel()

    async def close(self) -> None:
        """Asks no more, and lets who waits go."""
        self._closed = True
        self._news.set()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def after(self, number: int, needs: Needs) -> _Snapshot | None:
        """The latest snapshot, once there is one with a higher number and all that is needed; None at the end."""
        while not self._closed:
            latest = self._latest
            if latest is not None and latest.number > number and _covers(latest.needs, needs):
                return latest
            await self._news.wait()
        return None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        # Whoever begins may ask for the whole at the same time: what he is told of begins no later than that answer,
        # so it comes by the same caches. After that, what the last poll has fetched is always too old for the next.
        max_age_seconds = None
        while True:
            await self._poll(max_age_seconds)
            late = loop.time() - due
            if late >= 0:  # what was missed is not made up for
                due += self._seconds * (late // self._seconds + 1)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._hurry.wait()
            max_age_seconds = None if self._hurry.is_set() else self._seconds / 2

    async def _poll(self, max_age_seconds: float | None) -> None:
        self._hurry.clear()
        at, needs = datetime.now(UTC), _united(self._needed)
        self._asked = needs
        loaders = Loaders(self._sources, max_age_seconds=max_age_seconds)
        context = Context(loaders)
        try:
            with logging_requests():
                view, *_ = await asyncio.gather(
                    *[load_view(context, (self._address,), scope, wants) for scope, wants in needs.items()]
                )
            outcome = _outcome(view)
            if outcome != "FAILED":
                self._publish(at, view, needs, context)
        except BaseException as error:
            loaders.close()
            if not isinstance(error, Exception):
                raise
            log.error("watched wallet could not be asked for", exc_info=error)
            outcome = "FAILED"
        _POLLS.labels(outcome).inc()

    def _publish(self, at: datetime, view: View, needs: Needs, context: Context) -> None:
        before = self._latest
        number, holdings = (0, {}) if before is None else (before.number, before.holdings)
        self._latest = _Snapshot(number + 1, at, known_for_certain(holdings, view), needs, context)
        self._news.set()
        self._news = asyncio.Event()


def _united(needs: Iterable[Needs]) -> Needs:
    """All that is needed, first of all everything that the wallet holds."""
    united = {EVERYTHING: Wants.NOTHING}
    for one in needs:
        for scope, wants in one.items():
            united[scope] = united.get(scope, Wants.NOTHING) | wants
    return united


def _covers(asked: Needs, needed: Needs) -> bool:
    return all(scope in asked and wants in asked[scope] for scope, wants in needed.items())


def _outcome(view: View) -> str:
    statuses = {report.status for report in view.reports if report.status.was_asked}
    if statuses == {SourceStatus.FAILED}:
        return "FAILED"
    return "OK" if statuses <= {SourceStatus.OK} else "PARTIAL"
