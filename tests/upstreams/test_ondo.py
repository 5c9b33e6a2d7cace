"""What Ondo GM sends, and what the graph makes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.ondo import EmptyStyle, OndoAsset, OndoDataset
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from loaders.upstream.simulator.thegraph_dataset import TOKEN_2022_PROGRAM
from tests.graph import ONDO_BALANCES, ONEBALANCE_BALANCES, Graph, Simulators, open_graph

EVM = "0x1db995cb2b3d9679383f0e597704a41e1521f4e1"
OTHER = "0x13116e8b4ffc8125b859ec60917fba540e59e55e"
SOLANA = "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5"
OTHER_SOLANA = "GXYBNgyYKbSLr938VJCpmGLCUaAHWsncTi7jDoQSdFR9"
TOKEN_ACCOUNT = "5UZfa66rzeDpD9wKs3Sn3iewmavxYvpAtiF2Lqd2n1wW"

SOLANA_CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
AAPL = "0x14c3abF95Cb9C93a8B82c1CdCB76D72Cb87b2d4c"
AAPL_BSC = "0x390a684EF9cADE28A7AD0DFa61AB1Eb3842618c4"
AAPL_MINT = "123mYEnRLM2LLYsJW3K6oyYh8uP1fngj732iG638ondo"
TSLA = "0xf6b1117ec07684d3958cad8beb1b302bfd21103f"
STRANGER = "0x" + "5a" * 20

AAPL_ETHEREUM_ID = f"eip155:1/erc20:{AAPL.lower()}"
AAPL_BSC_ID = f"eip155:56/erc20:{AAPL_BSC.lower()}"
AAPL_SOLANA_ID = f"{SOLANA_CHAIN}/token:{AAPL_MINT}"
TSLA_ID = f"eip155:1/erc20:{TSLA}"
STRANGER_ID = f"eip155:1/erc20:{STRANGER}"

METADATA = "/v1/assets/all/metadata"
PRICES = "/v1/assets/all/prices/latest"
MARKETS = "/v1/assets/all/market"
ON_ETHEREUM = "/v1/chains/ethereum-1/balances"

APPLE = OndoAsset(
    symbol="AAPLon",
    ticker="AAPL",
    name="Apple (Ondo Tokenized)",
    addresses={"ethereum-1": AAPL, "bsc-56": AAPL_BSC, "solana-900": AAPL_MINT},
    price="171.383708297189751178",
    underlying_price="228.330909",
    underlying_name="Apple Inc.",
    shares_multiplier="0.75",
)
TESLA = OndoAsset(
    symbol="TSLAon",
    ticker="TSLA",
    name="Tesla (Ondo Tokenized)",
    addresses={"ethereum-1": TSLA},
    price="48.5",
    underlying_price="338.88",
)

QUERY = """
query ($a: AccountAddress!, $f: HoldingFilter) {
  wallet(address: $a) {
    holdings(filter: $f) {
      nodes {
        accountId amount rawAmount valueUsd valueStatus valueSource amountSource agreement
        token {
          assetId symbol decimals kind trust
          group { groupId }
          price { usd source change24h changePercent24h asOf }
          stock { ticker underlyingName underlyingPriceUsd sharesPerToken assetClass instrumentType }
        }
        observations { source amount rawAmount reportedAsset }
      }
      total { valueUsd complete holdingCount unpricedCount missingSources }
      sources { source status code retryAfterSeconds observationCount chain { chainId } }
    }
  }
}
"""


class Listing:
    """One wallet's holdings by asset, and how Ondo did by chain."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        listed = data["wallet"]["holdings"]
        self.nodes: dict[str, dict[str, Any]] = {node["token"]["assetId"]: node for node in listed["nodes"]}
        assert len(self.nodes) == len(listed["nodes"])
        self.total: dict[str, Any] = listed["total"]
        self.reports = {
            report["chain"]["chainId"]: report for report in listed["sources"] if report["source"] == "ONDO_GM"
        }

    def __getitem__(self, asset_id: str) -> dict[str, Any]:
        return self.nodes[asset_id]

    @property
    def amounts(self) -> dict[str, str]:
        return {asset_id: node["amount"] for asset_id, node in self.nodes.items()}

    @property
    def statuses(self) -> dict[str, tuple[str, str | None]]:
        return {chain_id: (report["status"], report["code"]) for chain_id, report in self.reports.items()}


async def list_holdings(graph: Graph, address: str = EVM, **condition: Any) -> Listing:
    """The holdings of an address, by default by Ondo's word alone."""
    condition = {"sources": ["ONDO_GM"], **condition}
    return Listing(await graph.ask(QUERY, a=address, f=condition))


def ondo(graph: Graph, *assets: OndoAsset) -> OndoDataset:
    """Ondo's dataset with these assets, Apple and Tesla if none are named."""
    dataset = graph.simulators.ondo.dataset
    for asset in assets or (APPLE, TESLA):
        dataset.add_asset(asset)
    return dataset


def answer(graph: Graph, path: str, body: object, *, status: int = 200) -> None:
    """Let Ondo answer with this body."""
    graph.simulators.ondo.inject(Fault(status=status, body=json.dumps(body).encode(), path=path))


def token(address: str, symbol: str, *rows: tuple[str, object]) -> dict[str, Any]:
    """A token of a balances answer, with its holders."""
    balances = [{"holderAddress": {"account": account}, "balance": balance} for account, balance in rows]
    return {"tokenAddress": address, "tokenSymbol": symbol, "balances": balances}


