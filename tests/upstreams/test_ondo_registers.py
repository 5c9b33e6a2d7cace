"""What Ondo GM sends, and what the graph makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from loaders.upstream.simulator.thegraph_dataset import TOKEN_2022_PROGRAM
from tests.graph import ONEBALANCE_BALANCES, Graph
from tests.upstreams.ondo import (
    AAPL,
    AAPL_ETHEREUM_ID,
    AAPL_MINT,
    AAPL_SOLANA_ID,
    EVM,
    MARKETS,
    METADATA,
    ON_ETHEREUM,
    PRICES,
    SOLANA,
    STRANGER,
    STRANGER_ID,
    TOKEN_ACCOUNT,
    TSLA,
    TSLA_ID,
    answer,
    list_holdings,
    metadata_row,
    ondo,
    price_row,
    token,
)

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
    report = (await list_holdings(graph)).by_chain["eip155:1"]
    assert (report["status"], report["code"], report["retryAfterSeconds"]) == ("FAILED", expected, None)
