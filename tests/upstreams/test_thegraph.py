"""What The Graph Token API sends of Solana wallets, and what the graph makes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import base58
import pytest

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceEntity
from loaders.upstream.simulator.thegraph import AccountKey
from loaders.upstream.simulator.thegraph_dataset import (
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
    Release,
    TheGraphDataset,
)
from tests.graph import NATIVE_BALANCES, SPL_BALANCES, Graph, Simulators, open_graph


def address(number: int) -> str:
    """The Solana address of this number."""
    return base58.b58encode(b"\x07" * 28 + number.to_bytes(4)).decode()


OWNER, OTHER = address(1), address(2)
MINT, OTHER_MINT = address(10), address(11)
ACCOUNT, OTHER_ACCOUNT = address(20), address(21)
WRAPPED_SOL = "So11111111111111111111111111111111111111112"
NATIVE_PLACEHOLDER = "So11111111111111111111111111111111111111111"

CHAIN = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
MINT_ID, OTHER_MINT_ID, WRAPPED_SOL_ID = (f"{CHAIN}/token:{mint}" for mint in (MINT, OTHER_MINT, WRAPPED_SOL))
SOL = f"{CHAIN}/slip44:501"

BALANCES = f"{SPL_BALANCES}*"
MINTS = "/v1/svm/tokens"
NETWORKS = "/v1/networks"
U64_MAX = 2**64 - 1

QUERY = """
query ($a: AccountAddress!, $f: HoldingFilter) {
  wallet(address: $a) {
    holdings(filter: $f, first: 200) {
      nodes {
        accountId amount rawAmount valueUsd valueStatus amountSource agreement
        asOf { blockNumber time }
        token { assetId address symbol name decimals kind trust metadataUri metadataSource }
        observations {
          source amount rawAmount reportedValueUsd reportedAsset
          tokenAccounts { address programId rawAmount asOf { blockNumber time } }
        }
      }
      totalCount
      total { valueUsd complete holdingCount unpricedCount missingSources }
      sources { source status code truncated observationCount upstreamCalls indexedTo { blockNumber time } }
    }
  }
}
"""

TOKENS = """
query ($x: [AssetId!]!) { tokens(assetIds: $x) { assetId symbol name decimals kind metadataUri } }
"""


class Listing:
    """One wallet's holdings by asset, and how The Graph did."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        listed = data["wallet"]["holdings"]
        self.nodes: dict[str, dict[str, Any]] = {node["token"]["assetId"]: node for node in listed["nodes"]}
        assert len(self.nodes) == len(listed["nodes"])
        self.count: int = listed["totalCount"]
        self.total: dict[str, Any] = listed["total"]
        (self.report,) = (report for report in listed["sources"] if report["source"] == "SOLANA_SPL")

    def __getitem__(self, asset_id: str) -> dict[str, Any]:
        return self.nodes[asset_id]

    @property
    def raw_amounts(self) -> dict[str, str]:
        return {asset_id: node["rawAmount"] for asset_id, node in self.nodes.items()}

    @property
    def status(self) -> tuple[str, str | None]:
        return self.report["status"], self.report["code"]


async def list_holdings(graph: Graph, owner: str = OWNER, **condition: Any) -> Listing:
    """The holdings of an address, by default by The Graph's word alone."""
    condition = {"sources": ["SOLANA_SPL"], **condition}
    return Listing(await graph.ask(QUERY, a=owner, f=condition))


@asynccontextmanager
async def graph_of_plan(plan: str, *, release: Release = "post-556") -> AsyncIterator[Graph]:
    """The graph over The Graph alone, which allows this plan."""
    simulators = Simulators.empty()
    simulators.thegraph.plan, simulators.thegraph.release = plan, release
    async with open_graph(simulators, without=("ONDO_GM", "ONEBALANCE"), thegraph_plan=plan) as graph:
        yield graph


def dataset_of(graph: Graph) -> TheGraphDataset:
    return graph.simulators.thegraph.dataset


def spl_row(**members: Any) -> dict[str, Any]:
    """A row of an answer; a member that is ... is left out."""
    row = {
        "last_update": "2025-10-09 02:10:01",
        "last_update_block_num": 372132067,
        "last_update_timestamp": 1759975801,
        "program_id": TOKEN_PROGRAM,
        "owner": OWNER,
        "account": ACCOUNT,
        "mint": MINT,
        "amount": "1500000",
        "value": 1.5,
        "decimals": 6,
        "name": "Token",
        "symbol": "TKN",
        "uri": None,
        "network": "solana",
    }
    return {name: value for name, value in (row | members).items() if value is not ...}