def metadata_row(symbol: str, *places: tuple[str, str, int], **members: Any) -> dict[str, Any]:
    """A row of the register of assets."""
    addresses = [{"networkChainId": c, "address": a, "decimals": d} for c, a, d in places]
    tags = {"assetClass": "Equities", "instrumentType": "Stock"}
    return {"symbol": symbol, "ticker": symbol[:-2], "addresses": addresses, "tags": tags, **members}


def price_row(symbol: str, price: object, share: object = "1000") -> dict[str, Any]:
    """A row of the price list."""
    return {
        "primaryMarket": {"symbol": symbol, "price": price},
        "underlyingMarket": {"ticker": symbol[:-2], "price": share},
        "timestamp": 1755888858893,
    }


# Units and digits


async def test_a_balance_is_whole_tokens_and_not_divided_by_the_decimals(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="0.467583800117038432")
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert (held["amount"], held["rawAmount"]) == ("0.467583800117038432", "467583800117038432")


async def test_trailing_zeros_of_a_balance_are_not_shown(graph: Graph) -> None:
    dataset = ondo(graph)
    dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="12.500000000000000000")
    dataset.add_balance(chain="bsc-56", symbol="AAPLon", account=EVM, balance="100.0")
    dataset.add_balance(chain="ethereum-1", symbol="TSLAon", account=EVM, balance="3000")
    listing = await list_holdings(graph)
    assert listing.amounts == {AAPL_ETHEREUM_ID: "12.5", AAPL_BSC_ID: "100", TSLA_ID: "3000"}


async def test_a_solana_balance_of_18_digits_is_scaled_by_the_9_decimals_of_its_mint(graph: Graph) -> None:
    ondo(graph).add_balance(chain="solana-900", symbol="AAPLon", account=SOLANA, balance="1.234567891000000000")
    held = (await list_holdings(graph, SOLANA))[AAPL_SOLANA_ID]
    assert (held["amount"], held["rawAmount"], held["token"]["decimals"]) == ("1.234567891", "1234567891", 9)
    assert held["token"]["kind"] == "SPL_2022"


async def test_a_solana_balance_finer_than_its_mint_keeps_every_digit_and_has_no_raw_amount(graph: Graph) -> None:
    ondo(graph).add_balance(chain="solana-900", symbol="AAPLon", account=SOLANA, balance="0.123456789123456789")
    held = (await list_holdings(graph, SOLANA))[AAPL_SOLANA_ID]
    assert (held["amount"], held["rawAmount"]) == ("0.123456789123456789", None)


async def test_a_whale_and_a_speck_of_dust_keep_every_digit(graph: Graph) -> None:
    dataset = ondo(graph)
    whale = "123456789012345678901234567890.123456789012345678"
    dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance=whale)
    dataset.add_balance(chain="ethereum-1", symbol="TSLAon", account=EVM, balance="0.000000000000000001")
    listing = await list_holdings(graph)
    assert listing[AAPL_ETHEREUM_ID]["amount"] == whale
    assert listing[AAPL_ETHEREUM_ID]["rawAmount"] == whale.replace(".", "")
    assert (listing[TSLA_ID]["amount"], listing[TSLA_ID]["rawAmount"]) == ("0.000000000000000001", "1")


async def test_a_balance_sent_as_a_json_number_is_read_from_its_digits(graph: Graph) -> None:
    ondo(graph)
    body = b"""{"tokens": [{"tokenAddress": "%s", "tokenSymbol": "AAPLon", "balances": [
        {"holderAddress": {"account": "%s"}, "balance": 0.100000000000000005}]}]}""" % (AAPL.encode(), EVM.encode())
    graph.simulators.ondo.inject(Fault(status=200, body=body, path=ON_ETHEREUM))
    assert (await list_holdings(graph)).amounts == {AAPL_ETHEREUM_ID: "0.100000000000000005"}


@pytest.mark.parametrize(
    "balance", ["1e-7", "-1", "NaN", "Infinity", "", "0x10", "1,5", "1_000", " 1", None, True, []]
)
async def test_a_balance_that_is_no_plain_number_is_left_out_and_said_to_be_missing(
    graph: Graph, balance: object
) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, {"tokens": [token(AAPL, "AAPLon", (EVM, balance)), token(TSLA, "TSLAon", (EVM, "2"))]})
    listing = await list_holdings(graph)
    assert listing.amounts == {TSLA_ID: "2"}
    assert listing.statuses == {"eip155:1": ("PARTIAL", "BAD_RESPONSE"), "eip155:56": ("OK", None)}
    assert listing.total["complete"] is False
    assert listing.total["missingSources"] == ["ONDO_GM"]


async def test_a_balance_and_a_price_of_hundreds_of_digits_break_no_other_holding(graph: Graph) -> None:
    ondo(graph)
    absurd = "9" * 390 + "." + "9" * 390
    rows = [token(AAPL, "AAPLon", (EVM, absurd)), token(TSLA, "TSLAon", (EVM, "2"))]
    answer(graph, ON_ETHEREUM, {"tokens": rows})
    answer(graph, PRICES, [price_row("AAPLon", absurd), price_row("TSLAon", "48.5")])
    held = (await list_holdings(graph))[TSLA_ID]
    assert (held["amount"], held["valueUsd"]) == ("2", "97")


