from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.service import EVM, TOTAL, address_of, post, start

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def test_a_collector_gets_the_spans_of_an_operation_and_of_what_it_asked_upstream(tmp_path: Path) -> None:
    exports: list[ExportTraceServiceRequest] = []

    async def collect(request: web.Request) -> web.Response:
        body = await request.read()
        assert EVM.encode() not in body
        exports.append(ExportTraceServiceRequest.FromString(body))
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", collect)
    async with TestServer(app) as collector:
        endpoint = str(collector.make_url("/"))
        process = await start("--demo", "--port", "0", cwd=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        try:
            await post(await address_of(process), TOTAL, traceparent=f"00-{TRACE}-{PARENT}-01")
        finally:
            process.terminate()
            assert await process.wait() == 0
    spans = [
        span
        for export in exports
        for resource in export.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == TRACE
    ]
    (operation,) = [span for span in spans if span.parent_span_id.hex() == PARENT]
    asked = [span for span in spans if span.parent_span_id == operation.span_id]
    assert len(asked) >= 3
    assert {attribute.value.string_value for span in asked for attribute in span.attributes} >= {
        "ONDO_GM",
        "ONEBALANCE",
    }
