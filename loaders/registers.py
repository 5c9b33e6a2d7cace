"""Registers: lists that an upstream gives as a whole, one request for everybody, kept for as long as they live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from loaders.errors import LoadError
from loaders.upstream.http import Fetched

R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Register(Generic[T_co]):
    """One list, indexed by ``build`` when it is fetched, fresh for ``seconds``. A failure is never kept."""

    def __init__(
        self,
        fetch: Callable[[float], Awaitable[Fetched[R]]],
        build: Callable[[R], T_co],
        seconds: float,
    ) -> None:
        self._fetch: Callable[[float], Awaitable[Fetched[R]]] = fetch
        self._build: Callable[[R], T_co] = build
        self._seconds = seconds
        self._read: object = None
        self._built: Fetched[T_co] | None = None
        self._expires = 0.0

    async def read(self, deadline: float) -> T_co:
        """The list, at most ``seconds`` old; raises a ``LoadError``."""
        if self._built is not None and time.monotonic() < self._expires:
            return self._built.value
        asked = time.monotonic()
        fetched = await self._fetch(deadline)
        if self._built is None or self._read is not fetched.value:  # all who shared the request share the index
            self._read = fetched.value
            self._built = Fetched(self._build(fetched.value), fetched.fetched_at, fetched.calls)
            self._expires = asked + self._seconds
        return self._built.value


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
