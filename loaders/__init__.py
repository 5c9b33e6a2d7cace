"""Records of holdings and tokens, loaded from every source in as few requests as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

from loaders.answers import AnswersByAddressLoader
from loaders.base import BatchLoader, run_all
from loaders.books import Book, Books, Lexicons
from loaders.cache import MemoryCache
from loaders.caip import AssetId, ChainId
from loaders.errors import LoadError
from loaders.ondo import OndoSource
from loaders.onebalance import OneBalanceSource
from loaders.read_through import Caches
from loaders.records import AsOf, HoldingSource, Wants
from loaders.registers import Reading
from loaders.solana import SolanaSource
from loaders.source import Answer, Source
from loaders.upstream import Upstreams

SOURCES: Sequence[Callable[[Upstreams, Caches], Source]] = (
    lambda upstreams, caches: OndoSource(upstreams.ondo, caches, upstreams.settings.ondo_snapshot_threshold),
    lambda upstreams, caches: OneBalanceSource(upstreams.onebalance, caches),
    lambda upstreams, caches: SolanaSource(upstreams.thegraph, caches),
)


class Sources:
    """All sources, for the life of the application."""

    def __init__(self, upstreams: Upstreams) -> None:
        settings = upstreams.settings
        self.timeout_seconds = settings.timeout_seconds
        self.operation_timeout_seconds = settings.operation_timeout_seconds
        caches = Caches(
            MemoryCache(settings.cache_max_bytes),
            upstreams.store,
            upstreams.background,
            settings.timeout_seconds,
            settings.cache_fresh_seconds,
            settings.cache_stale_while_revalidate_seconds,
            settings.cache_stale_if_error_seconds,
        )
        self.lexicons = Lexicons()
        self.by_name: Mapping[HoldingSource, Source] = {
            source.name: source for source in (build(upstreams, caches) for build in SOURCES)
        }


class Readings:
    """One operation's readings of the sources; the deadline of each begins with its first use."""

    def __init__(self, sources: Sources, max_age_seconds: float | None) -> None:
        self._max_age_seconds = max_age_seconds
        self._timeout_seconds = sources.timeout_seconds
        self._operation_timeout_seconds = sources.operation_timeout_seconds
        self._ends_at = asyncio.get_running_loop().time() + sources.operation_timeout_seconds
        self._begun: dict[HoldingSource, Reading] = {}

    def of(self, name: HoldingSource) -> Reading:
        """The reading of a source."""
        reading = self._begun.get(name)
        if reading is None:
            deadline = asyncio.get_running_loop().time() + self._timeout_seconds
            reading = self._begun[name] = Reading(min(deadline, self._ends_at), self._max_age_seconds)
        return reading

    def extend(self) -> None:
        """Gives what is asked from now on a new deadline; what was answered stays as it is."""
        now = asyncio.get_running_loop().time()
        self._ends_at = now + self._operation_timeout_seconds
        for reading in self._begun.values():
            reading.deadline = min(now + self._timeout_seconds, self._ends_at)

    def close(self) -> None:
        """Cancels what is still being read."""
        for reading in self._begun.values():
            reading.close()

    @property
    def fresh_seconds(self) -> float | None:
        """As of ``Loaders``."""
        seconds = [reading.fresh_seconds for reading in self._begun.values()]
        return min((some for some in seconds if some is not None), default=None)