def native_row(**members: Any) -> dict[str, Any]:
    """A row of an answer on native SOL."""
    row = spl_row(program_id=SYSTEM_PROGRAM, mint=NATIVE_PLACEHOLDER, decimals=9, name="SOL", symbol="SOL")
    for absent in ("owner", "account", "uri"):
        del row[absent]
    return row | {"address": OWNER} | members


def answer(graph: Graph, *pages: object, path: str = SPL_BALANCES, times: int | None = 1) -> None:
    """Let The Graph answer with these rows, a list for each request in turn."""
    for rows in reversed(pages):
        body = json.dumps({"data": rows}).encode()
        graph.simulators.thegraph.inject(Fault(status=200, body=body, path=path, times=times))


def fill(dataset: TheGraphDataset, owner: str, count: int, *, start: int = 1_000) -> None:
    """Let an owner hold ``count`` mints, one account each; the amount is the number of the mint."""
    for number in range(start, start + count):
        dataset.add_mint(mint=address(number), decimals=0, name=f"Token {number}")
        dataset.add_token_account(
            owner=owner, account=address(10**6 + number), mint=address(number), amount=number, block=number
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


# Programs, texts and times


@pytest.mark.parametrize(
    ("program_id", "kind"), [(TOKEN_PROGRAM, "SPL"), (TOKEN_2022_PROGRAM, "SPL_2022"), (address(30), "UNKNOWN")]
)
async def test_the_program_of_a_token_account_is_the_kind_of_its_token(
    graph: Graph, program_id: str, kind: str
) -> None:
    answer(graph, [spl_row(program_id=program_id)])
    held = (await list_holdings(graph))[MINT_ID]
    assert held["token"]["kind"] == kind
    assert held["observations"][0]["tokenAccounts"][0]["programId"] == program_id


async def test_a_kind_is_pushed_down_as_its_program(graph: Graph) -> None:
    for kind, program_id in (("SPL", TOKEN_PROGRAM), ("SPL_2022", TOKEN_2022_PROGRAM)):
        graph.simulators.forget()
        await list_holdings(graph, kinds=[kind])
        (request,) = graph.simulators.thegraph.asked(BALANCES)
        assert (request.path, request.param("program_id")) == (SPL_BALANCES, program_id)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://ipfs.io/ipfs/bafkrei", "https://ipfs.io/ipfs/bafkrei"),
        ("ipfs://bafkrei", "ipfs://bafkrei"),
        ("ar://abc", "ar://abc"),
        (" https://x.io/\u202ea\x00b\n", "https://x.io/ab"),
        ("http://x.io/a", None),
        ("javascript:alert(1)", None),
        ("java\x00script:alert(1)", None),
        ("\u202ejavascript:https://x.io", None),
        ("data:text/html,<script>", None),
        ("file:///etc/passwd", None),
        ("//x.io/a", None),
        ("https://x.io/" + "a" * 2_035, "https://x.io/" + "a" * 2_035),
        ("https://x.io/" + "a" * 2_036, None),
        ("", None),
        (None, None),
        (5, None),
        (["https://x.io"], None),
    ],
)
async def test_a_uri_is_shown_only_with_a_safe_scheme_and_length(
    graph: Graph, uri: object, shown: str | None
) -> None:
    answer(graph, [spl_row(uri=uri)])
    listing = await list_holdings(graph)
    assert (listing[MINT_ID]["token"]["metadataUri"], listing.status) == (shown, ("OK", None))


@pytest.mark.parametrize(
    ("sent", "name", "symbol"),
    [
        ("\u202eCDSU\u202c", "CDSU", "CDSU"),
        ("US\u200bD\u2066C\u2069\ufeff", "USDC", "USDC"),
        ("U\x00S\x1b[31mD\x7f\x85C\r\n", "US[31mDC", "US[31mDC"),
        ("  \u2028USDC\u2029  ", "USDC", "USDC"),
        ("US\ud800DC", "USDC", "USDC"),
        ("\u200b\u202e\x00", None, None),
        ("é漢🦄", "é漢🦄", "é漢🦄"),
        ("x" * 300, "x" * 128, "x" * 64),
        ("🦄" * 300, "🦄" * 128, "🦄" * 64),
        ("\u202e" * 300 + "USDC", "USDC", "USDC"),
        (5, None, None),
        ({"en": "USDC"}, None, None),
    ],
)
async def test_names_and_symbols_lose_control_and_direction_characters_and_are_bounded(
    graph: Graph, sent: object, name: str | None, symbol: str | None
) -> None:
    answer(graph, [spl_row(name=sent, symbol=sent)])
    token = (await list_holdings(graph))[MINT_ID]["token"]
    assert (token["name"], token["symbol"], token["decimals"]) == (name, symbol, 6)