# Addresses


async def test_ondo_is_asked_by_its_own_chain_names_its_key_and_the_user_alone(graph: Graph) -> None:
    ondo(graph)
    await list_holdings(graph, "0x1DB995CB2B3D9679383F0E597704A41E1521F4E1")
    await list_holdings(graph, SOLANA)
    asked = graph.simulators.ondo.asked(ONDO_BALANCES)
    assert Counter((request.path, request.query) for request in asked) == Counter(
        {
            ("/v1/chains/ethereum-1/balances", (("userAddress", EVM),)): 1,
            ("/v1/chains/bsc-56/balances", (("userAddress", EVM),)): 1,
            ("/v1/chains/solana-900/balances", (("userAddress", SOLANA),)): 1,
        }
    )
    assert {request.headers["x-api-key"] for request in graph.simulators.ondo.requests} == {"demo-key"}


async def test_addresses_in_mixed_case_in_rows_and_register_are_one_token_and_one_holder(graph: Graph) -> None:
    ondo(graph)
    answer(graph, METADATA, [metadata_row("AAPLon", ("ethereum-1", "0x" + AAPL[2:].upper(), 18))])
    checksummed = "0x1DB995cb2b3D9679383f0e597704a41e1521f4e1"  # no valid EIP-55, which only clients must give
    answer(graph, ON_ETHEREUM, {"tokens": [token(AAPL, "AAPLon", (checksummed, "1.5"))]})
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert (held["accountId"], held["amount"]) == (f"eip155:1:{EVM}", "1.5")
    assert held["token"]["decimals"] == 18
    assert held["valueUsd"] is not None


async def test_a_solana_holder_in_another_case_is_another_holder(graph: Graph) -> None:
    ondo(graph)
    swapped = SOLANA.replace("J", "j", 1)
    answer(graph, "/v1/chains/solana-900/balances", {"tokens": [token(AAPL_MINT, "AAPLon", (swapped, "1"))]})
    assert (await list_holdings(graph, SOLANA)).nodes == {}


async def test_rows_of_other_accounts_are_dropped(graph: Graph) -> None:
    ondo(graph)
    rows = [token(AAPL, "AAPLon", (OTHER, "7"), (EVM, "1")), token(TSLA, "TSLAon", (OTHER, "9"))]
    answer(graph, ON_ETHEREUM, {"tokens": rows})
    listing = await list_holdings(graph)
    assert listing.amounts == {AAPL_ETHEREUM_ID: "1"}
    assert listing.statuses["eip155:1"] == ("OK", None)


@pytest.mark.parametrize("address", ["", "0x1234", "AAPLon", AAPL_MINT, "0x" + "zz" * 20, None])
async def test_a_token_address_that_cannot_be_read_costs_only_its_own_row(graph: Graph, address: Any) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, {"tokens": [token(address, "AAPLon", (EVM, "1")), token(TSLA, "TSLAon", (EVM, "2"))]})
    listing = await list_holdings(graph)
    assert listing.amounts == {TSLA_ID: "2"}
    assert listing.statuses["eip155:1"] == ("PARTIAL", "BAD_RESPONSE")


# Rows


async def test_a_row_that_comes_twice_is_counted_once(graph: Graph) -> None:
    ondo(graph)
    rows = [token(AAPL, "AAPLon", (EVM, "1.5"), (EVM, "1.50")), token(AAPL.lower(), "AAPLon", (EVM, "1.500"))]
    answer(graph, ON_ETHEREUM, {"tokens": rows})
    listing = await list_holdings(graph)
    assert listing.amounts == {AAPL_ETHEREUM_ID: "1.5"}
    assert len(listing[AAPL_ETHEREUM_ID]["observations"]) == 1
    assert listing.statuses["eip155:1"] == ("OK", None)


async def test_two_unlike_rows_of_one_token_are_not_added_and_make_the_chain_partial(graph: Graph) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, {"tokens": [token(AAPL, "AAPLon", (EVM, "1.5"), (EVM, "2"))]})
    listing = await list_holdings(graph)
    assert listing.amounts == {AAPL_ETHEREUM_ID: "1.5"}
    assert listing.statuses["eip155:1"] == ("PARTIAL", "BAD_RESPONSE")


async def test_the_same_symbol_on_two_chains_is_two_holdings_of_one_group(graph: Graph) -> None:
    dataset = ondo(graph)
    dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="1")
    dataset.add_balance(chain="bsc-56", symbol="AAPLon", account=EVM, balance="2")
    listing = await list_holdings(graph)
    assert listing.amounts == {AAPL_ETHEREUM_ID: "1", AAPL_BSC_ID: "2"}
    assert {node["token"]["group"]["groupId"] for node in listing.nodes.values()} == {"ondo:AAPLon"}


@pytest.mark.parametrize("style", ["no-tokens", "empty-balances", "zero-rows"])
@pytest.mark.parametrize("address", [EVM, SOLANA])
async def test_every_way_of_saying_nothing_is_an_empty_wallet_worth_0(
    graph: Graph, style: EmptyStyle, address: str
) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=OTHER, balance="1")
    graph.simulators.ondo.empty_style = style
    listing = await list_holdings(graph, address)
    assert listing.nodes == {}
    assert set(listing.statuses.values()) == {("OK", None)}
    assert listing.total == {
        "valueUsd": "0",
        "complete": True,
        "holdingCount": 0,
        "unpricedCount": 0,
        "missingSources": [],
    }