class Loaders:
    """The loaders of one operation: whatever its fields ask, each source is asked once.

    Balances older than ``max_age_seconds`` are renewed and waited for; None leaves it to each source. Once closed,
    nothing here leads back to itself: it is let go without the garbage collector.
    """

    def __init__(self, sources: Sources, *, max_age_seconds: float | None = None) -> None:
        self.sources = sources.by_name
        self._lexicons = sources.lexicons
        self._readings = Readings(sources, max_age_seconds)
        self.reading = self._readings.of
        self.answers = {
            name: AnswersByAddressLoader(source, partial(self.reading, name)) for name, source in self.sources.items()
        }

    @cached_property
    def books(self) -> BooksByTokenLoader:
        """What all sources know of tokens."""
        return BooksByTokenLoader(self)

    @cached_property
    def holders(self) -> HoldersByTokenLoader:
        """Who holds tokens."""
        return HoldersByTokenLoader(self)

    @property
    def fresh_seconds(self) -> float | None:
        """For how long all that went into the operation stays fresh; None when no upstream's answer did.

        0 when anything failed, is stale, or lacks something.
        """
        return self._readings.fresh_seconds

    def extend(self) -> None:
        """Gives what is asked from now on a new deadline; what was answered stays as it is."""
        self._readings.extend()

    def close(self) -> None:
        """Cancels what is still being fetched."""
        by_token = [self.__dict__.pop(name) for name in ("books", "holders") if name in self.__dict__]
        for loader in (*self.answers.values(), *by_token):
            loader.close()
        self._readings.close()

    async def read_books(
        self, names: frozenset[HoldingSource] | None, wants: Wants, asset_ids: Sequence[AssetId] = ()
    ) -> Books:
        """What the configured sources know of tokens; None as ``names`` means all of them."""
        asking = [
            source for name, source in self.sources.items() if source.configured and (names is None or name in names)
        ]
        for source in asking:
            source.begin_book(wants, self.reading(source.name))
        if asset_ids:
            books = await run_all([self._read_book(source, asset_ids, wants) for source in asking])
        else:  # all that they wait for has begun
            books = [await self._read_book(source, asset_ids, wants) for source in asking]
        together = Books({source.name: book for source, book in zip(asking, books, strict=True)})
        if not asset_ids:  # else some books are of these alone
            self._lexicons.share(together)
        return together

    async def _read_book(self, source: Source, asset_ids: Sequence[AssetId], wants: Wants) -> Book:
        return await source.read_book(asset_ids, wants, self.reading(source.name))

    async def chains(self, name: HoldingSource) -> frozenset[ChainId]:
        """The chains a source covers in this deployment; none when it is not configured, or cannot tell."""
        source = self.sources[name]
        if not source.configured:
            return frozenset()
        try:
            return await source.chains(self.reading(name))
        except LoadError:
            return frozenset()

    async def indexed_to(self, name: HoldingSource) -> AsOf | None:
        """How far a source has read the chain; None when it does not say."""
        return await self.sources[name].indexed_to(self.reading(name))


class BooksByTokenLoader(BatchLoader[tuple[AssetId, Wants], Books]):
    """Loads what all sources know of tokens that are asked for by id, many a request."""

    def __init__(self, loaders: Loaders) -> None:
        super().__init__()
        self._loaders = loaders

    async def fetch(self, keys: Sequence[tuple[AssetId, Wants]]) -> Mapping[tuple[AssetId, Wants], Books]:
        """One set of books for all tokens of the batch."""
        wants = Wants.NOTHING
        for _, wanted in keys:
            wants |= wanted
        asset_ids = list(dict.fromkeys(asset_id for asset_id, _ in keys))
        books = await self._loaders.read_books(None, wants, asset_ids)
        return dict.fromkeys(keys, books)


class HoldersByTokenLoader(BatchLoader[AssetId, Sequence[Answer]]):
    """Loads the holders of tokens from every source that can list them."""

    def __init__(self, loaders: Loaders) -> None:
        super().__init__()
        self._loaders = loaders

    async def fetch(self, keys: Sequence[AssetId]) -> Mapping[AssetId, Sequence[Answer]]:
        """One answer a token and source; none when no source can list its holders."""
        loaders = self._loaders
        asking = [source for source in loaders.sources.values() if source.configured]

        async def of_token(asset_id: AssetId) -> Sequence[Answer]:
            answers = [source.holders(asset_id, loaders.reading(source.name)) for source in asking]
            return [answer for answer in await run_all(answers) if answer is not None]

        return dict(zip(keys, await run_all([of_token(key) for key in keys]), strict=True))


__all__ = ["SOURCES", "Loaders", "Sources"]