async def test_a_token_that_calls_itself_like_another_is_another_holding_and_unlisted(graph: Graph) -> None:
    names = {"name": "Wrapped SOL", "symbol": "SOL", "decimals": 9}
    answer(graph, [spl_row(mint=WRAPPED_SOL, **names), spl_row(account=OTHER_ACCOUNT, **names)])
    listing = await list_holdings(graph)
    assert listing.raw_amounts == {WRAPPED_SOL_ID: "1500000", MINT_ID: "1500000"}
    assert {node["token"]["trust"] for node in listing.nodes.values()} == {"UNLISTED"}


async def test_an_instant_is_read_from_unix_seconds_and_ends_in_z(graph: Graph) -> None:
    answer(graph, [spl_row(last_update="2031-01-01 00:00:00")])
    held = (await list_holdings(graph))[MINT_ID]
    assert held["asOf"] == {"blockNumber": "372132067", "time": "2025-10-09T02:10:01Z"}
    assert held["observations"][0]["tokenAccounts"][0]["asOf"] == held["asOf"]


@pytest.mark.parametrize("timestamp", [10**18, -(10**18)])
async def test_a_time_that_no_calendar_holds_costs_a_row_only_its_time(graph: Graph, timestamp: int) -> None:
    answer(graph, [spl_row(last_update_timestamp=timestamp)])
    listing = await list_holdings(graph)
    assert listing[MINT_ID]["asOf"] == {"blockNumber": "372132067", "time": None}
    assert listing.status == ("OK", None)


async def test_how_far_balances_are_indexed_is_told_of_solana_and_of_no_other_data(graph: Graph) -> None:
    def network(id: str, *categories: tuple[str, int]) -> dict[str, Any]:
        indexed = [{"category": c, "version": "1", "block_num": b, "timestamp": 1759975801} for c, b in categories]
        return {"id": id, "indexed_to": indexed}

    networks = [
        network("mainnet", ("balances", 1)),
        network("solana", ("transfers", 2), ("balances", 372132067), ("dexes", 3)),
    ]
    body = json.dumps({"networks": networks}).encode()
    graph.simulators.thegraph.inject(Fault(status=200, body=body, path=NETWORKS))
    report = (await list_holdings(graph)).report
    assert report["indexedTo"] == {"blockNumber": "372132067", "time": "2025-10-09T02:10:01Z"}


async def test_networks_that_fail_cost_only_how_far_it_is_indexed(graph: Graph) -> None:
    body = b"Internal Server Error"
    graph.simulators.thegraph.inject(Fault(status=500, body=body, path=NETWORKS))
    answer(graph, [spl_row()])
    listing = await list_holdings(graph)
    assert (listing.report["indexedTo"], listing.status) == (None, ("OK", None))
    assert listing.raw_amounts == {MINT_ID: "1500000"}


async def test_when_an_account_changed_orders_the_holdings(graph: Graph) -> None:
    dataset = dataset_of(graph)
    for number, day in ((10, 3), (11, 1), (12, 2)):
        dataset.add_mint(mint=address(number), decimals=0, name="Token")
        time = datetime(2025, 10, day, tzinfo=UTC)
        dataset.add_token_account(
            owner=OWNER, account=address(20 + number), mint=address(number), amount=number, time=time
        )
    query = """query ($a: AccountAddress!) {
      wallet(address: $a) { holdings(orderBy: {field: UPDATED_AT}) { nodes { rawAmount asOf { time } } } }
    }"""
    nodes = (await graph.ask(query, a=OWNER))["wallet"]["holdings"]["nodes"]
    assert [(node["rawAmount"], node["asOf"]["time"]) for node in nodes] == [
        ("10", "2025-10-03T00:00:00Z"),
        ("12", "2025-10-02T00:00:00Z"),
        ("11", "2025-10-01T00:00:00Z"),
    ]


