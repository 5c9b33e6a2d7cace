"""What operators see of operations, over real sockets."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.routing import Mount

from loaders.upstream.simulator.base import Fault
from schema import schema
from schema.http.app import GraphQLApp
from schema.telemetry import OperationNames, selected_fields
from tests.graph import Graph
from tests.service import EVM, SOLANA, TOTAL, address_of, post, serve, start

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "rojo=1"}


@pytest.fixture
async def url(demo: Graph) -> AsyncIterator[str]:
    async with serve(Starlette(routes=[Mount("/graphql", GraphQLApp(demo.upstreams))])) as url:
        yield url


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of each line of an operation, as they come."""
    caplog.set_level(logging.INFO, logger="walletgraph")
    lines: list[dict[str, Any]] = []

    def note(record: logging.LogRecord) -> bool:
        if record.msg == "operation":
            lines.append(vars(record)["fields"])
        return True

    caplog.handler.addFilter(note)
    return lines


def count(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0


@pytest.mark.parametrize(
    ("query", "outcome", "codes"),
    [
        (f"query Seen {TOTAL}", "OK", []),
        (
            f'query Seen {{ bad: node(id: "x") {{ id }} wallet(address: "{EVM}") {{ id }} }}',
            "PARTIAL",
            ["BAD_USER_INPUT"],
        ),
        ('query Seen { wallets(addresses: ["x"]) { id } }', "FAILED", ["BAD_USER_INPUT"]),
        ("query Seen { nothing }", "FAILED", ["GRAPHQL_VALIDATION_FAILED"]),
    ],
)
async def test_an_operation_is_counted_timed_and_told_by_its_outcome(
    url: str, lines: list[dict[str, Any]], query: str, outcome: str, codes: list[str]
) -> None:
    counted = {"operation": "Seen", "type": "query", "outcome": outcome}
    timed = {"operation": "Seen", "outcome": outcome}
    before = count("walletgraph_operations_total", **counted)
    timed_before = count("walletgraph_operation_seconds_count", **timed)
    await post(url, query, traceparent=CALLER["traceparent"])
    assert count("walletgraph_operations_total", **counted) == before + 1
    assert count("walletgraph_operation_seconds_count", **timed) == timed_before + 1
    (line,) = lines
    assert line["milliseconds"] > 0
    told = {key: line[key] for key in ("operation", "type", "outcome", "codes", "trace_id")}
    assert told == {**counted, "codes": codes, "trace_id": TRACE}
    assert ("ONDO_GM" in line["upstream_requests"]) == (outcome == "OK")


async def test_what_is_no_document_is_counted_too_under_no_name_of_the_client_s_choice(
    url: str, lines: list[dict[str, Any]]
) -> None:
    await post(url, "{ wallet(")
    assert (lines[0]["operation"], lines[0]["type"], lines[0]["outcome"]) == ("anonymous", "unknown", "FAILED")
    assert lines[0]["codes"] == ["GRAPHQL_PARSE_FAILED"]


async def test_neither_addresses_nor_queries_nor_keys_are_logged(
    url: str, demo: Graph, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    demo.simulators.ondo.inject(Fault(status=500))
    await post(url, f'query Mine {{ a{EVM}: wallet(address: "{EVM}") {{ holdings {{ nodes {{ amount }} }} }} }}')
    await post(url, f'{{ wallet(address: "{SOLANA}") {{ total {{ valueUsd }} }} }}')
    records = [str({**vars(record), "asked": record.getMessage()}) for record in caplog.records]
    assert records
    ours = "\n".join(record for record in records if "walletgraph" in record)
    for secret in (EVM, SOLANA, "holdings {", demo.simulators.ondo.key, demo.simulators.thegraph.token):
        assert secret not in ours


async def test_the_trace_of_the_client_reaches_every_upstream(url: str, demo: Graph) -> None:
    await post(url, TOTAL, **CALLER)
    requests = [*demo.simulators.ondo.requests, *demo.simulators.onebalance.requests]
    assert requests
    parents = [request.headers["traceparent"].split("-") for request in requests]
    assert {parent[1] for parent in parents} == {TRACE}
    assert len({parent[2] for parent in parents}) == len(requests)
    assert {request.headers["tracestate"] for request in requests} == {"rojo=1"}


async def test_a_fault_of_ours_is_told_with_the_id_that_the_client_sees(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of ours")

    monkeypatch.setattr("schema.query.resolve_chains", fail)
    (error,) = (await post(url, "{ chains { name } }", traceparent=CALLER["traceparent"]))["errors"]
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "of ours"
    assert vars(record)["fields"] == {
        "error_id": error["extensions"]["errorId"],
        "field": "chains",
        "trace_id": TRACE,
    }


async def test_a_field_is_counted_once_for_each_operation_that_selects_it(url: str) -> None:
    names = [("Wallet", "total"), ("Query", "wallet"), ("Wallet", "address")]
    query = f'{{ a: wallet(address: "{EVM}") {{ ...T }} b: wallet(address: "{EVM}") {{ ...T }} }}'

    def counts() -> list[float]:
        return [count("walletgraph_fields_total", type=type, field=field) for type, field in names]

    before = counts()
    for _ in range(2):
        await post(url, f"{query} fragment T on Wallet {{ total {{ valueUsd }} }}")
    await post(url, "{ wallet { total { valueUsd } } }")  # not valid: selects nothing
    assert [after - at_first for after, at_first in zip(counts(), before, strict=True)] == [2, 2, 0]


def fields_of(text: str) -> set[tuple[str, str]]:
    document = parse(text)
    operation = next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    return selected_fields(schema._schema, document, operation)


def test_fields_are_found_in_fragments_and_below_interfaces_and_introspection_is_left_out() -> None:
    text = """
        {
          __schema { types { name } }
          __typename
          node(id: "x") { ... on Wallet { ...W } ... @include(if: true) { id } }
        }
        fragment W on Wallet { address ...V }
        fragment V on Wallet { caip: address }
        fragment Unused on Wallet { total { valueUsd } }
    """
    assert fields_of(text) == {("Query", "node"), ("Node", "id"), ("Wallet", "address")}


def test_the_walk_is_linear_in_fragments_that_spread_each_other_twice() -> None:
    levels = 200
    fragments = [f"fragment F{n} on Wallet {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels)]
    text = f'{{ wallet(address: "x") {{ ...F0 }} }} {" ".join(fragments)} fragment F{levels} on Wallet {{ id }}'
    assert fields_of(text) == {("Query", "wallet"), ("Wallet", "id")}


def test_the_names_of_clients_are_labels_as_long_as_they_are_few_and_short() -> None:
    names = OperationNames(3)
    assert [names.label(name) for name in ("A", None, "B", "x" * 65, "C", "D", "A")] == [
        "A",
        "anonymous",
        "B",
        "other",
        "C",
        "other",
        "A",
    ]


async def test_the_process_writes_one_json_line_for_an_operation(tmp_path: Path) -> None:
    process = await start("--demo", "--port", "0", cwd=tmp_path)
    url = await address_of(process)
    await post(url, f"query Mine {TOTAL}", **CALLER)
    process.terminate()
    _, errors = await process.communicate()
    (line,) = map(json.loads, errors.splitlines())
    assert (line["event"], line["operation"], line["level"], line["trace_id"]) == ("operation", "Mine", "info", TRACE)
    assert EVM not in errors.decode()


async def test_the_level_of_the_log_is_a_setting(tmp_path: Path) -> None:
    process = await start("--demo", "--port", "0", cwd=tmp_path, LOG_LEVEL="WARNING", LOG_FORMAT="console")
    await post(await address_of(process), TOTAL)
    process.terminate()
    assert (await process.communicate())[1] == b""
