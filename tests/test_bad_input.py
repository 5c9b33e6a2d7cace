"""Bad input gets an error that names the argument, the value and what is wrong, and asks nothing upstream."""

from __future__ import annotations

from typing import Any

import pytest

from tests.graph import Graph

EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
SOLANA = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"

WALLET = "query ($a: AccountAddress!) { wallet(address: $a) { total { valueUsd } } }"
HOLDINGS = """
query ($first: Int, $after: String, $last: Int, $before: String, $filter: HoldingFilter, $orderBy: HoldingOrder!) {
  wallet(address: "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b") {
    total { valueUsd }
    holdings(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
      nodes { amount }
      pageInfo { endCursor }
    }
  }
}
"""
BY_VALUE = {"field": "VALUE_USD"}


async def refused(graph: Graph, query: str, **variables: Any) -> tuple[str, str]:
    """The argument and the message of the one error of an operation that cost nothing."""
    graph.simulators.forget()
    response = await graph.respond(query, **variables)
    (error,) = response["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert f'"{error["extensions"]["argument"]}"' in error["message"]
    assert graph.simulators.requests() == []
    return error["extensions"]["argument"], error["message"]


@pytest.mark.parametrize(
    ("address", "what_is_wrong"),
    [
        ("0xfe52613d747E20F2f62e0A5cC36B0DFAe771C443", "checksum is wrong"),
        ("0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6", "expected 40 hex digits after 0x, found 39"),
        ("0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6g", "not an address"),
        ("J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSic", "base58 of exactly 32 bytes"),
        ("vitalik.eth", "not an address"),
        ("", "not an address"),
        ("cosmos:cosmoshub-3:cosmos1t2uflqwqe0fsj0shcfkrvpukewcw40yjj6hdc0", "not an address"),
        ("eip155:1:J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5", "eip155 wants 0x"),
        ("solana:0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b", "solana wants base58"),
    ],
)
async def test_an_address_that_cannot_be_is_refused(demo: Graph, address: str, what_is_wrong: str) -> None:
    for query, variables in [
        (WALLET, {"a": address}),
        (f'{{ wallet(address: "{address}") {{ total {{ valueUsd }} }} }}', {}),
    ]:
        argument, message = await refused(demo, query, **variables)
        assert argument == "address"
        assert f'"{address}"' in message
        assert what_is_wrong in message


async def test_the_place_in_a_list_of_addresses_is_named(demo: Graph) -> None:
    query = "query ($list: [AccountAddress!]!) { wallets(addresses: $list) { total { valueUsd } } }"
    assert (await refused(demo, query, list=[EVM, "0x12"]))[0] == "addresses[1]"
    query = "query ($one: AccountAddress!) { wallets(addresses: [$one]) { total { valueUsd } } }"
    assert (await refused(demo, query, one="0x12"))[0] == "addresses[0]"


@pytest.mark.parametrize("field", ["wallets", "portfolio"])
async def test_more_than_25_addresses_are_refused(demo: Graph, field: str) -> None:
    query = f"query ($a: [AccountAddress!]!) {{ {field}(addresses: $a) {{ total {{ valueUsd }} }} }}"
    argument, message = await refused(demo, query, a=[f"0x{n:040x}" for n in range(26)])
    assert argument == "addresses"
    assert "26" in message
    assert "at most 25" in message


async def test_a_portfolio_of_nobody_is_refused(demo: Graph) -> None:
    query = "{ portfolio(addresses: []) { total { valueUsd } } }"
    assert "at least one" in (await refused(demo, query))[1]


@pytest.mark.parametrize(
    ("arguments", "argument", "what_is_wrong"),
    [
        ({"first": -1}, "first", "-1"),
        ({"first": 201}, "first", "201"),
        ({"last": -5}, "last", "-5"),
        ({"last": 1000}, "last", "1000"),
        ({"first": 1, "last": 1}, "last", "cannot be combined with first"),
        ({"after": "nonsense"}, "after", '"nonsense" is not a cursor'),
        ({"before": "bm9uc2Vuc2U"}, "before", "is not a cursor"),
        ({"filter": {"chains": ["etherium"]}}, "filter.chains[0]", '"etherium" is not a chain'),
        ({"filter": {"assetIds": ["eip155:1/erc20:0x12"]}}, "filter.assetIds[0]", "40 hex digits"),
        ({"filter": {"tokenAccounts": ["0x12"]}}, "filter.tokenAccounts", '"0x12" is not a token account'),
        ({"filter": {"tokenAccounts": [EVM]}}, "filter.tokenAccounts", "is not a token account"),
        ({"filter": {"search": "x" * 300}}, "filter.search", "longer than 256"),
        ({"filter": {"minValueUsd": 1.5}}, "filter.minValueUsd", "not exact"),
        ({"filter": {"minValueUsd": "1e3"}}, "filter.minValueUsd", "base-10"),
        ({"filter": {"minValueUsd": "NaN"}}, "filter.minValueUsd", "base-10"),
        ({"filter": {"sources": ["ETHERSCAN"]}}, "filter.sources[0]", "ETHERSCAN"),
        ({"filter": {"colour": "red"}}, "filter", "colour"),
        ({"orderBy": {"field": "BEAUTY"}}, "orderBy.field", "BEAUTY"),
    ],
)
async def test_a_page_filter_or_order_that_cannot_be_is_refused(
    demo: Graph, arguments: dict[str, Any], argument: str, what_is_wrong: str
) -> None:
    named, message = await refused(demo, HOLDINGS, **{"orderBy": BY_VALUE, **arguments})
    assert named == argument
    assert what_is_wrong in message


@pytest.mark.parametrize(
    "arguments", ["first: -1", "first: 1, last: 1", 'after: "x"', 'filter: {search: "%s"}' % ("x" * 300)]
)
async def test_all_or_nothing_asks_nothing_for_a_page_that_cannot_be(demo: Graph, arguments: str) -> None:
    fields = f"total {{ valueUsd }} holdings({arguments}) {{ totalCount }}"
    for view in (f'wallet(address: "{EVM}"', f'portfolio(addresses: ["{EVM}"]'):
        await refused(demo, f"{{ {view}, onSourceFailure: FAIL) {{ {fields} }} }}")


async def test_a_cursor_of_another_order_filter_or_list_is_refused(demo: Graph) -> None:
    page = await demo.ask(HOLDINGS, orderBy=BY_VALUE, first=2)
    cursor = page["wallet"]["holdings"]["pageInfo"]["endCursor"]
    for arguments in (
        {"orderBy": {"field": "SYMBOL"}},
        {"orderBy": {"field": "VALUE_USD", "direction": "ASC"}},
        {"orderBy": BY_VALUE, "filter": {"minValueUsd": "1"}},
    ):
        assert "belongs to another" in (await refused(demo, HOLDINGS, after=cursor, **arguments))[1]
    other = "query ($c: String!) { portfolio(addresses: [%s]) { holdings(after: $c) { totalCount } } }"
    assert "belongs to another list" in (await refused(demo, other % f'"{SOLANA}"', c=cursor))[1]


async def test_a_cursor_goes_with_any_spelling_of_its_filter(demo: Graph) -> None:
    page = await demo.ask(HOLDINGS, orderBy=BY_VALUE, first=2, filter={"minValueUsd": "1", "chains": ["ethereum-1"]})
    cursor = page["wallet"]["holdings"]["pageInfo"]["endCursor"]
    same = {"minValueUsd": "1.00", "chains": ["eip155:1"], "includeUnpriced": True}
    await demo.ask(HOLDINGS, orderBy={**BY_VALUE, "direction": "DESC"}, first=1, after=cursor, filter=same)


@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ('{ token(assetId: "USDC") { symbol } }', "assetId"),
        ('{ token(assetId: "eip155:1/erc20:0x12") { symbol } }', "assetId"),
        ('{ tokens(assetIds: ["eip155:1/slip44:ether"]) { symbol } }', "assetIds[0]"),
        ('{ chain(chainId: "ethereum") { name } }', "chainId"),
        ('{ chain(chainId: "eip155:01") { name } }', "chainId"),
        ('{ node(id: "nonsense") { id } }', "id"),
        ('{ node(id: "Wallet:0x12") { id } }', "id"),
        ('{ node(id: "Token:USDC") { id } }', "id"),
        ('{ node(id: "Holding:eip155:1:0x12/slip44:60") { id } }', "id"),
        (f'{{ node(id: "Holding:eip155:1:{SOLANA}/slip44:60") {{ id }} }}', "id"),
        ('{ node(id: "Portfolio:0x12") { id } }', "id"),
        (f'{{ wallet(address: "{EVM}") {{ holding(assetId: "eip155:1") {{ amount }} }} }}', "assetId"),
    ],
)
async def test_an_identifier_that_cannot_be_is_refused(demo: Graph, query: str, argument: str) -> None:
    assert (await refused(demo, query))[0] == argument


