"""Each published example of the upstreams, through the whole stack, comes out as computed by hand."""

from __future__ import annotations

from typing import Any

import orjson

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from loaders.upstream.simulator.thegraph import TheGraphDataset
from tests.graph import ONEBALANCE_BALANCES, Graph, Simulators, open_graph, published

EVM = "0xfe52613d747e20f2f62e0a5cc36b0dfae771c442"
SOLANA = "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5"
PUMP_OWNER = "GXYBNgyYKbSLr938VJCpmGLCUaAHWsncTi7jDoQSdFR9"
CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"

ETH_ON_BASE = "eip155:8453/slip44:60"
ETH_ON_ARBITRUM = "eip155:42161/slip44:60"
USDC_ON_BASE = "eip155:8453/erc20:0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
USDC_ON_ARBITRUM = "eip155:42161/erc20:0xaf88d065e77c8cc2239327c5edb3a432268e5831"
USDC_ON_SOLANA = f"{CHAIN}/token:EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
SOL = f"{CHAIN}/slip44:501"

HOLDINGS = """
query ($a: [AccountAddress!]!, $f: HoldingFilter) {
  portfolio(addresses: $a) {
    holdings(filter: $f) {
      nodes { accountId token { assetId } rawAmount amount valueUsd valueStatus amountSource valueSource agreement }
    }
    total { valueUsd complete holdingCount unpricedCount missingSources }
    byAssetGroup {
      group { groupId }
      amount
      total { valueUsd }
      reported { source rawAmount decimals valueUsd }
    }
  }
}
"""


