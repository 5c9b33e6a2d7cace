"""Traces: W3C Trace Context taken from clients and given to upstreams; OpenTelemetry spans where its API is there.

Spans hold paths, names and outcomes: no query string, address, key or text of an operation.
See https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import NamedTuple, Self

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace as otel
except ImportError:
    otel = otel_context = None  # type: ignore[assignment]

_tracer = None if otel is None else otel.get_tracer("walletgraph")

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE_MEMBER = re.compile(
    r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_STATE_MEMBERS = 32
_STATE_LENGTH = 512
_SAMPLED = 1


class TraceContext(NamedTuple):
    """A place in a trace, as headers tell it."""

    trace_id: str
    span_id: str
    sampled: bool = False
    state: str = ""

    @classmethod
    def new(cls) -> Self:
        """The beginning of a trace."""
        return cls(_hexadecimal(128), _hexadecimal(64))

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> Self | None:
        """The caller's place by its headers, names in lower case; None when they are absent or malformed."""
        found = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip(" \t"))
        if found is None or (found[1] == "00" and found[5] is not None):
            return None
        return cls(found[2], found[3], bool(int(found[4], 16) & _SAMPLED), _state(headers.get("tracestate", "")))

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell it."""
        headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"}
        if self.state:
            headers["tracestate"] = self.state
        return headers

    def child(self) -> Self:
        """A new place below this one."""
        return type(self)(self.trace_id, _hexadecimal(64), self.sampled, self.state)


def _hexadecimal(bits: int) -> str:
    return f"{random.getrandbits(bits) or 1:0{bits // 4}x}"


def _state(text: str) -> str:
    """The caller's ``tracestate``, bounded in length; empty when it is malformed."""
    members = [stripped for member in text.split(",") if (stripped := member.strip(" \t"))]
    if len(members) > _STATE_MEMBERS or not all(map(_STATE_MEMBER.fullmatch, members)):
        return ""
    state = ",".join(members)
    while len(state) > _STATE_LENGTH:  # the last member is the one that was set first
        state = state.rpartition(",")[0]
    return state


_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


def current_trace_id() -> str | None:
    """The trace of what runs, 32 hexadecimal digits; None outside of operations and upstream requests."""
    context = _current.get()
    return None if context is None else context.trace_id


class _Span:
    """A place in a trace and OpenTelemetry's span for it, the current ones within a ``with`` block, once."""

    __slots__ = ("_attached", "_context", "_span", "_token")

    def __init__(self, context: TraceContext, span: otel.Span | None) -> None:
        if span is not None:
            ids = span.get_span_context()
            if not ids.is_valid:  # there is no SDK
                span = None
            elif not ids.is_remote:  # else it is its own parent
                trace_id, span_id = otel.format_trace_id(ids.trace_id), otel.format_span_id(ids.span_id)
                context = TraceContext(trace_id, span_id, ids.trace_flags.sampled, context.state)
        self._context = context
        self._span = span

    def __enter__(self) -> Self:
        self._token = _current.set(self._context)
        if self._span is not None:
            self._attached = otel_context.attach(otel.set_span_in_context(self._span))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            _current.reset(self._token)
        finally:
            if self._span is not None:
                otel_context.detach(self._attached)
                self._span.end()


class OperationSpan(_Span):
    """What a trace tells of one GraphQL operation."""

    __slots__ = ()

    @property
    def trace_id(self) -> str:
        """The trace that it is part of, 32 hexadecimal digits."""
        return self._context.trace_id

    def set_outcome(self, name: str, type: str, outcome: str, *, fault: bool = False) -> None:
        """Say which operation it was and how it went; ``fault`` when the service is to blame."""
        if (span := self._span) is not None:
            span.update_name(f"{type} {name}")
            span.set_attributes(
                {"graphql.operation.name": name, "graphql.operation.type": type, "walletgraph.outcome": outcome}
            )
            if fault:
                span.set_status(otel.StatusCode.ERROR)


class RequestSpan(_Span):
    """What a trace tells of one upstream request."""

    __slots__ = ()

    @property
    def headers(self) -> dict[str, str]:
        """The headers to be sent with it."""
        return self._context.headers

    def set_outcome(self, outcome: str, status: int | None = None) -> None:
        """Say how it went: OK, CANCELLED or an error code, and the HTTP status where there was one."""
        if (span := self._span) is not None:
            span.set_attribute("walletgraph.outcome", outcome)
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            if outcome not in ("OK", "CANCELLED"):
                span.set_attribute("error.type", outcome)
                span.set_status(otel.StatusCode.ERROR)


def operation_span(name: str, headers: Mapping[str, str]) -> OperationSpan:
    """An operation's span, below the caller's; what runs within, tasks started there included, is part of its trace.

    ``headers`` are the caller's, with names in lower case.
    """
    remote = TraceContext.parse(headers)
    span = None
    if _tracer is not None:
        parent = None
        if remote is not None and not otel.get_current_span().get_span_context().is_valid:
            parent = otel.set_span_in_context(_remote_span(remote))  # else a span of the host knows the caller
        span = _tracer.start_span(name, parent, otel.SpanKind.SERVER)
    return OperationSpan(TraceContext.new() if remote is None else remote.child(), span)


def request_span(source: str, path: str) -> RequestSpan:
    """The span of one request of an upstream; without an operation around it, a trace of its own."""
    operation = _current.get()
    span = None
    if _tracer is not None:
        path = path.partition("?")[0]
        attributes = {"http.request.method": "GET", "url.path": path, "walletgraph.source": source}
        span = _tracer.start_span(f"GET {path}", None, otel.SpanKind.CLIENT, attributes)
    return RequestSpan(TraceContext.new() if operation is None else operation.child(), span)


def _remote_span(remote: TraceContext) -> otel.Span:
    flags = otel.TraceFlags(_SAMPLED if remote.sampled else 0)
    return otel.NonRecordingSpan(
        otel.SpanContext(int(remote.trace_id, 16), int(remote.span_id, 16), is_remote=True, trace_flags=flags)
    )
