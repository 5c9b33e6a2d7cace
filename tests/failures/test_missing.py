"""Sources without a key, sources that do not apply, and all of them away at once."""

from __future__ import annotations

import pytest

from loaders.upstream.simulator.base import Fault
from tests.failures.household import (
    BALANCES,
    CHAIN,
    EVM,
    ONDO_GM,
    ONEBALANCE,
    PARTS,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    WITHOUT,
    assert_tells_no_secret,
    assert_whole,
    look,
    open_household,
)
from tests.graph import Graph

every_source = pytest.mark.parametrize("source", SOURCES)


@every_source
async def test_a_source_without_a_key_is_not_configured_and_the_others_tell_what_they_know(source: str) -> None:
    async with open_household(without=(source,)) as graph:
        seen = await look(graph)
        assert {*seen.by_chain(source)} == {*PARTS[source]}
        for report in seen.reports(source):
            told = (report["status"], report["code"], report["retryAfterSeconds"], report["observationCount"])
            assert told == ("NOT_CONFIGURED", None, None, 0)
        for other in {*SOURCES} - {source}:
            assert seen.status(other) == "OK"
        assert seen.held == WITHOUT[source]
        assert seen.view["total"]["missingSources"] == []
        assert graph.simulators.by_source()[source].requests == []


async def test_a_total_is_complete_when_every_configured_source_answered() -> None:
    async with open_household(without=(SOLANA_SPL,)) as graph:
        total = (await look(graph)).view["total"]
        assert total == {"valueUsd": "6537.749999", "complete": True, "missingSources": []}


async def test_without_the_prices_of_onebalance_a_value_is_unavailable_and_not_0() -> None:
    async with open_household(without=(ONEBALANCE,)) as graph:
        seen = await look(graph, SOLANA)
        told = {asset: (node["valueUsd"], node["valueStatus"]) for asset, node in seen.nodes.items()}
        assert told == {
            f"{CHAIN}/token:123mYEnRLM2LLYsJW3K6oyYh8uP1fngj732iG638ondo": ("250", "DERIVED"),
            f"{CHAIN}/token:EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v": (None, "UNAVAILABLE"),
            f"{CHAIN}/slip44:501": (None, "UNAVAILABLE"),
        }
        assert seen.view["total"] == {"valueUsd": "250", "complete": False, "missingSources": []}


async def test_an_evm_wallet_misses_nothing_of_a_source_for_solana(graph: Graph) -> None:
    graph.simulators.thegraph.inject(Fault(status=500))
    seen = await look(graph, EVM)
    assert seen.view["total"] == {"valueUsd": "5977.749999", "complete": True, "missingSources": []}
    (report,) = [report for report in seen.view["sources"] if report["source"] == SOLANA_SPL]
    assert (report["status"], report["code"]) == ("NOT_APPLICABLE", None)
    assert graph.simulators.thegraph.requests == []


APPLICABLE = {EVM: [ONDO_GM, ONEBALANCE], SOLANA: [*SOURCES]}
AWAY = {
    "500": (Fault(status=500), "UPSTREAM_ERROR"),
    "html": (Fault(status=200, body=b"<html>"), "BAD_RESPONSE"),
    "reset": (Fault("reset"), "UNREACHABLE"),
}


@pytest.mark.parametrize("how", AWAY)
@pytest.mark.parametrize("addresses", [[EVM], [SOLANA], [EVM, SOLANA]], ids=["evm", "solana", "both"])
async def test_a_failed_source_never_looks_like_an_empty_wallet(graph: Graph, how: str, addresses: list[str]) -> None:
    fault, code = AWAY[how]
    for simulator in graph.simulators.all:
        simulator.inject(fault)
    seen = await look(graph, *addresses)
    missing = APPLICABLE[addresses[-1]]
    assert seen.held == {}
    assert seen.view["total"] == {"valueUsd": None, "complete": False, "missingSources": missing}
    assert [source for source in SOURCES if seen.reports(source)] == missing
    for source in missing:
        assert {(report["status"], report["code"]) for report in seen.reports(source)} == {("FAILED", code)}
    for simulator in graph.simulators.all:
        simulator.heal()
    assert_whole(await look(graph))


async def test_one_failed_source_never_makes_the_others_emptiness_a_0(graph: Graph) -> None:
    stranger = "0x" + "12" * 20
    for source in (ONDO_GM, ONEBALANCE):
        simulator = graph.simulators.by_source()[source]
        for path in BALANCES[source]:
            simulator.inject(Fault(status=500, path=path))
        total = (await look(graph, stranger)).view["total"]
        assert total == {"valueUsd": None, "complete": False, "missingSources": [source]}
        simulator.heal()
    total = (await look(graph, stranger)).view["total"]
    assert total == {"valueUsd": "0", "complete": True, "missingSources": []}


EVERYTHING = """query ($a: [AccountAddress!]!) { portfolio(addresses: $a) {
  holdings {
    edges { share node { id } } totalCount snapshotAt
    total { valueUsd complete missingSources holdingCount unpricedCount }
  }
  byChain { chain { chainId } total { valueUsd complete missingSources } }
  byAssetGroup { group { groupId } amount reported { valueUsd } }
  wallets { address total { valueUsd complete missingSources } }
} }"""


async def test_no_field_of_a_view_takes_failure_for_nothing(graph: Graph) -> None:
    for simulator in graph.simulators.all:
        simulator.inject(Fault(status=500, body=b'{"message": "demo-key"}'))
    response = await graph.respond(EVERYTHING, a=[EVM, SOLANA])
    assert response["errors"] == []
    assert_tells_no_secret(graph, response)
    view = response["data"]["portfolio"]
    unknown = {"valueUsd": None, "complete": False, "missingSources": [*SOURCES]}
    counts = {"holdingCount": 0, "unpricedCount": 0}
    assert view["holdings"] == {"edges": [], "totalCount": 0, "snapshotAt": None, "total": {**unknown, **counts}}
    assert view["wallets"] == [
        {"address": address, "total": {**unknown, "missingSources": APPLICABLE[address]}} for address in (EVM, SOLANA)
    ]
    assert view["byAssetGroup"] == []
    assert {row["chain"]["chainId"] for row in view["byChain"]} == {"eip155:1", "eip155:56", CHAIN}
    for row in view["byChain"]:
        address = SOLANA if row["chain"]["chainId"] == CHAIN else EVM
        assert row["total"] == {**unknown, "missingSources": APPLICABLE[address]}


async def test_a_filter_by_a_failed_source_says_so_and_one_by_the_others_is_whole(graph: Graph) -> None:
    graph.simulators.onebalance.inject(Fault(status=500))
    query = """query ($a: [AccountAddress!]!, $s: [HoldingSource!]) { portfolio(addresses: $a) {
      holdings(filter: {sources: $s}) { nodes { amount } total { valueUsd complete missingSources } }
    } }"""
    failed = (await graph.ask(query, a=[EVM, SOLANA], s=[ONEBALANCE]))["portfolio"]["holdings"]
    assert failed == {"nodes": [], "total": {"valueUsd": None, "complete": False, "missingSources": [ONEBALANCE]}}
    whole = (await graph.ask(query, a=[EVM, SOLANA], s=[ONDO_GM]))["portfolio"]["holdings"]
    assert whole["total"] == {"valueUsd": "1476.5", "complete": True, "missingSources": []}
    assert sorted(node["amount"] for node in whole["nodes"]) == ["0.25", "1.25", "2.5", "4"]
