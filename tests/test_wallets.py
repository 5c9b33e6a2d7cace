"""What clients see of wallets and portfolios in good health."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from tests.graph import Graph

EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
OTHER_EVM = "0xc3e2e26a072ed093ff846494fd5e32031c035e5d"
SOLANA = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"
CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
USDC = "erc20:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"

PAGE = """
query ($a: [AccountAddress!]!, $first: Int, $after: String, $last: Int, $before: String,
       $filter: HoldingFilter, $orderBy: HoldingOrder! = {field: VALUE_USD}) {
  portfolio(addresses: $a) {
    total { valueUsd holdingCount }
    holdings(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
      totalCount
      total { valueUsd complete holdingCount unpricedCount }
      edges {
        cursor
        share
        node {
          id amount rawAmount valueUsd valueStatus accountId asOf { time }
          chain { chainId } token { assetId symbol name kind trust }
        }
      }
      nodes { id }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
      sources { source status }
    }
  }
}
"""


async def page(graph: Graph, **variables: Any) -> dict[str, Any]:
    data = await graph.ask(PAGE, **{"a": [EVM, SOLANA], **variables})
    connection: dict[str, Any] = data["portfolio"]["holdings"]
    assert [edge["node"]["id"] for edge in connection["edges"]] == [node["id"] for node in connection["nodes"]]
    return connection


def nodes(connection: dict[str, Any]) -> list[dict[str, Any]]:
    return [edge["node"] for edge in connection["edges"]]


async def test_a_wallet_that_holds_nothing_is_worth_0_and_that_is_the_whole_of_it(demo: Graph) -> None:
    query = """query ($a: AccountAddress!) { wallet(address: $a) {
      holdings { totalCount nodes { id } total { valueUsd complete } snapshotAt }
      total { valueUsd complete holdingCount unpricedCount missingSources }
      byChain { chain { name } }
      byAssetGroup { amount }
    } }"""
    for address in ("0x" + "00" * 19 + "01", "3oFppRfTpA8BcVus4X9UxE7BJjTDWWHVyAZcj3kRN1yD"):
        wallet = (await demo.ask(query, a=address))["wallet"]
        assert wallet["holdings"].pop("snapshotAt") is not None
        assert wallet == {
            "holdings": {"totalCount": 0, "nodes": [], "total": {"valueUsd": "0", "complete": True}},
            "total": {
                "valueUsd": "0",
                "complete": True,
                "holdingCount": 0,
                "unpricedCount": 0,
                "missingSources": [],
            },
            "byChain": [],
            "byAssetGroup": [],
        }


async def test_every_spelling_of_an_address_is_one_wallet_in_canonical_form(demo: Graph) -> None:
    spellings = {
        "0xfe52613d747e20f2f62e0a5cc36b0dfae771c442": [
            "0xfe52613d747E20F2f62e0A5cC36B0DFAe771C442",
            "0xFE52613D747E20F2F62E0A5CC36B0DFAE771C442",
            "0XFE52613D747E20F2F62E0A5CC36B0DFAE771C442",
            "eip155:1:0xfe52613d747e20f2f62e0a5cc36b0dfae771c442",
            "eip155:42161:0xfe52613d747E20F2f62e0A5cC36B0DFAe771C442",
        ],
        SOLANA: [SOLANA, f"solana:{SOLANA}", f"{CHAIN}:{SOLANA}"],
    }
    query = """query ($a: [AccountAddress!]!) {
      wallets(addresses: $a) { id address namespace }
      portfolio(addresses: $a) { wallets { address } }
    }"""
    for canonical, some in spellings.items():
        data = await demo.ask(query, a=some)
        namespace = "EIP155" if canonical.startswith("0x") else "SOLANA"
        wallet = {"id": f"Wallet:{canonical}", "address": canonical, "namespace": namespace}
        assert data["wallets"] == [wallet] * len(some)
        assert data["portfolio"]["wallets"] == [{"address": canonical}]


async def test_wallets_come_in_the_order_asked_one_for_each_time_asked(demo: Graph) -> None:
    query = "query ($a: [AccountAddress!]!) { wallets(addresses: $a) { address total { holdingCount } } }"
    data = await demo.ask(query, a=[SOLANA, EVM, SOLANA])
    assert [wallet["address"] for wallet in data["wallets"]] == [SOLANA, EVM, SOLANA]
    assert data["wallets"][0] == data["wallets"][2]


ORDERS = [
    (field, way) for field in ("VALUE_USD", "AMOUNT", "SYMBOL", "CHAIN", "UPDATED_AT") for way in ("ASC", "DESC")
]


@pytest.mark.parametrize(("field", "direction"), ORDERS)
async def test_pages_both_ways_visit_each_holding_once(demo: Graph, field: str, direction: str) -> None:
    order = {"field": field, "direction": direction}
    whole = [node["id"] for node in nodes(await page(demo, first=200, orderBy=order))]
    assert len(whole) == len(set(whole)) > 20
    forwards: list[str] = []
    cursor = None
    while True:
        some = await page(demo, first=7, after=cursor, orderBy=order)
        assert some["totalCount"] == len(whole)
        forwards += [node["id"] for node in nodes(some)]
        cursor = some["pageInfo"]["endCursor"]
        if not some["pageInfo"]["hasNextPage"]:
            break
    backwards: list[str] = []
    cursor = None
    while True:
        some = await page(demo, last=7, before=cursor, orderBy=order)
        backwards = [node["id"] for node in nodes(some)] + backwards
        cursor = some["pageInfo"]["startCursor"]
        if not some["pageInfo"]["hasPreviousPage"]:
            break
    assert forwards == backwards == whole


async def test_the_worthiest_comes_first_and_the_unpriced_last(demo: Graph) -> None:
    for direction in ("ASC", "DESC"):
        order = {"field": "VALUE_USD", "direction": direction}
        values = [node["valueUsd"] for node in nodes(await page(demo, first=200, orderBy=order))]
        known = [Decimal(value) for value in values if value is not None]
        assert values[: len(known)].count(None) == 0
        assert len(known) < len(values)
        assert known == sorted(known, reverse=direction == "DESC")


async def test_totals_are_the_sums_of_what_they_speak_of(demo: Graph) -> None:
    query = """query ($a: [AccountAddress!]!) {
      wallets(addresses: $a) { ...sums }
      portfolio(addresses: $a) { ...sums }
    }
    fragment sums on HoldingsView {
      total { valueUsd holdingCount unpricedCount complete }
      holdings(first: 200) { nodes { valueUsd chain { chainId } } total { valueUsd holdingCount } }
      byChain { chain { chainId } total { valueUsd holdingCount } }
      byAssetGroup { amount total { valueUsd } holdings { valueUsd amount } }
    }"""
    data = await demo.ask(query, a=[EVM, SOLANA])

    def add(values: list[str | None]) -> Decimal:
        return sum((Decimal(value) for value in values if value is not None), Decimal(0))

    for view in [*data["wallets"], data["portfolio"]]:
        held = view["holdings"]["nodes"]
        assert add([node["valueUsd"] for node in held]) == Decimal(view["total"]["valueUsd"])
        assert len(held) == view["total"]["holdingCount"]
        assert [node["valueUsd"] for node in held].count(None) == view["total"]["unpricedCount"] > 0
        assert view["total"]["complete"] is False
        assert add([row["total"]["valueUsd"] for row in view["byChain"]]) == Decimal(view["total"]["valueUsd"])
        assert sum(row["total"]["holdingCount"] for row in view["byChain"]) == len(held)
        for row in view["byAssetGroup"]:
            assert add([node["valueUsd"] for node in row["holdings"]]) == Decimal(row["total"]["valueUsd"] or 0)
            assert add([node["amount"] for node in row["holdings"]]) == Decimal(row["amount"])
    parts = [Decimal(wallet["total"]["valueUsd"]) for wallet in data["wallets"]]
    assert sum(parts) == Decimal(data["portfolio"]["total"]["valueUsd"])


async def test_a_filter_changes_the_list_and_its_own_total_and_no_other(demo: Graph) -> None:
    whole = (await demo.ask(PAGE, a=[EVM, SOLANA]))["portfolio"]
    some = (await demo.ask(PAGE, a=[EVM, SOLANA], filter={"chains": ["eip155:8453"]}))["portfolio"]
    assert some["total"] == whole["total"]
    assert 0 < some["holdings"]["totalCount"] < whole["holdings"]["totalCount"]
    values = [Decimal(node["valueUsd"]) for node in nodes(some["holdings"]) if node["valueUsd"] is not None]
    assert Decimal(some["holdings"]["total"]["valueUsd"]) == sum(values)
    assert some["holdings"]["total"]["holdingCount"] == some["holdings"]["totalCount"]


async def test_shares_are_of_the_whole_whatever_the_filter_and_page(demo: Graph) -> None:
    whole = await page(demo, first=200)
    shares = {edge["node"]["id"]: edge["share"] for edge in whole["edges"]}
    assert all((edge["share"] is None) is (edge["node"]["valueUsd"] is None) for edge in whole["edges"])
    known = [Decimal(share) for share in shares.values() if share is not None]
    assert abs(sum(known, Decimal(0)) - 1) < Decimal("1e-15")
    for arguments in ({"first": 2}, {"first": 200, "filter": {"chains": ["eip155:8453"]}}):
        for edge in (await page(demo, **arguments))["edges"]:
            assert edge["share"] == shares[edge["node"]["id"]]


@pytest.mark.parametrize(
    ("condition", "keeps"),
    [
        ({"chains": ["ethereum-1", "solana"]}, lambda n: n["chain"]["chainId"] in ("eip155:1", CHAIN)),
        ({"kinds": ["NATIVE"]}, lambda n: n["token"]["kind"] == "NATIVE"),
        ({"kinds": ["SPL_2022", "ERC20"]}, lambda n: n["token"]["kind"] in ("SPL_2022", "ERC20")),
        ({"trust": ["ISSUER"]}, lambda n: n["token"]["trust"] == "ISSUER"),
        ({"trust": ["UNLISTED"]}, lambda n: n["token"]["trust"] == "UNLISTED"),
        ({"search": "usd"}, lambda n: "usd" in f"{n['token']['symbol']} {n['token']['name']}".lower()),
        ({"minValueUsd": "100"}, lambda n: n["valueUsd"] is None or Decimal(n["valueUsd"]) >= 100),
        (
            {"minValueUsd": 100, "includeUnpriced": False},
            lambda n: n["valueUsd"] is not None and Decimal(n["valueUsd"]) >= 100,
        ),
        ({"includeUnpriced": False}, lambda n: n["valueUsd"] is not None),
        ({"chains": []}, lambda n: False),
        ({"sources": []}, lambda n: False),
        ({"chains": None, "minValueUsd": None, "search": None}, lambda n: True),
        ({"search": ""}, lambda n: True),
    ],
)
async def test_a_filter_keeps_what_it_says(demo: Graph, condition: dict[str, Any], keeps: Any) -> None:
    whole = nodes(await page(demo, first=200))
    expected = [node["id"] for node in whole if keeps(node)]
    filtered = await page(demo, first=200, filter=condition)
    assert [node["id"] for node in nodes(filtered)] == expected
    assert filtered["totalCount"] == len(expected)


async def test_zero_balances_are_listed_only_when_they_are_wanted(demo: Graph) -> None:
    whole = nodes(await page(demo, first=200))
    with_zero = nodes(await page(demo, first=200, filter={"includeZero": True}))
    assert all(node["rawAmount"] != "0" for node in whole)
    zero = [node for node in with_zero if node["rawAmount"] == "0"]
    assert zero
    assert {(node["amount"], node["valueUsd"], node["valueStatus"]) for node in zero} == {("0", "0", "REPORTED")}
    assert {node["id"] for node in with_zero} == {node["id"] for node in whole + zero}


async def test_a_token_account_filter_lists_that_account_alone(demo: Graph) -> None:
    query = """query ($a: AccountAddress!, $f: HoldingFilter) { wallet(address: $a) { holdings(filter: $f) { nodes {
      rawAmount token { assetId } observations { source tokenAccounts { address rawAmount } }
    } sources { source status } } } }"""
    holdings = (await demo.ask(query, a=SOLANA))["wallet"]["holdings"]["nodes"]
    split = next(node for node in holdings if any(len(seen["tokenAccounts"]) > 1 for seen in node["observations"]))
    account = split["observations"][0]["tokenAccounts"][0]
    data = await demo.ask(query, a=SOLANA, f={"tokenAccounts": [account["address"]]})
    (only,) = data["wallet"]["holdings"]["nodes"]
    assert only["token"] == split["token"]
    assert only["rawAmount"] == account["rawAmount"] != split["rawAmount"]
    statuses = {(report["source"], report["status"]) for report in data["wallet"]["holdings"]["sources"]}
    assert statuses == {("ONDO_GM", "NOT_REQUESTED"), ("ONEBALANCE", "NOT_REQUESTED"), ("SOLANA_SPL", "OK")}


async def test_the_same_asset_seen_by_two_sources_is_counted_once(demo: Graph) -> None:
    query = """query ($a: AccountAddress!) { wallet(address: $a) { holdings(first: 200) { nodes {
      token { assetId } agreement amount rawAmount amountSource
      observations { source chosen amount rawAmount }
    } } } }"""
    agreements = set()
    for address in (EVM, SOLANA, OTHER_EVM):
        held = (await demo.ask(query, a=address))["wallet"]["holdings"]["nodes"]
        assets = [node["token"]["assetId"] for node in held]
        assert len(assets) == len(set(assets))
        for node in held:
            agreements.add(node["agreement"])
            chosen = [seen for seen in node["observations"] if seen["chosen"]]
            assert chosen == node["observations"][:1]
            assert (chosen[0]["amount"], chosen[0]["rawAmount"]) == (node["amount"], node["rawAmount"])
            assert chosen[0]["source"] == node["amountSource"]
            assert (len(node["observations"]) == 1) is (node["agreement"] == "SINGLE")
    assert agreements >= {"SINGLE", "AGREE", "DIFFER"}


async def test_everything_with_an_id_is_found_again_by_it(demo: Graph) -> None:
    listed = await demo.ask(
        """query ($a: AccountAddress!) { wallet(address: $a) { id holdings(first: 200) { nodes {
          id amount valueUsd chain { id name } wallet { id }
          token { id assetId symbol tokenName: name group { id groupId symbol } }
        } } } }""",
        a=SOLANA,
    )
    wallet = listed["wallet"]
    wanted = {wallet["id"]: {"id": wallet["id"]}}
    for node in wallet["holdings"]["nodes"]:
        wanted[node["id"]] = {key: node[key] for key in ("id", "amount", "valueUsd")}
        wanted[node["chain"]["id"]] = node["chain"]
        if node["token"]["symbol"] is not None:
            wanted[node["token"]["id"]] = {key: node["token"][key] for key in ("id", "symbol", "tokenName")}
        if group := node["token"]["group"]:
            wanted[group["id"]] = {"id": group["id"], "symbol": group["symbol"]}
    fields = """id
      ... on Holding { amount valueUsd } ... on Token { symbol tokenName: name } ... on Chain { name }
      ... on AssetGroup { symbol }"""
    found = await demo.ask("query ($ids: [ID!]!) { nodes(ids: $ids) {" + fields + "} }", ids=list(wanted))
    assert found["nodes"] == list(wanted.values())
    entities = [{"__typename": id.partition(":")[0], "id": id} for id in wanted]
    query = (
        "query ($r: [_Any!]!) { _entities(representations: $r) {" + fields.replace("id\n", "__typename\n", 1) + "} }"
    )
    answered = await demo.ask(query, r=entities)
    for entity, expected in zip(answered["_entities"], wanted.values(), strict=True):
        assert {k: v for k, v in entity.items() if k != "__typename"} == {
            k: v for k, v in expected.items() if k != "id"
        }


async def test_entities_are_found_by_their_natural_keys(demo: Graph) -> None:
    entities = [
        {"__typename": "Wallet", "address": EVM.upper().replace("0X", "0x")},
        {"__typename": "Token", "assetId": "eip155:1/slip44:60"},
        {"__typename": "Chain", "chainId": "ethereum-1"},
        {"__typename": "AssetGroup", "groupId": "ob:usdc"},
    ]
    query = """query ($r: [_Any!]!) { _entities(representations: $r) {
      ... on Wallet { address } ... on Token { symbol } ... on Chain { name } ... on AssetGroup { definedBy }
    } }"""
    assert (await demo.ask(query, r=entities))["_entities"] == [
        {"address": EVM},
        {"symbol": "ETH"},
        {"name": "Ethereum"},
        {"definedBy": "ONEBALANCE"},
    ]


async def test_a_report_is_given_for_each_source_and_chain_that_applies(demo: Graph) -> None:
    query = """query ($a: AccountAddress!) { wallet(address: $a) { sources {
      source chain { chainId } accounts status code message observationCount upstreamCalls fetchedAt truncated
    } } }"""
    reports = (await demo.ask(query, a=EVM))["wallet"]["sources"]
    told = [(r["source"], r["chain"] and r["chain"]["chainId"], r["status"], r["upstreamCalls"]) for r in reports]
    assert told == [
        ("ONDO_GM", "eip155:1", "OK", 1),
        ("ONDO_GM", "eip155:56", "OK", 1),
        ("ONEBALANCE", None, "OK", 1),
        ("SOLANA_SPL", CHAIN, "NOT_APPLICABLE", 0),
    ]
    for report in reports:
        assert report["accounts"] == [EVM]
        assert (report["code"], report["message"], report["truncated"]) == (None, None, False)
        assert (report["fetchedAt"] is None) is (report["status"] == "NOT_APPLICABLE")


async def test_reports_speak_of_what_the_operation_asked_and_a_list_of_what_its_filter_needs(demo: Graph) -> None:
    query = """query ($a: AccountAddress!) { wallet(address: $a) {
      sources { source status }
      holdings(filter: {sources: [ONDO_GM], chains: ["eip155:1"]}) { totalCount sources { source status } }
    } }"""
    wallet = (await demo.ask(query, a=EVM))["wallet"]
    assert [(r["source"], r["status"]) for r in wallet["sources"]] == [
        ("ONDO_GM", "OK"),
        ("ONDO_GM", "NOT_REQUESTED"),
        ("ONEBALANCE", "NOT_REQUESTED"),
        ("SOLANA_SPL", "NOT_APPLICABLE"),
    ]
    assert [r["status"] for r in wallet["holdings"]["sources"]] == [r["status"] for r in wallet["sources"]]
    assert demo.simulators.onebalance.requests == []


async def test_the_answer_of_a_field_does_not_depend_on_its_neighbours(demo: Graph) -> None:
    fields = {
        "ondo": "holdings(filter: {sources: [ONDO_GM]}) { nodes { id valueUsd agreement } total { complete } }",
        "named": 'holdings(filter: {assetIds: ["eip155:1/slip44:60"]}) { nodes { id valueUsd } sources { status } }',
        "zero": "holdings(filter: {includeZero: true}) { totalCount total { valueUsd } }",
        "all": "holdings { totalCount sources { source status observationCount } }",
        "total": "total { valueUsd complete }",
        "groups": "byAssetGroup { amount reported { rawAmount } }",
    }
    query = "query ($a: AccountAddress!) { wallet(address: $a) { %s } }"
    alone: dict[str, Any] = {}
    for alias, field in fields.items():
        alone |= (await demo.ask(query % f"{alias}: {field}", a=EVM))["wallet"]
    together = await demo.ask(query % " ".join(f"{alias}: {field}" for alias, field in fields.items()), a=EVM)
    assert together["wallet"] == alone


async def test_onebalances_own_aggregate_is_reported_for_exactly_the_accounts_it_speaks_of(demo: Graph) -> None:
    query = """query ($a: [AccountAddress!]!) {
      portfolio(addresses: $a) { byAssetGroup { group { groupId } reported { rawAmount valueUsd } } }
      wallets(addresses: $a) { byAssetGroup { group { groupId } reported { rawAmount valueUsd } } }
    }"""
    data = await demo.ask(query, a=[EVM, SOLANA])

    def reported(view: dict[str, Any]) -> dict[str, int]:
        rows = {row["group"]["groupId"]: row["reported"] for row in view["byAssetGroup"]}
        return {id: int(row["rawAmount"]) for id, row in rows.items() if row is not None}

    evm, solana = map(reported, data["wallets"])
    both = reported(data["portfolio"])
    assert set(evm) & set(solana)
    assert both == {id: evm.get(id, 0) + solana.get(id, 0) for id in both}


async def test_a_token_tells_its_price_its_stock_and_its_holders(demo: Graph) -> None:
    query = """query ($x: AssetId!, $after: String) { token(assetId: $x) {
      kind trust group { groupId members { assetId chain { name } } }
      price { usd source change24h changePercent24h }
      stock { ticker underlyingName underlyingPriceUsd sharesPerToken assetClass instrumentType }
      holders(first: 2, after: $after) {
        totalCount
        nodes { wallet { address } amount valueUsd amountSource }
        pageInfo { hasNextPage endCursor }
        sources { source chain { chainId } status }
      }
    } }"""
    asset = "eip155:1/erc20:0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c"
    token = (await demo.ask(query, x=asset))["token"]
    holders = token.pop("holders")
    assert token["price"] == {
        "usd": "171.383708297189751178",
        "source": "ONDO_GM",
        "change24h": "0.716801010603661576",
        "changePercent24h": "0.42",
    }
    assert token["stock"] == {
        "ticker": "AAPL",
        "underlyingName": "Apple Inc.",
        "underlyingPriceUsd": "228.330909",
        "sharesPerToken": "0.750593553224061098",
        "assetClass": "Equities",
        "instrumentType": "Stock",
    }
    assert (token["kind"], token["trust"], token["group"]["groupId"]) == ("ERC20", "ISSUER", "ondo:AAPLon")
    assert {member["chain"]["name"] for member in token["group"]["members"]} == {"Ethereum", "BNB Chain", "Solana"}
    assert holders["sources"] == [{"source": "ONDO_GM", "chain": {"chainId": "eip155:1"}, "status": "OK"}]
    (request,) = demo.simulators.ondo.asked("*/balances")
    assert request.query == (("tokenAddress", asset.rpartition(":")[2]),)
    seen = holders["nodes"]
    while holders["pageInfo"]["hasNextPage"]:
        holders = (await demo.ask(query, x=asset, after=holders["pageInfo"]["endCursor"]))["token"]["holders"]
        seen += holders["nodes"]
    held = [Decimal(holder["amount"]) for holder in seen]
    assert held == sorted(held, reverse=True)
    assert len({holder["wallet"]["address"] for holder in seen}) == len(seen) == holders["totalCount"]


async def test_a_token_whose_holders_nobody_can_list_has_none(demo: Graph) -> None:
    query = """{ token(assetId: "eip155:1/slip44:60") {
      symbol holders { totalCount } price { usd } stock { ticker }
    } }"""
    token = {"symbol": "ETH", "holders": None, "price": None, "stock": None}
    assert await demo.ask(query) == {"token": token}


async def test_chains_are_all_that_the_sources_cover(demo: Graph) -> None:
    query = "{ chains { chainId namespace name sources nativeToken { assetId kind symbol decimals } } }"
    chains = {chain["chainId"]: chain for chain in (await demo.ask(query))["chains"]}
    assert chains["eip155:56"] == {
        "chainId": "eip155:56",
        "namespace": "EIP155",
        "name": "BNB Chain",
        "sources": ["ONDO_GM", "ONEBALANCE"],
        "nativeToken": {"assetId": "eip155:56/slip44:714", "kind": "NATIVE", "symbol": "BNB", "decimals": 18},
    }
    assert chains[CHAIN]["sources"] == ["ONDO_GM", "ONEBALANCE", "SOLANA_SPL"]
    assert len(chains) > 10


async def test_a_coin_is_found_by_the_symbol_that_it_is_shown_with(graph: Graph) -> None:
    dataset = graph.simulators.onebalance.dataset
    dataset.add_asset(
        OneBalanceAsset("ob:any", "ANY", "Any", 6, [OneBalanceEntity(f"eip155:1/{USDC}", 6, "Any", "ANY")])
    )
    dataset.add_balance(account=EVM, asset_type="eip155:1/slip44:60", balance=10**18, fiat_value="1")
    query = """query ($a: AccountAddress!, $s: String!) { wallet(address: $a) {
      holdings(filter: {assetIds: ["eip155:1/slip44:60"], search: $s}) { nodes { amount token { symbol name } } }
    } }"""
    (held,) = (await graph.ask(query, a=EVM, s="eth"))["wallet"]["holdings"]["nodes"]
    assert held == {"amount": "1", "token": {"symbol": "ETH", "name": "Ether"}}
    assert (await graph.ask(query, a=EVM, s="btc"))["wallet"]["holdings"]["nodes"] == []
