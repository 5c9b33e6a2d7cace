"""One upstream's HTTP: deadlines, retries, hedging, size bounds and error mapping."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from loaders.errors import (
    BudgetExhaustedError,
    LoadError,
    UpstreamFailedError,
    UpstreamRateLimitedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnauthorizedError,
    UpstreamUnreachableError,
)
from loaders.upstream.breaker import Breaker
from loaders.upstream.budget import Budget
from loaders.upstream.calls import current_log, next_call
from loaders.upstream.failures import failure_of
from loaders.upstream.logs import log
from loaders.upstream.metrics import HEDGES, REQUEST_SECONDS, REQUESTS, RETRIES, RETRIES_DENIED
from loaders.upstream.retries import RetryBudget, backoff_seconds
from loaders.upstream.tracing import request_span

T = TypeVar("T")
U = TypeVar("U")

MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_ERROR_BODY_BYTES = 64 * 1024
_READ_CHUNK_BYTES = 256 * 1024
_RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
_HEDGE_SAMPLES = 20
_HEDGE_SECONDS = (0.05, 2.0)

# Failures that speak against the health of a host; a refusal shows that it is well.
_UNHEALTHY = (
    UpstreamTimeoutError,
    UpstreamUnreachableError,
    UpstreamFailedError,
    UpstreamResponseError,
    UpstreamUnauthorizedError,
)


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """An answer, when it was fetched, and the numbers of the upstream requests that it caused.

    ``calls`` is empty when another caller's request or a cache gave the answer. ``cache_age_seconds`` is its age
    where a cache gave it. ``stale`` is why it could not be renewed; None when it needed not or was. For
    ``fresh_seconds`` more it need not be renewed: 0 when it is stale, or lacks something.
    """

    value: T
    fetched_at: datetime
    calls: frozenset[int] = frozenset()
    cache_age_seconds: int | None = None
    stale: LoadError | None = None
    fresh_seconds: float = 0.0

    def with_value(self, value: U) -> Fetched[U]:
        """The same with what was made of the value."""
        return Fetched(value, self.fetched_at, self.calls, self.cache_age_seconds, self.stale, self.fresh_seconds)


def after(calls: frozenset[int], outcome: Fetched[T] | LoadError) -> Fetched[T] | LoadError:
    """An outcome that took some requests more than it knows of."""
    if isinstance(outcome, LoadError):
        return outcome.with_calls(outcome.calls | calls)
    return replace(outcome, calls=outcome.calls | calls)


@dataclass(frozen=True, slots=True)
class Document(Generic[T]):
    """An answer as it came, and the records read from it."""

    body: bytes
    records: T


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPolicy:
    """How one upstream's requests are sent.

    ``request_seconds`` bounds one request, the caller's deadline all of its retries. At most ``retries`` follow the
    first request, the first of them about ``backoff_seconds`` later. ``hedge`` sends a second copy of a request that
    takes longer than 95 of 100 of late. ``max_per_operation`` is the cap on one operation's requests.
    """

    request_seconds: float
    connect_seconds: float
    retries: int
    backoff_seconds: float
    hedge: bool
    max_per_operation: int


class _RequestError(Exception):
    """One request failed; ``again`` if it is worth another try."""

    def __init__(self, error: LoadError, status: int | None, *, again: bool) -> None:
        super().__init__()
        self.error = error
        self.status = status
        self.again = again


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
        policy: RequestPolicy,
        budget: Budget,
        breaker: Breaker,
        retry_budget: RetryBudget,
        codeless_403_is_unauthorized: bool = False,
    ) -> None:
        self.name = name
        self.budget = budget
        self.breaker = breaker
        self.fingerprint = fingerprint(base_url, headers)
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers)
        self._policy = policy
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=policy.connect_seconds)
        self._retry_budget = retry_budget
        self._codeless_403_is_unauthorized = codeless_403_is_unauthorized
        self._recent_seconds: deque[float] = deque(maxlen=100)
        self.last_outcome: str | None = None
        """How the last request went: OK or an error code; None before the first."""

    async def get(
        self, path: str, params: Mapping[str, str], read: Callable[[Any], T], deadline: float
    ) -> Fetched[T]:
        """Asks until there is an answer, retries are used up, or the event-loop time ``deadline`` is past.

        Raises a ``LoadError``: nothing else gets out. ``read`` turns the JSON into records and raises ``ValueError``
        for a wrong shape.
        """
        return await self.get_body(path, params, lambda body: _read(body, read), deadline)

    async def get_body(
        self, path: str, params: Mapping[str, str], read: Callable[[bytes], T], deadline: float
    ) -> Fetched[T]:
        """As ``get``, with ``read`` for the bytes of the answer; it raises a ``LoadError`` if they are of no use."""
        query = "&".join(f"{name}={quote(value, safe=',:/')}" for name, value in params.items())
        url = URL(f"{self._base_url}{path}?{query}" if query else f"{self._base_url}{path}", encoded=True)
        calls: set[int] = set()
        try:
            value, fetched_at = await self._ask(_Question(path, url, read, deadline, calls))
        except LoadError as error:
            raise error.with_calls(frozenset(calls)) from error
        return Fetched(value, fetched_at, frozenset(calls))

    async def _ask(self, question: _Question[T]) -> tuple[T, datetime]:
        """One question, whatever the number of requests: it counts once for the circuit breaker."""
        if question.seconds_left() <= 0:
            raise UpstreamTimeoutError
        probe = await self.breaker.admit()
        try:
            return await self._try_again(question)
        finally:
            await self.breaker.record(question.well, probe=probe)

    async def _try_again(self, question: _Question[T]) -> tuple[T, datetime]:
        self._retry_budget.deposit()
        attempt = 1
        while True:
            try:
                return await self._hedged(question)
            except _RequestError as failed:
                error, again = failed.error, failed.again and attempt <= self._policy.retries
                wait = backoff_seconds(self._policy.backoff_seconds, attempt, error.retry_after_seconds)
            if not again or wait >= question.seconds_left():
                raise error
            if not self._retry_budget.withdraw():
                RETRIES_DENIED.labels(self.name).inc()
                raise error
            await asyncio.sleep(wait)
            RETRIES.labels(self.name).inc()
            attempt += 1

    async def _hedged(self, question: _Question[T]) -> tuple[T, datetime]:
        """One request, and a copy of it if it is slow and hedging is on: the first answer counts."""
        patience = self._hedge_after()
        if patience is None:
            return await self._request(question)
        first = asyncio.create_task(self._request(question))
        tasks = {first}
        try:
            done, _ = await asyncio.wait(tasks, timeout=patience)
            if not done and self._retry_budget.withdraw():
                tasks.add(asyncio.create_task(self._request(question)))
            while tasks:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    hedged = len(tasks) > 1 or task is not first
                    if task.exception() is None or len(tasks) == 1:
                        if hedged:
                            HEDGES.labels(self.name, "first" if task is first else "second").inc()
                        return task.result()
                    tasks.discard(task)
            raise AssertionError("the last copy has a result")
        finally:
            for task in tasks:
                if not task.cancel() and not task.cancelled():
                    task.exception()  # retrieved

    def _hedge_after(self) -> float | None:
        if not self._policy.hedge or len(self._recent_seconds) < _HEDGE_SAMPLES:
            return None
        ranked = sorted(self._recent_seconds)
        shortest, longest = _HEDGE_SECONDS
        return min(max(ranked[int(len(ranked) * 0.95)], shortest), longest)

    async def _request(self, question: _Question[T]) -> tuple[T, datetime]:
        """One request; raises ``_RequestError``."""
        operation = current_log()
        if operation is not None:
            if operation.count >= self._policy.max_per_operation:
                raise _RequestError(BudgetExhaustedError(), None, again=False)
            operation.begin(self.name)
        try:
            permit = await self.budget.enter(question.deadline)
        except BaseException as error:
            if operation is not None:
                operation.take_back(self.name)
            if isinstance(error, LoadError):
                raise _RequestError(error, None, again=False) from error
            raise
        headers: Mapping[str, str] | None = None
        failure: LoadError | None = None
        status: int | None = None
        outcome, started = "CANCELLED", time.perf_counter()
        question.calls.add(next_call())
        try:
            with request_span(self.name, question.path) as span:
                try:
                    async with asyncio.timeout_at(self._request_deadline(question)):
                        async with self._session().get(
                            question.url,
                            headers={**self._headers, **span.headers},
                            allow_redirects=False,
                            timeout=self._timeout,
                        ) as response:
                            status = response.status
                            if status == 200 or "x-ratelimit-limit" in response.headers:
                                headers = response.headers
                            if status != 200:
                                raise await self._refused(response)
                            body = await _bounded(response, MAX_BODY_BYTES)
                    fetched_at = datetime.now(UTC)
                    value = question.read(body)
                    outcome, question.well = "OK", True
                except Exception as error:
                    failed = _request_failed(error, status)
                    if failed is None:
                        raise
                    outcome, failure = failed.error.code.value, failed.error
                    question.well = not isinstance(failed.error, _UNHEALTHY)
                    raise failed from error
                finally:
                    span.set_outcome(outcome, status)
            return value, fetched_at
        finally:
            self._note(question, outcome, status, time.perf_counter() - started)
            await self.budget.leave(permit, headers, failure)

    def _request_deadline(self, question: _Question[T]) -> float:
        return min(question.deadline, asyncio.get_running_loop().time() + self._policy.request_seconds)

    def _note(self, question: _Question[T], outcome: str, status: int | None, seconds: float) -> None:
        """Tells operators of one request."""
        if outcome != "CANCELLED":
            self.last_outcome = outcome
        if outcome == "OK":
            self._recent_seconds.append(seconds)
        elif outcome != "CANCELLED":
            log.warning(
                "upstream failed",
                source=self.name,
                path=question.path,
                code=outcome,
                status=status,
                milliseconds=round(seconds * 1_000, 1),
            )
        REQUEST_SECONDS.labels(self.name, outcome).observe(seconds)
        REQUESTS.labels(self.name, "none" if status is None else str(status), outcome).inc()
        operation = current_log()
        if operation is not None:
            operation.end(self.name, seconds)

    async def _refused(self, response: aiohttp.ClientResponse) -> _RequestError:
        """What an answer that is not 200 means."""
        status, headers = response.status, response.headers
        error = failure_of(status, headers, await _error_body(response), self._codeless_403_is_unauthorized)
        return _RequestError(error, status, again=status in _RETRIED_STATUSES)

    def failure_in_body(self, body: Any) -> LoadError | None:
        """The failure that a 200 answer carries in ``error`` and ``statusCode``, None when it carries none."""
        if isinstance(body, dict) and body.get("error") and isinstance(status := body.get("statusCode"), int):
            return failure_of(status, {}, body, self._codeless_403_is_unauthorized) if status >= 400 else None
        return None


class Listing(Generic[T]):
    """A list that an upstream gives as a whole; ``read`` raises ``ValueError`` for a wrong shape."""

    def __init__(self, http: HttpClient, path: str, read: Callable[[Any], T]) -> None:
        self._http = http
        self._path = path
        self._read = read
        self.fingerprint = http.fingerprint

    async def fetch(self, deadline: float) -> Fetched[Document[T]]:
        """The list; raises a ``LoadError``."""
        return await self._http.get_body(self._path, {}, self.read, deadline)

    def read(self, body: bytes) -> Document[T]:
        """The records of a body; raises a ``LoadError``."""
        return Document(body, _read(body, self._read))


def fingerprint(base_url: str, headers: Mapping[str, str]) -> str:
    """Names an upstream and the key it is asked with, and does not tell the key."""
    secret = "\n".join([base_url.rstrip("/"), *[f"{name}: {value}" for name, value in sorted(headers.items())]])
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


@dataclass(slots=True)
class _Question(Generic[T]):
    """What is asked, however many requests it takes; ``calls`` collects their numbers.

    ``well`` is what the last of them says of the upstream's health; None when none was sent, or came to an end.
    """

    path: str
    url: URL
    read: Callable[[bytes], T]
    deadline: float
    calls: set[int]
    well: bool | None = None

    def seconds_left(self) -> float:
        return self.deadline - asyncio.get_running_loop().time()


def _request_failed(error: Exception, status: int | None) -> _RequestError | None:
    """What an exception of a request means; None when it is none of the upstream's doing."""
    if isinstance(error, _RequestError):
        return error
    if isinstance(error, LoadError):  # said by the body of an answer
        return _RequestError(error, status, again=isinstance(error, UpstreamFailedError | UpstreamRateLimitedError))
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return _RequestError(UpstreamUnreachableError(), status, again=True)
    if isinstance(error, TimeoutError):
        return _RequestError(UpstreamTimeoutError(), status, again=True)
    if isinstance(error, aiohttp.ClientPayloadError):
        return _RequestError(UpstreamResponseError(), status, again=True)
    if isinstance(error, aiohttp.InvalidURL):
        return _RequestError(UpstreamUnreachableError(), status, again=False)
    if isinstance(error, aiohttp.ClientConnectionError | ConnectionError):
        return _RequestError(UpstreamUnreachableError(), status, again=True)
    if isinstance(error, aiohttp.ClientError):
        return _RequestError(UpstreamResponseError(), status, again=False)
    return None


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