def rows(view: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    """The holdings in order, as (asset, …)."""
    return [(node["token"]["assetId"], *[node[name] for name in names]) for node in view["holdings"]["nodes"]]


def answer(simulators: Simulators, source: str, path: str, body: Any) -> None:
    """Let requests of this path be answered with a published body."""
    simulator = simulators.by_source()[source]
    simulator.inject(Fault(status=200, body=orjson.dumps(body), path=path))


async def test_the_evm_balance_of_onebalance(demo: Graph) -> None:
    body = published("onebalance")["v3Responses"]["EVMOnlyBalance"]
    answer(demo.simulators, "ONEBALANCE", ONEBALANCE_BALANCES, body)
    view = (await demo.ask(HOLDINGS, a=[EVM]))["portfolio"]
    assert rows(view, "rawAmount", "amount", "valueUsd", "valueStatus") == [
        (ETH_ON_BASE, "26488136306212020002", "26.488136306212020002", "46927.441806", "REPORTED"),
        (USDC_ON_BASE, "774598041", "774.598041", "774.563184", "REPORTED"),
        (ETH_ON_ARBITRUM, "43872973277400073", "0.043872973277400073", "77.727114", "REPORTED"),
        (USDC_ON_ARBITRUM, "62459466", "62.459466", "62.456468", "REPORTED"),
    ]
    assert {node["accountId"] for node in view["holdings"]["nodes"]} == {f"eip155:8453:{EVM}", f"eip155:42161:{EVM}"}
    assert view["total"] == {
        "valueUsd": "47842.188572",
        "complete": True,
        "holdingCount": 4,
        "unpricedCount": 0,
        "missingSources": [],
    }
    # OneBalance's own aggregate counts a balance that it lists in none of its parts: it is shown, never added.
    assert view["byAssetGroup"] == [
        {
            "group": {"groupId": "ob:eth"},
            "amount": "26.532009279489420075",
            "total": {"valueUsd": "47005.16892"},
            "reported": {
                "source": "ONEBALANCE",
                "rawAmount": "26720629499317191152",
                "decimals": 18,
                "valueUsd": "47005.16892",
            },
        },
        {
            "group": {"groupId": "ob:usdc"},
            "amount": "837.057507",
            "total": {"valueUsd": "837.019652"},
            "reported": {
                "source": "ONEBALANCE",
                "rawAmount": "843936437",
                "decimals": 6,
                "valueUsd": "837.019652",
            },
        },
    ]


async def test_the_solana_balance_of_onebalance() -> None:
    body = published("onebalance")["v3Responses"]["SolanaOnlyBalance"]
    async with open_graph(Simulators.demo(), without=("SOLANA_SPL",)) as graph:
        answer(graph.simulators, "ONEBALANCE", ONEBALANCE_BALANCES, body)
        view = (await graph.ask(HOLDINGS, a=[SOLANA]))["portfolio"]
    assert rows(view, "amount", "valueUsd") == [(USDC_ON_SOLANA, "5", "5"), (SOL, "0.015", "2.51")]
    assert view["total"]["valueUsd"] == "7.51"
    # Two aggregates in the reply are called ob:single: that is no group, and USDC's own is not reported.
    groups = {row["group"]["groupId"]: row["reported"] for row in view["byAssetGroup"]}
    assert "ob:single" not in groups
    assert groups["ob:usdc"] is None


async def test_the_balance_of_a_pair_of_onebalance() -> None:
    body = published("onebalance")["v3Responses"]["MultichainBalance"]
    async with open_graph(Simulators.demo(), without=("SOLANA_SPL",)) as graph:
        answer(graph.simulators, "ONEBALANCE", ONEBALANCE_BALANCES, body)
        view = (await graph.ask(HOLDINGS, a=[EVM, SOLANA]))["portfolio"]
    assert rows(view, "amount", "valueUsd") == [
        (ETH_ON_BASE, "26.488136306212020002", "46927.441806"),
        (USDC_ON_BASE, "774.598041", "774.563184"),
        (ETH_ON_ARBITRUM, "0.043872973277400073", "77.727114"),
        (USDC_ON_ARBITRUM, "62.459466", "62.456468"),
        (USDC_ON_SOLANA, "5", "5"),
        (SOL, "0.015", "2.51"),
    ]
    assert view["total"]["valueUsd"] == "47849.698572"
    accounts = [node["accountId"].rpartition(":")[2] for node in view["holdings"]["nodes"]]
    assert accounts == [EVM, EVM, EVM, EVM, SOLANA, SOLANA]
    groups = {row["group"]["groupId"]: row["reported"] for row in view["byAssetGroup"]}
    reported = {id: row["rawAmount"] for id, row in groups.items() if row is not None}
    assert reported == {"ob:eth": "26720629499317191152", "ob:usdc": "848936437"}


async def test_the_balance_of_chosen_aggregates_of_onebalance() -> None:
    body = published("onebalance")["v3Responses"]["FilteredAggregatedAssets"]
    async with open_graph(Simulators.demo(), without=("SOLANA_SPL",)) as graph:
        answer(graph.simulators, "ONEBALANCE", ONEBALANCE_BALANCES, body)
        view = (await graph.ask(HOLDINGS, a=[EVM, SOLANA], f={"includeZero": True}))["portfolio"]
    assert rows(view, "amount", "valueUsd") == [
        (USDC_ON_SOLANA, "4.383227", "4.383234"),
        (USDC_ON_ARBITRUM, "0.000105", "0.000105"),
        ("eip155:10/erc20:0x0b2c639c533813f4aa9d7837caf62653d097ff85", "0", "0"),
        ("eip155:1329/erc20:0x3894085ef7ff0f0aedf52e2a2704928d1ec074f1", "0", "0"),
        ("eip155:42161/erc20:0x912ce59144191c1204e64559fe8253a0e49e6548", "0", "0"),
        ("eip155:43114/erc20:0xb97ef9ef8734c71904d8002f8b6bc66dd9c48a6e", "0", "0"),
        (USDC_ON_BASE, "0", "0"),
    ]
    # The published sum is a float's: 4.383338999999999.
    assert view["total"]["valueUsd"] == "4.383339"
    assert view["total"]["holdingCount"] == 2


async def test_the_balance_of_specific_assets_of_onebalance_has_no_value_rather_than_the_value_0() -> None:
    body = published("onebalance")["v3Responses"]["SpecificAssetBalance"]
    async with open_graph(Simulators.empty(), without=("SOLANA_SPL", "ONDO_GM")) as graph:
        answer(graph.simulators, "ONEBALANCE", ONEBALANCE_BALANCES, body)
        condition = {"assetIds": [USDC_ON_ARBITRUM, USDC_ON_SOLANA]}
        view = (await graph.ask(HOLDINGS, a=[EVM, SOLANA], f=condition))["portfolio"]
        (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)[:1]
    assert request.param("assetId") == f"{USDC_ON_ARBITRUM},{USDC_ON_SOLANA}"
    assert rows(view, "rawAmount", "amount", "valueUsd", "valueStatus") == [
        (USDC_ON_ARBITRUM, "105", None, None, "UNPRICED"),
        (USDC_ON_SOLANA, "4383227", None, None, "UNPRICED"),
    ]


async def test_the_assets_list_of_onebalance() -> None:
    query = """query ($x: AssetId!) {
      token(assetId: $x) {
        symbol name decimals kind trust metadataSource group { groupId definedBy members { assetId decimals } }
      }
    }"""
    async with open_graph(Simulators.empty()) as graph:
        answer(graph.simulators, "ONEBALANCE", "*/assets/list", published("onebalance")["assetsList"])
        token = (await graph.ask(query, x="eip155:1/erc20:0xdac17f958d2ee523a2206206994597c13d831ec7"))["token"]
    assert token == {
        "symbol": "USDT",
        "name": "Tether USD",
        "decimals": 6,
        "kind": "ERC20",
        "trust": "LISTED",
        "metadataSource": "ONEBALANCE",
        "group": {
            "groupId": "ob:usdt",
            "definedBy": "ONEBALANCE",
            "members": [
                {"assetId": "eip155:1/erc20:0xdac17f958d2ee523a2206206994597c13d831ec7", "decimals": 6},
                {"assetId": "eip155:42161/erc20:0xfd086bc7cd5c481dcc9c85ebe478a1c0b69fcbb9", "decimals": 6},
            ],
        },
    }


async def test_the_supported_chains_of_onebalance() -> None:
    async with open_graph(Simulators.empty(), without=("ONDO_GM", "SOLANA_SPL")) as graph:
        answer(graph.simulators, "ONEBALANCE", "*/chains/supported-list", published("onebalance")["supportedChains"])
        chains = (await graph.ask("{ chains { chainId name sources nativeToken { symbol } } }"))["chains"]
    assert [(chain["chainId"], chain["nativeToken"]["symbol"]) for chain in chains] == [
        ("eip155:1", "ETH"),
        ("eip155:10", "ETH"),
        ("eip155:56", "BNB"),
        ("eip155:130", "ETH"),
        ("eip155:137", "POL"),
        ("eip155:999", "HYPE"),
        ("eip155:8453", "ETH"),
        ("eip155:42161", "ETH"),
        ("eip155:43114", "AVAX"),
        ("eip155:59144", "ETH"),
        ("eip155:80094", "BERA"),
        ("eip155:81457", "ETH"),
        (CHAIN, "SOL"),
    ]
    assert all(chain["sources"] == ["ONEBALANCE"] for chain in chains)


async def test_the_balances_and_prices_of_ondo() -> None:
    examples = published("ondo")["responses"]
    metadata = examples["getAllAssetMetadata"] + [
        {
            "symbol": "TSLAon",
            "ticker": "TSLA",
            "addresses": [
                {
                    "networkChainId": "ethereum-1",
                    "address": "0xf6b1117ec07684d3958cad8beb1b302bfd21103f",
                    "decimals": 18,
                }
            ],
            "tags": {"assetClass": "Equities", "instrumentType": "Stock"},
        }
    ]
    async with open_graph(Simulators.empty(), without=("ONEBALANCE",)) as graph:
        answer(graph.simulators, "ONDO_GM", "/v1/chains/bsc-56/balances", {"tokens": []})
        answer(graph.simulators, "ONDO_GM", "/v1/chains/ethereum-1/balances", examples["getBalances"])
        answer(graph.simulators, "ONDO_GM", "/v1/assets/all/metadata", metadata)
        answer(graph.simulators, "ONDO_GM", "/v1/assets/all/prices/latest", examples["getAllPrices"])
        view = (await graph.ask(HOLDINGS, a=["0x1db995cb2b3d9679383f0e597704a41e1521f4e1"]))["portfolio"]
        query = """query ($x: AssetId!) { token(assetId: $x) {
          symbol decimals price { usd source asOf } stock { ticker assetClass instrumentType }
          holders { totalCount nodes { wallet { address } amount valueUsd } }
        } }"""
        aapl = "eip155:1/erc20:0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c"
        token = (await graph.ask(query, x=aapl))["token"]
    assert rows(view, "amount", "rawAmount", "valueUsd", "valueStatus", "valueSource") == [
        (aapl, "0.641380199330235549", "641380199330235549", "109.92211698960650675", "DERIVED", "ONDO_GM"),
        (
            "eip155:1/erc20:0xf6b1117ec07684d3958cad8beb1b302bfd21103f",
            "0.088854297224463519",
            "88854297224463519",
            "4.310938414018062535",
            "DERIVED",
            "ONDO_GM",
        ),
    ]
    assert view["total"]["valueUsd"] == "114.233055403624569285"
    assert [row["group"]["groupId"] for row in view["byAssetGroup"]] == ["ondo:AAPLon", "ondo:TSLAon"]
    assert token == {
        "symbol": "AAPLon",
        "decimals": 18,
        "price": {"usd": "171.383708297189751178", "source": "ONDO_GM", "asOf": "2025-08-22T18:54:18.893000Z"},
        "stock": {"ticker": "AAPL", "assetClass": "Equities", "instrumentType": "Stock"},
        "holders": {
            "totalCount": 2,
            "nodes": [
                {
                    "wallet": {"address": "0x1db995cb2b3d9679383f0e597704a41e1521f4e1"},
                    "amount": "0.641380199330235549",
                    "valueUsd": "109.92211698960650675",
                },
                {
                    "wallet": {"address": "0x13116e8b4ffc8125b859ec60917fba540e59e55e"},
                    "amount": "0.467583800117038432",
                    "valueUsd": "80.136245603749993666",
                },
            ],
        },
    }


async def test_the_price_changes_and_markets_of_ondo() -> None:
    examples = published("ondo")["responses"]
    tokens = {
        "NFLXon": "0x032dec3372f25c41ea8054b4987a7c4832cdb338",
        "ADBEon": "0x7042a8ffc7c7049684bfbc2fcb41b72380755a43",
    }
    metadata = [
        {
            "symbol": symbol,
            "ticker": symbol.removesuffix("on"),
            "addresses": [{"networkChainId": "ethereum-1", "address": address, "decimals": 18}],
            "tags": {},
        }
        for symbol, address in tokens.items()
    ]
    prices = [
        {"primaryMarket": {"symbol": "NFLXon", "price": "860.66471"}, "timestamp": 1769190970623},
        {"primaryMarket": {"symbol": "ADBEon", "price": "361.986667"}, "timestamp": 1755890061815},
    ]
    query = """query ($x: [AssetId!]!) { tokens(assetIds: $x) {
      symbol
      price { usd change24h changePercent24h }
      stock { ticker underlyingName underlyingPriceUsd sharesPerToken }
    } }"""
    async with open_graph(Simulators.empty()) as graph:
        answer(graph.simulators, "ONDO_GM", "/v1/assets/all/metadata", metadata)
        answer(graph.simulators, "ONDO_GM", "/v1/assets/all/prices/latest", prices)
        changes = examples["getAllAssetEnhancedPrices"]
        answer(graph.simulators, "ONDO_GM", "/v1/assets/all/prices/latest/enhanced", changes)
        answer(graph.simulators, "ONDO_GM", "/v1/assets/all/market", examples["getAllMarkets"])
        data = await graph.ask(query, x=[f"eip155:1/erc20:{address}" for address in tokens.values()])
    assert data["tokens"] == [
        {
            "symbol": "NFLXon",
            "price": {"usd": "860.66471", "change24h": "26.80883", "changePercent24h": "3.215043587628116264"},
            "stock": {"ticker": "NFLX", "underlyingName": None, "underlyingPriceUsd": None, "sharesPerToken": None},
        },
        {
            "symbol": "ADBEon",
            "price": {"usd": "361.986667", "change24h": None, "changePercent24h": None},
            "stock": {
                "ticker": "ADBE",
                "underlyingName": "Adobe Inc.",
                "underlyingPriceUsd": "361.986667",
                "sharesPerToken": "1",
            },
        },
    ]


def documented(path: str) -> Any:
    """The published answer of an endpoint of The Graph."""
    return next(e["body"] for e in published("thegraph")["documented"] if e["path"] == path and e["status"] == 200)


async def test_the_token_account_and_native_balance_of_the_graph() -> None:
    query = """query ($a: AccountAddress!) { wallet(address: $a) { holdings { nodes {
      amount valueStatus asOf { blockNumber time }
      token { assetId symbol name decimals kind trust metadataUri }
      observations { source chosen rawAmount reportedAsset tokenAccounts { address programId rawAmount } }
    } } } }"""
    simulators = Simulators.empty()
    wrapped = "So11111111111111111111111111111111111111112"
    entity = OneBalanceEntity(f"{CHAIN}/token:{wrapped}", 9, "Wrapped SOL", "WSOL")
    simulators.onebalance.dataset.add_asset(OneBalanceAsset("ob:wsol", "WSOL", "Wrapped SOL", 9, [entity]))
    async with open_graph(simulators) as graph:
        answer(graph.simulators, "SOLANA_SPL", "/v1/svm/balances", documented("/v1/svm/balances"))
        native: dict[str, list[Any]] = {"data": []}
        answer(graph.simulators, "SOLANA_SPL", "/v1/svm/balances/native", native)
        (pump,) = (await graph.ask(query, a=PUMP_OWNER))["wallet"]["holdings"]["nodes"]
        answer(graph.simulators, "SOLANA_SPL", "/v1/svm/balances", native)
        answer(graph.simulators, "SOLANA_SPL", "/v1/svm/balances/native", documented("/v1/svm/balances/native"))
        (sol,) = (await graph.ask(query, a=wrapped))["wallet"]["holdings"]["nodes"]
    assert pump == {
        "amount": "85605.114004",
        "valueStatus": "UNPRICED",
        "asOf": {"blockNumber": "372132067", "time": "2025-10-09T02:10:01Z"},
        "token": {
            "assetId": f"{CHAIN}/token:pumpCmXqMfrsAkQ5r49WcJnRayYRqmXz6ae8H7H9Dfn",
            "symbol": "PUMP",
            "name": "Pump",
            "decimals": 6,
            "kind": "SPL_2022",
            "trust": "UNLISTED",
            "metadataUri": "https://ipfs.io/ipfs/bafkreibcglldkfdekdkxgumlveoe6qv3pbiceypkwtli33clbzul7leo4m",
        },
        "observations": [
            {
                "source": "SOLANA_SPL",
                "chosen": True,
                "rawAmount": "85605114004",
                "reportedAsset": "pumpCmXqMfrsAkQ5r49WcJnRayYRqmXz6ae8H7H9Dfn",
                "tokenAccounts": [
                    {
                        "address": "5UZfa66rzeDpD9wKs3Sn3iewmavxYvpAtiF2Lqd2n1wW",
                        "programId": "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
                        "rawAmount": "85605114004",
                    }
                ],
            }
        ],
    }
    assert sol["amount"] == "1173.096711863"
    assert sol["asOf"] == {"blockNumber": "373711220", "time": "2025-10-16T08:20:15Z"}
    assert (sol["token"]["assetId"], sol["token"]["kind"]) == (SOL, "NATIVE")


async def test_the_token_metadata_of_the_graph() -> None:
    query = "query ($x: AssetId!) { token(assetId: $x) { assetId symbol name decimals kind metadataUri } }"
    asset = f"{CHAIN}/token:So11111111111111111111111111111111111111112"
    async with open_graph(Simulators.empty()) as graph:
        answer(graph.simulators, "SOLANA_SPL", "/v1/svm/tokens", documented("/v1/svm/tokens"))
        token = (await graph.ask(query, x=asset))["token"]
    assert token == {
        "assetId": asset,
        "symbol": "SOL",
        "name": "Wrapped SOL",
        "decimals": 9,
        "kind": "SPL",
        "metadataUri": None,
    }


async def test_a_recorded_wallet_of_the_graph_with_every_oddity_in_it() -> None:
    recorded = published("thegraph")
    simulators = Simulators.empty()
    simulators.thegraph.dataset = TheGraphDataset.from_fixture(recorded["fixture"])
    async with open_graph(simulators, without=("ONEBALANCE", "ONDO_GM")) as graph:
        view = (await graph.ask(HOLDINGS, a=[recorded["labels"]["owner_a"]]))["portfolio"]
    mints = recorded["labels"]["mints"]
    expected = {
        SOL: ("2500000001", "2.500000001"),
        f"{CHAIN}/token:{mints['PUMP']}": ("85605114004", "85605.114004"),
        f"{CHAIN}/token:{mints['USDC']}": ("1234567891", "1234.567891"),
        f"{CHAIN}/token:{mints['WSOL']}": ("5000000000", "5"),
        f"{CHAIN}/token:{mints['HUGE']}": ("18446744073709551615", None),
        f"{CHAIN}/token:{mints['UNKNOWN']}": ("1000", None),
        f"{CHAIN}/token:{mints['NFT']}": ("1", "1"),
        f"{CHAIN}/token:{mints['MIXED_DECIMALS']}": ("900", "9"),
    }
    assert {asset: (raw, amount) for asset, raw, amount in rows(view, "rawAmount", "amount")} == expected
    assert view["total"] == {
        "valueUsd": None,
        "complete": False,
        "holdingCount": 8,
        "unpricedCount": 8,
        "missingSources": [],
    }
