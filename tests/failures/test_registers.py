"""A register that fails leaves the balances standing, and turns no price into 0 and no wallet into an empty one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from loaders.upstream.simulator.base import Fault
from tests.failures.household import (
    AAPL,
    AAPL_ON_SOLANA,
    ASSETS_LIST,
    ETH,
    EVM,
    HEALTHY,
    METADATA,
    NETWORKS,
    NVDA,
    ONEBALANCE,
    PRICES,
    SOL,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    TSLA,
    USDC,
    USDC_ON_SOLANA,
    Seen,
    assert_failed,
    assert_whole,
    look,
)
from tests.graph import ONDO_BALANCES, ONEBALANCE_BALANCES, Graph

TOKENS_OF_ONDO = (AAPL, TSLA, NVDA, AAPL_ON_SOLANA)

FAULTS = {
    "500": (Fault(status=500), "UPSTREAM_ERROR"),
    "shape": (Fault(status=200, body=b'{"assets": []}'), "BAD_RESPONSE"),
    "reset": (Fault("reset"), "UNREACHABLE"),
}
every_fault = pytest.mark.parametrize("fault", FAULTS)

HOLDING = """query ($a: AccountAddress!, $x: AssetId!) { wallet(address: $a) {
  holding(assetId: $x) { amount valueUsd valueStatus } sources { source status code }
} }"""


def on(path: str, fault: Fault) -> Fault:
    return Fault(fault.kind, fault.status, fault.body, path=path)


def assert_unpriced(seen: Seen, *assets: str) -> None:
    """All sources are OK and all amounts are there; only what these are worth cannot be told."""
    assert {source: seen.status(source) for source in SOURCES} == dict.fromkeys(SOURCES, "OK")
    assert {asset: held.amount for asset, held in seen.held.items()} == {a: h.amount for a, h in HEALTHY.items()}
    told = {asset: (node["valueUsd"], node["valueStatus"]) for asset, node in seen.nodes.items()}
    assert {asset: told[asset] for asset in assets} == dict.fromkeys(assets, (None, "UNAVAILABLE"))
    assert {a: h for a, h in seen.held.items() if a not in assets} == {
        asset: held for asset, held in HEALTHY.items() if asset not in assets
    }
    assert seen.view["total"]["complete"] is False


@every_fault
@pytest.mark.parametrize("path", [METADATA, PRICES])
async def test_without_prices_of_ondo_amounts_stand_and_their_value_is_unavailable(
    graph: Graph, path: str, fault: str
) -> None:
    graph.simulators.ondo.inject(on(path, FAULTS[fault][0]))
    seen = await look(graph)
    assert_unpriced(seen, *TOKENS_OF_ONDO)
    assert seen.view["total"]["valueUsd"] == "5061.25"
    graph.simulators.ondo.heal()
    assert_whole(await look(graph))


async def test_without_prices_a_wallet_of_ondo_tokens_alone_is_worth_null_and_not_0(graph: Graph) -> None:
    graph.simulators.ondo.inject(Fault(status=500, path=PRICES))
    query = """query ($a: AccountAddress!) { wallet(address: $a) {
      holdings(filter: {sources: [ONDO_GM]}) { totalCount total { valueUsd complete unpricedCount } }
    } }"""
    data = await graph.ask(query, a=EVM)
    total = {"valueUsd": None, "complete": False, "unpricedCount": 3}
    assert data["wallet"]["holdings"] == {"totalCount": 3, "total": total}


async def test_without_its_metadata_the_symbols_of_ondo_come_from_the_balances(graph: Graph) -> None:
    graph.simulators.ondo.inject(Fault(status=500, path=METADATA))
    query = """query ($a: AccountAddress!) { wallet(address: $a) {
      holdings(filter: {sources: [ONDO_GM]}, orderBy: {field: SYMBOL, direction: ASC}) {
        nodes { token { symbol trust } }
      }
    } }"""
    data = await graph.ask(query, a=EVM)
    tokens = [node["token"] for node in data["wallet"]["holdings"]["nodes"]]
    assert tokens == [{"symbol": symbol, "trust": "ISSUER"} for symbol in ("AAPLon", "NVDAon", "TSLAon")]


async def test_without_its_metadata_a_named_token_of_ondo_is_still_found(graph: Graph) -> None:
    graph.simulators.ondo.inject(Fault(status=500, path=METADATA))
    data = await graph.ask(HOLDING, a=EVM, x=AAPL)
    assert data["wallet"]["holding"] == {"amount": "2.5", "valueUsd": None, "valueStatus": "UNAVAILABLE"}


@every_fault
async def test_without_its_register_onebalance_has_failed(graph: Graph, fault: str) -> None:
    kind, code = FAULTS[fault]
    graph.simulators.onebalance.inject(on(ASSETS_LIST, kind))
    assert_failed(await look(graph), ONEBALANCE, code)
    assert graph.simulators.onebalance.asked(ONEBALANCE_BALANCES) == []
    graph.simulators.onebalance.heal()
    assert_whole(await look(graph))


async def test_without_its_register_a_named_asset_of_onebalance_is_unknown_and_not_absent(graph: Graph) -> None:
    graph.simulators.onebalance.inject(Fault(status=500, path=ASSETS_LIST))
    wallet = (await graph.ask(HOLDING, a=EVM, x=ETH))["wallet"]
    assert wallet["holding"] is None
    assert {"source": ONEBALANCE, "status": "FAILED", "code": "UPSTREAM_ERROR"} in wallet["sources"]


FRESHNESS = """query ($a: AccountAddress!) { wallet(address: $a) {
  total { valueUsd complete missingSources } sources { source status code indexedTo { blockNumber } }
} }"""


@every_fault
async def test_how_far_solana_is_indexed_is_unknown_without_networks_and_nothing_else_is(
    graph: Graph, fault: str
) -> None:
    graph.simulators.thegraph.inject(on(NETWORKS, FAULTS[fault][0]))
    wallet = (await graph.ask(FRESHNESS, a=SOLANA))["wallet"]
    assert wallet["total"] == {"valueUsd": "560.000001", "complete": True, "missingSources": []}
    told = {"source": SOLANA_SPL, "status": "OK", "code": None}
    assert {**told, "indexedTo": None} in wallet["sources"]
    graph.simulators.thegraph.heal()
    wallet = (await graph.ask(FRESHNESS, a=SOLANA))["wallet"]
    assert {**told, "indexedTo": {"blockNumber": "372000000"}} in wallet["sources"]


def asset_row(name: str, decimals: Any, *assets: str) -> dict[str, Any]:
    entities = [{"assetType": asset, "decimals": decimals, "name": name, "symbol": name} for asset in assets]
    row = {"aggregatedAssetId": f"ob:{name.lower()}", "symbol": name, "name": name, "decimals": decimals}
    return {**row, "aggregatedEntities": entities}


ETH_ROW = asset_row("ETH", 18, ETH)
USDC_ROW = asset_row("USDC", 6, USDC, USDC_ON_SOLANA)
SOL_ROW = asset_row("SOL", 9, SOL)


@pytest.mark.parametrize(
    "row",
    ["...", asset_row("ETH", "eighteen", ETH), {"symbol": "ETH"}],
    ids=["dots", "decimals", "no id"],
)
async def test_a_row_of_the_register_of_onebalance_that_cannot_be_read_makes_it_partial(
    graph: Graph, row: Any
) -> None:
    body = orjson.dumps([row, USDC_ROW, SOL_ROW])
    graph.simulators.onebalance.inject(Fault(status=200, body=body, path=ASSETS_LIST))
    seen = await look(graph)
    assert seen.held == {asset: held for asset, held in HEALTHY.items() if asset != ETH}
    (report,) = seen.reports(ONEBALANCE)
    assert (report["status"], report["code"]) == ("PARTIAL", "BAD_RESPONSE")
    assert seen.view["total"]["complete"] is False
    assert seen.view["total"]["missingSources"] == [ONEBALANCE]


async def test_an_aggregate_of_unreadable_members_is_asked_for_all_the_same(graph: Graph) -> None:
    body = orjson.dumps([{**ETH_ROW, "aggregatedEntities": ["..."]}, USDC_ROW, SOL_ROW])
    graph.simulators.onebalance.inject(Fault(status=200, body=body, path=ASSETS_LIST))
    seen = await look(graph)
    assert seen.held == HEALTHY
    (report,) = seen.reports(ONEBALANCE)
    assert (report["status"], report["code"]) == ("PARTIAL", "BAD_RESPONSE")


@pytest.mark.parametrize("body", [b'["..."]', b'[{"id": "ob:eth"}, {"id": "ob:usdc"}]'])
async def test_a_register_of_onebalance_without_one_readable_row_is_a_failure(graph: Graph, body: bytes) -> None:
    graph.simulators.onebalance.inject(Fault(status=200, body=body, path=ASSETS_LIST))
    seen = await look(graph)
    (report,) = seen.reports(ONEBALANCE)
    assert (report["status"], report["code"]) == ("PARTIAL", "BAD_RESPONSE")
    assert seen.view["total"]["complete"] is False
    assert seen.view["total"]["missingSources"] == [ONEBALANCE]


async def test_a_row_of_the_metadata_of_ondo_that_cannot_be_read_does_not_hide_its_token(graph: Graph) -> None:
    graph.simulators.ondo.inject(Fault(status=200, body=b'[{"symbol": "AAPLon"}]', path=METADATA))
    wallet = (await graph.ask(HOLDING, a=EVM, x=AAPL))["wallet"]
    assert wallet["holding"] == {"amount": "2.5", "valueUsd": None, "valueStatus": "UNAVAILABLE"}
    assert graph.simulators.ondo.asked(ONDO_BALANCES)


def price_row(symbol: str, price: Any, **others: Any) -> dict[str, Any]:
    return {"primaryMarket": {"symbol": symbol, "price": price}, "underlyingMarket": {}, **others}


PRICE_ROWS = [price_row("TSLAon", "50"), price_row("NVDAon", "178.5")]


@pytest.mark.parametrize(
    "row",
    ["...", price_row("AAPLon", "dear"), price_row("AAPLon", "-1"), price_row("AAPLon", None)],
    ids=["dots", "words", "negative", "null"],
)
async def test_a_price_that_cannot_be_read_is_unavailable_and_the_others_stand(graph: Graph, row: Any) -> None:
    graph.simulators.ondo.inject(Fault(status=200, body=orjson.dumps([row, *PRICE_ROWS]), path=PRICES))
    assert_unpriced(await look(graph), AAPL, AAPL_ON_SOLANA)


async def test_a_price_of_0_is_no_price(graph: Graph) -> None:
    body = orjson.dumps([price_row("AAPLon", "0"), *PRICE_ROWS])
    graph.simulators.ondo.inject(Fault(status=200, body=body, path=PRICES))
    seen = await look(graph)
    assert (seen.nodes[AAPL]["valueUsd"], seen.nodes[AAPL]["valueStatus"]) == (None, "UNPRICED")
    assert seen.view["total"]["complete"] is False


@pytest.mark.parametrize(
    "when", ["9" * 400, "-1", "1.5", "1e99", '"noon"', "null", "true"], ids=lambda when: when[:9]
)
async def test_a_time_that_cannot_be_costs_no_price(graph: Graph, when: str) -> None:
    apple = price_row("AAPLon", "200", timestamp="when")
    body = orjson.dumps([apple, *PRICE_ROWS]).replace(b'"when"', when.encode())
    graph.simulators.ondo.inject(Fault(status=200, body=body, path=PRICES))
    assert_whole(await look(graph))


async def test_the_tokens_of_a_register_that_fails_are_known_again_at_once(graph: Graph) -> None:
    query = "query ($x: [AssetId!]!) { tokens(assetIds: $x) { symbol price { usd } } }"
    for source in SOURCES:
        graph.simulators.by_source()[source].inject(Fault(status=500))
    await graph.respond(query, x=[AAPL, ETH, AAPL_ON_SOLANA])
    for source in SOURCES:
        graph.simulators.by_source()[source].heal()
    apple = {"symbol": "AAPLon", "price": {"usd": "200"}}
    data = await graph.ask(query, x=[AAPL, ETH, AAPL_ON_SOLANA])
    assert data["tokens"] == [apple, {"symbol": "ETH", "price": None}, apple]
