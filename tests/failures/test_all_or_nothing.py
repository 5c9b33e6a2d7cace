"""``onSourceFailure: FAIL``: all that is asked of a wallet, or null and an error that says whose word is missing."""

from __future__ import annotations

from typing import Any

import pytest

from loaders.upstream.simulator.base import Fault
from tests.failures.household import (
    AAPL,
    BALANCES,
    BSC_BALANCES,
    ETH,
    EVM,
    HEALTHY,
    NETWORKS,
    ONDO_GM,
    ONEBALANCE,
    PRICES,
    SOL,
    SOLANA,
    SOLANA_SPL,
    SOURCES,
    USDC,
    assert_tells_no_secret,
    household,
)
from tests.graph import NATIVE_BALANCES, SPL_BALANCES, Graph, open_graph

FAIL = "onSourceFailure: FAIL"


def break_down(graph: Graph, *sources: str) -> None:
    """Let these sources fail, with an upstream's words that nobody must see."""
    for source in sources:
        body = b'{"code": "X", "message": "Traceback: demo-key demo-token at http://10.0.0.1"}'
        graph.simulators.by_source()[source].inject(Fault(status=500, body=body))


async def wallet(graph: Graph, selection: str, address: str = EVM, declared: str = "", **variables: Any) -> Any:
    """The response for one wallet that is to be whole or null."""
    query = f"query ($a: AccountAddress!{declared}) {{ wallet(address: $a, {FAIL}) {{ {selection} }} }}"
    response = await graph.respond(query, a=address, **variables)
    assert_tells_no_secret(graph, response)
    return response


def assert_nothing(response: Any, *sources: str, path: tuple[str | int, ...] = ("wallet",)) -> None:
    """One error, at this path, that names these sources."""
    (error,) = response["errors"]
    assert error["path"] == [*path]
    assert error["extensions"]["code"] == "SOURCE_FAILED"
    assert error["extensions"]["sources"] == [*sources]
    for source in SOURCES:
        assert (source in error["message"]) == (source in sources)
    place = response["data"]
    for step in path:
        place = place[step]
    assert place is None


NEEDS_EVERYTHING = [
    "holdings { nodes { amount } }",
    "holdings { totalCount }",
    "all: holdings(first: 1) { edges { share } }",
    "total { valueUsd }",
    "total { complete }",
    "byChain { chain { chainId } }",
    "byAssetGroup { group { groupId } }",
    "byAssetGroup { reported { valueUsd } }",
    "sources { status }",
    "... on Wallet { total { valueUsd } }",
    "address ... { ... { byChain { total { valueUsd } } } }",
    f'holding(assetId: "{USDC}") {{ amount }} total {{ holdingCount }}',
]


@pytest.mark.parametrize("selection", NEEDS_EVERYTHING)
async def test_a_wallet_with_a_failed_source_is_null_and_one_error_names_it(graph: Graph, selection: str) -> None:
    break_down(graph, ONEBALANCE)
    assert_nothing(await wallet(graph, selection), ONEBALANCE)
    graph.simulators.onebalance.heal()
    response = await wallet(graph, selection)
    assert response["errors"] == []
    assert response["data"]["wallet"]


@pytest.mark.parametrize("source", SOURCES)
async def test_every_source_that_applies_counts(graph: Graph, source: str) -> None:
    break_down(graph, source)
    assert_nothing(await wallet(graph, "total { valueUsd }", SOLANA), source)


async def test_all_that_failed_are_named(graph: Graph) -> None:
    break_down(graph, *SOURCES)
    assert_nothing(await wallet(graph, "total { valueUsd }", SOLANA), *SOURCES)
    assert_nothing(await wallet(graph, "total { valueUsd }", EVM), ONDO_GM, ONEBALANCE)


