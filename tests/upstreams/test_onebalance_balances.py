"""What OneBalance sends, and what the graph makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from tests.graph import ONEBALANCE_BALANCES, Graph
from tests.upstreams.onebalance import (
    ETH,
    ETH_BASE,
    EVM,
    EVM_CHECKSUMMED,
    NOTHING_HELD,
    OTHER_EVM,
    OTHER_SOLANA,
    SINGLE_SOL,
    SINGLE_STETH,
    SOL,
    SOLANA,
    SOLANA_CHAIN,
    STETH,
    UNKNOWN_TOTAL,
    USDC,
    USDC_ARBITRUM,
    USDC_BASE,
    USDC_BSC,
    USDC_ENTITIES,
    USDC_SOLANA,
    aggregate,
    answer,
    body_of,
    list_groups,
    list_holdings,
    part,
    register,
    usdc_entity,
)

# Units and digits


async def test_usdc_with_18_decimals_on_bnb_chain_is_scaled_by_its_own_decimals(graph: Graph) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=1_500_000, fiat_value="1.5")
    dataset.add_balance(account=EVM, asset_type=USDC_BSC, balance=2_250_000_000_000_000_001, fiat_value="2.25")
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "1.5", USDC_BSC: "2.250000000000000001"}
    assert (listing[USDC_BSC]["rawAmount"], listing[USDC_BSC]["token"]["decimals"]) == ("2250000000000000001", 18)
    group = (await list_groups(graph))["ob:usdc"]
    assert group["amount"] == "3.750000000000000001"
    assert group["reported"] == {"rawAmount": "3750000", "decimals": 6, "valueUsd": "3.75"}


async def test_an_aggregate_of_18_decimals_over_members_of_6_scales_no_member(graph: Graph) -> None:
    entities = [usdc_entity(USDC_BASE), usdc_entity(USDC_ARBITRUM)]
    dataset = register(graph, OneBalanceAsset("ob:usdc", "USDC", "USD Coin", 18, entities))
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=1_500_000, fiat_value="1.5")
    assert (await list_holdings(graph)).amounts == {USDC_BASE: "1.5"}
    group = (await list_groups(graph))["ob:usdc"]
    assert (group["amount"], group["reported"]) == (
        "1.5",
        {"rawAmount": "1500000000000000000", "decimals": 18, "valueUsd": "1.5"},
    )


async def test_an_amount_of_256_bits_keeps_every_digit(graph: Graph) -> None:
    largest = 2**256 - 1
    dataset = register(graph, ETH, USDC)
    dataset.add_balance(account=EVM, asset_type=ETH_BASE, balance=largest, fiat_value="1e60")
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=largest, fiat_value="1")
    listing = await list_holdings(graph)
    assert listing[ETH_BASE]["rawAmount"] == listing[USDC_BASE]["rawAmount"] == str(largest)
    assert listing[ETH_BASE]["amount"] == f"{largest // 10**18}.{largest % 10**18}"
    assert listing[USDC_BASE]["amount"] == f"{largest // 10**6}.{largest % 10**6}"
    assert listing.total["valueUsd"] == "1" + "0" * 59 + "1"


async def test_a_balance_sent_as_a_json_integer_beyond_64_bits_keeps_every_digit(graph: Graph) -> None:
    register(graph, ETH)
    answer(graph, body_of(aggregate("ob:eth", part(ETH_BASE, 26488136306212020002, 1))))
    held = (await list_holdings(graph))[ETH_BASE]
    assert (held["rawAmount"], held["amount"]) == ("26488136306212020002", "26.488136306212020002")


@pytest.mark.parametrize("balance", [b'"1.5"', b'"-1"', b'"1e6"', b"1e6", b"1.0", b'""', b"null", b"true", b'"0x10"'])
async def test_a_balance_that_is_no_integer_is_left_out_and_said_to_be_missing(graph: Graph, balance: bytes) -> None:
    register(graph)
    body = json.dumps(body_of(aggregate("ob:usdc", part(USDC_BASE, "HERE", 9), part(USDC_ARBITRUM, "5", 5))))
    answer(graph, body.encode().replace(b'"HERE"', balance))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_ARBITRUM: "0.000005"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")
    assert listing.total["complete"] is False


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"4.383338999999999", "4.383338999999999"),
        (b"47005.16892", "47005.16892"),
        (b'"12.50"', "12.5"),
        (b"1.05e-4", "0.000105"),
        (b"1E-7", "0.0000001"),
        (b"1.5e+3", "1500"),
        (b"12", "12"),
        (b"0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        (b"123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
    ],
)
async def test_a_value_is_read_from_its_digits_and_never_by_way_of_a_float(
    graph: Graph, sent: bytes, shown: str
) -> None:
    register(graph)
    body = json.dumps(body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", "HERE"))))
    answer(graph, body.encode().replace(b'"HERE"', sent))
    listing = await list_holdings(graph)
    held = listing[USDC_BASE]
    assert (held["valueUsd"], held["valueStatus"], held["valueSource"]) == (shown, "REPORTED", "ONEBALANCE")
    assert held["observations"][0]["reportedValueUsd"] == shown
    assert listing.total["valueUsd"] == shown


async def test_values_are_added_without_the_rounding_noise_of_doubles(graph: Graph) -> None:
    dataset = register(graph)
    for asset_type, value in ((USDC_BASE, "0.1"), (USDC_ARBITRUM, "0.2"), (USDC_BSC, "4.383338999999999")):
        dataset.add_balance(account=EVM, asset_type=asset_type, balance=1, fiat_value=value)
    assert (await list_holdings(graph)).total["valueUsd"] == "4.683338999999999"


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e", b"01", b"+1", b".5"])
async def test_a_value_that_is_not_json_fails_the_answer_and_is_no_empty_wallet(graph: Graph, value: bytes) -> None:
    register(graph)
    body = json.dumps(body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", "HERE"))))
    answer(graph, body.encode().replace(b'"HERE"', value))
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "BAD_RESPONSE")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize("value", [b"1e999999", b"1e-999999", b'"n/a"', b"null", b"true", b"[]", b'""'])
async def test_a_value_that_is_no_number_of_dollars_costs_only_its_own_row(graph: Graph, value: bytes) -> None:
    register(graph)
    body = json.dumps(body_of(aggregate("ob:usdc", part(USDC_BASE, "7", "HERE"), part(USDC_ARBITRUM, "5000000", 5))))
    answer(graph, body.encode().replace(b'"HERE"', value))
    listing = await list_holdings(graph)
    assert listing[USDC_ARBITRUM]["valueUsd"] == "5"
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_an_asset_without_decimals_anywhere_has_a_raw_amount_and_no_guess(graph: Graph) -> None:
    register(graph)
    unlisted = "eip155:8453/erc20:0x" + "12" * 20
    answer(graph, body_of(aggregate("ob:usdc", part(unlisted, "123456789", "2.5"))))
    held = (await list_holdings(graph))[unlisted]
    assert (held["amount"], held["rawAmount"], held["token"]["decimals"]) == (None, "123456789", None)
    assert (held["valueUsd"], held["valueStatus"]) == ("2.5", "REPORTED")


# Accounts


async def test_an_evm_address_is_asked_for_in_one_spelling_with_the_key(graph: Graph) -> None:
    register(graph)
    for spelling in (EVM_CHECKSUMMED, EVM.upper(), f"eip155:42161:{EVM}"):
        await list_holdings(graph, spelling)
    requests = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert {request.query for request in requests} == {
        (("account", f"eip155:1:{EVM}"), ("aggregatedAssetId", "ob:usdc"))
    }
    assert {request.headers["x-api-key"] for request in requests} == {"demo-key"}


async def test_a_solana_address_alone_is_asked_for_by_the_aggregates_that_live_on_solana(graph: Graph) -> None:
    dataset = register(graph, USDC, ETH, SINGLE_SOL)
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=15_000_000, fiat_value="2.51")
    listing = await list_holdings(graph, f"solana:{SOLANA}")
    assert listing.amounts == {SOL: "0.015"}
    assert listing[SOL]["accountId"] == f"{SOLANA_CHAIN}:{SOLANA}"
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert dict(request.query) == {"account": f"solana:{SOLANA}", "aggregatedAssetId": "ob:single,ob:usdc"}


async def test_an_evm_and_solana_pair_is_one_request_whose_rows_go_to_their_own_accounts(graph: Graph) -> None:
    dataset = register(graph, USDC, ETH, SINGLE_SOL)
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=774_598_041, fiat_value="774.563184")
    dataset.add_balance(account=SOLANA, asset_type=USDC_SOLANA, balance=5_000_000, fiat_value="5")
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=15_000_000, fiat_value="2.51")
    listing = await list_holdings(graph, EVM, SOLANA)
    assert {asset_id: node["accountId"] for asset_id, node in listing.nodes.items()} == {
        USDC_BASE: f"eip155:8453:{EVM}",
        USDC_SOLANA: f"{SOLANA_CHAIN}:{SOLANA}",
        SOL: f"{SOLANA_CHAIN}:{SOLANA}",
    }
    assert listing.total["valueUsd"] == "782.073184"
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert request.param("account") == f"eip155:1:{EVM},solana:{SOLANA}"
    group = (await list_groups(graph, EVM, SOLANA))["ob:usdc"]
    assert (group["amount"], group["total"]["valueUsd"]) == ("779.598041", "779.563184")
    assert group["reported"] == {"rawAmount": "779598041", "decimals": 6, "valueUsd": "779.563184"}


async def test_two_accounts_of_one_kind_are_never_in_one_request(graph: Graph) -> None:
    dataset = register(graph)
    for address, asset_type in ((EVM, USDC_BASE), (OTHER_EVM, USDC_BASE), (OTHER_SOLANA, USDC_SOLANA)):
        dataset.add_balance(account=address, asset_type=asset_type, balance=10**6, fiat_value="1")
    addresses = [EVM, OTHER_EVM, SOLANA, OTHER_SOLANA]
    query = "query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { total { valueUsd holdingCount } } }"
    data = await graph.ask(query, a=addresses)
    assert data["portfolio"]["total"] == {"valueUsd": "3", "holdingCount": 3}
    asked = [request.param("account") or "" for request in graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)]
    kinds = [[account.partition(":")[0] for account in accounts.split(",")] for accounts in asked]
    assert kinds == [["eip155", "solana"]] * 2
    assert sorted(account.rpartition(":")[2] for accounts in asked for account in accounts.split(",")) == sorted(
        addresses
    )


@pytest.mark.parametrize(
    ("asked", "accounts"),
    [
        ([EVM], {"evm": OTHER_EVM}),
        ([EVM, SOLANA], {"evm": OTHER_EVM, "solana": SOLANA}),
        ([EVM, SOLANA], {"evm": EVM, "solana": OTHER_SOLANA}),
        ([SOLANA], {"solana": SOLANA.lower()}),
        ([EVM], {"evm": 5}),
    ],
)
async def test_an_answer_about_other_accounts_is_refused(
    graph: Graph, asked: list[str], accounts: Mapping[str, Any]
) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", part(USDC_BASE, "5", 5)), accounts=accounts))
    listing = await list_holdings(graph, *asked)
    assert listing.nodes == {}
    assert listing.status == ("FAILED", "BAD_RESPONSE")
    assert listing.total == UNKNOWN_TOTAL


@pytest.mark.parametrize("accounts", [{"evm": EVM_CHECKSUMMED}, {"evm": EVM, "solana": SOLANA}, {}, {"evm": None}])
async def test_accounts_in_another_case_or_left_out_are_the_accounts_asked_for(
    graph: Graph, accounts: Mapping[str, Any]
) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", part(USDC_BASE, "5000000", 5)), accounts=accounts))
    listing = await list_holdings(graph)
    assert (listing.amounts, listing.status) == ({USDC_BASE: "5"}, ("OK", None))


async def test_rows_of_a_namespace_that_was_not_asked_about_are_dropped(graph: Graph) -> None:
    register(graph)
    parts = [part(USDC_BASE, "5000000", 5), part(USDC_SOLANA, "7000000", 7), part("cosmos:x/slip44:118", "9", 9)]
    answer(graph, body_of(aggregate("ob:usdc", *parts)))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.total["valueUsd"] == "5"


async def test_without_aggregates_for_an_address_nothing_is_asked_because_a_filter_is_obligatory(
    graph: Graph,
) -> None:
    register(graph, ETH)
    listing = await list_holdings(graph, SOLANA)
    assert listing.nodes == {}
    assert graph.simulators.onebalance.asked(ONEBALANCE_BALANCES) == []


# Aggregates


async def test_ob_single_twice_is_two_assets_and_no_group(graph: Graph) -> None:
    dataset = register(graph, SINGLE_STETH, SINGLE_SOL)
    dataset.add_balance(account=EVM, asset_type=STETH, balance=10**18, fiat_value="2500")
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=10**9, fiat_value="160")
    listing = await list_holdings(graph, EVM, SOLANA)
    assert listing.amounts == {STETH: "1", SOL: "1"}
    assert [node["token"]["decimals"] for node in listing.nodes.values()] == [18, 9]
    assert [node["token"]["group"] for node in listing.nodes.values()] == [None, None]
    assert listing.total["valueUsd"] == "2660"
    assert await list_groups(graph, EVM, SOLANA) == {}
    assert await graph.ask('{ node(id: "AssetGroup:ob:single") { id } }') == {"node": None}


async def test_ob_single_is_asked_for_once_however_often_it_is_listed(graph: Graph) -> None:
    other = OneBalanceAsset("ob:single", "ARB", "Arbitrum", 18, [OneBalanceEntity(USDC_ARBITRUM, 18, "ARB", "ARB")])
    register(graph, SINGLE_STETH, other)
    await list_holdings(graph)
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert request.param("aggregatedAssetId") == "ob:single"


@pytest.mark.parametrize("id", ["ob:sol", "ob:single"])
async def test_sol_is_the_same_holding_under_either_aggregate(graph: Graph, id: str) -> None:
    dataset = register(graph, OneBalanceAsset(id, "SOL", "Solana", 9, [OneBalanceEntity(SOL, 9, "Solana", "SOL")]))
    dataset.add_balance(account=SOLANA, asset_type=SOL, balance=15_000_000, fiat_value="2.51")
    held = (await list_holdings(graph, SOLANA))[SOL]
    assert (held["amount"], held["valueUsd"], held["token"]["kind"]) == ("0.015", "2.51", "NATIVE")


@pytest.mark.parametrize("id", ["ds:usdc", "int:usdc", "USDC"])
async def test_the_prefix_of_an_aggregate_means_nothing(graph: Graph, id: str) -> None:
    dataset = register(graph, OneBalanceAsset(id, "USDC", "USD Coin", 6, USDC_ENTITIES))
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    group = (await list_groups(graph))[id]
    assert (group["amount"], group["group"]["symbol"]) == ("1", "USDC")
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert request.param("aggregatedAssetId") == id


async def test_an_aggregate_that_is_more_than_its_rows_adds_nothing_to_the_holdings(graph: Graph) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=USDC_ARBITRUM, balance=62_459_466, fiat_value="62.456468")
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=774_598_041, fiat_value="774.563184")
    dataset.report(accounts=[EVM], aggregated_asset_id="ob:usdc", balance=843_936_437, fiat_value="837.019652")
    listing = await list_holdings(graph)
    assert listing.total["valueUsd"] == "837.019652"
    group = (await list_groups(graph))["ob:usdc"]
    assert group["amount"] == "837.057507"
    assert group["reported"] == {"rawAmount": "843936437", "decimals": 6, "valueUsd": "837.019652"}


async def test_an_aggregate_without_rows_is_no_holding(graph: Graph) -> None:
    register(graph)
    answer(graph, body_of(aggregate("ob:usdc", balance="843936437", fiat_value=843.9)))
    listing = await list_holdings(graph)
    assert listing.nodes == {}
    assert listing.total == NOTHING_HELD


async def test_zero_rows_for_the_other_chains_of_an_aggregate_are_no_holdings(graph: Graph) -> None:
    dataset = register(graph)
    dataset.add_balance(account=EVM, asset_type=USDC_BASE, balance=10**6, fiat_value="1")
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "1"}
    assert (listing.total["holdingCount"], listing.total["unpricedCount"], listing.total["complete"]) == (1, 0, True)
    everything = await list_holdings(graph, includeZero=True)
    assert everything.amounts == {USDC_BASE: "1", USDC_ARBITRUM: "0", USDC_BSC: "0"}
    assert {everything[zero]["valueStatus"] for zero in (USDC_ARBITRUM, USDC_BSC)} == {"REPORTED"}
    assert everything.total["unpricedCount"] == 0


async def test_nothing_but_zero_rows_is_an_empty_wallet_worth_0(graph: Graph) -> None:
    register(graph)
    listing = await list_holdings(graph, EVM, SOLANA)
    assert listing.nodes == {}
    assert listing.total == NOTHING_HELD


async def test_an_asset_that_comes_twice_is_counted_once(graph: Graph) -> None:
    register(graph)
    parts = [part(USDC_BASE, "5000000", 5), part(USDC_BASE.replace("f", "F"), "5000000", 5)]
    answer(graph, body_of(aggregate("ob:usdc", *parts), specific=[part(USDC_BASE, "5000000", 0)]))
    listing = await list_holdings(graph)
    assert listing.amounts == {USDC_BASE: "5"}
    assert listing.total["valueUsd"] == "5"
    assert len(listing[USDC_BASE]["observations"]) == 1


async def test_an_aggregate_that_was_not_asked_for_is_not_listed(graph: Graph) -> None:
    register(graph, USDC, ETH)
    body = body_of(aggregate("ob:usdc", part(USDC_BASE, "5", 5)), aggregate("ob:eth", part(ETH_BASE, "9", 9)))
    answer(graph, body)
    listing = await list_holdings(graph, assetIds=[USDC_BASE])
    assert listing.amounts == {USDC_BASE: "0.000005"}
    (request,) = graph.simulators.onebalance.asked(ONEBALANCE_BALANCES)
    assert (request.param("aggregatedAssetId"), request.param("assetId")) == ("ob:usdc", None)
