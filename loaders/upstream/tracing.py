"""Traces: W3C Trace Context taken from clients and given to upstreams; OpenTelemetry spans where its API is there.

Spans hold paths, names and outcomes: no query string, address, key or text of an operation.
See https://www.w3.org/TR/trace-context/.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Self

try:
    from opentelemetry import trace as otel
except ImportError:
    otel = None  # type: ignore[assignment]

_tracer = None if otel is None else otel.get_tracer("walletgraph")

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE_MEMBER = re.compile(
    r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_STATE_MEMBERS = 32
_STATE_LENGTH = 512
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
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
        headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"}
        if self.state:
            headers["tracestate"] = self.state
        return headers

    def child(self) -> Self:
        """A new place below this one."""
        return replace(self, span_id=_hexadecimal(64))


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


class OperationSpan:
    """What a trace tells of one GraphQL operation."""

    __slots__ = ("_span", "trace_id")

    def __init__(self, trace_id: str, span: otel.Span | None) -> None:
        self.trace_id = trace_id
        self._span = span

    def set_outcome(self, name: str, type: str, outcome: str, *, fault: bool = False) -> None:
        """Say which operation it was and how it went; ``fault`` when the service is to blame."""
        if (span := self._span) is not None:
            span.update_name(f"{type} {name}")
            span.set_attributes(
                {"graphql.operation.name": name, "graphql.operation.type": type, "walletgraph.outcome": outcome}
            )
            if fault:
                span.set_status(otel.StatusCode.ERROR)


class RequestSpan:
    """What a trace tells of one upstream request; ``headers`` are to be sent with it."""

    __slots__ = ("_span", "headers")

    def __init__(self, headers: Mapping[str, str], span: otel.Span | None) -> None:
        self.headers = headers
        self._span = span

    def set_outcome(self, outcome: str, status: int | None = None) -> None:
        """Say how it went: OK, CANCELLED or an error code, and the HTTP status where there was one."""
        if (span := self._span) is not None:
            span.set_attribute("walletgraph.outcome", outcome)
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            if outcome not in ("OK", "CANCELLED"):
                span.set_attribute("error.type", outcome)
                span.set_status(otel.StatusCode.ERROR)


@contextmanager
def operation_span(name: str, headers: Mapping[str, str]) -> Iterator[OperationSpan]:
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
    with _current_span(TraceContext.new() if remote is None else remote.child(), span) as context:
        yield OperationSpan(context.trace_id, span)


@contextmanager
def request_span(source: str, path: str) -> Iterator[RequestSpan]:
    """The span of one request of an upstream; without an operation around it, a trace of its own."""
    operation = _current.get()
    span = None
    if _tracer is not None:
        path = path.partition("?")[0]
        attributes = {"http.request.method": "GET", "url.path": path, "walletgraph.source": source}
        span = _tracer.start_span(f"GET {path}", None, otel.SpanKind.CLIENT, attributes)
    with _current_span(TraceContext.new() if operation is None else operation.child(), span) as context:
        yield RequestSpan(context.headers, span)


@contextmanager
def _current_span(context: TraceContext, span: otel.Span | None) -> Iterator[TraceContext]:
    """Makes this place the current one, by the ids of its span where that has any of its own; ends the span."""
    with ExitStack() as stack:
        if span is not None:
            ids = span.get_span_context()
            if ids.is_valid and not ids.is_remote:  # else there is no SDK, and it is its own parent
                context = replace(
                    context,
                    trace_id=otel.format_trace_id(ids.trace_id),
                    span_id=otel.format_span_id(ids.span_id),
                    sampled=ids.trace_flags.sampled,
                )
            stack.enter_context(otel.use_span(span, True, record_exception=False, set_status_on_exception=False))
        token = _current.set(context)
        stack.callback(_current.reset, token)
        yield context


def _remote_span(remote: TraceContext) -> otel.Span:
    flags = otel.TraceFlags(_SAMPLED if remote.sampled else 0)
    return otel.NonRecordingSpan(
        otel.SpanContext(int(remote.trace_id, 16), int(remote.span_id, 16), is_remote=True, trace_flags=flags)
    )
