from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from loaders.upstream import tracing
from loaders.upstream.tracing import TraceContext, current_trace_id, operation_span, request_span

ROOT = Path(__file__).parents[3]
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"}


def identifiers(digits: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**digits - 1).map(lambda number: f"{number:0{digits}x}")


MEMBERS = st.from_regex(r"[a-z0-9][a-z0-9_*/@-]{0,9}=[ -+\--<>-~]{0,9}[!-+\--<>-~]", fullmatch=True)
CONTEXTS = st.builds(
    TraceContext, identifiers(32), identifiers(16), st.booleans(), st.lists(MEMBERS, max_size=20).map(",".join)
)


@given(CONTEXTS)
def test_what_is_told_is_what_is_understood(context: TraceContext) -> None:
    assert TraceContext.parse(context.headers) == context


@given(CONTEXTS, st.integers(1, 254), st.text("0123456789abcdef-", max_size=9))
def test_a_later_version_is_read_as_far_as_this_one_goes(context: TraceContext, version: int, more: str) -> None:
    text = context.headers["traceparent"]
    later = f"{version:02x}{text[2:]}" + (f"-{more}" if more else "")
    assert TraceContext.parse({**context.headers, "traceparent": later}) == context


@given(st.text(), st.text())
def test_no_header_is_an_error(traceparent: str, tracestate: str) -> None:
    assert TraceContext.parse({"traceparent": traceparent, "tracestate": tracestate}) is None
    told = TraceContext.parse({**CALLER, "tracestate": tracestate})
    assert told is not None
    assert TraceContext.parse(told.headers) == told
    assert len(told.state) <= 512


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
    ],
)
def test_of_a_malformed_caller_nothing_is_kept(traceparent: str) -> None:
    with operation_span("operation", {**CALLER, "traceparent": traceparent}) as span:
        assert span.trace_id != TRACE
        with request_span("ONDO_GM", "/v1/prices") as request:
            assert "tracestate" not in request.headers


@pytest.mark.parametrize(
    "state", ["novalue", "a=1,b", "A=1", "a=\x00", ",".join(f"k{number}=1" for number in range(33)), "é=1"]
)
def test_a_malformed_state_is_dropped_and_the_trace_goes_on(state: str) -> None:
    assert TraceContext.parse({**CALLER, "tracestate": state}) == TraceContext(TRACE, SPAN, sampled=True)


def test_of_a_long_state_whole_members_are_kept_the_latest_first() -> None:
    members = [f"k{number}={'v' * 97}" for number in range(9)]
    context = TraceContext.parse({**CALLER, "tracestate": " , ".join(members)})
    assert context is not None
    assert context.state == ",".join(members[:5])


def test_every_upstream_request_continues_the_caller_s_trace_by_a_span_of_its_own() -> None:
    with operation_span("operation", CALLER) as operation:
        assert operation.trace_id == current_trace_id() == TRACE
        spans = set()
        for _ in range(2):
            with request_span("ONDO_GM", "/v1/prices") as request:
                told = TraceContext.parse(request.headers)
            assert told is not None
            assert (told.trace_id, told.sampled, told.state) == (TRACE, True, CALLER["tracestate"])
            spans.add(told.span_id)
        assert len(spans - {SPAN}) == 2
    assert current_trace_id() is None


def test_a_request_without_an_operation_has_a_trace_of_its_own() -> None:
    traces = set()
    for _ in range(2):
        with request_span("ONDO_GM", "/v1/prices") as request:
            traces.add(current_trace_id())
            told = TraceContext.parse(request.headers)
            assert told is not None
            assert told.trace_id == current_trace_id()
    assert len(traces) == 2


async def test_operations_side_by_side_keep_their_traces_apart() -> None:
    async def trace_of(caller: TraceContext) -> str | None:
        with operation_span("operation", caller.headers):
            await asyncio.sleep(0)
            return await asyncio.create_task(deeper())

    async def deeper() -> str | None:
        await asyncio.sleep(0)
        return current_trace_id()

    callers = [TraceContext.new() for _ in range(3)]
    assert await asyncio.gather(*map(trace_of, callers)) == [caller.trace_id for caller in callers]


