"""What the simulated OneBalance promises: the published examples, and the traps its reference lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.onebalance import (
    OneBalanceAsset,
    OneBalanceDataset,
    OneBalanceEntity,
    OneBalanceSimulator,
)

PUBLISHED = json.loads((Path(__file__).parents[3] / "data" / "onebalance.json").read_text())
ERRORS = PUBLISHED["errors"]
SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"

EVM = "0xfe52613d747E20F2f62e0A5cC36B0DFAe771C442"
OTHER_EVM = "0x13116e8b4ffc8125b859ec60917fba540e59e55e"
SVM = "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5"
ARBITRUM_USDC = "eip155:42161/erc20:0xaf88d065e77c8cC2239327C5EDb3A432268e5831"
BASE_USDC = "eip155:8453/erc20:0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
BSC_USDC = "eip155:56/erc20:0x8AC76a51cc950d9822D68b83fE1Ad97B32Cd580d"
SOLANA_USDC = f"{SOLANA}/token:EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
SOL = f"{SOLANA}/slip44:501"
BONK = f"{SOLANA}/token:DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"

BALANCE = "/v3/balances/aggregated-balance"
BOTH = f"eip155:42161:{EVM},solana:{SVM}"


def asset(row: dict[str, Any]) -> OneBalanceAsset:
    entities = [
        OneBalanceEntity(entity["assetType"], entity["decimals"], entity["name"], entity["symbol"])
        for entity in row["aggregatedEntities"]
    ]
    return OneBalanceAsset(
        row["aggregatedAssetId"], row["symbol"], row["name"], row["decimals"], entities, row.get("logoUrl")
    )


def single(asset_type: str, symbol: str, decimals: int) -> OneBalanceAsset:
    entity = OneBalanceEntity(asset_type, decimals, symbol, symbol)
    return OneBalanceAsset("ob:single", symbol, symbol, decimals, [entity])


def dataset() -> OneBalanceDataset:
    dataset = OneBalanceDataset(chains=[row["chain"]["chain"] for row in PUBLISHED["supportedChains"]])
    for row in [*PUBLISHED["assetsList"], PUBLISHED["usdcMixedDecimals"]]:
        dataset.add_asset(asset(row))
    dataset.add_asset(single(SOL, "SOL", 9))
    dataset.add_asset(single(BONK, "BONK", 5))
    dataset.add_balance(account=EVM, asset_type=ARBITRUM_USDC, balance="105", fiat_value="0.000105")
    dataset.add_balance(account=SVM, asset_type=SOLANA_USDC, balance="4383227", fiat_value="4.383234")
    dataset.add_balance(account=SVM, asset_type=SOL, balance="15000000", fiat_value="2.51")
    return dataset


@dataclass
class Answer:
    status: int
    body: Any
    text: str
    headers: Mapping[str, str]


class Client:
    def __init__(self, session: ClientSession, simulator: OneBalanceSimulator) -> None:
        self.session = session
        self.simulator = simulator

    async def get(self, path: str = BALANCE, key: str | None = "demo-key", **params: str) -> Answer:
        headers = {} if key is None else {"x-api-key": key}
        async with self.session.get(self.simulator.url + path, params=params, headers=headers) as response:
            text = await response.text()
            body = json.loads(text, parse_float=Decimal) if "json" in response.content_type else None
            return Answer(response.status, body, text, response.headers)


@pytest.fixture
async def onebalance() -> AsyncIterator[Client]:
    simulator = OneBalanceSimulator(dataset())
    async with simulator, ClientSession() as session:
        yield Client(session, simulator)


def rows(answer: Answer, entry: int = 0) -> dict[str, str]:
    parts = answer.body["balanceByAggregatedAsset"][entry]["individualAssetBalances"]
    return {part["assetType"]: part["balance"] for part in parts}


# The published examples

EXAMPLES = {
    "EVMOnlyBalance": ([EVM], ["ob:eth", "ob:usdc"], []),
    "SolanaOnlyBalance": ([SVM], ["ob:single"], []),
    "MultichainBalance": (
        [EVM, SVM],
        ["ob:eth", "ob:usdc", "ob:single"],
        ["eip155:1/erc20:0xae7ab96520de3a18e5e111b5eaab095312d7fe84"],
    ),
    "FilteredAggregatedAssets": ([EVM, SVM], ["ob:usdc", "ob:arb"], []),
    "SpecificAssetBalance": ([EVM, SVM], [], [ARBITRUM_USDC, SOLANA_USDC]),
}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_a_canned_answer_comes_as_it_was_published(onebalance: Client, name: str) -> None:
    accounts, aggregates, asset_types = EXAMPLES[name]
    published = orjson.dumps(PUBLISHED["v3Responses"][name])
    onebalance.simulator.dataset.can(
        published, accounts=accounts, aggregated_asset_ids=aggregates, asset_types=asset_types
    )
    answer = await onebalance.get(
        account=",".join(f"eip155:1:{one}" if one == EVM else f"solana:{one}" for one in accounts),
        aggregatedAssetId=",".join(reversed(aggregates)),
        assetId=",".join(asset_types),
    )
    other = await onebalance.get(account=f"eip155:1:{OTHER_EVM}", aggregatedAssetId="ob:usdt")
    assert answer.text == published.decode()
    assert other.text != answer.text


async def test_the_example_of_specific_assets_comes_out_of_the_rows_when_they_are_not_priced(
    onebalance: Client,
) -> None:
    onebalance.simulator.price_specific_assets = False
    answer = await onebalance.get(account=BOTH, assetId=PUBLISHED["request"]["assetId"])
    assert answer.body == PUBLISHED["v3Responses"]["SpecificAssetBalance"]


async def test_an_aggregate_can_differ_from_its_rows_for_exactly_these_accounts(onebalance: Client) -> None:
    onebalance.simulator.dataset.report(
        accounts=[EVM, SVM],
        aggregated_asset_id="ob:usdc",
        balance="848936437",
        fiat_value="4.383338999999999",
    )
    pair = await onebalance.get(account=BOTH, aggregatedAssetId="ob:usdc")
    alone = await onebalance.get(account=f"solana:{SVM}", aggregatedAssetId="ob:usdc")
    assert pair.body["balanceByAggregatedAsset"][0]["balance"] == "848936437"
    assert pair.text.endswith(
        '"fiatValue":4.383338999999999}],"balanceBySpecificAsset":[],"totalBalance":{"fiatValue":4.383338999999999}}'
    )
    assert alone.body["balanceByAggregatedAsset"][0]["balance"] == "4383227"


# Aggregated assets


async def test_every_entity_in_the_namespaces_of_the_accounts_has_a_row_zero_or_not(
    onebalance: Client,
) -> None:
    pair = await onebalance.get(account=BOTH, aggregatedAssetId="ob:usdc")
    evm = await onebalance.get(account=f"eip155:1:{EVM}", aggregatedAssetId="ob:usdc")
    assert rows(pair) == {ARBITRUM_USDC: "105", BASE_USDC: "0", BSC_USDC: "0", SOLANA_USDC: "4383227"}
    assert rows(evm) == {ARBITRUM_USDC: "105", BASE_USDC: "0", BSC_USDC: "0"}


async def test_an_unknown_wallet_has_zero_rows_too(onebalance: Client) -> None:
    answer = await onebalance.get(account=f"eip155:1:{OTHER_EVM}", aggregatedAssetId="ob:usdt")
    assert set(rows(answer).values()) == {"0"}
    assert answer.body["totalBalance"] == {"fiatValue": 0}


async def test_the_balances_of_both_accounts_are_summed_in_the_decimals_of_the_aggregate(
    onebalance: Client,
) -> None:
    onebalance.simulator.dataset.add_balance(
        account=EVM, asset_type=BSC_USDC, balance="2500000999999999999", fiat_value="2.5"
    )
    answer = await onebalance.get(account=BOTH, aggregatedAssetId="ob:usdc")
    aggregate = answer.body["balanceByAggregatedAsset"][0]
    assert rows(answer)[BSC_USDC] == "2500000999999999999"
    assert aggregate["balance"] == str(105 + 4383227 + 2500000)
    assert aggregate["fiatValue"] == Decimal("6.883339")
    assert answer.body["totalBalance"] == {"fiatValue": Decimal("6.883339")}


async def test_what_the_rescaling_cuts_off_is_cut_off_the_sum_and_not_each_row(onebalance: Client) -> None:
    halves = [OneBalanceEntity(f"eip155:{chain}/slip44:60", 1, "Half", "HALF") for chain in (1, 10)]
    onebalance.simulator.dataset.add_asset(OneBalanceAsset("ob:half", "HALF", "Half", 0, halves))
    for entity in halves:
        onebalance.simulator.dataset.add_balance(account=EVM, asset_type=entity.asset_type, balance=5)
    answer = await onebalance.get(account=f"eip155:1:{EVM}", aggregatedAssetId="ob:half")
    assert answer.body["balanceByAggregatedAsset"][0]["balance"] == "1"


async def test_single_assets_repeat_their_common_id(onebalance: Client) -> None:
    answer = await onebalance.get(account=f"solana:{SVM}", aggregatedAssetId="ob:single,ob:single")
    entries = answer.body["balanceByAggregatedAsset"]
    assert [entry["aggregatedAssetId"] for entry in entries] == ["ob:single", "ob:single"]
    assert [rows(answer, number) for number in (0, 1)] == [{SOL: "15000000"}, {BONK: "0"}]


async def test_an_aggregate_that_the_accounts_cannot_hold_is_left_out(onebalance: Client) -> None:
    answer = await onebalance.get(account=f"eip155:1:{EVM}", aggregatedAssetId="ob:single,ob:usdt")
    assert [entry["aggregatedAssetId"] for entry in answer.body["balanceByAggregatedAsset"]] == ["ob:usdt"]


async def test_an_unknown_aggregate_is_ignored(onebalance: Client) -> None:
    answer = await onebalance.get(account=BOTH, aggregatedAssetId="ob:nothing")
    assert (answer.status, answer.body["balanceByAggregatedAsset"]) == (200, [])


async def test_asset_types_are_answered_in_the_case_they_are_registered_in(onebalance: Client) -> None:
    onebalance.simulator.dataset.add_balance(account=EVM, asset_type=BSC_USDC.lower(), balance=7)
    answer = await onebalance.get(account=f"eip155:1:{EVM.lower()}", aggregatedAssetId="ob:usdc")
    assert {BSC_USDC, BASE_USDC} <= rows(answer).keys()
    assert rows(answer)[BSC_USDC] == "7"


# Specific assets


async def test_a_specific_asset_has_one_row_in_the_case_it_was_asked_in(onebalance: Client) -> None:
    asked = [ARBITRUM_USDC.upper().replace("EIP155", "eip155").replace("ERC20:0X", "erc20:0x"), SOLANA_USDC]
    answer = await onebalance.get(account=BOTH, assetId=",".join(asked))
    assert answer.body["balanceByAggregatedAsset"] == []
    assert answer.body["balanceBySpecificAsset"] == [
        {"assetType": asked[0], "balance": "105", "fiatValue": Decimal("0.000105")},
        {"assetType": SOLANA_USDC, "balance": "4383227", "fiatValue": Decimal("4.383234")},
    ]
    assert answer.body["totalBalance"] == {"fiatValue": Decimal("4.383339")}


async def test_solana_assets_match_exactly(onebalance: Client) -> None:
    answer = await onebalance.get(account=BOTH, assetId=SOLANA_USDC.lower())
    assert answer.body["balanceBySpecificAsset"] == [
        {"assetType": SOLANA_USDC.lower(), "balance": "0", "fiatValue": 0}
    ]


async def test_an_unpriced_balance_is_worth_the_number_zero(onebalance: Client) -> None:
    spam = "eip155:1/erc20:0x00000000000000000000000000000000000000aa"
    onebalance.simulator.dataset.add_balance(account=EVM, asset_type=spam, balance=10**30)
    answer = await onebalance.get(account=BOTH, assetId=spam)
    assert f'"balance":"{10**30}","fiatValue":0}}' in answer.text


@pytest.mark.parametrize("number", ["4.383338999999999", "0.10", "1e-7", "123456789012345678901.123456789"])
async def test_fiat_values_are_sent_digit_by_digit(onebalance: Client, number: str) -> None:
    onebalance.simulator.dataset.add_balance(account=SVM, asset_type=BONK, balance=1, fiat_value=number)
    answer = await onebalance.get(account=BOTH, assetId=BONK)
    assert f'"fiatValue":{number}}}],' in answer.text


@pytest.mark.parametrize("number", ["", "NaN", "01", "1.", ".5", '1}, "x": {'])
def test_what_is_no_json_number_is_refused_as_a_fiat_value(number: str) -> None:
    with pytest.raises(ValueError, match="not the text of a JSON number"):
        dataset().add_balance(account=SVM, asset_type=BONK, balance=1, fiat_value=number)


@pytest.mark.parametrize("balance", ["1.5", "-1", "1e3", ""])
def test_what_is_no_integer_is_refused_as_a_balance(balance: str) -> None:
    with pytest.raises(ValueError, match="not a number of smallest units"):
        dataset().add_balance(account=SVM, asset_type=BONK, balance=balance)


# Accounts


@pytest.mark.parametrize(
    ("account", "accounts"),
    [
        (f"eip155:1:{EVM}", {"evm": EVM}),
        (f"eip155:42161:{EVM.lower()}", {"evm": EVM.lower()}),
        (f"solana:{SVM}", {"solana": SVM}),
        (f"{SOLANA}:{SVM}", {"solana": SVM}),
        (f"{SOLANA}:{SVM},eip155:10:{EVM}", {"evm": EVM, "solana": SVM}),
    ],
)
async def test_accounts_are_echoed_by_kind_with_their_case(
    onebalance: Client, account: str, accounts: dict[str, str]
) -> None:
    answer = await onebalance.get(account=account, aggregatedAssetId="ob:usdc")
    assert answer.body["accounts"] == accounts


@pytest.mark.parametrize(
    "account",
    [
        "",
        EVM,
        SVM,
        f"eip155:1:{EVM[:-1]}",
        f"bip122:1:{SVM}",
        f"eip155:1:{EVM},eip155:1:{OTHER_EVM}",
        f"solana:{SVM},{SOLANA}:{SVM}",
    ],
)
async def test_other_accounts_and_two_of_a_kind_are_not_valid(onebalance: Client, account: str) -> None:
    answer = await onebalance.get(account=account, aggregatedAssetId="ob:usdc")
    assert (answer.status, answer.body["error"], answer.body["statusCode"]) == (400, "Validation failed", 400)
    assert answer.body["message"].startswith("Validation error: ")
    assert answer.body["message"].endswith(' at "account"')


# Errors


@pytest.mark.parametrize("params", [{}, {"aggregatedAssetId": ""}, {"assetId": ",", "aggregatedAssetId": " "}])
async def test_without_a_filter_the_published_error_comes(onebalance: Client, params: dict[str, str]) -> None:
    answer = await onebalance.get(account=BOTH, **params)
    assert (answer.status, answer.body) == (400, ERRORS["missingFilter"]["body"])


async def test_an_asset_id_that_is_no_caip_19_is_not_valid(onebalance: Client) -> None:
    answer = await onebalance.get(account=BOTH, assetId="ob:usdc")
    assert (answer.status, answer.body["error"]) == (400, "Validation failed")


@pytest.mark.parametrize("key", [None, "wrong"])
@pytest.mark.parametrize("path", [BALANCE, "/api/assets/list", "/nowhere"])
async def test_without_the_right_key_the_published_error_comes(
    onebalance: Client, path: str, key: str | None
) -> None:
    answer = await onebalance.get(path, key=key)
    published = ERRORS["unauthorized"]["body"]
    assert answer.status == 401
    assert {**answer.body, "timestamp": 0, "path": 0} == {**published, "timestamp": 0, "path": 0}
    assert answer.body["path"] == path
    assert datetime.fromisoformat(answer.body["timestamp"]).tzinfo is not None


async def test_other_paths_are_not_found(onebalance: Client) -> None:
    answer = await onebalance.get("/api/v2/balances/aggregated-balance")
    assert (answer.status, answer.body["statusCode"]) == (404, 404)


async def test_a_host_that_is_gone_answers_404_to_everything(onebalance: Client) -> None:
    onebalance.simulator.gone = True
    answers = [await onebalance.get(path) for path in (BALANCE, "/api/assets/list", "/", "/nowhere")]
    assert [(answer.status, answer.body) for answer in answers] == [(404, None)] * 4


# Rate limits


async def test_every_reply_says_how_many_requests_are_left(onebalance: Client) -> None:
    onebalance.simulator.clock = lambda: 1000.25
    refused = await onebalance.get(key=None)
    answered = await onebalance.get("/assets/list")
    invalid = await onebalance.get(account=BOTH)
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    assert [[answer.headers[name] for name in names] for answer in (refused, answered, invalid)] == [
        ["1000000", "1000000", "1001"],
        ["1000000", "999999", "1061"],
        ["1000000", "999998", "1061"],
    ]


async def test_each_request_counts_for_exactly_a_minute() -> None:
    now = 0.0
    simulator = OneBalanceSimulator(dataset(), public_key=True)
    simulator.clock = lambda: now
    async with simulator, ClientSession() as session:
        client = Client(session, simulator)
        for second in range(60):
            now = 1000.0 + second / 2
            assert (await client.get("/chains/supported-list")).status == 200
        refused = await client.get("/chains/supported-list")
        now = float(refused.headers["x-ratelimit-reset"])
        statuses = [(await client.get("/chains/supported-list")).status for _ in range(2)]
    assert (refused.status, refused.headers["x-ratelimit-remaining"]) == (429, "0")
    assert {**refused.body, "timestamp": 0, "path": 0} == {
        **ERRORS["tooManyInferred"]["body"],
        "timestamp": 0,
        "path": 0,
    }
    assert (now, statuses) == (1060.0, [200, 429])


@pytest.mark.parametrize(("public_key", "statuses"), [(True, [200, 429]), (False, [200, 200])])
async def test_a_public_key_is_refused_a_second_request_at_the_same_time(
    public_key: bool, statuses: list[int]
) -> None:
    simulator = OneBalanceSimulator(dataset(), public_key=public_key)
    simulator.inject(Fault("delay", seconds=0.3))
    async with simulator, ClientSession() as session:
        client = Client(session, simulator)
        parallel = await asyncio.gather(client.get("/assets/list"), client.get("/assets/list"))
        after = await client.get("/assets/list")
    assert sorted(answer.status for answer in parallel) == statuses
    assert after.status == 200


async def test_a_request_that_its_client_gave_up_does_not_count_as_running() -> None:
    simulator = OneBalanceSimulator(dataset(), public_key=True)
    simulator.inject(Fault("hang", times=1))
    async with simulator, ClientSession() as session:
        client = Client(session, simulator)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.get("/assets/list"), 0.1)
        assert (await client.get("/assets/list")).status == 200


# Registers


async def test_the_register_comes_as_published(onebalance: Client) -> None:
    answer = await onebalance.get("/assets/list")
    assert answer.body[:2] == [*PUBLISHED["assetsList"], PUBLISHED["usdcMixedDecimals"]]
    assert [row["aggregatedAssetId"] for row in answer.body[2:]] == ["ob:single", "ob:single"]


async def test_a_logo_is_listed_where_there_is_one(onebalance: Client) -> None:
    onebalance.simulator.dataset.add_asset(
        OneBalanceAsset("ob:eth", "ETH", "Ether", 18, [], "https://example.com/eth.svg")
    )
    answer = await onebalance.get("/assets/list")
    assert [row["logoUrl"] for row in answer.body if "logoUrl" in row] == ["https://example.com/eth.svg"]


async def test_the_chains_come_as_published(onebalance: Client) -> None:
    answer = await onebalance.get("/chains/supported-list")
    assert answer.body == PUBLISHED["supportedChains"]


@pytest.mark.parametrize("path", ["/assets/list", "/chains/supported-list"])
async def test_the_api_prefix_makes_no_difference(onebalance: Client, path: str) -> None:
    assert (await onebalance.get(path)).text == (await onebalance.get(f"/api{path}")).text