async def test_a_part_that_is_missing_is_a_failure_too(graph: Graph) -> None:
    graph.simulators.ondo.inject(Fault(status=500, path=BSC_BALANCES))
    assert_nothing(await wallet(graph, "total { valueUsd }"), ONDO_GM)
    graph.simulators.ondo.heal()
    graph.simulators.thegraph.inject(Fault(status=500, path=NATIVE_BALANCES))
    assert_nothing(await wallet(graph, "total { valueUsd }", SOLANA), SOLANA_SPL)
    graph.simulators.thegraph.heal()
    graph.simulators.thegraph.inject(Fault(status=200, body=b'{"data": ["..."]}', path=SPL_BALANCES))
    assert_nothing(await wallet(graph, "total { valueUsd }", SOLANA), SOLANA_SPL)


async def test_a_source_that_does_not_apply_cannot_fail_a_wallet(graph: Graph) -> None:
    break_down(graph, SOLANA_SPL)
    response = await wallet(graph, "total { valueUsd complete }", EVM)
    assert response["errors"] == []
    assert response["data"]["wallet"]["total"] == {"valueUsd": "5977.749999", "complete": True}


async def test_how_far_a_source_is_indexed_fails_no_wallet(graph: Graph) -> None:
    graph.simulators.thegraph.inject(Fault(status=500, path=NETWORKS))
    response = await wallet(graph, "sources { status indexedTo { blockNumber } }", SOLANA)
    assert response["errors"] == []


async def test_what_the_address_tells_succeeds_and_costs_nothing(graph: Graph) -> None:
    break_down(graph, *SOURCES)
    response = await wallet(graph, "__typename id address namespace")
    assert response["errors"] == []
    assert response["data"]["wallet"]["address"] == EVM
    assert graph.simulators.requests() == []


async def test_fields_that_are_skipped_are_not_needed(graph: Graph) -> None:
    break_down(graph, *SOURCES)
    selection = "address total @include(if: $t) { valueUsd } sources @skip(if: true) { status }"
    response = await wallet(graph, selection, declared=", $t: Boolean!", t=False)
    assert response == {"data": {"wallet": {"address": EVM}}, "errors": [], "extensions": {}}
    assert graph.simulators.requests() == []
    assert_nothing(await wallet(graph, selection, declared=", $t: Boolean!", t=True), ONDO_GM, ONEBALANCE)


LISTED = "{ nodes { token { assetId } } }"

HEALTHY_ONLY = [
    ("holdings(filter: {sources: [ONDO_GM, SOLANA_SPL]})", "", {}),
    ("holdings(filter: {sources: ONDO_GM})", "", {}),
    ("holdings(filter: $f)", "$f: HoldingFilter", {"f": {"sources": [ONDO_GM]}}),
    ("holdings(filter: $f)", "$f: HoldingFilter = {sources: [ONDO_GM]}", {}),
    ("holdings(filter: {sources: $s})", "$s: [HoldingSource!]", {"s": [ONDO_GM]}),
    ("holdings(filter: {sources: $s})", "$s: [HoldingSource!] = [ONDO_GM]", {}),
    ("holdings(filter: {sources: [$s]})", "$s: HoldingSource!", {"s": ONDO_GM}),
    (
        "holdings(filter: {sources: [$s], chains: [$c], includeZero: $z, search: $q} first: $n orderBy: {field: $o})",
        "$s: HoldingSource!, $c: ChainId!, $z: Boolean!, $q: String, $n: Int, $o: HoldingOrderField!",
        {"s": ONDO_GM, "c": "eip155:1", "z": True, "n": 5, "o": "SYMBOL"},
    ),
]


@pytest.mark.parametrize(("field", "declared", "variables"), HEALTHY_ONLY)
async def test_a_filter_to_sources_in_good_health_succeeds_however_it_is_given(
    graph: Graph, field: str, declared: str, variables: dict[str, Any]
) -> None:
    break_down(graph, ONEBALANCE)
    response = await wallet(graph, field + LISTED, declared=declared and f", {declared}", **variables)
    assert response["errors"] == []
    listed = {node["token"]["assetId"] for node in response["data"]["wallet"]["holdings"]["nodes"]}
    assert AAPL in listed
    assert listed <= {asset for asset, held in HEALTHY.items() if held.amount_source == ONDO_GM}
    assert graph.simulators.onebalance.requests == []


