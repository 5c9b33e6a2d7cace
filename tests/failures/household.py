"""An EVM and Solana pair of which every source knows something, and what is known of it without one of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.ondo import OndoAsset
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from loaders.upstream.simulator.thegraph_dataset import TOKEN_2022_PROGRAM
from tests.graph import (
    NATIVE_BALANCES,
    ONDO_BALANCES,
    ONEBALANCE_BALANCES,
    SPL_BALANCES,
    Graph,
    Simulators,
    open_graph,
)

ONDO_GM, ONEBALANCE, SOLANA_SPL = SOURCES = ("ONDO_GM", "ONEBALANCE", "SOLANA_SPL")

EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
SOLANA = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"
CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"

AAPL_TOKEN = "0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c"
TSLA_TOKEN = "0xf6b1117ec07684d3958cad8beb1b302bfd21103f"
NVDA_TOKEN = "0xa9ee28c80f960b889dfbd1902055218cba016f75"
AAPL_MINT = "123mYEnRLM2LLYsJW3K6oyYh8uP1fngj732iG638ondo"
USDC_MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
USDC_ACCOUNTS = ("GXYBNgyYKbSLr938VJCpmGLCUaAHWsncTi7jDoQSdFR9", "Bv4n2spQQYyyRxjxtZU9QZKgHf1pWAyPYvX6h3HHRET9")
AAPL_ACCOUNT = "DSJH5VQYqmvsnuQ1U4RwTwin9zM1FEGgdkdG3x3CCuri"

AAPL = f"eip155:1/erc20:{AAPL_TOKEN}"
TSLA = f"eip155:1/erc20:{TSLA_TOKEN}"
NVDA = f"eip155:56/erc20:{NVDA_TOKEN}"
AAPL_ON_SOLANA = f"{CHAIN}/token:{AAPL_MINT}"
ETH = "eip155:1/slip44:60"
USDC = "eip155:8453/erc20:0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
USDC_ON_SOLANA = f"{CHAIN}/token:{USDC_MINT}"
SOL = f"{CHAIN}/slip44:501"

ETHEREUM_BALANCES = "/v1/chains/ethereum-1/balances"
BSC_BALANCES = "/v1/chains/bsc-56/balances"
SOLANA_BALANCES = "/v1/chains/solana-900/balances"
METADATA = "/v1/assets/all/metadata"
PRICES = "/v1/assets/all/prices/latest"
ASSETS_LIST = "*/assets/list"
NETWORKS = "/v1/networks"

BALANCES: Mapping[str, Collection[str]] = {
    ONDO_GM: [ONDO_BALANCES],
    ONEBALANCE: [ONEBALANCE_BALANCES],
    SOLANA_SPL: [SPL_BALANCES, NATIVE_BALANCES],
}
"""The paths under which each source is asked for balances."""

SECRET = "what-only-the-upstream-knows"


class Held(NamedTuple):
    """What is shown of a holding."""

    amount: str
    value_usd: str | None
    amount_source: str


HEALTHY: Mapping[str, Held] = {
    AAPL: Held("2.5", "500", ONDO_GM),
    TSLA: Held("0.25", "12.5", ONDO_GM),
    NVDA: Held("4", "714", ONDO_GM),
    AAPL_ON_SOLANA: Held("1.25", "250", SOLANA_SPL),
    ETH: Held("1.5", "4500.75", ONEBALANCE),
    USDC: Held("250.5", "250.499999", ONEBALANCE),
    USDC_ON_SOLANA: Held("10.000001", "10.000001", SOLANA_SPL),
    SOL: Held("2", "300", SOLANA_SPL),
}


def healthy_but(*gone: str) -> dict[str, Held]:
    """What is held, less some assets."""
    return {asset: held for asset, held in HEALTHY.items() if asset not in gone}


WITHOUT: Mapping[str, Mapping[str, Held]] = {
    ONDO_GM: healthy_but(AAPL, TSLA, NVDA) | {AAPL_ON_SOLANA: Held("1.25", None, SOLANA_SPL)},
    ONEBALANCE: healthy_but(ETH, USDC)
    | {USDC_ON_SOLANA: Held("10.000001", None, SOLANA_SPL), SOL: Held("2", None, SOLANA_SPL)},
    SOLANA_SPL: healthy_but()
    | {
        AAPL_ON_SOLANA: Held("1.25", "250", ONDO_GM),
        USDC_ON_SOLANA: Held("10", "10", ONEBALANCE),
        SOL: Held("2", "300", ONEBALANCE),
    },
}
"""What the other sources know of it, where one knows nothing."""

WITHOUT_BALANCES = {
    **WITHOUT,
    ONDO_GM: {**WITHOUT[ONDO_GM], AAPL_ON_SOLANA: HEALTHY[AAPL_ON_SOLANA]},
}
"""The same, where the one still gives its registers, prices among them."""

PARTS: Mapping[str, Collection[str | None]] = {
    ONDO_GM: {"eip155:1", "eip155:56", CHAIN},
    ONEBALANCE: {None},
    SOLANA_SPL: {CHAIN},
}
"""The chains that each source reports on."""

HOLDINGS = """
    holdings { nodes { token { assetId } amount valueUsd valueStatus amountSource } }
    total { valueUsd complete missingSources }
    sources { source chain { chainId } status code message retryAfterSeconds observationCount truncated }