# Pages


@pytest.mark.parametrize(
    ("plan", "rows", "pages"),
    [
        ("free", 9, 1),
        ("free", 10, 2),
        ("free", 25, 3),
        ("scale", 100, 2),
        ("scale", 150, 2),
        ("pro", 199, 1),
        ("7/1", 22, 4),
    ],
)
async def test_pages_are_read_to_the_end_at_the_size_of_the_plan(plan: str, rows: int, pages: int) -> None:
    async with graph_of_plan(plan) as graph:
        fill(dataset_of(graph), OWNER, rows)
        listing = await list_holdings(graph)
        assert {node["rawAmount"] for node in listing.nodes.values()} == {
            str(number) for number in range(1_000, 1_000 + rows)
        }
        assert (listing.status, listing.report["truncated"]) == (("OK", None), False)
        asked = graph.simulators.thegraph.asked(SPL_BALANCES)
        size = {"free": "10", "scale": "100", "pro": "500"}.get(plan, "7")
        assert [(request.param("page"), request.param("limit")) for request in asked] == [
            (str(page), size) for page in range(1, pages + 1)
        ]


async def test_a_page_of_unreadable_rows_is_not_the_last_one() -> None:
    async with graph_of_plan("2/1") as graph:
        answer(graph, [spl_row(amount="x"), "..."], [spl_row()])
        listing = await list_holdings(graph)
        assert listing.raw_amounts == {MINT_ID: "1500000"}
        assert listing.status == ("PARTIAL", "BAD_RESPONSE")


async def test_pages_without_end_stop_and_say_that_there_is_more() -> None:
    async with graph_of_plan("1/1") as graph:
        answer(graph, [spl_row()], times=None)
        listing = await list_holdings(graph)
        assert listing.raw_amounts == {MINT_ID: "1500000"}
        assert (listing.status, listing.report["truncated"]) == (("PARTIAL", "BUDGET_EXHAUSTED"), True)
        assert len(graph.simulators.thegraph.asked(SPL_BALANCES)) == 100


async def test_a_later_page_that_fails_leaves_what_was_read_and_says_that_there_is_more() -> None:
    async with graph_of_plan("1/1") as graph:
        graph.simulators.thegraph.inject(Fault(status=403, body=b"{}", path=SPL_BALANCES))
        answer(graph, [spl_row()], [spl_row(mint=OTHER_MINT)])
        listing = await list_holdings(graph)
        assert listing.raw_amounts == {MINT_ID: "1500000", OTHER_MINT_ID: "1500000"}
        assert (listing.status, listing.report["truncated"]) == (("PARTIAL", "FORBIDDEN"), True)
        assert listing.total["complete"] is False


