"""What OneBalance sends, and what the graph makes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from tests.graph import ONEBALANCE_BALANCES, Graph
from tests.upstreams.onebalance import (
    ASSETS,
    CELO,
    CELO_CONTRACT,
    ETH_BASE,
    EVM,
    MINT,
    OTHER_EVM,
    OTHER_SOLANA,
    POL,
    POL_CONTRACT,
    SOLANA,
    STETH,
    TOKEN_ACCOUNT,
    UNKNOWN_TOTAL,
    USDC_ARBITRUM,
    USDC_BASE,
    USDC_SEI,
    USDC_SOLANA,
    aggregate,
    answer,
    body_of,
    list_holdings,
    part,
    register,
    usdc_entity,
)

# Identifiers


async def test_asset_types_in_mixed_case_are_the_assets_of_the_register(graph: Graph) -> None:
    digits = USDC_BASE.partition("0x")[2]
    register(graph, OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 6, [usdc_entity(f"eip155:8453/erc20:0X{digits}")]))
    spelled = USDC_BASE[:20] + USDC_BASE[20:].upper()
    answer(graph, body_of(aggregate("ob:usdc", part(spelled, "5000000", 5))))
    held = (await list_holdings(graph))[USDC_BASE]
    assert (held["amount"], held["token"]["decimals"], held["token"]["group"]["groupId"]) == ("5", 6, "ob:usdc")
    assert held["observations"][0]["reportedAsset"] == spelled


async def test_a_mint_in_another_case_is_another_asset(graph: Graph) -> None:
    register(graph)
    swapped = USDC_SOLANA.replace("Dt1v", "dt1v")
    body = body_of(aggregate("ob:usdc", part(swapped, "5000000", 5)), accounts={"solana": SOLANA})
    answer(graph, body)
    listing = await list_holdings(graph, SOLANA)
    assert list(listing.nodes) == [swapped]
    assert listing[swapped]["token"]["trust"] == "UNLISTED"


@pytest.mark.parametrize(
    ("native", "contract", "symbol"), [(POL, POL_CONTRACT, "POL"), (CELO, CELO_CONTRACT, "CELO")]
)
async def test_a_contract_that_is_the_native_coin_is_the_native_coin_once(
    graph: Graph, native: str, contract: str, symbol: str
) -> None:
    entity = OneBalanceEntity(contract, 18, symbol, symbol)
    register(graph, OneBalanceAsset("ob:coin", symbol, symbol, 18, [entity]))
    answer(graph, body_of(aggregate("ob:coin", part(contract, str(10**18), 2), part(native, str(10**18), 2))))
    listing = await list_holdings(graph)
    assert listing.amounts == {native: "1"}
    held = listing[native]
    assert (held["valueUsd"], held["token"]["kind"], held["token"]["decimals"]) == ("2", "NATIVE", 18)
    assert held["observations"][0]["reportedAsset"] == contract
    named = await graph.ask(
        "query ($a: AccountAddress!, $x: AssetId!) { wallet(address: $a) { holding(assetId: $x) { amount } } }",
        a=EVM,
        x=contract,
    )
    assert named == {"wallet": {"holding": {"amount": "1"}}}


@pytest.mark.parametrize(
    ("asset_type", "name"), [(USDC_SEI, "Sei"), (USDC_SEI.replace("1329", "424242"), "eip155:424242")]
)
async def test_chains_outside_the_published_table_are_listed_all_the_same(
    graph: Graph, asset_type: str, name: str
) -> None:
    dataset = register(graph, OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 6, [usdc_entity(asset_type)]))
    dataset.add_balance(account=EVM, asset_type=asset_type, balance=10**6, fiat_value="1")
    held = (await list_holdings(graph))[asset_type]
    assert (held["amount"], held["chain"]["name"]) == ("1", name)


@pytest.mark.parametrize(
    "asset_type", ["", "USDC", "eip155:8453", "eip155:8453/erc20:0x12", None, 5, f"{USDC_BASE}/1"]
)
async def test_an_asset_type_that_cannot_be_read_costs_only_its_own_row(graph: Graph, asset_type: Any) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", part(asset_type, "9", 9), part(USDC_BASE, "5000000", 5))))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_the_chains_are_read_by_namespace_and_reference_and_not_by_display_name(graph: Graph) -> None:
    rows = [
        {"chain": {"chain": "Arbitrum One", "namespace": "eip155", "reference": "42161"}, "isTestnet": False},
        {"chain": {"chain": "eip155:8453", "namespace": "eip155", "reference": "8453"}},
        {"chain": {"chain": "no reference"}},
    ]
    answer(graph, rows, path="*/chains/supported-list")
    data = await graph.ask("{ chains { chainId sources } }")
    covered = [chain["chainId"] for chain in data["chains"] if "ONEBALANCE" in chain["sources"]]
    assert covered == ["eip155:8453", "eip155:42161"]


# Assets by their own id


async def test_an_asset_outside_the_register_is_asked_for_by_its_id_and_found_in_the_specific_rows(
    graph: Graph,
) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=STETH, balance=123, fiat_value="2.5")
    listing = await list_holdings(graph, assetIds=[STETH.replace("ae7a", "AE7A")])
    held = listing[STETH]
    assert (held["amount"], held["rawAmount"], held["valueUsd"]) == (None, "123", "2.5")
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert (request.param("assetId"), request.param("aggregatedAssetId")) == (STETH, None)


async def test_a_specific_asset_echoed_in_the_case_of_anyone_is_the_asset_asked_for(graph: Graph) -> None:
    register(graph)
    echoed = STETH[:20] + STETH[20:].upper()
    answer(graph, body_of(specific=[part(echoed, "123", 2.5)]))
    assert list((await list_holdings(graph, assetIds=[STETH])).nodes) == [STETH]


async def test_named_assets_in_and_outside_the_register_share_one_request(graph: Graph) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=STETH, balance=123, fiat_value="2.5")
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph, assetIds=[STETH, USDC_BASE])
    assert set(listing.nodes) == {STETH, USDC_BASE}
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert (request.param("assetId"), request.param("aggregatedAssetId")) == (STETH, "ob:usdc")


async def test_a_value_of_0_beside_a_balance_is_unpriced_and_not_worth_0(graph: Graph) -> None:
    dataset = register(graph)
    graph.simulators.onebalance.price_specific_assets = False
    dataset.add_balance(account=EVM, asset_type=STETH, balance=10**18, fiat_value="2500")
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph, assetIds=[STETH, USDC_BASE])
    held = listing[STETH]
    assert (held["valueUsd"], held["valueStatus"], held["valueSource"]) == (None, "UNPRICED", None)
    assert held["observations"][0]["reportedValueUsd"] == "0"
    assert (listing.total["valueUsd"], listing.total["complete"], listing.total["unpricedCount"]) == ("1", False, 1)


@pytest.mark.parametrize("value", [0, 0.0, -0.0, "0", "0.000"])
async def test_every_way_of_writing_a_value_of_0_is_no_price(graph: Graph, value: object) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", value))))
    listing = await list_holdings(graph)
    held = listing[USDC_BASE]
    assert (held["valueUsd"], held["valueStatus"]) == (None, "UNPRICED")
    assert held["observations"][0]["reportedValueUsd"] == "0"
    assert (listing.total["valueUsd"], listing.total["complete"]) == (None, False)


async def test_the_total_of_the_answer_is_never_read(graph: Graph) -> None:
    register(graph)
    body = body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", 5)), totalBalance={"fiatValue": 29955.284002})
    answer(graph, body)
    assert (await list_holdings(graph)).total["valueUsd"] == "5"


# Beside the chain's own word


@pytest.mark.parametrize(
    ("on_chain", "expected"),
    [
        (5_000_000, ("5", "5.01", "REPORTED", "AGREE")),
        (10_000_000, ("10", "10.02", "DERIVED", "DIFFER")),
        (1, ("0.000001", "0.000001002", "DERIVED", "DIFFER")),
    ],
)
async def test_a_value_is_for_the_amount_it_was_given_for(
    graph: Graph, on_chain: int, expected: tuple[str, ...]
) -> None:
    dataset = register(graph)
    dataset.add_balance(account=SOLANA, asset_type=USDC_SOLANA, balance=5_000_000, fiat_value="5.01")
    spl = graph.simulators.thegraph.dataset
    spl.add_mint(mint=MINT, decimals=6, name="USD Coin", symbol="USDC")
    spl.add_token_account(owner=SOLANA, account=TOKEN_ACCOUNT, mint=MINT, amount=on_chain)
    held = (await list_holdings(graph, SOLANA, sources=None))[USDC_SOLANA]
    assert (held["amount"], held["valueUsd"], held["valueStatus"], held["agreement"]) == expected
    assert (held["amountSource"], held["valueSource"]) == ("SOLANA_SPL", "ONEBALANCE")


async def test_a_zero_row_beside_what_the_chain_shows_is_a_disagreement_and_prices_nothing(graph: Graph) -> None:
    register(graph)
    spl = graph.simulators.thegraph.dataset
    spl.add_mint(mint=MINT, decimals=6, name="USD Coin", symbol="USDC")
    spl.add_token_account(owner=SOLANA, account=TOKEN_ACCOUNT, mint=MINT, amount=5_000_000)
    held = (await list_holdings(graph, SOLANA, sources=None))[USDC_SOLANA]
    assert (held["amount"], held["agreement"], held["valueStatus"]) == ("5", "DIFFER", "UNPRICED")
    assert [seen["amount"] for seen in held["observations"]] == ["5", "0"]


# The register


@pytest.mark.parametrize(
    ("logo_url", "shown"),
    [
        ("https://x.io/usdc.png", "https://x.io/usdc.png"),
        ("http://x.io/usdc.png", None),
        ("javascript:alert(1)", None),
        ("https://x.io/" + "u" * 2_048, None),
        (None, None),
    ],
)
async def test_the_register_gives_clean_names_and_an_image_only_where_it_is_safe(
    graph: Graph, logo_url: str | None, shown: str | None
) -> None:
    entity = OneBalanceEntity(USDC_BASE, 6, "US\u202eD \x00Coin" + "n" * 200, "\u200bUSDC" + "c" * 100)
    register(graph, OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 6, [entity], logo_url))
    data = await graph.ask(f'{{ token(assetId: "{USDC_BASE}") {{ name symbol imageUrl trust }} }}')
    assert data["token"] == {
        "name": "USD Coin" + "n" * 120,
        "symbol": "USDC" + "c" * 60,
        "imageUrl": shown,
        "trust": "LISTED",
    }


def asset_row(id: str, *entities: object, **members: object) -> dict[str, Any]:
    """A row of the register."""
    row = {
        "aggregatedAssetId": id,
        "symbol": "USDC",
        "name": "USD Coin",
        "decimals": 6,
        "aggregatedEntities": entities,
    }
    return row | members


@pytest.mark.parametrize("decimals", [None, -1, 256, "six"])
async def test_an_aggregate_of_the_register_that_cannot_be_read_is_said_to_be_missing(
    graph: Graph, decimals: object
) -> None:
    entity = {"assetType": USDC_BASE, "decimals": 6}
    unreadable = asset_row("ob:eth", {"assetType": ETH_BASE, "decimals": 18}, decimals=decimals)
    answer(graph, [asset_row("ob:usdc", entity), unreadable], path=ASSETS)
    register(graph).add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "1"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")
    assert listing.total["complete"] is False


async def test_one_member_of_an_aggregate_that_cannot_be_read_costs_the_others_nothing(graph: Graph) -> None:
    members = [{"assetType": USDC_ARBITRUM, "decimals": None}, {"assetType": USDC_BASE, "decimals": 6}]
    answer(graph, [asset_row("ob:usdc", *members)], path=ASSETS)
    register(graph).add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "1"}


async def test_members_that_no_document_names_are_ignored(graph: Graph) -> None:
    register(graph)
    row = {**part(USDC_BASE, "5000000", 5), "symbol": "USDT", "decimals": 18}
    answer(graph, body_of({**aggregate("ob:usdc", row), "decimals": 2}, id="abc", balanceByAsset=[]))
    listing = await list_holdings(graph)
    assert (listing.amounts, listing.status) == ({USDC_BASE: "5"}, ("OK", None))


# Failures


async def test_a_host_that_is_gone_is_unreachable_and_never_an_empty_wallet(graph: Graph) -> None:
    register(graph)
    graph.simulators.onebalance.gone = True
    listing = await list_holdings(graph, EVM, SOLANA)
    assert listing.status == ("FAILED", "UNREACHABLE")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize("status", [404, 410])
async def test_balances_that_are_gone_while_the_register_is_not_are_no_empty_wallet(
    graph: Graph, status: int
) -> None:
    register(graph)
    answer(graph, b"404 page not found", status=status)
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "UNREACHABLE")
    assert listing.total == UNKNOWN_TOTAL


async def test_a_register_that_fails_is_no_empty_wallet(graph: Graph) -> None:
    register(graph)
    answer(graph, {"error": "Internal", "message": "…", "statusCode": 500}, path=ASSETS, status=500)
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "UPSTREAM_ERROR")
    assert listing.total == UNKNOWN_TOTAL


ERRORS = [
    (400, "UPSTREAM_REJECTED_INPUT"),
    (401, "UNAUTHORIZED"),
    (402, "FORBIDDEN"),
    (403, "FORBIDDEN"),
    (404, "UNREACHABLE"),
    (429, "RATE_LIMITED"),
    (500, "UPSTREAM_ERROR"),
    (502, "UPSTREAM_ERROR"),
    (503, "UPSTREAM_ERROR"),
    (504, "UPSTREAM_ERROR"),
]


@pytest.mark.parametrize(("status", "code"), ERRORS)
async def test_an_error_inside_a_200_is_the_error_it_says(graph: Graph, status: int, code: str) -> None:
    register(graph)
    answer(graph, {"error": "SomeException", "message": "secret", "statusCode": status})
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", code)
    assert listing.total == UNKNOWN_TOTAL


async def test_an_error_inside_the_200_of_the_register_is_the_error_it_says(graph: Graph) -> None:
    answer(graph, {"error": "UnauthorizedException", "message": "secret", "statusCode": 401}, path=ASSETS)
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "UNAUTHORIZED")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize("extra", [{}, {"timestamp": "2026-01-01T00:00:00.000Z", "path": "/api", "id": "abc"}])
async def test_an_error_with_or_without_time_and_path_is_told_by_its_status(
    graph: Graph, extra: Mapping[str, Any]
) -> None:
    register(graph)
    answer(graph, {"error": "Validation failed", "message": "…", "statusCode": 400, **extra}, status=400)
    assert (await list_holdings(graph)).status == ("FAILED", "UPSTREAM_REJECTED_INPUT")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        None,
        "gone",
        {"balanceByAggregatedAsset": []},
        {"balanceBySpecificAsset": []},
        {"balanceByAggregatedAsset": {}, "balanceBySpecificAsset": []},
        {"balanceByAsset": [], "totalBalance": {"fiatValue": 0}},
        {"error": "SomeException"},
    ],
)
async def test_a_body_without_both_lists_is_a_failure_and_not_an_empty_wallet(graph: Graph, body: object) -> None:
    register(graph)
    answer(graph, body)
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "BAD_RESPONSE")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize(
    "stray", [None, "...", 5, {}, {"aggregatedAssetId": "ob:eth", "balance": "1", "fiatValue": 1}]
)
async def test_an_aggregate_that_cannot_be_read_is_said_to_be_missing(graph: Graph, stray: object) -> None:
    register(graph)
    answer(graph, body_of(stray, aggregate("ob:usdc", part(USDC_BASE, "5000000", 5))))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_the_rows_of_an_aggregate_count_even_if_the_aggregate_itself_cannot_be_read(graph: Graph) -> None:
    register(graph)
    answer(graph, body_of({"individualAssetBalances": [part(USDC_BASE, "5000000", 5)]}))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_a_full_minute_of_requests_says_when_one_is_free_again(graph: Graph) -> None:
    register(graph)
    simulator = graph.simulators.onebalance
    simulator.requests_per_minute = 1  # which the register takes
    now = time.time()
    simulator.clock = lambda: now
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "BUDGET_EXHAUSTED")
    assert 58 <= listing.reports[0]["retryAfterSeconds"] <= 61


async def test_no_report_repeats_what_the_upstream_said(graph: Graph) -> None:
    register(graph)
    answer(graph, {"error": "E", "message": "key demo-key of secret-host", "statusCode": 500}, status=500)
    query = "query ($a: AccountAddress!) { wallet(address: $a) { sources { source message } } }"
    messages = json.dumps(await graph.ask(query, a=EVM))
    assert "The source reported a failure of its own." in messages
    assert "demo-key" not in messages
    assert "secret-host" not in messages


async def test_values_of_a_portfolio_add_up_in_any_company(graph: Graph) -> None:
    dataset = register(graph)
    addresses = [EVM, OTHER_EVM, SOLANA, OTHER_SOLANA]
    for number, address in enumerate(addresses, start=1):
        asset_type = USDC_BASE if address.startswith("0x") else USDC_SOLANA
        value = Decimal(number) / 10**7
        dataset.add_balance(account=address, asset_type=asset_type, balance=number, fiat_value=f"{value:f}")
    query = """query ($a: [AccountAddress!]!) {
      portfolio(addresses: $a) { total { valueUsd } }
      wallets(addresses: $a) { total { valueUsd } }
    }"""
    data = await graph.ask(query, a=addresses)
    assert data["portfolio"]["total"]["valueUsd"] == "0.000001"
    assert [wallet["total"]["valueUsd"] for wallet in data["wallets"]] == [
        f"0.000000{number}" for number in range(1, 5)
    ]
