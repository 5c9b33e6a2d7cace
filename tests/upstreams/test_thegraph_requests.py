"""What The Graph Token API sends of Solana wallets, and what the graph makes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import base58
import pytest

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.thegraph_dataset import (
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
)
from tests.graph import NATIVE_BALANCES, SPL_BALANCES, Graph, Simulators, open_graph
from tests.upstreams.thegraph import (
    BALANCES,
    CHAIN,
    MINT,
    MINT_ID,
    MINTS,
    NETWORKS,
    OTHER,
    OTHER_ACCOUNT,
    OTHER_MINT,
    OTHER_MINT_ID,
    OWNER,
    SOL,
    TOKENS,
    WRAPPED_SOL,
    WRAPPED_SOL_ID,
    address,
    answer,
    dataset_of,
    fill,
    graph_of_plan,
    list_holdings,
    spl_row,
)

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
