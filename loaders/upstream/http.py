"""One upstream's HTTP: deadlines, retries, hedging, size bounds and error mapping."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

import aiohttp
from aiohttp.http import HttpProcessingError
from msgspec import Struct
from prometheus_client import Counter, Histogram

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
from loaders.upstream.connections import Connections, Host, Reply
from loaders.upstream.failures import failure_of
from loaders.upstream.logs import log
from loaders.upstream.metrics import HEDGES, REQUEST_SECONDS, REQUESTS, RETRIES, RETRIES_DENIED
from loaders.upstream.retries import RetryBudget, backoff_seconds
from loaders.upstream.tracing import request_span

T = TypeVar("T")
U = TypeVar("U")

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


class Fetched(Struct, Generic[T], frozen=True):
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
    calls |= outcome.calls
    return Fetched(
        outcome.value, outcome.fetched_at, calls, outcome.cache_age_seconds, outcome.stale, outcome.fresh_seconds
    )


class Document(Struct, Generic[T], frozen=True):
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


_Answer: TypeAlias = tuple[T, datetime]
"""What was read from an answer, and when it came."""


class _Failed(Struct, frozen=True):
    """What one request failed with; ``again`` if it is worth another try.

    It is no exception: those are in cycles with the frames that keep them, which only a garbage collection frees.
    """

    error: LoadError
    again: bool


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
    """GET requests to one upstream over the shared connections."""

    def __init__(
        self,
        connections: Callable[[], Connections],
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
        self._connections = connections
        self._base_url = base_url
        self._headers = {"Accept": "application/json", "User-Agent": "walletgraph", **headers}
        self._host: Host | None = None
        self._policy = policy
        self._retry_budget = retry_budget
        self._codeless_403_is_unauthorized = codeless_403_is_unauthorized
        self._recent_seconds: deque[float] = deque(maxlen=100)
        self._meters: dict[tuple[int | None, str], tuple[Histogram, Counter]] = {}
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
        query = "&".join([f"{name}={_quoted(value)}" for name, value in params.items()])
        question = _Question(path, f"{path}?{query}" if query else path, read, deadline)
        try:
            answer = await self._ask(question)
        except LoadError as error:
            raise error.with_calls(frozenset(question.calls)) from error
        if isinstance(answer, _Failed):
            raise answer.error.with_calls(frozenset(question.calls))
        value, fetched_at = answer
        return Fetched(value, fetched_at, frozenset(question.calls))

    async def _ask(self, question: _Question[T]) -> _Answer[T] | _Failed:
        """One question, whatever the number of requests: it counts once for the circuit breaker."""
        if question.seconds_left() <= 0:
            raise UpstreamTimeoutError
        probe = await self.breaker.admit()
        try:
            return await self._try_again(question)
        finally:
            await self.breaker.record(question.well, probe=probe)

    async def _try_again(self, question: _Question[T]) -> _Answer[T] | _Failed:
        self._retry_budget.deposit()
        attempt = 1
        while True:
            patience = self._hedge_after() if self._policy.hedge else None
            answer = await (self._request(question) if patience is None else self._hedged(question, patience))
            if not isinstance(answer, _Failed) or not answer.again or attempt > self._policy.retries:
                return answer
            wait = backoff_seconds(self._policy.backoff_seconds, attempt, answer.error.retry_after_seconds)
            if wait >= question.seconds_left():
                return answer
            if not self._retry_budget.withdraw():
                RETRIES_DENIED.labels(self.name).inc()
                return answer
            await asyncio.sleep(wait)
            RETRIES.labels(self.name).inc()
            attempt += 1

    async def _hedged(self, question: _Question[T], patience: float) -> _Answer[T] | _Failed:
        """One request, and a copy of it if it takes longer than so many seconds: the first answer counts."""
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
                    if len(tasks) == 1 or (task.exception() is None and not isinstance(task.result(), _Failed)):
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
        """After how many seconds a request is slow; None while nobody knows."""
        if len(self._recent_seconds) < _HEDGE_SAMPLES:
            return None
        ranked = sorted(self._recent_seconds)
        shortest, longest = _HEDGE_SECONDS
        return min(max(ranked[int(len(ranked) * 0.95)], shortest), longest)

    async def _request(self, question: _Question[T]) -> _Answer[T] | _Failed:
        """One request, by leave of the budget."""
        operation = current_log()
        if operation is not None:
            if operation.count >= self._policy.max_per_operation:
                return _Failed(BudgetExhaustedError(), again=False)
            operation.begin(self.name)
        try:
            permit = await self.budget.enter(question.deadline)
        except BaseException as error:
            if operation is not None:
                operation.take_back(self.name)
            if isinstance(error, LoadError):
                return _Failed(error.with_calls(error.calls), again=False)
            raise
        outcome, failure, reply, started = "CANCELLED", None, Reply(), time.perf_counter()
        question.calls.append(next_call())
        try:
            with request_span(self.name, question.path) as span:
                try:
                    answer = await self._exchange(question, span.headers, reply)
                    if isinstance(answer, _Failed):
                        outcome, failure = answer.error.code.value, answer.error
                        question.well = not isinstance(failure, _UNHEALTHY)
                    else:
                        outcome, question.well = "OK", True
                finally:
                    span.set_outcome(outcome, reply.status)
            return answer
        finally:
            self._note(question, outcome, reply.status, time.perf_counter() - started)
            await self.budget.leave(permit, reply.limits, failure)

    async def _exchange(
        self, question: _Question[T], headers: Mapping[str, str], reply: Reply
    ) -> _Answer[T] | _Failed:
        """What comes of one request that is sent."""
        try:
            connections = self._connections()
            if self._host is None:
                self._host = Host(self._base_url, self._headers, self._policy.connect_seconds)
            deadline = min(question.deadline, connections.time() + self._policy.request_seconds)
            await connections.ask(self._host, self._host.get(question.target, headers), deadline, reply)
            if reply.status != 200:
                return self._refusal(reply)
            fetched_at = datetime.now(UTC)
            return question.read(reply.body), fetched_at
        except Exception as error:
            failed = _failure_of(error)
            if failed is None:
                raise
            error.__traceback__ = None  # aiohttp keeps the error in what its frames hold
            return failed

    def _refusal(self, reply: Reply) -> _Failed:
        """What an answer that is not 200 means."""
        assert reply.status is not None
        assert reply.headers is not None
        try:
            body = decode_json(reply.body)
        except (ValueError, RecursionError):
            body = None  # the status alone decides
        error = failure_of(reply.status, reply.headers, body, self._codeless_403_is_unauthorized)
        return _Failed(error, again=reply.status in _RETRIED_STATUSES)

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
        meters = self._meters.get((status, outcome))
        if meters is None:
            meters = self._meters[status, outcome] = (
                REQUEST_SECONDS.labels(self.name, outcome),
                REQUESTS.labels(self.name, "none" if status is None else str(status), outcome),
            )
        meters[0].observe(seconds)
        meters[1].inc()
        operation = current_log()
        if operation is not None:
            operation.end(self.name, seconds)

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


def _quoted(value: str) -> str:
    return value if value.isascii() and value.isalnum() else quote(value, safe=",:/")


@dataclass(slots=True)
class _Question(Generic[T]):
    """What is asked, however many requests it takes; ``calls`` collects their numbers.

    ``well`` is what the last of them says of the upstream's health; None when none was sent, or came to an end.
    """

    path: str
    target: str
    read: Callable[[bytes], T]
    deadline: float
    calls: list[int] = field(default_factory=list)
    well: bool | None = None

    def seconds_left(self) -> float:
        return self.deadline - asyncio.get_running_loop().time()


def _failure_of(error: Exception) -> _Failed | None:
    """What an exception of a request means; None when it is none of the upstream's doing."""
    if isinstance(error, LoadError):  # said by the body of an answer
        again = isinstance(error, UpstreamFailedError | UpstreamRateLimitedError)
        return _Failed(error.with_calls(error.calls), again=again)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return _Failed(UpstreamUnreachableError(), again=True)
    if isinstance(error, TimeoutError):
        return _Failed(UpstreamTimeoutError(), again=True)
    if isinstance(error, aiohttp.ClientPayloadError):
        return _Failed(UpstreamResponseError(), again=True)
    if isinstance(error, aiohttp.InvalidURL):
        return _Failed(UpstreamUnreachableError(), again=False)
    if isinstance(error, aiohttp.ClientConnectionError | ConnectionError):
        return _Failed(UpstreamUnreachableError(), again=True)
    if isinstance(error, aiohttp.ClientError | HttpProcessingError):
        return _Failed(UpstreamResponseError(), again=False)
    return None


def _read(body: bytes, read: Callable[[Any], T]) -> T:
    try:
        return read(decode_json(body))
    except LoadError:
        raise
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise UpstreamResponseError() from error