"""
QUERY = "query ($a: [AccountAddress!]!) { portfolio(addresses: $a) {" + HOLDINGS + "} }"


def household() -> Simulators:
    """Upstreams that know this pair alone."""
    simulators = Simulators.empty()
    _fill_ondo(simulators)
    _fill_onebalance(simulators)
    _fill_thegraph(simulators)
    return simulators


@asynccontextmanager
async def open_household(*, without: tuple[str, ...] = (), **settings: Any) -> AsyncIterator[Graph]:
    """The graph over upstreams that know this pair alone."""
    async with open_graph(household(), without=without, **settings) as graph:
        yield graph


def _fill_ondo(simulators: Simulators) -> None:
    dataset = simulators.ondo.dataset
    places = {
        "AAPLon": ("200", {"ethereum-1": AAPL_TOKEN, "solana-900": AAPL_MINT}),
        "TSLAon": ("50", {"ethereum-1": TSLA_TOKEN}),
        "NVDAon": ("178.5", {"bsc-56": NVDA_TOKEN}),
    }
    for symbol, (price, addresses) in places.items():
        ticker = symbol.removesuffix("on")
        dataset.add_asset(OndoAsset(symbol=symbol, ticker=ticker, name=ticker, addresses=addresses, price=price))
    dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2.5")
    dataset.add_balance(chain="ethereum-1", symbol="TSLAon", account=EVM, balance="0.25")
    dataset.add_balance(chain="bsc-56", symbol="NVDAon", account=EVM, balance="4")
    dataset.add_balance(chain="solana-900", symbol="AAPLon", account=SOLANA, balance="1.25")


def _fill_onebalance(simulators: Simulators) -> None:
    dataset = simulators.onebalance.dataset
    dataset.chains = ["eip155:1", "eip155:8453", CHAIN]
    aggregates = {"ETH": (18, [ETH]), "USDC": (6, [USDC, USDC_ON_SOLANA]), "SOL": (9, [SOL])}
    for symbol, (decimals, assets) in aggregates.items():
        entities = [OneBalanceEntity(asset, decimals, symbol, symbol) for asset in assets]
        dataset.add_asset(OneBalanceAsset(f"ob:{symbol.lower()}", symbol, symbol, decimals, entities))
    dataset.add_balance(account=EVM, asset_type=ETH, balance=1_500_000_000_000_000_000, fiat_value="4500.75")
    dataset.add_balance(account=EVM, asset_type=USDC, balance=250_500_000, fiat_value="250.499999")
    dataset.add_balance(account=SOLANA, asset_type=USDC_ON_SOLANA, balance=10_000_000, fiat_value="10")
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=2_000_000_000, fiat_value="300")


def _fill_thegraph(simulators: Simulators) -> None:
    dataset = simulators.thegraph.dataset
    dataset.add_mint(mint=USDC_MINT, decimals=6, name="USD Coin", symbol="USDC")
    dataset.add_mint(mint=AAPL_MINT, decimals=9, name="Apple", symbol="AAPLon", program_id=TOKEN_2022_PROGRAM)
    for account, amount in zip(USDC_ACCOUNTS, (7_000_000, 3_000_001), strict=True):
        dataset.add_token_account(
            owner=SOLANA, account=account, mint=USDC_MINT, amount=amount, time=datetime(2025, 10, 9, tzinfo=UTC)
        )
    dataset.add_token_account(
        owner=SOLANA,
        account=AAPL_ACCOUNT,
        mint=AAPL_MINT,
        amount=1_250_000_000,
        program_id=TOKEN_2022_PROGRAM,
        time=datetime(2025, 10, 1, tzinfo=UTC),  # unchanged for longest, so it is on the last page
    )
    dataset.add_native(address=SOLANA, lamports=2_000_000_000)
    dataset.add_network()


@dataclass(frozen=True, slots=True)
class Seen:
    """What one operation told of the pair, or of one of them."""

    view: Mapping[str, Any]

    @property
    def held(self) -> dict[str, Held]:
        """What is shown of each asset."""
        return {asset: Held(*[node[n] for n in _SHOWN]) for asset, node in self.nodes.items()}

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """The holdings by asset."""
        nodes = self.view["holdings"]["nodes"]
        by_asset = {node["token"]["assetId"]: node for node in nodes}
        assert len(by_asset) == len(nodes)
        return by_asset

    def reports(self, source: str) -> list[dict[str, Any]]:
        """The reports of a source on accounts that it speaks for."""
        return [r for r in self.view["sources"] if r["source"] == source and r["status"] != "NOT_APPLICABLE"]

    def by_chain(self, source: str) -> dict[str | None, dict[str, Any]]:
        """The reports of a source by the chain that they are on."""
        return {report["chain"] and report["chain"]["chainId"]: report for report in self.reports(source)}

    def status(self, source: str) -> str:
        """How a source did, where its reports agree on it."""
        (status,) = {report["status"] for report in self.reports(source)}
        return str(status)


_SHOWN = ("amount", "valueUsd", "amountSource")


async def look(graph: Graph, *addresses: str) -> Seen:
    """Asks for the pair; nothing in the response may be an error, or tell what clients must not know."""
    response = await graph.respond(QUERY, a=list(addresses or (EVM, SOLANA)))
    assert response["errors"] == []
    assert_tells_no_secret(graph, response)
    return Seen(response["data"]["portfolio"])


def assert_tells_no_secret(graph: Graph, response: object) -> None:
    """No key, no upstream's words, no address of an upstream, no stack."""
    text = json.dumps(response)
    secrets = [SECRET, graph.simulators.ondo.key, graph.simulators.onebalance.key, graph.simulators.thegraph.token]
    for secret in [*secrets, "Traceback", "://", "127.0.0.1", "aiohttp", "Error("]:
        assert secret not in text


