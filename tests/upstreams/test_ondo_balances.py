"""What Ondo GM sends, and what the graph makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.ondo import EmptyStyle
from tests.graph import ONDO_BALANCES, Graph, Simulators, open_graph
from tests.upstreams.ondo import (
    AAPL,
    AAPL_BSC_ID,
    AAPL_ETHEREUM_ID,
    AAPL_MINT,
    AAPL_SOLANA_ID,
    EVM,
    METADATA,
    ON_ETHEREUM,
    OTHER,
    PRICES,
    SOLANA,
    STRANGER,
    TSLA,
    TSLA_ID,
    answer,
    list_holdings,
    metadata_row,
    ondo,
    price_row,
    token,
)

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