async def test_zero_rows_are_listed_when_asked_for_and_are_worth_0_not_unpriced(graph: Graph) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, {"tokens": [token(AAPL, "AAPLon", (EVM, "0.000000000000000000"))]})
    listing = await list_holdings(graph, includeZero=True)
    held = listing[AAPL_ETHEREUM_ID]
    assert (held["amount"], held["rawAmount"], held["valueUsd"], held["valueStatus"]) == ("0", "0", "0", "REPORTED")
    assert (listing.total["unpricedCount"], listing.total["complete"]) == (0, True)


async def test_members_that_no_document_names_are_ignored(graph: Graph) -> None:
    ondo(graph)
    row = token(AAPL, "AAPLon", (EVM, "1"))
    row["balances"][0] |= {"balanceUsd": 1.0, "shares": {"of": []}}
    answer(graph, ON_ETHEREUM, {"tokens": [{**row, "constituentTokens": None}], "next": "/v2", "tokenCount": 1})
    listing = await list_holdings(graph)
    assert listing.amounts == {AAPL_ETHEREUM_ID: "1"}
    assert listing.statuses["eip155:1"] == ("OK", None)


@pytest.mark.parametrize("stray", ["...", None, 5, [], {"tokenAddress": AAPL}, {"tokens": []}])
async def test_an_element_that_is_no_token_is_passed_over(graph: Graph, stray: object) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, {"tokens": [token(TSLA, "TSLAon", (EVM, "2")), stray]})
    listing = await list_holdings(graph)
    assert listing.amounts == {TSLA_ID: "2"}
    assert listing.statuses["eip155:1"] == ("PARTIAL", "BAD_RESPONSE")


@pytest.mark.parametrize(
    "row",
    [
        {"account": EVM, "balance": "1"},
        {"holderAddress": EVM, "balance": "1"},
        {"holderAddress": {"address": EVM}, "balance": "1"},
        {"holder_address": {"account": EVM}, "balance": "1"},
        {"holderAddress": {"account": EVM}, "amount": "1"},
        {"holderAddress": {"account": None}, "balance": "1"},
    ],
)
async def test_a_row_under_other_keys_than_the_contract_names_is_never_taken_for_an_empty_wallet(
    graph: Graph, row: Mapping[str, Any]
) -> None:
    ondo(graph)
    tokens = [{"tokenAddress": AAPL, "tokenSymbol": "AAPLon", "balances": [row]}]
    answer(graph, ON_ETHEREUM, {"tokens": tokens})
    listing = await list_holdings(graph)
    assert listing.nodes == {}
    assert listing.statuses["eip155:1"] == ("PARTIAL", "BAD_RESPONSE")
    assert listing.total["valueUsd"] is None


@pytest.mark.parametrize("body", [[], {}, {"tokens": None}, {"tokens": {}}, {"balances": []}, "tokens", None, 0])
async def test_a_body_without_tokens_is_a_failure_and_not_an_empty_wallet(graph: Graph, body: object) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, body)
    listing = await list_holdings(graph)
    assert listing.statuses["eip155:1"] == ("FAILED", "BAD_RESPONSE")
    assert (listing.total["valueUsd"], listing.total["complete"]) == (None, False)


# Whole chains and whole tokens


async def test_the_snapshot_of_a_chain_gives_each_holder_what_asking_for_him_gives() -> None:
    addresses = [f"0x{number:040x}" for number in range(1, 13)]
    query = """query ($a: [AccountAddress!]!) {
      wallets(addresses: $a) { holdings { nodes { accountId amount rawAmount valueUsd token { assetId } } } }
    }"""
    answers = []
    for threshold in (12, 0):
        simulators = Simulators.empty()
        async with open_graph(simulators, ondo_snapshot_threshold=threshold) as graph:
            dataset = ondo(graph)
            for number, address in enumerate(addresses[:-1], start=1):
                for chain in ("ethereum-1", "bsc-56"):
                    balance = f"{number}.500000000000000000"
                    dataset.add_balance(chain=chain, symbol="AAPLon", account=address, balance=balance)
            dataset.add_balance(chain="ethereum-1", symbol="TSLAon", account=STRANGER, balance="1000")
            answers.append(await graph.ask(query, a=addresses))
            asked = simulators.ondo.asked(ONDO_BALANCES)
            assert [request.query for request in asked if not request.query] == [()] * (2 if threshold else 0)
            assert len(asked) == (2 if threshold else 24)
    assert answers[0] == answers[1]
    wallets = answers[0]["wallets"]
    assert [[node["amount"] for node in wallet["holdings"]["nodes"]] for wallet in wallets] == [
        *[[f"{number}.5"] * 2 for number in range(1, 12)],
        [],
    ]


async def test_the_snapshot_of_a_chain_finds_holders_in_any_case() -> None:
    async with open_graph(Simulators.empty(), ondo_snapshot_threshold=1) as graph:
        ondo(graph)
        rows = [(OTHER.upper().replace("0X", "0x"), "7"), (EVM.upper().replace("0X", "0x"), "1.5")]
        answer(graph, ON_ETHEREUM, {"tokens": [token(AAPL, "AAPLon", *rows)]})
        assert (await list_holdings(graph)).amounts == {AAPL_ETHEREUM_ID: "1.5"}
        (request,) = graph.simulators.ondo.asked(ON_ETHEREUM)
        assert request.query == ()


