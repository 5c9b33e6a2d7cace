"""Registers: lists that an upstream gives as a whole, one request for everybody, kept for as long as they live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from loaders.cache import Codec, Lifetime
from loaders.errors import LoadError
from loaders.read_through import Caches, Land, ReadThrough
from loaders.upstream.http import Document, Listing

R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Records and an index of them take about so many times the bytes of the JSON that they were read from.
_MEMORY_PER_BYTE = 6


@dataclass(frozen=True, slots=True)
class _Built(Generic[T_co]):
    """A list as it came, and the index built of it."""

    body: bytes
    index: T_co


class Register(Generic[T_co]):
    """One list, indexed by ``build`` when it is fetched. A failure is never kept."""

    def __init__(
        self, caches: Caches, name: str, listing: Listing[R], build: Callable[[R], T_co], lifetime: Lifetime
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
        )

    async def read(self, deadline: float) -> T_co:
        """The list; raises a ``LoadError``."""
        outcome = (await self._answers.load([None], deadline))[None]
        if isinstance(outcome, LoadError):
            raise outcome
        return outcome.value.index


class Reading:
    """One operation's reading of one source: its deadline, and every register as first seen.

    So all fields of an operation speak of the same prices, and a register that failed is not asked again.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._seen: dict[Register[object], asyncio.Task[object]] = {}

    def close(self) -> None:
        """Cancels what is still being read."""
        for seen in self._seen.values():
            seen.cancel()

    async def try_read(self, register: Register[T]) -> T | LoadError:
        """The register's list, or why it could not be read."""
        try:
            return await self.read(register)
        except LoadError as error:
            return error

    async def read(self, register: Register[T]) -> T:
        """The register's list; raises a ``LoadError``."""
        key: Register[object] = register
        if key not in self._seen:
            self._seen[key] = asyncio.create_task(self._read(key))
        seen = await asyncio.shield(self._seen[key])
        if isinstance(seen, LoadError):
            raise seen
        return seen  # type: ignore[return-value]  # what this register gave

    async def _read(self, register: Register[object]) -> object:
        try:
            return await register.read(self.deadline)
        except LoadError as error:
            return error