def assert_whole(seen: Seen) -> None:
    """Every source answered, and everything is known."""
    assert seen.held == HEALTHY
    assert seen.view["total"] == {"valueUsd": "6537.75", "complete": True, "missingSources": []}
    for source in SOURCES:
        assert {*seen.by_chain(source)} == {*PARTS[source]}
        for report in seen.reports(source):
            told = (report["status"], report["code"], report["message"], report["retryAfterSeconds"])
            assert told == ("OK", None, None, None)
            assert report["truncated"] is False


def assert_failed(
    seen: Seen,
    source: str,
    code: str,
    *,
    retry_after: Collection[int | None] = (None,),
    known: Mapping[str, Mapping[str, Held]] = WITHOUT,
) -> None:
    """This source alone failed in all its parts, and all that the others know is there."""
    assert {*seen.by_chain(source)} == {*PARTS[source]}
    for report in seen.reports(source):
        assert (source, report["status"], report["code"]) == (source, "FAILED", code)
        assert report["message"]
        assert report["retryAfterSeconds"] in retry_after
        assert (report["observationCount"], report["truncated"]) == (0, False)
    for other in {*SOURCES} - {source}:
        assert seen.status(other) == "OK"
    assert seen.held == known[source]
    assert_incomplete(seen, source)


def assert_incomplete(seen: Seen, *missing: str) -> None:
    """The total adds what is known, and says whose word is missing."""
    total = seen.view["total"]
    values = [Decimal(held.value_usd) for held in seen.held.values() if held.value_usd is not None]
    assert values
    assert Decimal(total["valueUsd"]) == sum(values)
    assert total["complete"] is False
    assert sorted(total["missingSources"]) == sorted(missing)


async def meet(
    graph: Graph,
    source: str,
    code: str,
    *faults: Fault,
    retry_after: Collection[int | None] = (None,),
    known: Mapping[str, Mapping[str, Held]] = WITHOUT,
) -> None:
    """With nothing known yet the source meets these faults, fails with this code, and is well again."""
    simulator = graph.simulators.by_source()[source]
    await graph.restart()
    for fault in faults:
        simulator.inject(fault)
    assert_failed(await look(graph), source, code, retry_after=retry_after, known=known)
    simulator.heal()


async def meet_in_balances(graph: Graph, source: str, code: str, fault: Fault) -> None:
    """The same, where only the requests for balances meet the fault."""
    faults = [replace(fault, path=path) for path in BALANCES[source]]
    await meet(graph, source, code, *faults, known=WITHOUT_BALANCES)
