"""The demo's data are of one piece, and show what they are said to show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import base58
from aiohttp import ClientSession

from loaders.upstream.simulator.demo import DATA, demo_upstreams

SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
PUBLISHED_EVM = "0xfe52613d747E20F2f62e0A5cC36B0DFAe771C442"
PUBLISHED_SVM = "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5"
RICH_EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
RICH_SVM = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"
NVDA_MINT = "gEGtLTPNQ7jcg25zTetkbmF7teoDLcrfTnQfmn2ondo"
USDT_MINT = "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"


async def get(session: ClientSession, url: str, **params: str) -> Any:
    headers = {"x-api-key": "demo-key", "authorization": "Bearer demo-token"}
    async with session.get(url, params=params, headers=headers) as response:
        assert response.status == 200
        return json.loads(await response.text(), parse_float=Decimal)


async def test_each_upstream_answers_for_a_published_wallet() -> None:
    ondo, onebalance, thegraph = demo_upstreams()
    async with ondo, onebalance, thegraph, ClientSession() as session:
        stocks = await get(
            session,
            f"{ondo.url}/v1/chains/ethereum-1/balances",
            userAddress="0x1db995cb2b3d9679383f0e597704a41e1521f4e1",
        )
        aggregates = await get(
            session,
            f"{onebalance.url}/api/v3/balances/aggregated-balance",
            account=f"eip155:1:{PUBLISHED_EVM},solana:{PUBLISHED_SVM}",
            aggregatedAssetId="ob:eth,ob:usdc,ob:sol",
        )
        accounts = await get(
            session,
            f"{thegraph.url}/v1/svm/balances",
            network="solana",
            owner="GXYBNgyYKbSLr938VJCpmGLCUaAHWsncTi7jDoQSdFR9",
        )
    assert [token["tokenSymbol"] for token in stocks["tokens"]] == ["AAPLon", "TSLAon"]
    assert [(entry["balance"], entry["fiatValue"]) for entry in aggregates["balanceByAggregatedAsset"]] == [
        ("26720629499317191152", Decimal("47005.16892")),
        ("848936437", Decimal("842.019652")),
        ("15000000", Decimal("2.51")),
    ]
    assert aggregates["totalBalance"] == {"fiatValue": Decimal("47849.698572")}
    assert (accounts["data"][0]["symbol"], accounts["data"][0]["amount"]) == ("PUMP", "85605114004")


async def test_an_ondo_stock_on_solana_is_seen_alike_by_all_three_and_a_dollar_differently_by_two() -> None:
    ondo, onebalance, thegraph = demo_upstreams()
    async with ondo, onebalance, thegraph, ClientSession() as session:
        stocks = await get(session, f"{ondo.url}/v1/chains/solana-900/balances", userAddress=RICH_SVM)
        assets = [f"{SOLANA}/token:{mint}" for mint in (NVDA_MINT, USDT_MINT)]
        balances = await get(
            session,
            f"{onebalance.url}/v3/balances/aggregated-balance",
            account=f"solana:{RICH_SVM}",
            assetId=",".join(assets),
        )
        accounts = {
            mint: await get(session, f"{thegraph.url}/v1/svm/balances", network="solana", owner=RICH_SVM, mint=mint)
            for mint in (NVDA_MINT, USDT_MINT)
        }
    said = {row["assetType"]: row["balance"] for row in balances["balanceBySpecificAsset"]}
    nvda = next(token for token in stocks["tokens"] if token["tokenSymbol"] == "NVDAon")
    assert nvda["tokenAddress"] == NVDA_MINT
    assert nvda["balances"][0]["balance"] == "3.250000000"
    assert said == {assets[0]: "3250000000", assets[1]: "240000000"}
    assert [accounts[mint]["data"][0]["amount"] for mint in (NVDA_MINT, USDT_MINT)] == [
        "3250000000",
        "250000000",
    ]


async def test_a_rich_wallet_holds_bsc_dollars_of_18_decimals_under_an_aggregate_of_6() -> None:
    _, onebalance, _ = demo_upstreams()
    async with onebalance, ClientSession() as session:
        answer = await get(
            session,
            f"{onebalance.url}/v3/balances/aggregated-balance",
            account=f"eip155:1:{RICH_EVM}",
            aggregatedAssetId="ob:usdc",
        )
    [aggregate] = answer["balanceByAggregatedAsset"]
    rows = {row["assetType"]: row["balance"] for row in aggregate["individualAssetBalances"]}
    assert rows["eip155:56/erc20:0x8AC76a51cc950d9822D68b83fE1Ad97B32Cd580d"] == "2500000000000000000001"
    assert aggregate["balance"] == str(1_500_250_000 + 320_000_001 + 2_500_000_000)


def words(value: Any) -> Iterator[str]:
    """All texts in a piece of JSON, keys too."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from words(key)
            yield from words(member)
    elif isinstance(value, list):
        for item in value:
            yield from words(item)
    elif isinstance(value, str):
        yield value


def test_every_solana_address_is_base58_of_32_bytes() -> None:
    data = json.loads(DATA.read_text())
    thegraph = data["thegraph"]
    addresses = {row[name] for row in thegraph["token_accounts"] for name in ("owner", "account", "mint")}
    addresses |= {row["mint"] for row in thegraph["mints"]} | {row["address"] for row in thegraph["native"]}
    addresses |= data["ondo"]["balances"]["solana-900"].keys()
    addresses |= {asset["addresses"].get("solana-900", USDT_MINT) for asset in data["ondo"]["assets"]}
    addresses |= {word.partition("/token:")[2] for word in words(data) if "/token:" in word}
    assert {address: len(base58.b58decode(address)) for address in addresses} == dict.fromkeys(addresses, 32)


def test_every_evm_address_has_40_hex_digits() -> None:
    data = json.loads(DATA.read_text())
    addresses = {word.rpartition(":")[2] for word in words(data) if "0x" in word}
    assert len(addresses) > 100
    assert all(len(bytes.fromhex(address.removeprefix("0x"))) == 20 for address in addresses)