async def test_one_named_token_is_asked_for_by_address_and_other_rows_are_dropped(graph: Graph) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, {"tokens": [token(AAPL, "AAPLon", (EVM, "1")), token(TSLA, "TSLAon", (EVM, "2"))]})
    listing = await list_holdings(graph, assetIds=[f"eip155:1/erc20:{AAPL}"])
    assert listing.amounts == {AAPL_ETHEREUM_ID: "1"}
    (request,) = graph.simulators.ondo.asked(ONDO_BALANCES)
    assert dict(request.query) == {"userAddress": EVM, "tokenAddress": AAPL.lower()}


async def test_the_holders_of_a_token_are_those_of_the_token_alone_in_one_request(graph: Graph) -> None:
    ondo(graph)
    rows = [(EVM.upper().replace("0X", "0x"), "1.500"), (OTHER, "20"), (STRANGER, "0")]
    answer(graph, ON_ETHEREUM, {"tokens": [token(TSLA, "TSLAon", (EVM, "99")), token(AAPL, "AAPLon", *rows)]})
    query = """query ($x: AssetId!) { token(assetId: $x) {
      holders { nodes { accountId amount rawAmount } }
    } }"""
    data = await graph.ask(query, x=AAPL_ETHEREUM_ID)
    assert data["token"]["holders"]["nodes"] == [
        {"accountId": f"eip155:1:{OTHER}", "amount": "20", "rawAmount": "20000000000000000000"},
        {"accountId": f"eip155:1:{EVM}", "amount": "1.5", "rawAmount": "1500000000000000000"},
    ]
    (request,) = graph.simulators.ondo.asked(ONDO_BALANCES)
    assert request.query == (("tokenAddress", AAPL.lower()),)


# The register


async def test_the_register_and_prices_are_read_as_whole_lists_and_never_by_symbol(graph: Graph) -> None:
    dataset = ondo(graph)
    for chain in ("ethereum-1", "bsc-56"):
        dataset.add_balance(chain=chain, symbol="AAPLon", account=EVM, balance="1")
    dataset.add_balance(chain="ethereum-1", symbol="TSLAon", account=EVM, balance="1")
    await list_holdings(graph)
    others = Counter(request.path for request in graph.simulators.ondo.requests if "/chains/" not in request.path)
    assert others == Counter({METADATA: 1, PRICES: 1, f"{PRICES}/enhanced": 1, MARKETS: 1})


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"coinmarketcapId": "38037", "coingeckoId": "apple-ondo-tokenized-stock"},
        {"coinmarketCapId": "38037"},
        {"coinmarketCapId": None, "coingeckoId": None},
        {"tags": {}},
        {"tags": {"assetClass": None, "sector": ["Technology"]}},
    ],
)
async def test_optional_members_of_the_register_may_be_spelled_any_way_or_be_absent(
    graph: Graph, members: Mapping[str, Any]
) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="1")
    answer(graph, METADATA, [metadata_row("AAPLon", ("ethereum-1", AAPL, 18), **members)])
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert (held["token"]["symbol"], held["token"]["decimals"], held["token"]["stock"]["ticker"]) == (
        "AAPLon",
        18,
        "AAPL",
    )


@pytest.mark.parametrize("chain", ["mantle-5000", "solana-901", "eip155:1", "ETHEREUM-1", ""])
async def test_a_chain_that_is_not_known_here_is_left_out_of_the_register(graph: Graph, chain: str) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="1")
    answer(graph, METADATA, [metadata_row("AAPLon", (chain, STRANGER, 6), ("ethereum-1", AAPL, 18))])
    query = """query ($x: AssetId!) {
      token(assetId: $x) { decimals group { members { assetId } } }
    }"""
    data = await graph.ask(query, x=AAPL_ETHEREUM_ID)
    assert data["token"] == {"decimals": 18, "group": {"members": [{"assetId": AAPL_ETHEREUM_ID}]}}
    assert (await list_holdings(graph)).amounts == {AAPL_ETHEREUM_ID: "1"}


async def test_an_asset_without_addresses_or_on_evm_alone_harms_no_other(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="TSLAon", account=EVM, balance="1")
    homeless = {"symbol": "NEWon", "ticker": "NEW", "tags": {}}
    answer(graph, METADATA, [homeless, metadata_row("TSLAon", ("ethereum-1", TSLA, 18))])
    listing = await list_holdings(graph)
    assert listing[TSLA_ID]["token"]["decimals"] == 18
    assert listing[TSLA_ID]["valueUsd"] == "48.5"


async def test_one_unreadable_address_of_an_asset_costs_its_other_chains_nothing(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="1")
    places = [{"networkChainId": "mantle-5000", "address": STRANGER}, {"networkChainId": "bsc-56", "address": "0x1"}]
    row = metadata_row("AAPLon", ("ethereum-1", AAPL, 18))
    answer(graph, METADATA, [{**row, "addresses": places + row["addresses"]}])
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert (held["token"]["decimals"], held["valueUsd"]) == (18, "171.383708297189751178")


async def test_an_asset_that_cannot_be_read_from_the_register_is_still_found_by_its_id(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="1")
    unreadable = {**metadata_row("AAPLon", ("ethereum-1", AAPL, 18)), "ticker": None}
    answer(graph, METADATA, [unreadable, metadata_row("TSLAon", ("ethereum-1", TSLA, 18))])
    assert (await list_holdings(graph)).amounts == {AAPL_ETHEREUM_ID: "1"}
    assert (await list_holdings(graph, assetIds=[AAPL_ETHEREUM_ID])).amounts == {AAPL_ETHEREUM_ID: "1"}