async def test_rows_of_many_owners_interleave_and_each_owner_gets_his_own() -> None:
    owners = [address(number) for number in range(100, 125)]
    async with graph_of_plan("scale") as graph:
        dataset = dataset_of(graph)
        for number in range(200):
            owner, mint = owners[number % 25], address(1_000 + number // 25)
            dataset.add_mint(mint=mint, decimals=0, name="Token")
            dataset.add_token_account(
                owner=owner,
                account=address(10_000 + number),
                mint=mint,
                amount=number + 1,
                time=datetime(2025, 10, 1, number % 24, number % 60, tzinfo=UTC),
            )
        query = """query ($a: [AccountAddress!]!) {
          wallets(addresses: $a) { address holdings { nodes { rawAmount } } }
        }"""
        data = await graph.ask(query, a=owners)
        assert [wallet["address"] for wallet in data["wallets"]] == owners
        for place, wallet in enumerate(data["wallets"]):
            assert {int(node["rawAmount"]) for node in wallet["holdings"]["nodes"]} == {
                number + 1 for number in range(200) if number % 25 == place
            }
        asked = graph.simulators.thegraph.asked(SPL_BALANCES)
        assert [request.param("page") for request in asked] == ["1", "2", "3"]
        assert {(request.param("owner") or "").count(",") for request in asked} == {24}


# Requests


async def test_every_request_carries_the_token_the_network_and_no_parameter_that_is_not_needed(graph: Graph) -> None:
    await list_holdings(graph)
    requests = {request.path: request for request in graph.simulators.thegraph.requests}
    assert set(requests) == {SPL_BALANCES, NATIVE_BALANCES, NETWORKS}
    assert dict(requests[SPL_BALANCES].query) == {"network": "solana", "owner": OWNER, "limit": "10", "page": "1"}
    assert dict(requests[NATIVE_BALANCES].query) == {
        "network": "solana",
        "address": OWNER,
        "limit": "10",
        "page": "1",
    }
    assert {request.headers["Authorization"] for request in requests.values()} == {"Bearer demo-token"}


@pytest.mark.parametrize(
    ("plan", "batch", "page"), [("free", 1, 10), ("scale", 25, 100), ("pro", 50, 500), ("200/20", 20, 200)]
)
async def test_lists_are_as_long_as_the_plan_allows_and_no_longer(plan: str, batch: int, page: int) -> None:
    owners = [address(number) for number in range(100, 125)]
    assets = [f"{CHAIN}/token:{address(number)}" for number in range(1_000, 1_060)]
    query = (
        """query ($a: [AccountAddress!]!) { wallets(addresses: $a) { holdings { totalCount sources { status } } } }"""
    )
    async with graph_of_plan(plan) as graph:
        data = await graph.ask(query, a=owners)
        assert {report["status"] for w in data["wallets"] for report in w["holdings"]["sources"]} == {
            "OK",
            "NOT_CONFIGURED",
        }
        for path, name in ((SPL_BALANCES, "owner"), (NATIVE_BALANCES, "address")):
            asked = graph.simulators.thegraph.asked(path)
            lists = [(request.param(name) or "").split(",") for request in asked]
            assert sorted(map(len, lists), reverse=True) == [len(owners[i : i + batch]) for i in range(0, 25, batch)]
            assert sorted(owner for some in lists for owner in some) == sorted(owners)
            assert {request.param("limit") for request in asked} == {str(page)}
        await graph.ask(TOKENS, x=assets)
        lists = [(request.param("mint") or "").split(",") for request in graph.simulators.thegraph.asked(MINTS)]
        assert sorted(map(len, lists), reverse=True) == [len(assets[i : i + batch]) for i in range(0, 60, batch)]


@pytest.mark.parametrize(
    ("condition", "name", "plan", "lengths"),
    [
        ("assetIds", "mint", "scale", [25, 5]),
        ("assetIds", "mint", "pro", [30]),
        ("tokenAccounts", "token_account", "scale", [25, 5]),
        ("tokenAccounts", "token_account", "200/20", [20, 10]),
    ],
)
async def test_a_long_filter_is_cut_to_the_lists_of_the_plan_and_nothing_is_lost(
    condition: str, name: str, plan: str, lengths: list[int]
) -> None:
    async with graph_of_plan(plan) as graph:
        fill(dataset_of(graph), OWNER, 40)
        numbers = range(1_005, 1_035)
        wanted = [address(number if name == "mint" else 10**6 + number) for number in numbers]
        spelled = [f"{CHAIN}/token:{mint}" for mint in wanted] if name == "mint" else wanted
        listing = await list_holdings(graph, OWNER, **{condition: spelled})
        assert {int(node["rawAmount"]) for node in listing.nodes.values()} == set(numbers)
        lists = [(request.param(name) or "").split(",") for request in graph.simulators.thegraph.asked(SPL_BALANCES)]
        assert sorted(map(len, lists), reverse=True) == lengths
        assert sorted(value for some in lists for value in some) == sorted(wanted)


async def test_one_bad_address_is_refused_before_it_can_fail_a_batch_of_strangers() -> None:
    query = "query ($a: [AccountAddress!]!) { wallets(addresses: $a) { holdings { totalCount } } }"
    too_short = base58.b58encode(b"\x07" * 31).decode()
    async with graph_of_plan("scale") as graph:
        for bad in (too_short, OWNER + "1", OWNER.replace(OWNER[-1], "0"), OWNER + "," + OTHER):
            response = await graph.respond(query, a=[OWNER, bad])
            assert [error["extensions"]["code"] for error in response["errors"]] == ["BAD_USER_INPUT"]
        assert graph.simulators.requests() == []


async def test_a_plan_that_the_token_does_not_have_is_forbidden_and_no_empty_wallet() -> None:
    simulators = Simulators.empty()
    async with open_graph(simulators, without=("ONDO_GM", "ONEBALANCE"), thegraph_plan="pro") as graph:
        fill(dataset_of(graph), OWNER, 3)
        listing = await list_holdings(graph)
        assert listing.status == ("FAILED", "FORBIDDEN")
        assert listing.total["valueUsd"] is None


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b'{"error": "Network not found: solana"}', "UPSTREAM_REJECTED_INPUT"),
        (400, b'{"status": 400, "code": "bad_query_input", "message": "..."}', "UPSTREAM_REJECTED_INPUT"),
        (401, b'{"status": 401, "code": "authentication_failed", "message": "..."}', "UNAUTHORIZED"),
        (402, b"", "FORBIDDEN"),
        (404, b'{"status": 404, "code": "route_not_found", "message": "..."}', "UNREACHABLE"),
        (429, b"slow down", "RATE_LIMITED"),
        (500, b"Internal Server Error", "UPSTREAM_ERROR"),
        (503, b'{"status": "ERROR", "error": "..."}', "UPSTREAM_ERROR"),
        (504, b'{"status": 504, "code": "database_timeout", "message": "..."}', "UPSTREAM_ERROR"),
    ],
)
async def test_an_error_is_told_by_its_status_whatever_its_body(
    graph: Graph, status: int, body: bytes, code: str
) -> None:
    graph.simulators.thegraph.inject(Fault(status=status, body=body))
    assert (await list_holdings(graph)).status == ("FAILED", code)