SICK_TOO = [
    ("holdings(filter: {sources: [ONDO_GM, ONEBALANCE]})", "", {}),
    ("holdings(filter: $f)", "$f: HoldingFilter", {}),
    ("holdings(filter: $f)", "$f: HoldingFilter", {"f": None}),
    ("holdings(filter: $f)", "$f: HoldingFilter = {sources: [ONDO_GM]}", {"f": {"sources": [ONEBALANCE]}}),
    ("holdings(filter: {sources: $s})", "$s: [HoldingSource!]", {}),
    (
        "holdings(filter: {sources: [$s, $t]})",
        "$s: HoldingSource!, $t: HoldingSource!",
        {"s": ONDO_GM, "t": ONEBALANCE},
    ),
    ("holdings(filter: {assetIds: [$x]})", "$x: AssetId!", {"x": ETH}),
    ("a: holdings(filter: {sources: [ONDO_GM]}) { totalCount } holdings(first: $n)", "$n: Int", {"n": 1}),
]


@pytest.mark.parametrize(("field", "declared", "variables"), SICK_TOO)
async def test_a_filter_that_needs_the_failed_source_fails_however_it_is_given(
    graph: Graph, field: str, declared: str, variables: dict[str, Any]
) -> None:
    break_down(graph, ONEBALANCE)
    assert_nothing(
        await wallet(graph, field + LISTED, declared=declared and f", {declared}", **variables), ONEBALANCE
    )


async def test_a_share_is_of_everything_and_needs_every_source(graph: Graph) -> None:
    break_down(graph, ONEBALANCE)
    selection = "holdings(filter: {sources: [ONDO_GM]}) { edges { share } }"
    assert_nothing(await wallet(graph, selection), ONEBALANCE)


@pytest.mark.parametrize("given", [f'"{ETH}"', "$x"])
async def test_one_holding_of_a_failed_source_nulls_the_wallet(graph: Graph, given: str) -> None:
    break_down(graph, ONEBALANCE)
    selection = f"address holding(assetId: {given}) {{ amount }}"
    declared, variables = (", $x: AssetId!", {"x": ETH}) if given == "$x" else ("", {})
    assert_nothing(await wallet(graph, selection, declared=declared, **variables), ONEBALANCE)


async def test_one_holding_fails_only_by_the_sources_that_it_needs(graph: Graph) -> None:
    break_down(graph, ONDO_GM)
    response = await wallet(graph, f'holding(assetId: "{ETH}") {{ amount valueUsd }}')
    assert response["errors"] == []
    assert response["data"]["wallet"]["holding"] == {"amount": "1.5", "valueUsd": "4500.75"}
    assert_nothing(await wallet(graph, f'holding(assetId: "{AAPL}") {{ amount }}'), ONDO_GM)


async def test_siblings_of_a_wallet_that_fails_are_whole(graph: Graph) -> None:
    break_down(graph, SOLANA_SPL)
    query = f"""query ($a: [AccountAddress!]!) {{ wallets(addresses: $a, {FAIL}) {{
      address total {{ valueUsd complete }} holdings {{ totalCount }}
    }} }}"""
    response = await graph.respond(query, a=[EVM, SOLANA, EVM])
    assert_nothing(response, SOLANA_SPL, path=("wallets", 1))
    whole = {"address": EVM, "total": {"valueUsd": "5977.749999", "complete": True}, "holdings": {"totalCount": 5}}
    assert response["data"]["wallets"] == [whole, None, whole]


