"""What The Graph Token API sends of Solana wallets, and what the graph makes of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from loaders.upstream.simulator.thegraph import AccountKey
from loaders.upstream.simulator.thegraph_dataset import (
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
)
from tests.graph import NATIVE_BALANCES, SPL_BALANCES, Graph
from tests.upstreams.thegraph import (
    ACCOUNT,
    BALANCES,
    CHAIN,
    MINT,
    MINT_ID,
    NATIVE_PLACEHOLDER,
    OTHER,
    OTHER_ACCOUNT,
    OTHER_MINT,
    OTHER_MINT_ID,
    OWNER,
    SOL,
    U64_MAX,
    WRAPPED_SOL,
    WRAPPED_SOL_ID,
    address,
    answer,
    dataset_of,
    fill,
    graph_of_plan,
    list_holdings,
    native_row,
    spl_row,
)

# Keys and types of a row


@pytest.mark.parametrize("key", ["account", "token_account", "both"])
async def test_a_token_account_is_read_under_either_key(graph: Graph, key: AccountKey) -> None:
    graph.simulators.thegraph.account_key = key
    dataset_of(graph).add_mint(mint=MINT, decimals=6, name="Token", symbol="TKN")
    dataset_of(graph).add_token_account(owner=OWNER, account=ACCOUNT, mint=MINT, amount=1_500_000)
    listing = await list_holdings(graph)
    (observation,) = listing[MINT_ID]["observations"]
    assert listing[MINT_ID]["amount"] == "1.5"
    assert [account["address"] for account in observation["tokenAccounts"]] == [ACCOUNT]
    assert listing.status == ("OK", None)


async def test_a_row_without_a_token_account_under_any_key_is_said_to_be_missing(graph: Graph) -> None:
    answer(graph, [spl_row(account=...), spl_row(mint=OTHER_MINT)])
    listing = await list_holdings(graph)
    assert listing.raw_amounts == {OTHER_MINT_ID: "1500000"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


@pytest.mark.parametrize("value", [0, 99, 1e-7, 18446744073709552000, None, "n/a", [], ...])
async def test_the_float_value_is_never_read(graph: Graph, value: object) -> None:
    answer(graph, [spl_row(value=value)])
    held = (await list_holdings(graph))[MINT_ID]
    assert (held["amount"], held["rawAmount"], held["valueUsd"]) == ("1.5", "1500000", None)
    assert held["observations"][0]["reportedValueUsd"] is None


@pytest.mark.parametrize("amount", [U64_MAX, str(U64_MAX)])
async def test_the_largest_amount_of_64_bits_is_exact_as_text_and_as_a_json_number(
    graph: Graph, amount: object
) -> None:
    answer(graph, [spl_row(amount=amount, value=18446744073709552000, decimals=9)])
    held = (await list_holdings(graph))[MINT_ID]
    assert (held["rawAmount"], held["amount"]) == ("18446744073709551615", "18446744073.709551615")


async def test_an_amount_of_256_bits_and_the_most_decimals_there_are_is_exact(graph: Graph) -> None:
    answer(graph, [spl_row(amount=str(2**256 - 1), decimals=255)])
    held = (await list_holdings(graph))[MINT_ID]
    assert held["rawAmount"] == str(2**256 - 1)
    assert held["amount"] == "0." + str(2**256 - 1).zfill(255)


@pytest.mark.parametrize("amount", ["-1", "1.5", "1e6", 1.5, 1e19, "", "0x10", None, True, [], "1" * 101])
async def test_an_amount_that_is_no_whole_number_is_left_out_and_said_to_be_missing(
    graph: Graph, amount: object
) -> None:
    answer(graph, [spl_row(amount=amount), spl_row(mint=OTHER_MINT)])
    listing = await list_holdings(graph)
    assert listing.raw_amounts == {OTHER_MINT_ID: "1500000"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")
    assert listing.total["complete"] is False


@pytest.mark.parametrize("mint", ["", "not base58: 0OIl", address(3)[:-2], "0x" + "ab" * 20, None, 5])
async def test_a_mint_that_is_no_address_is_left_out_and_said_to_be_missing(graph: Graph, mint: object) -> None:
    answer(graph, [spl_row(mint=mint), spl_row(mint=OTHER_MINT)])
    listing = await list_holdings(graph)
    assert listing.raw_amounts == {OTHER_MINT_ID: "1500000"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


@pytest.mark.parametrize("name", ["account", "program_id"])
@pytest.mark.parametrize("text", ["", "not base58: 0OIl", "\u202e\x00", "\ud800", "1" * 5_000])
async def test_an_account_or_program_that_is_no_address_is_left_out_and_said_to_be_missing(
    graph: Graph, name: str, text: str
) -> None:
    answer(graph, [spl_row(**{name: text}), spl_row(mint=OTHER_MINT)])
    listing = await list_holdings(graph)
    assert listing.raw_amounts == {OTHER_MINT_ID: "1500000"}
    assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_only_the_rows_of_an_answer_are_needed_and_new_members_are_ignored(graph: Graph) -> None:
    row = spl_row(last_update=..., network=..., spam_score=1, value_usd=5)
    answer(graph, [row])
    listing = await list_holdings(graph)
    assert (listing[MINT_ID]["amount"], listing.status) == ("1.5", ("OK", None))


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"data": null}', b'{"data": {}}', b'{"results": 0}', b"null"])
async def test_a_body_without_rows_is_a_failure_and_not_an_empty_wallet(graph: Graph, body: bytes) -> None:
    graph.simulators.thegraph.inject(Fault(status=200, body=body))
    listing = await list_holdings(graph)
    assert listing.status == ("FAILED", "BAD_RESPONSE")
    assert (listing.total["valueUsd"], listing.total["missingSources"]) == (None, ["SOLANA_SPL"])


async def test_an_unknown_wallet_is_an_empty_one(graph: Graph) -> None:
    listing = await list_holdings(graph)
    assert (listing.nodes, listing.status) == ({}, ("OK", None))
    assert listing.total["valueUsd"] == "0"


# Decimals


@pytest.mark.parametrize(
    "texts", [{"name": None, "symbol": None}, {"name": "", "symbol": ""}, {"name": ..., "symbol": ...}]
)
async def test_0_decimals_without_a_name_or_symbol_are_unknown_decimals(
    graph: Graph, texts: Mapping[str, object]
) -> None:
    answer(graph, [spl_row(decimals=0, **texts)])
    listing = await list_holdings(graph)
    held = listing[MINT_ID]
    assert (held["amount"], held["rawAmount"], held["token"]["decimals"]) == (None, "1500000", None)
    assert (listing.count, listing.total["unpricedCount"]) == (1, 1)


@pytest.mark.parametrize("texts", [{"name": "Monkey #1", "symbol": None}, {"name": None, "symbol": "MONK"}])
async def test_an_nft_has_0_decimals_and_an_amount_of_1(graph: Graph, texts: Mapping[str, object]) -> None:
    answer(graph, [spl_row(decimals=0, amount="1", **texts)])
    held = (await list_holdings(graph))[MINT_ID]
    assert (held["amount"], held["rawAmount"], held["token"]["decimals"]) == ("1", "1", 0)


@pytest.mark.parametrize("decimals", [None, ...])
async def test_decimals_that_are_null_are_unknown_whatever_the_name(graph: Graph, decimals: object) -> None:
    answer(graph, [spl_row(decimals=decimals, value=None)])
    held = (await list_holdings(graph))[MINT_ID]
    assert (held["amount"], held["rawAmount"], held["token"]["name"]) == (None, "1500000", "Token")


async def test_a_fresh_mint_without_a_name_yet_has_the_decimals_it_says(graph: Graph) -> None:
    answer(graph, [spl_row(name=None, symbol=None)])
    held = (await list_holdings(graph))[MINT_ID]
    assert (held["amount"], held["token"]["decimals"], held["token"]["name"]) == ("1.5", 6, None)


async def test_a_register_scales_a_mint_whose_decimals_the_graph_does_not_know(graph: Graph) -> None:
    entity = OneBalanceEntity(MINT_ID, 6, "Token", "TKN")
    graph.simulators.onebalance.dataset.add_asset(OneBalanceAsset("ob:tkn", "TKN", "Token", 6, [entity]))
    answer(graph, [spl_row(decimals=0, name=None, symbol=None)])
    held = (await list_holdings(graph, sources=None))[MINT_ID]
    assert (held["amount"], held["rawAmount"], held["token"]["decimals"]) == ("1.5", "1500000", 6)


async def test_rows_of_one_account_that_differ_in_decimals_are_one_and_the_newest_is_true(graph: Graph) -> None:
    dataset = dataset_of(graph)
    dataset.add_mint(mint=MINT, decimals=6, name="Token")
    dataset.add_owner(account=ACCOUNT, owner=OWNER)
    dataset.add_balance(account=ACCOUNT, mint=MINT, amount=9_000, decimals=9, block=100)
    dataset.add_balance(account=ACCOUNT, mint=MINT, amount=1_500_000, decimals=6, block=200)
    held = (await list_holdings(graph))[MINT_ID]
    assert (held["rawAmount"], held["amount"], held["asOf"]["blockNumber"]) == ("1500000", "1.5", "200")


# Sums and repetitions


async def test_several_token_accounts_of_one_mint_are_summed_beyond_64_bits(graph: Graph) -> None:
    dataset = dataset_of(graph)
    dataset.add_mint(mint=MINT, decimals=6, name="Token")
    for number, account in enumerate((ACCOUNT, OTHER_ACCOUNT, address(22))):
        dataset.add_token_account(owner=OWNER, account=account, mint=MINT, amount=U64_MAX, block=100 + number)
    listing = await list_holdings(graph)
    held = listing[MINT_ID]
    assert (held["rawAmount"], held["amount"]) == ("55340232221128654845", "55340232221128.654845")
    assert (held["asOf"]["blockNumber"], held["agreement"]) == ("102", "SINGLE")
    (observation,) = held["observations"]
    assert {account["address"]: account["rawAmount"] for account in observation["tokenAccounts"]} == dict.fromkeys(
        (ACCOUNT, OTHER_ACCOUNT, address(22)), str(U64_MAX)
    )


@pytest.mark.parametrize("newest_first", [True, False])
async def test_an_account_on_two_pages_counts_once_and_its_newest_block_is_true(newest_first: bool) -> None:
    newer = spl_row(amount="2000000", last_update_block_num=372132068, last_update_timestamp=1759975999)
    first, second = (newer, spl_row()) if newest_first else (spl_row(), newer)
    async with graph_of_plan("2/1") as graph:
        answer(graph, [first, spl_row(mint=OTHER_MINT, account=OTHER_ACCOUNT)], [second])
        listing = await list_holdings(graph)
        assert listing.raw_amounts == {MINT_ID: "2000000", OTHER_MINT_ID: "1500000"}
        assert listing[MINT_ID]["asOf"] == {"blockNumber": "372132068", "time": "2025-10-09T02:13:19Z"}


async def test_one_account_in_two_mints_or_programs_is_two_rows(graph: Graph) -> None:
    answer(graph, [spl_row(), spl_row(mint=OTHER_MINT), spl_row(program_id=TOKEN_2022_PROGRAM)])
    listing = await list_holdings(graph)
    assert listing.raw_amounts == {MINT_ID: "3000000", OTHER_MINT_ID: "1500000"}


async def test_an_account_that_was_made_anew_by_the_same_owner_is_counted_once() -> None:
    async with graph_of_plan("free", release="3.16.6") as graph:
        dataset = dataset_of(graph)
        fill(dataset, OWNER, 9)
        dataset.add_mint(mint=MINT, decimals=6, name="Token")
        dataset.add_token_account(owner=OWNER, account=ACCOUNT, mint=MINT, amount=1_500_000)
        for _ in range(3):
            dataset.add_owner(account=ACCOUNT, owner=OWNER)
        listing = await list_holdings(graph)
        assert listing[MINT_ID]["rawAmount"] == "1500000"
        assert listing.count == 10
        pages = [request.param("page") for request in graph.simulators.thegraph.asked(SPL_BALANCES)]
        assert pages == ["1", "2"]  # the first has 13 rows for a limit of 10


async def test_an_account_that_is_closed_or_belongs_to_another_now_is_not_listed() -> None:
    async with graph_of_plan("free") as graph:
        dataset = dataset_of(graph)
        for account, mint, now in ((ACCOUNT, MINT, OTHER), (OTHER_ACCOUNT, OTHER_MINT, "")):
            dataset.add_mint(mint=mint, decimals=6, name="Token")
            dataset.add_token_account(owner=OWNER, account=account, mint=mint, amount=1)
            dataset.add_owner(account=account, owner=now)
        assert (await list_holdings(graph)).nodes == {}


async def test_an_account_shown_under_two_owners_of_a_batch_is_not_taken_from_either() -> None:
    query = """query ($a: [AccountAddress!]!) {
      wallets(addresses: $a) { holdings { nodes { rawAmount token { assetId } } } }
    }"""
    answers = []
    for plan in ("free", "scale"):
        async with graph_of_plan(plan, release="3.16.6") as graph:
            dataset = dataset_of(graph)
            dataset.add_mint(mint=MINT, decimals=6, name="Token")
            dataset.add_token_account(owner=OTHER, account=ACCOUNT, mint=MINT, amount=1_500_000)
            dataset.add_owner(account=ACCOUNT, owner=OWNER)
            answers.append(await graph.ask(query, a=[OWNER, OTHER]))
    held = {"holdings": {"nodes": [{"rawAmount": "1500000", "token": {"assetId": MINT_ID}}]}}
    assert answers[0]["wallets"][0] == held
    assert answers[1] == answers[0]


async def test_rows_of_other_owners_are_dropped(graph: Graph) -> None:
    answer(graph, [spl_row(owner=OTHER), spl_row(owner=OWNER.swapcase()), spl_row(mint=OTHER_MINT)])
    answer(graph, [native_row(address=OTHER, amount="9"), native_row(amount="7")], path=NATIVE_BALANCES)
    listing = await list_holdings(graph)
    assert listing.raw_amounts == {OTHER_MINT_ID: "1500000", SOL: "7"}
    assert listing.status == ("OK", None)


async def test_rows_of_other_mints_accounts_and_programs_than_asked_for_are_dropped(graph: Graph) -> None:
    rows = [
        spl_row(),
        spl_row(mint=OTHER_MINT, account=OTHER_ACCOUNT),
        spl_row(mint=address(12), account=address(22), program_id=TOKEN_2022_PROGRAM),
    ]
    answer(graph, rows, times=None)
    assert list((await list_holdings(graph, assetIds=[MINT_ID])).nodes) == [MINT_ID]
    assert list((await list_holdings(graph, tokenAccounts=[OTHER_ACCOUNT])).nodes) == [OTHER_MINT_ID]
    assert list((await list_holdings(graph, kinds=["SPL_2022"])).nodes) == [f"{CHAIN}/token:{address(12)}"]


async def test_only_the_named_token_accounts_of_a_mint_are_summed(graph: Graph) -> None:
    dataset = dataset_of(graph)
    dataset.add_mint(mint=MINT, decimals=6, name="Token")
    dataset.add_token_account(owner=OWNER, account=ACCOUNT, mint=MINT, amount=1)
    dataset.add_token_account(owner=OWNER, account=OTHER_ACCOUNT, mint=MINT, amount=2)
    dataset.add_native(address=OWNER, lamports=5)
    listing = await list_holdings(graph, tokenAccounts=[OTHER_ACCOUNT])
    assert listing.raw_amounts == {MINT_ID: "2"}
    assert graph.simulators.thegraph.asked(NATIVE_BALANCES) == []


# Zero


async def test_zero_rows_are_asked_for_and_listed_only_when_wanted(graph: Graph) -> None:
    dataset = dataset_of(graph)
    for mint, account, amount in ((MINT, ACCOUNT, 0), (OTHER_MINT, OTHER_ACCOUNT, 5)):
        dataset.add_mint(mint=mint, decimals=6, name="Token")
        dataset.add_token_account(owner=OWNER, account=account, mint=mint, amount=amount)
    dataset.add_native(address=OWNER, lamports=0)
    assert (await list_holdings(graph)).raw_amounts == {OTHER_MINT_ID: "5"}
    requests = graph.simulators.thegraph.asked(BALANCES)
    assert [request.param("include_null_balances") for request in requests] == [None, None]
    graph.simulators.forget()
    listing = await list_holdings(graph, includeZero=True)
    assert listing.raw_amounts == {MINT_ID: "0", OTHER_MINT_ID: "5", SOL: "0"}
    assert (listing[MINT_ID]["valueUsd"], listing[MINT_ID]["valueStatus"]) == ("0", "REPORTED")
    assert listing.total["unpricedCount"] == 1
    requests = graph.simulators.thegraph.asked(BALANCES)
    assert [request.param("include_null_balances") for request in requests] == ["true", "true"]


async def test_zero_rows_that_nobody_asked_for_are_not_listed(graph: Graph) -> None:
    answer(graph, [spl_row(amount="0"), spl_row(mint=OTHER_MINT, decimals=0, name=None, symbol=None, amount=0)])
    answer(graph, [native_row(amount="0")], path=NATIVE_BALANCES)
    assert (await list_holdings(graph)).nodes == {}


async def test_an_emptied_account_beside_a_full_one_adds_nothing_and_takes_nothing(graph: Graph) -> None:
    answer(graph, [spl_row(), spl_row(account=OTHER_ACCOUNT, amount="0")])
    held = (await list_holdings(graph, includeZero=True))[MINT_ID]
    assert held["rawAmount"] == "1500000"
    assert len(held["observations"][0]["tokenAccounts"]) == 2


# SOL


async def test_wrapped_sol_and_native_sol_are_two_holdings(graph: Graph) -> None:
    dataset = dataset_of(graph)
    dataset.add_mint(mint=WRAPPED_SOL, decimals=9, name="Wrapped SOL", symbol="SOL")
    dataset.add_token_account(owner=OWNER, account=ACCOUNT, mint=WRAPPED_SOL, amount=5 * 10**9)
    dataset.add_native(address=OWNER, lamports=1_500_000_000, block=372_132_067)
    listing = await list_holdings(graph)
    assert {asset_id: node["amount"] for asset_id, node in listing.nodes.items()} == {WRAPPED_SOL_ID: "5", SOL: "1.5"}
    native, wrapped = listing[SOL]["token"], listing[WRAPPED_SOL_ID]["token"]
    assert (native["kind"], native["symbol"], native["decimals"], native["address"]) == ("NATIVE", "SOL", 9, None)
    assert (wrapped["kind"], wrapped["name"], wrapped["address"]) == ("SPL", "Wrapped SOL", WRAPPED_SOL)
    assert listing[SOL]["observations"][0]["tokenAccounts"] == []
    assert listing[SOL]["asOf"]["blockNumber"] == "372132067"


async def test_the_largest_number_of_lamports_is_exact(graph: Graph) -> None:
    answer(graph, [native_row(amount=str(U64_MAX), value=18446744073.709553)], path=NATIVE_BALANCES)
    held = (await list_holdings(graph))[SOL]
    assert (held["rawAmount"], held["amount"]) == ("18446744073709551615", "18446744073.709551615")


@pytest.mark.parametrize("mint", [SYSTEM_PROGRAM, NATIVE_PLACEHOLDER])
async def test_a_placeholder_mint_is_native_sol_and_goes_to_its_own_endpoint(graph: Graph, mint: str) -> None:
    dataset_of(graph).add_native(address=OWNER, lamports=1_500_000_000)
    listing = await list_holdings(graph, assetIds=[f"{CHAIN}/token:{mint}"])
    assert {asset_id: node["amount"] for asset_id, node in listing.nodes.items()} == {SOL: "1.5"}
    (request,) = graph.simulators.thegraph.asked(BALANCES)
    assert (request.path, request.param("address"), request.param("mint")) == (NATIVE_BALANCES, OWNER, None)


async def test_sol_alone_is_never_asked_for_by_a_program(graph: Graph) -> None:
    dataset_of(graph).add_native(address=OWNER, lamports=1)
    assert list((await list_holdings(graph, kinds=["NATIVE"])).nodes) == [SOL]
    assert [request.path for request in graph.simulators.thegraph.asked(BALANCES)] == [NATIVE_BALANCES]


async def test_native_sol_that_fails_leaves_the_token_accounts_and_is_said_to_be_missing(graph: Graph) -> None:
    dataset_of(graph).add_mint(mint=MINT, decimals=6, name="Token")
    dataset_of(graph).add_token_account(owner=OWNER, account=ACCOUNT, mint=MINT, amount=1)
    graph.simulators.thegraph.inject(Fault(status=504, path=NATIVE_BALANCES))
    listing = await list_holdings(graph)
    assert listing.raw_amounts == {MINT_ID: "1"}
    assert listing.status == ("PARTIAL", "UPSTREAM_ERROR")