# Tokens by their mint


async def test_mints_asked_for_by_id_are_one_request_of_the_plan_and_keep_their_order() -> None:
    async with graph_of_plan("scale") as graph:
        dataset = dataset_of(graph)
        dataset.add_mint(mint=MINT, decimals=6, name="Token", symbol="TKN", uri="ipfs://a")
        dataset.add_mint(mint=OTHER_MINT, decimals=9, program_id=TOKEN_2022_PROGRAM, uri="javascript:alert(1)")
        unknown = f"{CHAIN}/token:{address(12)}"
        data = await graph.ask(TOKENS, x=[OTHER_MINT_ID, unknown, MINT_ID, OTHER_MINT_ID, SOL])
        other = {
            "assetId": OTHER_MINT_ID,
            "symbol": None,
            "name": None,
            "decimals": 9,
            "kind": "SPL_2022",
            "metadataUri": None,
        }
        token = {
            "assetId": MINT_ID,
            "symbol": "TKN",
            "name": "Token",
            "decimals": 6,
            "kind": "SPL",
            "metadataUri": "ipfs://a",
        }
        sol = {
            "assetId": SOL,
            "symbol": "SOL",
            "name": "Solana",
            "decimals": 9,
            "kind": "NATIVE",
            "metadataUri": None,
        }
        assert data["tokens"] == [other, None, token, other, sol]
        (request,) = graph.simulators.thegraph.requests
        assert request.path == MINTS
        assert sorted((request.param("mint") or "").split(",")) == sorted([MINT, OTHER_MINT, address(12)])


async def test_a_mint_without_text_and_0_decimals_has_unknown_decimals_and_an_nft_has_0(graph: Graph) -> None:
    dataset = dataset_of(graph)
    dataset.add_mint(mint=MINT, decimals=None)
    dataset.add_mint(mint=OTHER_MINT, decimals=0, name="Monkey #1")
    data = await graph.ask(TOKENS, x=[MINT_ID, OTHER_MINT_ID])
    assert [token["decimals"] for token in data["tokens"]] == [None, 0]


async def test_mints_that_were_not_asked_for_are_dropped_and_the_order_of_rows_means_nothing() -> None:
    async with graph_of_plan("scale") as graph:
        row = {"program_id": TOKEN_PROGRAM, "decimals": 6, "symbol": "", "uri": ""}
        rows = [{**row, "mint": mint, "name": f"Token {mint}"} for mint in (address(12), OTHER_MINT, MINT)]
        answer(graph, rows, path=MINTS)
        data = await graph.ask(TOKENS, x=[MINT_ID, OTHER_MINT_ID])
        assert [token["name"] for token in data["tokens"]] == [f"Token {MINT}", f"Token {OTHER_MINT}"]


async def test_holdings_cost_no_request_for_metadata(graph: Graph) -> None:
    fill(dataset_of(graph), OWNER, 5)
    await list_holdings(graph)
    assert graph.simulators.thegraph.asked(MINTS) == []
