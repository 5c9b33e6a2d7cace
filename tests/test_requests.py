"""What an operation costs upstream: every request, no more and no less."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.graph import (
    NATIVE_BALANCES,
    ONDO_BALANCES,
    ONEBALANCE_BALANCES,
    SPL_BALANCES,
    Graph,
    Simulators,
    open_graph,
)

EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
OTHER_EVM = "0xc3e2e26a072ed093ff846494fd5e32031c035e5d"
SOLANA = "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5"
SOLANA_CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
USDC_MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"

EVERYTHING = """
    namespace
    holdings { nodes { amount valueUsd token { symbol } } sources { status } }
    total { valueUsd complete }
    byChain { chain { name } total { valueUsd } }
    byAssetGroup { amount }
    sources { status }
"""


def balance_requests(simulators: Simulators) -> Counter[str]:
    """The requests for balances, by what they ask for."""
    return Counter(
        {
            **{
                f"ONDO_GM {chain}": len(simulators.ondo.asked(f"/v1/chains/{chain}/balances"))
                for chain in ("ethereum-1", "bsc-56", "solana-900")
            },
            "ONEBALANCE": len(simulators.onebalance.asked(ONEBALANCE_BALANCES)),
            "SOLANA_SPL accounts": len(simulators.thegraph.asked(SPL_BALANCES)),
            "SOLANA_SPL native": len(simulators.thegraph.asked(NATIVE_BALANCES)),
        }
    )


async def test_an_evm_address_costs_one_request_for_each_ondo_chain_and_one_of_onebalance(demo: Graph) -> None:
    await demo.ask("query ($a: AccountAddress!) { wallet(address: $a) {" + EVERYTHING + "} }", a=EVM)
    asked = balance_requests(demo.simulators)
    assert asked == Counter({"ONDO_GM ethereum-1": 1, "ONDO_GM bsc-56": 1, "ONEBALANCE": 1})
    assert demo.simulators.thegraph.requests == []
    paths = Counter(request.path for request in demo.simulators.requests())
    assert max(paths.values()) == 1
    assert paths["/v1/assets/all/metadata"] == paths["/v1/assets/all/prices/latest"] == paths["/api/assets/list"] == 1


async def test_a_solana_address_costs_one_of_ondo_one_of_onebalance_and_the_pages_and_native_request(
    demo: Graph,
) -> None:
    await demo.ask("query ($a: AccountAddress!) { wallet(address: $a) {" + EVERYTHING + "} }", a=SOLANA)
    asked = balance_requests(demo.simulators)
    pages = asked.pop("SOLANA_SPL accounts")
    assert asked == Counter({"ONDO_GM solana-900": 1, "ONEBALANCE": 1, "SOLANA_SPL native": 1})
    seen = [request.param("page") for request in demo.simulators.thegraph.asked(SPL_BALANCES)]
    assert seen == [str(page) for page in range(1, pages + 1)]


async def test_an_evm_and_solana_pair_costs_one_request_of_onebalance_for_both(demo: Graph) -> None:
    query = "query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { wallets { id }" + EVERYTHING.replace(
        "namespace", ""
    )
    await demo.ask(query + "} }", a=[EVM, SOLANA])
    asked = balance_requests(demo.simulators)
    asked.pop("SOLANA_SPL accounts")
    assert asked == Counter(
        {
            "ONDO_GM ethereum-1": 1,
            "ONDO_GM bsc-56": 1,
            "ONDO_GM solana-900": 1,
            "ONEBALANCE": 1,
            "SOLANA_SPL native": 1,
        }
    )
    (request,) = demo.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert request.param("account") == f"eip155:1:{EVM},solana:{SOLANA}"


async def test_two_evm_addresses_cost_two_requests_each_of_ondo_and_two_of_onebalance(demo: Graph) -> None:
    query = "query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { total { valueUsd } } }"
    await demo.ask(query, a=[EVM, OTHER_EVM])
    assert balance_requests(demo.simulators) == Counter(
        {"ONDO_GM ethereum-1": 2, "ONDO_GM bsc-56": 2, "ONEBALANCE": 2}
    )


async def test_twenty_wallets_are_answered_from_one_request_for_each_ondo_chain() -> None:
    addresses = [f"0x{number:040x}" for number in range(1, 21)]
    async with open_graph(Simulators.demo()) as graph:
        query = "query ($a: [AccountAddress!]!) { wallets(addresses: $a) { total { valueUsd } } }"
        data = await graph.ask(query, a=addresses)
        assert data["wallets"] == [{"total": {"valueUsd": "0"}}] * 20
        assert balance_requests(graph.simulators) == Counter(
            {"ONDO_GM ethereum-1": 1, "ONDO_GM bsc-56": 1, "ONEBALANCE": 20}
        )
        assert [request.query for request in graph.simulators.ondo.asked(ONDO_BALANCES)] == [(), ()]


async def test_solana_wallets_are_asked_for_many_a_request_as_far_as_the_plan_goes() -> None:
    query = "query ($a: [AccountAddress!]!) { wallets(addresses: $a) { holdings { totalCount } } }"
    simulators = Simulators.demo()
    simulators.thegraph.plan = "scale"
    async with open_graph(simulators, thegraph_plan="scale", ondo_snapshot_threshold=0) as graph:
        addresses = [
            SOLANA,
            "GXYBNgyYKbSLr938VJCpmGLCUaAHWsncTi7jDoQSdFR9",
            "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy",
        ]
        await graph.ask(query, a=addresses)
        assert balance_requests(simulators) == Counter(
            {"ONDO_GM solana-900": 3, "ONEBALANCE": 3, "SOLANA_SPL accounts": 1, "SOLANA_SPL native": 1}
        )
        (request,) = simulators.thegraph.asked(SPL_BALANCES)
        assert sorted((request.param("owner") or "").split(",")) == sorted(addresses)
        assert request.param("limit") == "100"


async def test_five_aliases_of_one_wallet_cost_what_one_does(demo: Graph) -> None:
    fields = ["holdings { totalCount }", "total { valueUsd }", "byChain { total { valueUsd } }", "sources { status }"]
    fields += ['holding(assetId: "eip155:1/slip44:60") { amount }']
    aliases = " ".join(f'w{n}: wallet(address: "{EVM}") {{ {field} }}' for n, field in enumerate(fields))
    await demo.ask("{" + aliases + "}")
    assert balance_requests(demo.simulators) == Counter(
        {"ONDO_GM ethereum-1": 1, "ONDO_GM bsc-56": 1, "ONEBALANCE": 1}
    )


async def test_whatever_leads_to_a_wallet_leads_to_one_set_of_requests(demo: Graph) -> None:
    query = """
    query ($a: AccountAddress!, $id: ID!, $r: [_Any!]!) {
      wallet(address: $a) { ...total }
      wallets(addresses: [$a, $a]) { ...total }
      portfolio(addresses: [$a]) { total { valueUsd } wallets { ...total } }
      node(id: $id) { ...total }
      nodes(ids: [$id]) { ... on Wallet { holdings(first: 1) { nodes { valueUsd wallet { ...total } } } } }
      _entities(representations: $r) { ...total }
    }
    fragment total on Wallet { total { valueUsd } }
    """
    entity = {"__typename": "Wallet", "address": EVM}
    data = await demo.ask(
        query, a=EVM, id=f"Wallet:{EVM}", r=[entity, {"__typename": "Wallet", "id": f"Wallet:{EVM}"}]
    )
    total = data["wallet"]
    assert data["wallets"] == [total, total]
    assert data["portfolio"] == {**total, "wallets": [total]}
    assert data["node"] == total
    assert data["_entities"] == [total, total]
    assert balance_requests(demo.simulators) == Counter(
        {"ONDO_GM ethereum-1": 1, "ONDO_GM bsc-56": 1, "ONEBALANCE": 1}
    )


async def test_thirty_identical_operations_in_flight_make_one_set_of_requests(demo: Graph) -> None:
    query = "query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { total { valueUsd complete } } }"
    answers = await asyncio.gather(*[demo.ask(query, a=[EVM, SOLANA]) for _ in range(30)])
    assert all(answer == answers[0] for answer in answers)
    asked = balance_requests(demo.simulators)
    asked.pop("SOLANA_SPL accounts")
    assert set(asked.values()) == {1}
    assert max(Counter((r.path, r.query) for r in demo.simulators.requests()).values()) == 1


async def test_what_the_address_itself_tells_costs_nothing(demo: Graph) -> None:
    query = """query ($a: AccountAddress!) {
      wallet(address: $a) { __typename id address namespace }
      chain(chainId: "solana") { id chainId name nativeToken { assetId } }
    }"""
    await demo.ask(query, a=EVM)
    assert demo.simulators.requests() == []


async def test_a_filter_by_source_asks_that_source_alone(demo: Graph) -> None:
    query = """query ($a: [AccountAddress!]!, $s: [HoldingSource!]) {
      portfolio(addresses: $a) { holdings(filter: {sources: $s}) { nodes { amount amountSource } } }
    }"""
    for source, simulator in demo.simulators.by_source().items():
        demo.simulators.forget()
        data = await demo.ask(query, a=[EVM, SOLANA], s=[source])
        assert {node["amountSource"] for node in data["portfolio"]["holdings"]["nodes"]} == {source}
        assert demo.simulators.requests() == simulator.requests


async def test_named_solana_assets_go_to_the_graph_as_mints_and_to_onebalance_by_their_aggregate(demo: Graph) -> None:
    query = "query ($a: AccountAddress!, $x: AssetId!) { wallet(address: $a) { holding(assetId: $x) { amount } } }"
    await demo.ask(query, a=SOLANA, x=f"{SOLANA_CHAIN}/token:{USDC_MINT}")
    (accounts,) = demo.simulators.thegraph.asked(SPL_BALANCES)
    assert accounts.param("mint") == USDC_MINT
    assert demo.simulators.thegraph.asked(NATIVE_BALANCES) == []
    (aggregate,) = demo.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert aggregate.param("aggregatedAssetId") == "ob:usdc"
    assert demo.simulators.ondo.asked(ONDO_BALANCES) == []


async def test_an_asset_outside_the_register_of_onebalance_is_asked_for_by_its_id(demo: Graph) -> None:
    query = "query ($a: AccountAddress!, $x: AssetId!) { wallet(address: $a) { holding(assetId: $x) { amount } } }"
    asset = "eip155:8453/erc20:0x" + "12" * 20
    await demo.ask(query, a=EVM, x=asset)
    (request,) = demo.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert (request.param("assetId"), request.param("aggregatedAssetId")) == (asset, None)


async def test_filters_are_pushed_down_to_the_graph(demo: Graph) -> None:
    query = """query ($a: AccountAddress!, $f: HoldingFilter) {
      wallet(address: $a) { holdings(filter: $f) { nodes { amount } } }
    }"""
    cases = [
        ({"kinds": ["SPL_2022"]}, {"program_id": "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"}),
        ({"includeZero": True}, {"include_null_balances": "true"}),
        ({"tokenAccounts": [SOLANA]}, {"token_account": SOLANA}),
    ]
    for condition, expected in cases:
        demo.simulators.forget()
        await demo.ask(query, a=SOLANA, f=condition)
        asked = demo.simulators.thegraph.asked(SPL_BALANCES)
        assert asked
        assert all({name: request.param(name) for name in expected} == expected for request in asked)


async def test_a_filter_by_chain_asks_ondo_on_that_chain_alone(demo: Graph) -> None:
    query = """query ($a: AccountAddress!) {
      wallet(address: $a) { holdings(filter: {chains: ["bsc-56"]}) { nodes { amount } } }
    }"""
    await demo.ask(query, a=EVM)
    assert balance_requests(demo.simulators) == Counter({"ONDO_GM bsc-56": 1, "ONEBALANCE": 1})


PRICES = "/v1/assets/all/prices/latest"
CHANGES = "/v1/assets/all/prices/latest/enhanced"
MARKETS = "/v1/assets/all/market"
NETWORKS = "/v1/networks"
BY_SYMBOL = "holdings(orderBy: {field: SYMBOL})"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (BY_SYMBOL + "{ nodes { amount token { symbol name stock { ticker } group { groupId } } } }", set()),
        (BY_SYMBOL + "{ nodes { valueUsd } }", {PRICES}),
        (BY_SYMBOL + "{ nodes { token { price { usd } } } }", {PRICES}),
        (BY_SYMBOL + "{ nodes { token { price { change24h } } } }", {PRICES, CHANGES}),
        (BY_SYMBOL + "{ nodes { token { stock { sharesPerToken } } } }", {MARKETS}),
        (BY_SYMBOL + "{ nodes { token { group { members { price { usd } } } } } }", {PRICES}),
        (BY_SYMBOL + "{ edges { share } }", {PRICES}),
        (BY_SYMBOL + "{ totalCount }", set()),
        ("holdings { totalCount }", set()),
        ("holdings(filter: {minValueUsd: 1}) { totalCount }", {PRICES}),
        ("holdings { nodes { id } }", {PRICES}),
        ("total { holdingCount missingSources }", set()),
        ("total { complete }", {PRICES}),
        ("byChain { chain { name } }", set()),
        ("byAssetGroup { amount }", set()),
        ("byAssetGroup { total { valueUsd } }", {PRICES}),
        ("sources { status }", set()),
        ("sources { indexedTo { blockNumber } }", {NETWORKS}),
    ],
)
async def test_a_register_is_read_only_for_the_fields_that_need_it(
    demo: Graph, selection: str, expected: set[str]
) -> None:
    await demo.ask("query ($a: AccountAddress!) { wallet(address: $a) {" + selection + "} }", a=SOLANA)
    asked = {request.path for request in demo.simulators.requests()}
    assert asked & {PRICES, CHANGES, MARKETS, NETWORKS} == expected


async def test_the_trace_tells_requests_and_time_by_source_when_asked(demo: Graph) -> None:
    query = "query ($a: AccountAddress!) { wallet(address: $a) { total { valueUsd } } }"
    assert (await demo.respond(query, a=EVM))["extensions"] == {}
    demo.simulators.forget()
    traced = (await demo.respond(query, trace=True, a=OTHER_EVM))["extensions"]["upstream"]
    counted = {name: len(s.requests) for name, s in demo.simulators.by_source().items() if s.requests}
    assert {name: upstream["requests"] for name, upstream in traced.items()} == counted
    assert all(upstream["milliseconds"] > 0 for upstream in traced.values())


PLAIN = Counter({"ONDO_GM ethereum-1": 1, "ONDO_GM bsc-56": 1, "ONEBALANCE": 1})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # A share is of the whole: the list and the whole are asked for at once.
        ('{ wallet(address: "EVM") { holdings(filter: {chains: ["eip155:1"]}) { edges { share } } } }', PLAIN),
        # What is known of freshness costs no balance again.
        (
            '{ wallet(address: "EVM", onSourceFailure: FAIL) { total { valueUsd } sources { indexedTo { time } } } }',
            PLAIN,
        ),
        # However deep a field lies and whatever it awaits first, it goes with the others.
        (
            """{ v: wallet(address: "EVM") { sources { status } }
              w: wallet(address: "EVM", onSourceFailure: FAIL) {
                holdings(filter: {sources: [ONDO_GM]}) { totalCount } } }""",
            Counter({"ONDO_GM ethereum-1": 1, "ONDO_GM bsc-56": 1}),
        ),
        # Each scope asks its own chains.
        (
            """{ wallet(address: "EVM") {
              a: holdings(filter: {chains: ["eip155:1"], sources: [ONDO_GM]}) { totalCount }
              b: holding(assetId: "eip155:1/erc20:0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c") { amount } } }""",
            Counter({"ONDO_GM ethereum-1": 1, "ONEBALANCE": 1}),
        ),
        # A kind of token that cannot be on the chains of an address costs nothing.
        ('{ wallet(address: "EVM") { holdings(filter: {kinds: [SPL, SPL_2022]}) { totalCount } } }', Counter()),
        ('{ wallet(address: "SOLANA") { holdings(filter: {kinds: [ERC20]}) { totalCount } } }', Counter()),
    ],
)
async def test_neighbours_depth_and_order_change_nothing_in_what_is_asked(
    demo: Graph, query: str, expected: Counter[str]
) -> None:
    await demo.ask(query.replace("EVM", EVM).replace("SOLANA", SOLANA))
    assert balance_requests(demo.simulators) == expected


async def test_owners_who_want_different_mints_are_not_asked_about_each_others(demo: Graph) -> None:
    query = """query ($a: AccountAddress!, $b: AccountAddress!, $x: AssetId!, $y: AssetId!) {
      a: wallet(address: $a) { holding(assetId: $x) { amount } }
      b: wallet(address: $b) { holding(assetId: $y) { amount } }
    }"""
    wrapped = "So11111111111111111111111111111111111111112"
    one, other = SOLANA, "GXYBNgyYKbSLr938VJCpmGLCUaAHWsncTi7jDoQSdFR9"
    x, y = f"{SOLANA_CHAIN}/token:{USDC_MINT}", f"{SOLANA_CHAIN}/token:{wrapped}"
    await demo.ask(query, a=one, b=other, x=x, y=y)
    asked = {(r.param("owner"), r.param("mint")) for r in demo.simulators.thegraph.asked(SPL_BALANCES)}
    assert asked == {(one, USDC_MINT), (other, wrapped)}


async def test_own_aggregates_are_asked_for_apart_only_where_they_are_read(demo: Graph) -> None:
    query = """query ($a: [AccountAddress!]!) {
      portfolio(addresses: $a) { holdings { totalCount } byAssetGroup { group { groupId } reported { rawAmount } } }
      wallets(addresses: $a) { holdings { totalCount } byAssetGroup { group { groupId } reported { rawAmount } } }
    }"""
    data = await demo.ask(query, a=[EVM, "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"])
    assert balance_requests(demo.simulators)["ONEBALANCE"] == 2

    def reported(view: dict[str, Any]) -> dict[str, int]:
        rows = {row["group"]["groupId"]: row["reported"] for row in view["byAssetGroup"]}
        return {id: int(row["rawAmount"]) for id, row in rows.items() if id.startswith("ob:")}

    evm, solana = map(reported, data["wallets"])
    assert set(evm) - set(solana)
    assert set(solana) - set(evm)
    assert reported(data["portfolio"]) == {
        id: evm.get(id, 0) + solana.get(id, 0) for id in evm.keys() | solana.keys()
    }