async def test_wallets_of_both_policies_share_an_operation(graph: Graph) -> None:
    break_down(graph, SOLANA_SPL)
    query = f"""query ($a: AccountAddress!) {{
      strict: wallet(address: $a, {FAIL}) {{ total {{ valueUsd }} }}
      lenient: wallet(address: $a) {{ total {{ valueUsd complete missingSources }} }}
    }}"""
    response = await graph.respond(query, a=SOLANA)
    assert_nothing(response, SOLANA_SPL, path=("strict",))
    total = {"valueUsd": "560", "complete": False, "missingSources": [SOLANA_SPL]}
    assert response["data"]["lenient"] == {"total": total}


@pytest.mark.parametrize(
    "selection",
    [
        "total { valueUsd }",
        "holdings { totalCount }",
        "wallets { total { valueUsd } }",
        'wallets { address holding(assetId: "' + SOL + '") { amount } }',
    ],
)
async def test_a_portfolio_with_a_failed_source_is_null(graph: Graph, selection: str) -> None:
    break_down(graph, SOLANA_SPL)
    query = f"query ($a: [AccountAddress!]!) {{ portfolio(addresses: $a, {FAIL}) {{ {selection} }} }}"
    response = await graph.respond(query, a=[EVM, SOLANA])
    assert_tells_no_secret(graph, response)
    assert_nothing(response, SOLANA_SPL, path=("portfolio",))
    graph.simulators.thegraph.heal()
    assert (await graph.respond(query, a=[EVM, SOLANA]))["errors"] == []


async def test_the_addresses_of_a_portfolio_succeed_and_cost_nothing(graph: Graph) -> None:
    break_down(graph, *SOURCES)
    query = f"query ($a: [AccountAddress!]!) {{ portfolio(addresses: $a, {FAIL}) {{ wallets {{ address }} }} }}"
    response = await graph.respond(query, a=[EVM, SOLANA])
    assert response["errors"] == []
    assert response["data"]["portfolio"] == {"wallets": [{"address": EVM}, {"address": SOLANA}]}
    assert graph.simulators.requests() == []


async def test_all_or_nothing_costs_no_request_more(graph: Graph) -> None:
    query = """query ($a: [AccountAddress!]!, $p: SourceFailurePolicy!) {
      portfolio(addresses: $a, onSourceFailure: $p) {
        holdings(filter: {sources: [ONDO_GM]}) { nodes { valueUsd } }
        total { valueUsd }
        wallets { sources { status } }
      }
    }"""
    asked = []
    for policy in ("REPORT", "FAIL"):
        simulators = household()
        async with open_graph(simulators) as fresh:
            await fresh.ask(query, a=[EVM, SOLANA], p=policy)
            asked.append(sorted((request.path, request.query) for request in simulators.requests()))
    assert asked[0] == asked[1]


async def test_a_filter_that_cannot_be_is_the_clients_error_whatever_fails(graph: Graph) -> None:
    break_down(graph, *SOURCES)
    response = await wallet(graph, 'holdings(filter: {chains: ["nowhere"]}) { totalCount }')
    assert [error["extensions"]["code"] for error in response["errors"]] == ["BAD_USER_INPUT"]


async def test_a_wallet_that_was_null_is_whole_as_soon_as_its_source_is(graph: Graph) -> None:
    for source in SOURCES:
        for path in BALANCES[source]:
            graph.simulators.by_source()[source].inject(Fault(status=500, path=path))
    assert_nothing(await wallet(graph, "total { valueUsd }", SOLANA), *SOURCES)
    for simulator in graph.simulators.all:
        simulator.heal()
    response = await wallet(graph, "total { valueUsd complete }", SOLANA)
    assert response["data"]["wallet"]["total"] == {"valueUsd": "560.000001", "complete": True}


async def test_prices_that_fail_leave_a_wallet_that_asks_for_amounts_alone_whole(graph: Graph) -> None:
    graph.simulators.ondo.inject(Fault(status=500, path=PRICES))
    response = await wallet(graph, "holdings(orderBy: {field: SYMBOL}) { nodes { amount } }")
    assert response["errors"] == []
    assert len(response["data"]["wallet"]["holdings"]["nodes"]) == 5