async def test_an_entity_that_cannot_be_is_refused_and_its_neighbours_are_answered(demo: Graph) -> None:
    query = """query ($r: [_Any!]!) { _entities(representations: $r) { ... on Wallet { address } } }"""
    entities = [{"__typename": "Wallet", "address": "0x12"}, {"__typename": "Wallet", "address": EVM}]
    response = await demo.respond(query, r=entities)
    assert response["data"]["_entities"] == [None, {"address": EVM}]
    (error,) = response["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "representations"}


async def test_what_nobody_knows_is_null_and_no_error(demo: Graph) -> None:
    unknown = "eip155:1/erc20:0x" + "99" * 20
    data = await demo.ask(
        """query ($x: AssetId!, $mint: AssetId!, $a: AccountAddress!, $ids: [ID!]!) {
          chain(chainId: "eip155:987654321") { name }
          token(assetId: $x) { symbol }
          tokens(assetIds: [$x, $mint]) { symbol }
          wallet(address: $a) { holdings(filter: {assetIds: [$mint]}) { totalCount } }
          nodes(ids: $ids) { id }
        }""",
        x=unknown,
        mint="solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/token:4wBqpZM9xaSheZzJSMawUKKwhdpChKbZ5eu5ky4Vigw",
        a=SOLANA,
        ids=[
            f"Token:{unknown}",
            "Chain:eip155:987654321",
            "AssetGroup:ob:nothing",
        ],
    )
    assert data == {
        "chain": None,
        "token": None,
        "tokens": [None, None],
        "wallet": {"holdings": {"totalCount": 0}},
        "nodes": [None, None, None],
    }


async def test_a_bad_id_among_others_costs_them_nothing(demo: Graph) -> None:
    response = await demo.respond(
        "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["Wallet:0x12", f"Wallet:{EVM}"]
    )
    assert response["data"]["nodes"] == [None, {"id": f"Wallet:{EVM}"}]
    (error,) = response["errors"]
    assert error["path"] == ["nodes", 0]
    assert error["message"].count('"0x12"') == 1


async def test_a_portfolio_counts_an_address_once_however_often_it_is_named(demo: Graph) -> None:
    query = "query ($a: [AccountAddress!]!) { portfolio(addresses: $a) { wallets { address } } }"
    data = await demo.ask(query, a=[f"eip155:{chain}:{EVM}" for chain in range(1, 40)])
    assert data["portfolio"]["wallets"] == [{"address": EVM}]


async def test_a_cursor_goes_with_any_order_of_the_addresses(demo: Graph) -> None:
    query = """query ($a: [AccountAddress!]!, $after: String) {
      portfolio(addresses: $a) { holdings(first: 3, after: $after) { nodes { id } pageInfo { endCursor } } }
    }"""
    first = (await demo.ask(query, a=[EVM, SOLANA]))["portfolio"]["holdings"]
    cursor = first["pageInfo"]["endCursor"]
    one = await demo.ask(query, a=[EVM, SOLANA], after=cursor)
    assert await demo.ask(query, a=[SOLANA, EVM], after=cursor) == one


async def test_errors_of_the_document_have_codes_of_their_own(demo: Graph) -> None:
    for query, code in [
        ("{ wallet(", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ wallet { id } }", "GRAPHQL_VALIDATION_FAILED"),
    ]:
        (error,) = (await demo.respond(query))["errors"]
        assert error["extensions"]["code"] == code


async def test_a_fault_of_ours_is_masked_and_logged(
    demo: Graph, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret is demo-key")

    monkeypatch.setattr("schema.query.resolve_chains", fail)
    response = await demo.respond("{ chains { name } }")
    (error,) = response["errors"]
    assert error["message"] == "Internal server error"
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert "demo-key" not in str(response)
    assert "demo-key" in caplog.text
    (told,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert vars(told)["fields"]["error_id"] == error["extensions"]["errorId"]
