"""An upstream that refuses, fails or talks nonsense is a report beside what the others know."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from loaders.upstream import connections
from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.ondo import OndoDataset, OndoSimulator
from tests.failures.household import (
    BALANCES,
    ETHEREUM_BALANCES,
    ONDO_GM,
    ONEBALANCE,
    SECRET,
    SOLANA_SPL,
    SOURCES,
    assert_failed,
    assert_whole,
    look,
    meet,
    meet_in_balances,
)
from tests.graph import ONEBALANCE_BALANCES, Graph

JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html"}
WORDS = f"{SECRET}: Traceback (most recent call last) at http://10.0.0.1/?key=demo-key&token=demo-token"

EMPTY_WALLET: Mapping[str, bytes] = {
    ONDO_GM: b'{"tokens": []}',
    ONEBALANCE: b'{"balanceByAggregatedAsset": [], "balanceBySpecificAsset": [], "totalBalance": {"fiatValue": 0}}',
    SOLANA_SPL: b'{"data": []}',
}
"""An answer of each source in good order, which says that nothing is held."""

every_source = pytest.mark.parametrize("source", SOURCES)


async def test_in_good_health_everything_is_known(graph: Graph) -> None:
    assert_whole(await look(graph))


STATUSES = {
    400: "UPSTREAM_REJECTED_INPUT",
    401: "UNAUTHORIZED",
    404: "UNREACHABLE",
    410: "UNREACHABLE",
    429: "RATE_LIMITED",
    500: "UPSTREAM_ERROR",
    502: "UPSTREAM_ERROR",
    503: "UPSTREAM_ERROR",
    504: "UPSTREAM_ERROR",
}
ERROR_BODIES: Mapping[str, tuple[bytes, Mapping[str, str]]] = {
    "json": (json.dumps({"code": WORDS, "error": WORDS, "message": WORDS, "statusCode": 418}).encode(), JSON),
    "html": (f"<html><body><h1>{WORDS}</h1></body></html>".encode(), HTML),
    "empty": (b"", {}),
}


@every_source
@pytest.mark.parametrize("status", STATUSES)
async def test_a_refusal_is_told_by_its_status_whatever_its_body(graph: Graph, status: int, source: str) -> None:
    simulator = graph.simulators.by_source()[source]
    for body, headers in [*ERROR_BODIES.values()][: 3 if status >= 500 else 1]:
        simulator.heal()
        simulator.inject(Fault(status=status, body=body, headers=headers))
        assert_failed(await look(graph), source, STATUSES[status])
    simulator.heal()
    assert_whole(await look(graph))


@every_source
async def test_a_403_without_a_code_is_about_the_key_of_ondo_alone(graph: Graph, source: str) -> None:
    for body in (b'{"message":"Forbidden"}', *[body for body, _ in ERROR_BODIES.values()]):
        about_the_key = source == ONDO_GM and b'"code"' not in body
        code = "UNAUTHORIZED" if about_the_key else "FORBIDDEN"
        await meet(graph, source, code, Fault(status=403, body=body, headers=JSON))
    assert_whole(await look(graph))


@every_source
async def test_a_failure_beside_registers_that_are_known_is_a_failure_too(graph: Graph, source: str) -> None:
    await graph.ask('{ tokens(assetIds: ["eip155:1/slip44:60"]) { symbol price { usd } } }')
    simulator = graph.simulators.by_source()[source]
    for path in BALANCES[source]:
        simulator.inject(Fault(status=500, path=path))
    seen = await look(graph)
    assert {(report["status"], report["code"]) for report in seen.reports(source)} == {("FAILED", "UPSTREAM_ERROR")}
    simulator.heal()
    assert_whole(await look(graph))


@every_source
async def test_a_key_that_is_taken_away_is_unauthorized_until_it_is_given_back(graph: Graph, source: str) -> None:
    simulators = graph.simulators
    given = simulators.ondo.key, simulators.onebalance.key, simulators.thegraph.token
    for gateway in (True, False):
        simulators.ondo.wrong_key_answers_403 = gateway
        match source:
            case "ONDO_GM":
                simulators.ondo.key = "another"
            case "ONEBALANCE":
                simulators.onebalance.key = "another"
            case _:
                simulators.thegraph.token = "another"
        await graph.restart()
        assert_failed(await look(graph), source, "UNAUTHORIZED")
        simulators.ondo.key, simulators.onebalance.key, simulators.thegraph.token = given
        assert_whole(await look(graph))


async def test_onebalance_gone_from_the_net_is_unreachable(graph: Graph) -> None:
    graph.simulators.onebalance.gone = True
    assert_failed(await look(graph), ONEBALANCE, "UNREACHABLE")
    graph.simulators.onebalance.gone = False
    assert_whole(await look(graph))


async def test_an_upstream_asked_too_often_says_when_to_come_back(graph: Graph) -> None:
    simulators = graph.simulators
    simulators.ondo.requests_per_minute = 0
    assert_failed(await look(graph), ONDO_GM, "RATE_LIMITED")
    simulators.ondo.requests_per_minute = None
    simulators.thegraph.requests_per_minute = 0
    assert_failed(await look(graph), SOLANA_SPL, "RATE_LIMITED", retry_after=[60])
    simulators.thegraph.requests_per_minute = None
    simulators.onebalance.requests_per_minute = 0
    await graph.restart()
    assert_failed(await look(graph), ONEBALANCE, "RATE_LIMITED", retry_after=range(55, 62))
    simulators.onebalance.requests_per_minute = 1_000
    await graph.restart()
    assert_whole(await look(graph))


def _date(seconds_from_now: float) -> str:
    return format_datetime(datetime.fromtimestamp(time.time() + seconds_from_now, UTC), usegmt=True)


@every_source
async def test_when_to_come_back_is_passed_on(graph: Graph, source: str) -> None:
    now = int(time.time())
    cases: list[tuple[dict[str, str], Collection[int | None]]] = [
        ({"Retry-After": "7"}, [7]),
        ({"Retry-After": _date(90)}, range(80, 92)),
        ({"Retry-After": _date(-90)}, [0]),
        ({"x-ratelimit-reset": str(now + 45)}, range(35, 47)),
        ({}, [None]),
    ]
    for headers, expected in cases:
        await meet(graph, source, "RATE_LIMITED", Fault(status=429, headers=headers), retry_after=expected)
    await graph.restart()
    assert_whole(await look(graph))


@pytest.mark.parametrize("name", ["Retry-After", "x-ratelimit-reset"])
@pytest.mark.parametrize(
    "text",
    ["after lunch", "-7", "²", "9" * 400, "nan"],
    ids=["words", "negative", "superscript", "endless", "nan"],
)
async def test_nonsense_about_when_to_come_back_is_harmless(graph: Graph, name: str, text: str) -> None:
    fault = Fault(status=429, headers={name: text})
    await meet(graph, ONEBALANCE, "RATE_LIMITED", fault, retry_after=[None, 0, 86_400])


async def test_an_error_of_onebalance_inside_a_200_counts_by_its_own_status(graph: Graph) -> None:
    for path in ("*", ONEBALANCE_BALANCES):
        for status in (401, 429, 503):
            body = json.dumps({"error": SECRET, "message": WORDS, "statusCode": status}).encode()
            fault = Fault(status=200, body=body, headers=JSON, path=path)
            await meet(graph, ONEBALANCE, STATUSES[status], fault)
    assert_whole(await look(graph))


NONSENSE = {
    "words": b"no such luck",
    "html": f"<html><body>{WORDS}</body></html>".encode(),
    "empty": b"",
    "not utf-8": b'{"data": "\xff\xfe"}',
    "NaN": b'{"tokens": NaN, "data": NaN}',
    "a number past all bounds": b'{"tokens": [1e99999999999999999999], "data": [1e99999999999999999999]}',
    "null": b"null",
    "no keys": b"{}",
    "other keys": b'{"balances": [], "result": {"data": [], "tokens": []}}',
    "wrong values": b'{"tokens": {}, "data": {}, "balanceByAggregatedAsset": {}, "balanceBySpecificAsset": {}}',
    "null values": b'{"tokens": null, "data": null, "balanceByAggregatedAsset": null}',
    "nested without end": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_a_200_that_is_no_answer_is_a_bad_response(graph: Graph, nonsense: str) -> None:
    for source in SOURCES:
        fault = Fault(status=200, body=NONSENSE[nonsense], headers=JSON)
        await meet(graph, source, "BAD_RESPONSE", fault)
    assert_whole(await look(graph))


async def test_a_list_in_place_of_an_object_is_a_bad_response(graph: Graph) -> None:
    for source in SOURCES:
        await meet_in_balances(graph, source, "BAD_RESPONSE", Fault(status=200, body=b"[]"))
    assert_whole(await look(graph))


@every_source
async def test_another_status_of_success_is_no_answer(graph: Graph, source: str) -> None:
    for status in (202, 204):
        body = b"" if status == 204 else EMPTY_WALLET[source]
        await meet_in_balances(graph, source, "BAD_RESPONSE", Fault(status=status, body=body, headers=JSON))
    assert_whole(await look(graph))


@every_source
async def test_a_truncated_answer_is_not_taken_for_a_short_one(graph: Graph, source: str) -> None:
    body = EMPTY_WALLET[source].ljust(3 * len(EMPTY_WALLET[source]))  # its half is in good order
    await meet_in_balances(graph, source, "BAD_RESPONSE", Fault("truncate", status=200, body=body))
    await meet(graph, source, "BAD_RESPONSE", Fault("truncate", status=200, body=b"[" + b" " * 99 + b"]"))
    assert_whole(await look(graph))


@every_source
async def test_an_answer_that_is_not_packed_as_it_says_is_a_bad_response(graph: Graph, source: str) -> None:
    for encoding in ("gzip", "zstd"):
        fault = Fault(status=200, body=b"neither", headers={**JSON, "Content-Encoding": encoding})
        await meet(graph, source, "BAD_RESPONSE", fault)
    assert_whole(await look(graph))


@every_source
@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_larger_than_the_cap_is_not_read(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, packed: bool, source: str
) -> None:
    cap = 20_000
    monkeypatch.setattr(connections, "MAX_BODY_BYTES", cap)
    headers = {**JSON, "Content-Encoding": "gzip"} if packed else JSON
    small, large = [EMPTY_WALLET[source].ljust(size) for size in (cap, cap + 1)]
    fault = Fault(status=200, body=gzip.compress(large) if packed else large, headers=headers)
    await meet_in_balances(graph, source, "BAD_RESPONSE", fault)
    for path in BALANCES[source]:
        body = gzip.compress(small) if packed else small
        graph.simulators.by_source()[source].inject(replace(fault, body=body, path=path))
    assert (await look(graph)).status(source) == "OK"
    graph.simulators.by_source()[source].heal()
    assert_whole(await look(graph))


@every_source
async def test_a_redirect_is_not_followed_and_no_key_goes_elsewhere(graph: Graph, source: str) -> None:
    async with OndoSimulator(OndoDataset()) as elsewhere:
        for status in (301, 302, 307):
            host = elsewhere.url if status != 307 else elsewhere.url.removeprefix("http:")
            fault = Fault(status=status, headers={"Location": f"{host}{ETHEREUM_BALANCES}"})
            await meet(graph, source, "BAD_RESPONSE", fault)
        assert elsewhere.requests == []
    assert_whole(await look(graph))
