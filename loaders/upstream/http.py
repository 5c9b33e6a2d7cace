"""One upstream's HTTP: deadlines, retries, hedging, size bounds and error mapping."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

import aiohttp
from aiohttp.http import HttpProcessingError
from prometheus_client import Counter, Histogram
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
_RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
_HEDGE_SAMPLES = 20
_HEDGE_SECONDS = (0.05, 2.0)

# Timers are exact to a millisecond.
_CLOCK_SECONDS = 0.001

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
    calls |= outcome.calls
    return Fetched(
        outcome.value, outcome.fetched_at, calls, outcome.cache_age_seconds, outcome.stale, outcome.fresh_seconds
    )


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


_Answer: TypeAlias = tuple[T, datetime]
"""What was read from an answer, and when it came."""


@dataclass(frozen=True, slots=True)
class _Failed:
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


@dataclass(slots=True)
class _Reply:
    """How far an answer has come; a body that is not of status 200 is empty where it cannot be read."""

    status: int | None = None
    headers: Mapping[str, str] | None = None
    body: bytes = b""

    @property
    def limits(self) -> Mapping[str, str] | None:
        """The headers, if they tell of the upstream's limits."""
        told = self.headers
        return told if told is not None and (self.status == 200 or "x-ratelimit-limit" in told) else None


class _Host:
    """Where an upstream is, and what all requests to it have in common; no URL is made for them."""

    def __init__(self, base_url: str, headers: Mapping[str, str], connect_seconds: float) -> None:
        """Raises ``aiohttp.InvalidURL``, or ValueError for a header that cannot be sent."""
        try:
            url = URL(base_url, encoded=True)
            known = url.scheme in ("http", "https") and bool(url.host)
        except ValueError:
            known = False
        if not known:
            raise aiohttp.InvalidURL(base_url)
        self.request = aiohttp.ClientRequest("GET", url, headers=headers)
        """What the connector wants to know of a request."""
        self.timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        fields = [f"{name}: {value}" for name, value in self.request.headers.items()]
        if not all(map(str.isprintable, fields)):
            raise ValueError("a header holds a control character")
        self._path = url.raw_path.rstrip("/")
        self._fields = "\r\n".join(fields)

    def get(self, target: str, headers: Mapping[str, str]) -> bytes:
        """A request as it is sent; ``target`` is below the base URL."""
        if not target.isprintable():
            raise ValueError("a target holds a control character")
        more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"GET {self._path}{target} HTTP/1.1\r\n{self._fields}\r\n{more}\r\n".encode()


class Connections:
    """The connections to all upstreams, kept alive.

    Requests go straight over aiohttp's connections, by its connector, protocol and parser: its session does much more
    for each of them, follows redirects, keeps cookies and sends again by itself what no budget knows of.
    """

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        self._connector = connector
        self._deadlines = _Deadlines()
        self.time = asyncio.get_running_loop().time

    async def close(self) -> None:
        """Closes them; requests that are under way fail."""
        await self._connector.close()

    async def ask(self, host: _Host, request: bytes, deadline: float, reply: _Reply) -> None:
        """Sends a request and takes its answer until the event-loop time ``deadline``; raises ``TimeoutError``.

        Other exceptions are aiohttp's, and ``UpstreamResponseError`` for a body of status 200 that is too large.
        """
        with _Deadline(self._deadlines, deadline):
            try:
                connection = await self._connector.connect(host.request, [], host.timeout)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError from error
            try:
                protocol = connection.protocol
                if protocol is None or protocol.transport is None:
                    raise aiohttp.ClientConnectionResetError("the connection was lost at once")
                if protocol.should_close:
                    raise aiohttp.ClientPayloadError("an answer came that nobody had asked for")
                protocol.set_response_params(read_until_eof=True)
                protocol.transport.write(request)
                message, payload = await protocol.read()
                while 100 <= message.code < 200 and message.code != 101:
                    message, payload = await protocol.read()
                reply.status, reply.headers = message.code, message.headers
                if message.code == 200:
                    reply.body = await _bounded(payload, MAX_BODY_BYTES)
                else:
                    with suppress(aiohttp.ClientError, UpstreamResponseError):
                        reply.body = await _bounded(payload, _MAX_ERROR_BODY_BYTES)
            except BaseException:
                connection.close()
                raise
            connection.release()  # which closes it unless all was read


async def _bounded(payload: aiohttp.StreamReader, limit: int) -> bytes:
    """All of a body, decompressed; raises ``UpstreamResponseError`` as soon as it is known to be longer."""
    chunks, size = [], 0
    while not payload.at_eof():
        chunk = await payload.readany()
        size += len(chunk)
        if size > limit:
            raise UpstreamResponseError
        chunks.append(chunk)
    return b"".join(chunks)


class _Deadlines:
    """The deadlines of many tasks, with one timer of the loop for all of them: timers are dear."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.pending: set[_Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.next = math.inf

    def wake(self, when: float) -> None:
        """Sets the timer; it may wake in vain, for one who was done in time."""
        if self._timer is not None:
            self._timer.cancel()
        self.next, self._timer = when, self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        now = self._loop.time() + _CLOCK_SECONDS
        self.next, self._timer = math.inf, None
        for deadline in [deadline for deadline in self.pending if deadline.when <= now]:
            self.pending.discard(deadline)
            deadline.expire()
        if self.pending:
            self.wake(min(deadline.when for deadline in self.pending))


class _Deadline:
    """Does what ``asyncio.timeout_at`` does, with the timer of all."""

    __slots__ = ("_all", "_cancelling", "_expired", "_task", "when")

    def __init__(self, all_: _Deadlines, when: float) -> None:
        self._all = all_
        self.when = when
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._all.pending.add(self)
        if self.when < self._all.next:
            self._all.wake(self.when)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._all.pending.discard(self)
        # A task that others have cancelled as well stays cancelled.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """It has come: what runs within is cancelled."""
        self._expired = True
        self._task.cancel()


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
        self._host: _Host | None = None
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
        outcome, failure, reply, started = "CANCELLED", None, _Reply(), time.perf_counter()
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
        self, question: _Question[T], headers: Mapping[str, str], reply: _Reply
    ) -> _Answer[T] | _Failed:
        """What comes of one request that is sent."""
        try:
            connections = self._connections()
            if self._host is None:
                self._host = _Host(self._base_url, self._headers, self._policy.connect_seconds)
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

    def _refusal(self, reply: _Reply) -> _Failed:
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