async def test_a_token_outside_the_register_is_not_priced_by_the_symbol_it_carries(graph: Graph) -> None:
    dataset = ondo(graph)
    dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="1")
    rows = [token(STRANGER, "AAPLon", (EVM, "1000000")), token(AAPL, "AAPLon", (EVM, "1"))]
    answer(graph, ON_ETHEREUM, {"tokens": rows})
    listing = await list_holdings(graph)
    stranger = listing[STRANGER_ID]
    assert (stranger["amount"], stranger["rawAmount"], stranger["valueUsd"]) == ("1000000", None, None)
    assert (stranger["token"]["price"], stranger["token"]["stock"]) == (None, None)
    assert listing.total["valueUsd"] == "171.383708297189751178"
    assert (listing.total["unpricedCount"], listing.total["complete"]) == (1, False)


async def test_a_token_outside_the_register_is_in_no_group_of_the_register(graph: Graph) -> None:
    ondo(graph)
    rows = [token(STRANGER, "AAPLon", (EVM, "1000000")), token(AAPL, "AAPLon", (EVM, "1"))]
    answer(graph, ON_ETHEREUM, {"tokens": rows})
    query = """query ($a: AccountAddress!) { wallet(address: $a) {
      byAssetGroup { group { groupId } amount holdings { token { assetId } } }
    } }"""
    (group,) = (await graph.ask(query, a=EVM))["wallet"]["byAssetGroup"]
    assert group == {
        "group": {"groupId": "ondo:AAPLon"},
        "amount": "1",
        "holdings": [{"token": {"assetId": AAPL_ETHEREUM_ID}}],
    }


async def test_the_symbol_of_the_register_wins_over_that_of_a_row(graph: Graph) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, {"tokens": [token(AAPL, "TSLAon", (EVM, "2"))]})
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert (held["token"]["symbol"], held["token"]["group"]["groupId"]) == ("AAPLon", "ondo:AAPLon")
    assert held["valueUsd"] == "342.767416594379502356"


async def test_a_symbol_from_upstream_shows_no_control_or_direction_characters(graph: Graph) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, {"tokens": [token(STRANGER, "\u202eno\x00LPAA\u2066\ud800" + "x" * 100, (EVM, "2"))]})
    held = (await list_holdings(graph))[STRANGER_ID]
    assert held["token"]["symbol"] == "noLPAA" + "x" * 58


async def test_what_a_row_calls_its_stock_shows_no_control_or_direction_characters(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="1")
    tags = {"assetClass": "Equi\u202eties", "instrumentType": "St\x1bock\ud800"}
    row = metadata_row("AAPLon", ("ethereum-1", AAPL, 18), ticker="AA\u2067PL\x00", tags=tags)
    answer(graph, METADATA, [row])
    stock = (await list_holdings(graph))[AAPL_ETHEREUM_ID]["token"]["stock"]
    assert (stock["ticker"], stock["assetClass"], stock["instrumentType"]) == ("AAPL", "Equities", "Stock")


# Prices


async def test_a_holding_is_valued_by_the_token_price_and_never_by_the_share_price_or_the_multiplier(
    graph: Graph,
) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert held["valueUsd"] == "342.767416594379502356"
    assert (held["valueStatus"], held["valueSource"]) == ("DERIVED", "ONDO_GM")
    assert held["token"]["price"]["usd"] == "171.383708297189751178"
    assert held["token"]["stock"]["underlyingPriceUsd"] == "228.330909"
    assert held["token"]["stock"]["sharesPerToken"] == "0.75"


async def test_a_value_is_rounded_half_even_at_the_18th_place(graph: Graph) -> None:
    dataset = ondo(graph)
    dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="0.000000000000000001")
    dataset.add_balance(chain="ethereum-1", symbol="TSLAon", account=EVM, balance="0.000000000000000001")
    answer(graph, PRICES, [price_row("AAPLon", "2.5"), price_row("TSLAon", "3.5")])
    listing = await list_holdings(graph)
    assert listing[AAPL_ETHEREUM_ID]["valueUsd"] == "0.000000000000000002"
    assert listing[TSLA_ID]["valueUsd"] == "0.000000000000000004"


@pytest.mark.parametrize("prices", [[], [price_row("AAPLon", "0")], [price_row("AAPLon", "0.000")]])
async def test_a_token_without_a_price_or_with_a_price_of_0_is_unpriced_and_not_worth_0(
    graph: Graph, prices: Sequence[object]
) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    entity = OneBalanceEntity("eip155:1/slip44:60", 18, "Ether", "ETH")
    graph.simulators.onebalance.dataset.add_asset(OneBalanceAsset("ob:eth", "ETH", "Ether", 18, [entity]))
    answer(graph, PRICES, prices)
    listing = await list_holdings(graph, sources=None)
    held = listing[AAPL_ETHEREUM_ID]
    assert (held["amount"], held["valueUsd"], held["valueStatus"]) == ("2", None, "UNPRICED")
    assert held["token"]["price"] is None
    assert (listing.total["valueUsd"], listing.total["complete"]) == (None, False)
    assert listing.total["unpricedCount"] == 1