class TestWithOpenTelemetry:
    @pytest.fixture
    def exporter(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
        exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("walletgraph"))
        yield exporter
        provider.shutdown()

    def test_the_caller_is_the_parent_of_the_operation_and_it_of_the_requests(
        self, exporter: InMemorySpanExporter
    ) -> None:
        with operation_span("operation", CALLER) as operation:
            with request_span("ONDO_GM", "/v1/prices?symbol=x") as request:
                request.set_outcome("TIMEOUT", None)
            with request_span("ONEBALANCE", "/assets/list") as request:
                request.set_outcome("OK", 200)
            operation.set_outcome("Portfolio", "query", "PARTIAL")
        failed, answered, served = exporter.get_finished_spans()
        assert operation.trace_id == TRACE
        assert {ids_of(span)[0] for span in (failed, answered, served)} == {TRACE}
        assert parent_of(served) == SPAN
        assert {parent_of(failed), parent_of(answered)} == {ids_of(served)[1]}
        assert (served.name, served.kind) == ("query Portfolio", otel.SpanKind.SERVER)
        assert (failed.name, failed.kind) == ("GET /v1/prices", otel.SpanKind.CLIENT)
        assert request.headers["traceparent"].split("-")[2] == ids_of(answered)[1]
        assert [span.status.status_code.name for span in (failed, answered, served)] == ["ERROR", "UNSET", "UNSET"]
        assert dict(failed.attributes or {}) == {
            "http.request.method": "GET",
            "url.path": "/v1/prices",
            "walletgraph.source": "ONDO_GM",
            "walletgraph.outcome": "TIMEOUT",
            "error.type": "TIMEOUT",
        }

    def test_without_a_caller_the_log_and_the_spans_agree_on_the_trace(self, exporter: InMemorySpanExporter) -> None:
        with operation_span("operation", {}) as operation:
            assert current_trace_id() == operation.trace_id
        (served,) = exporter.get_finished_spans()
        assert ids_of(served)[0] == operation.trace_id
        assert served.parent is None

    def test_an_exception_ends_its_span_and_its_text_stays_out(self, exporter: InMemorySpanExporter) -> None:
        with pytest.raises(ValueError, match="secret"), request_span("ONDO_GM", "/v1/prices"):
            raise ValueError("secret")
        (span,) = exporter.get_finished_spans()
        assert "secret" not in span.to_json()

    def test_a_span_of_the_host_stands_between_the_caller_and_the_operation(
        self, exporter: InMemorySpanExporter
    ) -> None:
        host = otel.NonRecordingSpan(otel.SpanContext(1, 2, False, otel.TraceFlags(1)))
        with otel.use_span(host), operation_span("operation", CALLER) as operation:
            pass
        (served,) = exporter.get_finished_spans()
        assert operation.trace_id == ids_of(served)[0] == f"{1:032x}"
        assert parent_of(served) == f"{2:016x}"

    def test_what_is_not_sampled_is_told_to_be_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        provider = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)
        monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("walletgraph"))
        with operation_span("operation", CALLER), request_span("ONDO_GM", "/v1/prices") as request:
            assert request.headers["traceparent"].endswith("-00")
            assert TRACE in request.headers["traceparent"]


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    context = span.get_span_context()
    assert context is not None
    return otel.format_trace_id(context.trace_id), otel.format_span_id(context.span_id)


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else otel.format_span_id(span.parent.span_id)


def test_without_opentelemetry_traces_go_on_all_the_same() -> None:
    program = f"""
import json, sys
sys.modules["opentelemetry"] = None
from loaders.upstream.tracing import operation_span, request_span
with operation_span("operation", {CALLER!r}) as operation:
    with request_span("ONDO_GM", "/v1/prices") as request:
        request.set_outcome("OK", 200)
    operation.set_outcome("Portfolio", "query", "OK")
print(json.dumps(request.headers))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    told = TraceContext.parse(json.loads(done.stdout))
    assert told is not None
    assert (told.trace_id, told.state) == (TRACE, CALLER["tracestate"])
