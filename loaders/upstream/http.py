"""One upstream's HTTP: deadlines, size bounds, error mapping, and one request for identical questions in flight."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from loaders.errors import (
    LoadError,
    UpstreamFailedError,
    UpstreamForbiddenError,
    UpstreamRateLimitedError,
    UpstreamRejectedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnauthorizedError,
    UpstreamUnreachableError,
)
from loaders.upstream.metrics import REQUEST_SECONDS

T = TypeVar("T")

MAX_BODY_BYTES = 64 * 1024 * 1024
_NO_CALLS: frozenset[int] = frozenset()
_MAX_ERROR_BODY_BYTES = 64 * 1024
_READ_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """An answer, when it was fetched, and the numbers of the upstream requests that it caused.

    ``calls`` is empty when another caller's request or a cache gave the answer.
    """

    value: T
    fetched_at: datetime
    calls: frozenset[int]


@dataclass(slots=True)
class RequestLog:
    """The upstream requests that one operation caused."""

    requests: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, upstream: str, seconds: float) -> None:
        """Count one request of an upstream."""
        self.requests[upstream] = self.requests.get(upstream, 0) + 1
        self.seconds[upstream] = self.seconds.get(upstream, 0.0) + seconds


_call_numbers = itertools.count(1)
_request_log: ContextVar[RequestLog | None] = ContextVar("request_log", default=None)


@contextmanager
def logging_requests() -> Iterator[RequestLog]:
    """Collects the upstream requests made within, tasks started there included."""
    log = RequestLog()
    token = _request_log.set(log)
    try:
        yield log
    finally:
        _request_log.reset(token)


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[Any]
    calls: frozenset[int]
    waiting: int = 0
    late: bool = False


def _unsupported_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a number past all bounds") from None


def decode_json(body: bytes) -> Any:
    """Decodes JSON with every number that has a fraction or an exponent as an exact ``Decimal``."""
    return json.loads(body.decode("utf-8"), parse_float=_decimal, parse_constant=_unsupported_constant)


class HttpClient:
    """GET requests to one upstream over the shared session."""

    def __init__(
        self,
        session: Callable[[], aiohttp.ClientSession],
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        *,
        codeless_403_is_unauthorized: bool = False,
    ) -> None:
        self.name = name
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers)
        self._codeless_403_is_unauthorized = codeless_403_is_unauthorized
        self._flights: dict[str, _Flight] = {}
        self.last_outcome: str | None = None
        """How the last request went: OK or an error code; None before the first."""

    async def get(
        self, path: str, params: Mapping[str, str], read: Callable[[Any], T], deadline: float
    ) -> Fetched[T]:
        """Asks once for all who ask the same at the same time; ``read`` turns the JSON into records.

        A request lives until all who wait for it have the answer or are past their ``deadline``, in event-loop time.
        Raises a ``LoadError``: nothing else gets out. ``read`` raises ``ValueError`` for a wrong shape.
        """
        query = "&".join(f"{name}={quote(value, safe=',:/')}" for name, value in params.items())
        url = f"{self._base_url}{path}?{query}" if query else f"{self._base_url}{path}"
        flight = self._flights.get(url)
        shared = flight is not None
        if flight is None:
            if deadline <= asyncio.get_running_loop().time():
                raise UpstreamTimeoutError()
            flight = self._take_off(url, read)
        flight.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                value, fetched_at = await asyncio.shield(flight.task)
        except TimeoutError:
            flight.late = True
            self._forget(url, flight)  # who asks from now on has better chances with a request of its own
            raise UpstreamTimeoutError(calls=_NO_CALLS if shared else flight.calls) from None
        except LoadError as error:
            raise type(error)(
                calls=_NO_CALLS if shared else flight.calls, retry_after_seconds=error.retry_after_seconds
            ) from error
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                flight.task.cancel(UpstreamTimeoutError.code.value if flight.late else None)
                self._forget(url, flight)
        return Fetched(value, fetched_at, _NO_CALLS if shared else flight.calls)

    def _take_off(self, url: str, read: Callable[[Any], Any]) -> _Flight:
        task = asyncio.get_running_loop().create_task(self._request(url, read))
        flight = self._flights[url] = _Flight(task, frozenset((next(_call_numbers),)))

        def land(done: asyncio.Task[Any]) -> None:
            self._forget(url, flight)
            if not done.cancelled():
                done.exception()  # retrieved, also when every waiter is gone

        task.add_done_callback(land)
        return flight

    def _forget(self, url: str, flight: _Flight) -> None:
        if self._flights.get(url) is flight:
            del self._flights[url]

    async def _request(self, url: str, read: Callable[[Any], T]) -> tuple[T, datetime]:
        log, started, outcome = _request_log.get(), time.perf_counter(), "CANCELLED"
        try:
            body = await self._exchange(url)
            fetched_at = datetime.now(UTC)
            value = _read(body, read)
            outcome = self.last_outcome = "OK"
            return value, fetched_at
        except asyncio.CancelledError as error:
            if error.args == (UpstreamTimeoutError.code.value,):
                outcome = self.last_outcome = UpstreamTimeoutError.code.value
            raise
        except Exception as error:
            failure = _load_error(error)
            if failure is None:
                raise
            outcome = self.last_outcome = failure.code.value
            raise failure from error
        finally:
            seconds = time.perf_counter() - started
            REQUEST_SECONDS.labels(self.name, outcome).observe(seconds)
            if log is not None:
                log.add(self.name, seconds)

    async def _exchange(self, url: str) -> bytes:
        async with self._session().get(
            URL(url, encoded=True), headers=self._headers, allow_redirects=False
        ) as response:
            if response.status == 200:
                return await _bounded(response, MAX_BODY_BYTES)
            raise self._failure(response.status, response.headers, await _error_body(response))

    def _failure(self, status: int, headers: Mapping[str, str], body: Any) -> LoadError:
        if status == 429:
            return UpstreamRateLimitedError(retry_after_seconds=_retry_after(headers, limited=True))
        if status == 401:
            return UpstreamUnauthorizedError()
        if status in (402, 403):
            has_code = isinstance(body, dict) and isinstance(body.get("code"), str)
            if status == 403 and self._codeless_403_is_unauthorized and not has_code:
                return UpstreamUnauthorizedError()
            return UpstreamForbiddenError()
        if status in (404, 410):
            return UpstreamUnreachableError()
        if 400 <= status < 500:
            return UpstreamRejectedError()
        if status >= 500:
            return UpstreamFailedError(retry_after_seconds=_retry_after(headers, limited=False))
        return UpstreamResponseError()  # a redirect, or a 2xx that carries no records

    def failure_in_body(self, body: Any) -> LoadError | None:
        """The failure that a 200 answer carries in ``error`` and ``statusCode``, None when it carries none."""
        if isinstance(body, dict) and body.get("error") and isinstance(status := body.get("statusCode"), int):
            return self._failure(status, {}, body) if status >= 400 else None
        return None


def _load_error(error: Exception) -> LoadError | None:
    """The failure that an exception of a request is; None when it is none of the upstream's doing."""
    if isinstance(error, LoadError):
        return error
    if isinstance(error, TimeoutError):
        return UpstreamTimeoutError()
    if isinstance(error, aiohttp.ClientPayloadError):
        return UpstreamResponseError()
    if isinstance(error, aiohttp.ClientConnectionError | ConnectionError | aiohttp.InvalidURL):
        return UpstreamUnreachableError()
    return UpstreamResponseError() if isinstance(error, aiohttp.ClientError) else None


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(_READ_CHUNK_BYTES):
        size += len(chunk)
        if size > limit:
            response.close()
            raise UpstreamResponseError()
        chunks.append(chunk)
    return b"".join(chunks)


async def _error_body(response: aiohttp.ClientResponse) -> Any:
    try:
        return decode_json(await _bounded(response, _MAX_ERROR_BODY_BYTES))
    except (ValueError, RecursionError, LoadError, aiohttp.ClientError):
        return None  # the status alone decides


def _read(body: bytes, read: Callable[[Any], T]) -> T:
    try:
        return read(decode_json(body))
    except LoadError:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise UpstreamResponseError() from error


def _retry_after(headers: Mapping[str, str], *, limited: bool) -> int | None:
    """Seconds to wait by ``Retry-After`` (RFC 9110, section 10.2.3), or by ``x-ratelimit-reset`` (Unix seconds).

    The latter comes with every answer, and means a wait only when the limit was met.
    """
    now = time.time()
    if (text := headers.get("Retry-After")) is not None:
        try:
            seconds = float(text) if _is_number(text) else parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    elif limited and (text := headers.get("x-ratelimit-reset")) is not None and _is_number(text):
        seconds = float(text) - now
    else:
        return None
    return math.ceil(min(max(0.0, seconds), 86_400.0))


def _is_number(text: str) -> bool:
    return text.isascii() and text.strip().isdigit()