async def test_without_ondo_s_price_a_holding_takes_the_value_of_onebalance(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    dataset = graph.simulators.onebalance.dataset
    entity = OneBalanceEntity(AAPL_ETHEREUM_ID, 18, "Apple", "AAPLon")
    dataset.add_asset(OneBalanceAsset("ob:single", "AAPLon", "Apple", 18, [entity]))
    dataset.add_balance(account=EVM, asset_type=AAPL_ETHEREUM_ID, balance=2 * 10**18, fiat_value="342.5")
    answer(graph, PRICES, [])
    held = (await list_holdings(graph, sources=None))[AAPL_ETHEREUM_ID]
    assert (held["valueUsd"], held["valueStatus"], held["valueSource"]) == ("342.5", "REPORTED", "ONEBALANCE")


@pytest.mark.parametrize("price", [None, "", "n/a", "-1", "1e3", {}])
async def test_a_price_that_cannot_be_read_is_no_price_and_costs_the_other_tokens_nothing(
    graph: Graph, price: object
) -> None:
    dataset = ondo(graph)
    for symbol in ("AAPLon", "TSLAon"):
        dataset.add_balance(chain="ethereum-1", symbol=symbol, account=EVM, balance="2")
    answer(graph, PRICES, [price_row("AAPLon", price), price_row("TSLAon", "48.5")])
    listing = await list_holdings(graph)
    held = listing[AAPL_ETHEREUM_ID]
    assert (held["amount"], held["valueUsd"], held["token"]["price"]) == ("2", None, None)
    assert listing[TSLA_ID]["valueUsd"] == "97"
    assert (listing.total["valueUsd"], listing.total["complete"]) == ("97", False)


async def test_a_price_list_that_fails_leaves_amounts_and_says_the_values_are_unavailable(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    answer(graph, PRICES, {"code": "INTERNAL_ERROR", "message": "internal error"}, status=500)
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert (held["amount"], held["valueUsd"], held["valueStatus"]) == ("2", None, "UNAVAILABLE")


@pytest.mark.parametrize("underlying", [None, {}, {"ticker": "AAPL"}, {"ticker": "AAPL", "price": None}])
async def test_a_price_row_without_a_share_price_still_prices_the_token(graph: Graph, underlying: object) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    answer(graph, PRICES, [{**price_row("AAPLon", "10"), "underlyingMarket": underlying}])
    answer(graph, MARKETS, [])
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert held["valueUsd"] == "20"
    assert held["token"]["stock"]["underlyingPriceUsd"] is None


async def test_the_time_of_a_price_is_read_in_milliseconds(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    answer(graph, PRICES, [price_row("AAPLon", "10")])
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert held["token"]["price"]["asOf"] == "2025-08-22T18:54:18.893000Z"


@pytest.mark.parametrize("timestamp", [None, "2025-08-22T18:54:18Z", 10**30, -(10**30), {}])
async def test_a_time_that_no_calendar_holds_costs_a_price_only_its_time(graph: Graph, timestamp: object) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    answer(graph, PRICES, [{**price_row("AAPLon", "10"), "timestamp": timestamp}])
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert (held["valueUsd"], held["token"]["price"]["asOf"]) == ("20", None)


async def test_changes_over_a_day_may_be_negative_and_keep_every_digit(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    row = {
        "symbol": "AAPLon",
        "price": "10",
        "priceChange24h": "-26.80883000",
        "priceChangePct24h": "-3.215043587628116264",
        "timestamp": 1769190970623,
    }
    answer(graph, f"{PRICES}/enhanced", [row])
    price = (await list_holdings(graph))[AAPL_ETHEREUM_ID]["token"]["price"]
    assert (price["change24h"], price["changePercent24h"]) == ("-26.80883", "-3.215043587628116264")


async def test_a_basket_without_an_underlying_market_or_sessions_has_no_underlying_name(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    primary = {"symbol": "AAPLon", "price": "10", "sharesMultiplier": "0.481891643381832405"}
    answer(graph, MARKETS, [{"primaryMarket": primary, "underlyingMarket": None, "constituentTokens": ["TSLAon"]}])
    held = (await list_holdings(graph))[AAPL_ETHEREUM_ID]
    assert (held["token"]["stock"]["underlyingName"], held["token"]["stock"]["sharesPerToken"]) == (
        None,
        "0.481891643381832405",
    )
    assert held["valueUsd"] == "342.767416594379502356"


# The same token from other sources


async def test_a_mint_of_ondo_s_seen_by_the_graph_too_is_one_holding_at_ondo_s_price(graph: Graph) -> None:
    ondo(graph).add_balance(chain="solana-900", symbol="AAPLon", account=SOLANA, balance="2.000000000")
    dataset = graph.simulators.thegraph.dataset
    dataset.add_mint(mint=AAPL_MINT, decimals=9, name="Apple", symbol="AAPL", program_id=TOKEN_2022_PROGRAM)
    dataset.add_token_account(
        owner=SOLANA, account=TOKEN_ACCOUNT, mint=AAPL_MINT, amount=2 * 10**9, program_id=TOKEN_2022_PROGRAM
    )
    listing = await list_holdings(graph, SOLANA, sources=None)
    held = listing[AAPL_SOLANA_ID]
    assert (held["amount"], held["valueUsd"], held["agreement"]) == ("2", "342.767416594379502356", "AGREE")
    assert [seen["source"] for seen in held["observations"]] == ["SOLANA_SPL", "ONDO_GM"]
    assert held["token"]["symbol"] == "AAPLon"
    assert listing.total["valueUsd"] == "342.767416594379502356"


async def test_the_register_scales_a_fresh_mint_of_ondo_s_that_the_graph_knows_nothing_of(graph: Graph) -> None:
    ondo(graph)
    graph.simulators.thegraph.dataset.add_token_account(
        owner=SOLANA, account=TOKEN_ACCOUNT, mint=AAPL_MINT, amount=1_500_000_000, program_id=TOKEN_2022_PROGRAM
    )
    held = (await list_holdings(graph, SOLANA, sources=None))[AAPL_SOLANA_ID]
    assert (held["amount"], held["rawAmount"], held["token"]["decimals"]) == ("1.5", "1500000000", 9)
    assert held["valueUsd"] == "257.075562445784626767"


async def test_a_balance_of_ondo_s_scaled_to_shares_is_a_disagreement_and_the_chain_s_own_amount_is_shown(
    graph: Graph,
) -> None:
    ondo(graph).add_balance(chain="solana-900", symbol="AAPLon", account=SOLANA, balance="1.5")
    dataset = graph.simulators.thegraph.dataset
    dataset.add_mint(mint=AAPL_MINT, decimals=9, program_id=TOKEN_2022_PROGRAM)
    dataset.add_token_account(
        owner=SOLANA, account=TOKEN_ACCOUNT, mint=AAPL_MINT, amount=2 * 10**9, program_id=TOKEN_2022_PROGRAM
    )
    held = (await list_holdings(graph, SOLANA, sources=None))[AAPL_SOLANA_ID]
    assert (held["amount"], held["amountSource"], held["agreement"]) == ("2", "SOLANA_SPL", "DIFFER")
    assert [seen["amount"] for seen in held["observations"]] == ["2", "1.5"]


async def test_a_token_of_ondo_s_asked_of_onebalance_by_its_id_is_not_counted_twice(graph: Graph) -> None:
    ondo(graph).add_balance(chain="ethereum-1", symbol="AAPLon", account=EVM, balance="2")
    simulator = graph.simulators.onebalance
    simulator.dataset.add_balance(account=EVM, asset_type=AAPL_ETHEREUM_ID, balance=2 * 10**18, fiat_value="343")
    listing = await list_holdings(graph, sources=None, assetIds=[AAPL_ETHEREUM_ID])
    held = listing[AAPL_ETHEREUM_ID]
    assert (held["amount"], held["valueUsd"], held["agreement"]) == ("2", "342.767416594379502356", "AGREE")
    assert [seen["source"] for seen in held["observations"]] == ["ONDO_GM", "ONEBALANCE"]
    assert listing.total["valueUsd"] == "342.767416594379502356"
    (request,) = simulator.asked(ONEBALANCE_BALANCES)
    assert request.param("assetId") == AAPL_ETHEREUM_ID


# Failures


async def test_a_paused_chain_costs_the_other_chain_nothing(graph: Graph) -> None:
    dataset = ondo(graph)
    for chain in ("ethereum-1", "bsc-56"):
        dataset.add_balance(chain=chain, symbol="AAPLon", account=EVM, balance="1")
    graph.simulators.ondo.paused_chains = {"bsc-56"}
    listing = await list_holdings(graph)
    assert listing.amounts == {AAPL_ETHEREUM_ID: "1"}
    assert listing.statuses == {"eip155:1": ("OK", None), "eip155:56": ("FAILED", "UPSTREAM_REJECTED_INPUT")}
    assert listing.total["complete"] is False


@pytest.mark.parametrize("answers_403", [True, False])
async def test_a_key_refused_by_the_gateway_without_a_code_or_by_the_api_is_unauthorized(
    graph: Graph, answers_403: bool
) -> None:
    ondo(graph)
    graph.simulators.ondo.key = "another"
    graph.simulators.ondo.wrong_key_answers_403 = answers_403
    listing = await list_holdings(graph)
    assert set(listing.statuses.values()) == {("FAILED", "UNAUTHORIZED")}
    assert (listing.total["valueUsd"], listing.total["missingSources"]) == (None, ["ONDO_GM"])


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"code": "INVALID_SYMBOL", "message": "invalid input"}, "UPSTREAM_REJECTED_INPUT"),
        (400, {"code": "UNSUPPORTED_GM_CHAIN", "message": "unsupported"}, "UPSTREAM_REJECTED_INPUT"),
        (403, {"code": "READ_ONLY_API_KEY", "message": "read only"}, "FORBIDDEN"),
        (403, {"message": "Forbidden"}, "UNAUTHORIZED"),
        (429, {"code": "RATE_LIMITED", "message": "rate limit exceeded"}, "RATE_LIMITED"),
        (500, {"code": "INTERNAL_ERROR", "message": "internal error"}, "UPSTREAM_ERROR"),
    ],
)
async def test_an_error_with_or_without_documentation_says_what_it_is_and_not_when_to_come_back(
    graph: Graph, status: int, body: object, expected: str
) -> None:
    ondo(graph)
    answer(graph, ON_ETHEREUM, body, status=status)
    report = (await list_holdings(graph)).reports["eip155:1"]
    assert (report["status"], report["code"], report["retryAfterSeconds"]) == ("FAILED", expected, None)
