"""What the simulated Ondo GM promises: the published examples, and the traps its reference lists."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.ondo import DECIMALS, OndoAsset, OndoDataset, OndoSimulator

PUBLISHED = json.loads((Path(__file__).parents[3] / "data" / "ondo.json").read_text())
RESPONSES = PUBLISHED["responses"]

AAPL = "0x14c3abF95Cb9C93a8b82C1CdCB76D72Cb87b2d4c"
TSLA = "0xf6b1117ec07684D3958caD8BEb1b302bfD21103f"
AAPL_MINT = "123mYEnRLM2LLYsJW3K6oyYh8uP1fngj732iG638ondo"
ONE = "0x13116e8b4ffc8125b859ec60917fba540e59e55e"
BOTH = "0x1db995cb2b3d9679383f0e597704a41e1521f4e1"
SOLANA_HOLDER = "J5CCzBULFax899tcirb6wMbenQUd8whbaetG7EfSick5"

APPLE = OndoAsset(
    symbol="AAPLon",
    ticker="AAPL",
    name="Apple (Ondo Tokenized)",
    addresses={
        "ethereum-1": AAPL,
        "bsc-56": "0x390a684EF9cADE28A7AD0DFa61AB1Eb3842618c4",
    },
    coingecko_id="apple-ondo-tokenized-stock",
    coinmarketcap_id="38037",
    price="171.383708297189751178",
    underlying_price="228.330909",
    underlying_name="Apple Inc.",
    supplies={"ethereum-1": "72.428346190773568025"},
    timestamp=1755888858893,
)
TESLA = OndoAsset(
    symbol="TSLAon",
    ticker="TSLA",
    name="Tesla (Ondo Tokenized)",
    addresses={"ethereum-1": TSLA},
    price="48.516937826065743784",
    underlying_price="338.88",
    timestamp=1755888858907,
)


def published_dataset() -> OndoDataset:
    dataset = OndoDataset()
    dataset.add_asset(APPLE)
    dataset.add_asset(TESLA)
    for token in RESPONSES["getBalances"]["tokens"]:
        for row in token["balances"]:
            dataset.add_balance(
                chain="ethereum-1",
                symbol=token["tokenSymbol"],
                account=row["holderAddress"]["account"],
                balance=row["balance"],
            )
    return dataset


@dataclass
class Answer:
    status: int
    body: Any
    text: str
    headers: Mapping[str, str]


class Client:
    def __init__(self, session: ClientSession, simulator: OndoSimulator) -> None:
        self.session = session
        self.simulator = simulator

    async def get(self, path: str, key: str | None = "demo-key", **params: str) -> Answer:
        headers = {} if key is None else {"x-api-key": key}
        async with self.session.get(self.simulator.url + path, params=params, headers=headers) as response:
            text = await response.text()
            return Answer(response.status, json.loads(text), text, response.headers)


@pytest.fixture
async def ondo() -> AsyncIterator[Client]:
    simulator = OndoSimulator(published_dataset())
    async with simulator, ClientSession() as session:
        yield Client(session, simulator)


BALANCES = "/v1/chains/ethereum-1/balances"


async def test_without_a_filter_a_whole_chain_comes_as_published(ondo: Client) -> None:
    answer = await ondo.get(BALANCES)
    assert (answer.status, answer.body) == (200, RESPONSES["getBalances"])


async def test_the_whole_chain_shows_a_balance_added_later(ondo: Client) -> None:
    before = await ondo.get("/v1/chains/bsc-56/balances")
    ondo.simulator.dataset.add_balance(chain="bsc-56", symbol="AAPLon", account=ONE, balance="3")
    after = await ondo.get("/v1/chains/bsc-56/balances")
    assert before.body == {"tokens": []}
    assert after.body["tokens"][0]["balances"] == [{"holderAddress": {"account": ONE}, "balance": "3"}]


async def test_a_user_is_given_all_own_tokens_and_nobody_elses(ondo: Client) -> None:
    answer = await ondo.get(BALANCES, userAddress=BOTH)
    assert [(token["tokenSymbol"], token["balances"]) for token in answer.body["tokens"]] == [
        ("AAPLon", [{"holderAddress": {"account": BOTH}, "balance": "0.641380199330235549"}]),
        ("TSLAon", [{"holderAddress": {"account": BOTH}, "balance": "0.088854297224463519"}]),
    ]


async def test_a_token_is_given_with_all_its_holders(ondo: Client) -> None:
    answer = await ondo.get(BALANCES, tokenAddress=AAPL)
    assert answer.body == {"tokens": RESPONSES["getBalances"]["tokens"][:1]}


async def test_token_and_user_together_give_one_row(ondo: Client) -> None:
    answer = await ondo.get(BALANCES, tokenAddress=TSLA, userAddress=BOTH)
    assert [token["balances"][0]["balance"] for token in answer.body["tokens"]] == ["0.088854297224463519"]


async def test_evm_addresses_match_in_any_case_and_are_answered_in_lower_case(ondo: Client) -> None:
    answer = await ondo.get(BALANCES, tokenAddress=AAPL.upper(), userAddress=ONE.upper())
    assert answer.body["tokens"][0]["tokenAddress"] == AAPL.lower()
    assert answer.body["tokens"][0]["balances"][0]["holderAddress"] == {"account": ONE}


async def test_base58_addresses_match_exactly(ondo: Client) -> None:
    dataset = ondo.simulator.dataset
    dataset.add_asset(replace(APPLE, addresses={"solana-900": AAPL_MINT}))
    dataset.add_balance(chain="solana-900", symbol="AAPLon", account=SOLANA_HOLDER, balance="1.5")
    path = "/v1/chains/solana-900/balances"
    exact = await ondo.get(path, userAddress=SOLANA_HOLDER, tokenAddress=AAPL_MINT)
    folded = await ondo.get(path, userAddress=SOLANA_HOLDER.lower())
    assert exact.body["tokens"][0]["tokenAddress"] == AAPL_MINT
    assert exact.body["tokens"][0]["balances"][0]["holderAddress"] == {"account": SOLANA_HOLDER}
    assert folded.body == {"tokens": []}


@pytest.mark.parametrize("balance", ["1.500000000000000000", "0.000000000000000001", "100000000000000000000", "0"])
async def test_balances_keep_every_digit_and_never_have_an_exponent(ondo: Client, balance: str) -> None:
    ondo.simulator.dataset.add_balance(chain="bsc-56", symbol="AAPLon", account=ONE, balance=balance)
    answer = await ondo.get("/v1/chains/bsc-56/balances", userAddress=ONE)
    assert f'"balance":"{balance}"' in answer.text


@pytest.mark.parametrize("balance", ["1e3", "-1", "1.", "", "NaN", "0.1234567890123456789"])
def test_what_is_no_plain_decimal_is_refused_as_a_balance(balance: str) -> None:
    with pytest.raises(ValueError, match="not a plain decimal"):
        published_dataset().add_balance(chain="bsc-56", symbol="AAPLon", account=ONE, balance=balance)


async def test_a_holder_without_tokens_gets_none_by_default(ondo: Client) -> None:
    answer = await ondo.get(BALANCES, userAddress="0x" + "0" * 40)
    assert (answer.status, answer.body) == (200, {"tokens": []})


async def test_a_holder_without_tokens_can_get_them_with_empty_balances(ondo: Client) -> None:
    ondo.simulator.empty_style = "empty-balances"
    answer = await ondo.get(BALANCES, userAddress="0x" + "0" * 40)
    assert answer.body["tokens"] == [
        {"tokenAddress": AAPL.lower(), "tokenSymbol": "AAPLon", "balances": []},
        {"tokenAddress": TSLA.lower(), "tokenSymbol": "TSLAon", "balances": []},
    ]


async def test_a_holder_can_get_zero_rows_beside_the_tokens_held(ondo: Client) -> None:
    ondo.simulator.empty_style = "zero-rows"
    answer = await ondo.get(BALANCES, userAddress=ONE)
    rows = [(token["tokenSymbol"], token["balances"][0]["balance"]) for token in answer.body["tokens"]]
    assert rows == [("AAPLon", "0.467583800117038432"), ("TSLAon", "0")]


@pytest.mark.parametrize("chain", ["ethereum", "eip155:1", "solana", "1"])
async def test_an_unknown_chain_is_invalid(ondo: Client, chain: str) -> None:
    answer = await ondo.get(f"/v1/chains/{chain}/balances")
    assert (answer.status, answer.body) == (400, PUBLISHED["errorEnvelope"]["invalidChain"])


async def test_a_paused_chain_says_so_and_leaves_the_others_alone(ondo: Client) -> None:
    ondo.simulator.paused_chains.add("bsc-56")
    paused, open_ = await ondo.get("/v1/chains/bsc-56/balances"), await ondo.get(BALANCES)
    assert (paused.status, paused.body["code"], open_.status) == (400, "PAUSED_GM_CHAIN", 200)


@pytest.mark.parametrize("path", [BALANCES, "/v1/assets/all/metadata", "/v1/nowhere"])
@pytest.mark.parametrize("key", [None, "wrong"])
async def test_without_the_right_key_the_gateway_forbids_without_a_code(
    ondo: Client, path: str, key: str | None
) -> None:
    answer = await ondo.get(path, key=key)
    gateway = PUBLISHED["gatewayErrors"][0]
    assert (answer.status, answer.body) == (gateway["status"], gateway["body"])
    assert {name: answer.headers.get(name) for name in gateway["headers"]} == gateway["headers"]


async def test_a_path_outside_the_api_is_forbidden_too(ondo: Client) -> None:
    answer = await ondo.get("/", key=None)
    gateway = PUBLISHED["gatewayErrors"][1]
    assert (answer.status, answer.body) == (403, {"message": "Forbidden"})
    assert {name: answer.headers.get(name) for name in gateway["headers"]} == gateway["headers"]


async def test_a_wrong_key_can_meet_the_documented_401(ondo: Client) -> None:
    ondo.simulator.wrong_key_answers_403 = False
    wrong, none = await ondo.get(BALANCES, key="wrong"), await ondo.get(BALANCES, key=None)
    assert (wrong.status, wrong.body) == (401, PUBLISHED["errorEnvelope"]["invalidKey"])
    assert none.status == 403


async def test_over_the_limit_is_429_without_a_retry_after_until_a_minute_has_passed(ondo: Client) -> None:
    now = 1000.0
    ondo.simulator.clock = lambda: now
    ondo.simulator.requests_per_minute = 2
    answers = [await ondo.get(BALANCES) for _ in range(3)]
    now += 60
    later = await ondo.get(BALANCES)
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].body == PUBLISHED["errorEnvelope"]["rateLimited"]
    assert "retry-after" not in answers[2].headers
    assert later.status == 200


@pytest.mark.parametrize("path", ["/v1/assets/AAPLon/market", "/v1/nowhere", "/v1/assets/all/metadata/"])
async def test_other_paths_are_404_with_a_code(ondo: Client, path: str) -> None:
    answer = await ondo.get(path)
    assert (answer.status, answer.body["code"]) == (404, "RESOURCE_NOT_FOUND")


async def test_token_info_comes_as_published(ondo: Client) -> None:
    answer = await ondo.get(f"/v1/chains/ethereum-1/tokens/{AAPL}/info")
    assert answer.body == RESPONSES["getTokenInfo"]


async def test_a_supply_that_is_not_stated_is_the_sum_of_the_balances(ondo: Client) -> None:
    answer = await ondo.get(f"/v1/chains/ethereum-1/tokens/{TSLA}/info")
    assert answer.body["token"]["tokenSupply"] == {"value": "0.119449121813836483"}


async def test_an_unknown_token_has_no_info(ondo: Client) -> None:
    answer = await ondo.get(f"/v1/chains/ethereum-1/tokens/{ONE}/info")
    assert (answer.status, answer.body["code"]) == (404, "ASSET_NOT_FOUND")


async def test_metadata_and_addresses_come_as_published(ondo: Client) -> None:
    metadata, addresses = (
        await ondo.get("/v1/assets/all/metadata"),
        await ondo.get("/v1/assets/all/addresses"),
    )
    assert metadata.body[0] == RESPONSES["getAllAssetMetadata"][0]
    assert addresses.body[0] == RESPONSES["getAllAssetAddresses"][0]


async def test_metadata_leaves_out_what_is_not_known(ondo: Client) -> None:
    metadata = await ondo.get("/v1/assets/all/metadata")
    assert metadata.body[1].keys() == {"symbol", "ticker", "addresses", "tags"}


async def test_solana_mints_have_nine_decimals_and_evm_tokens_eighteen(ondo: Client) -> None:
    ondo.simulator.dataset.add_asset(replace(APPLE, addresses={"solana-900": AAPL_MINT, "ethereum-1": AAPL}))
    addresses = (await ondo.get("/v1/assets/all/addresses")).body[0]["addresses"]
    assert {row["networkChainId"]: row["decimals"] for row in addresses} == {
        "ethereum-1": 18,
        "solana-900": 9,
    }
    assert DECIMALS["bsc-56"] == 18


async def test_prices_come_as_published_in_the_order_asked_for(ondo: Client) -> None:
    path = "/v1/assets/all/prices/latest"
    falling, rising = await ondo.get(path, sort="desc"), await ondo.get(path, sort="asc")
    assert falling.body == RESPONSES["getAllPrices"]
    assert rising.body == RESPONSES["getAllPrices"][::-1]


async def test_another_order_is_invalid(ondo: Client) -> None:
    answer = await ondo.get("/v1/assets/all/prices/latest", sort="up")
    assert (answer.status, answer.body["code"]) == (400, "INVALID_SORT")


async def test_prices_with_the_change_of_a_day_come_as_published(ondo: Client) -> None:
    dataset = OndoDataset()
    for row in RESPONSES["getAllAssetEnhancedPrices"]:
        dataset.add_asset(
            OndoAsset(
                symbol=row["symbol"],
                ticker=row["symbol"].removesuffix("on"),
                name=row["symbol"],
                addresses={},
                price=row["price"],
                change_24h=row["priceChange24h"],
                change_percent_24h=row["priceChangePct24h"],
                timestamp=row["timestamp"],
            )
        )
    ondo.simulator.dataset = dataset
    assert (await ondo.get("/v1/assets/all/prices/latest/enhanced")).body == RESPONSES["getAllAssetEnhancedPrices"]


def published_market(row: dict[str, Any], address: str) -> OndoAsset:
    token, share = row["primaryMarket"], dict(row["underlyingMarket"])
    sessions = token.get("tradableSessions")
    return OndoAsset(
        symbol=token["symbol"],
        ticker=share.pop("ticker"),
        name=token["symbol"],
        addresses={"ethereum-1": address},
        price=token["price"],
        underlying_price=share.pop("price"),
        underlying_name=share.pop("name"),
        underlying_figures=share,
        change_24h=token["priceChange24h"],
        change_percent_24h=token["priceChangePct24h"],
        history_24h=tuple((point["timestamp"], point["price"]) for point in token["priceHistory24h"]),
        shares_multiplier=token["sharesMultiplier"],
        tradable_sessions=None if sessions is None else tuple(sessions),
        timestamp=row["timestamp"],
    )


async def test_markets_come_as_published_without_the_sessions_of_some(ondo: Client) -> None:
    dataset = OndoDataset()
    for number, row in enumerate(RESPONSES["getAllMarkets"]):
        asset = published_market(row, f"0x{number:040x}")
        dataset.add_asset(asset)
        for holder in range(row["primaryMarket"]["totalHolders"]):
            account = f"0x{holder:040x}"
            dataset.add_balance(chain="ethereum-1", symbol=asset.symbol, account=account, balance="1")
    ondo.simulator.dataset = dataset
    assert (await ondo.get("/v1/assets/all/market")).body == RESPONSES["getAllMarkets"]


async def test_a_basket_has_constituents_and_no_underlying_market(ondo: Client) -> None:
    ondo.simulator.dataset.add_asset(replace(TESLA, symbol="MAGon", ticker="MAG", constituents=("AAPLon", "TSLAon")))
    market = {row["primaryMarket"]["symbol"]: row for row in (await ondo.get("/v1/assets/all/market")).body}
    assert market["MAGon"]["underlyingMarket"] is None
    assert market["MAGon"]["constituentTokens"] == ["AAPLon", "TSLAon"]


async def test_an_asset_without_a_price_is_registered_but_in_no_price_list(ondo: Client) -> None:
    ondo.simulator.dataset.add_asset(replace(APPLE, symbol="NEWon", price=None))
    metadata = {row["symbol"] for row in (await ondo.get("/v1/assets/all/metadata")).body}
    prices = {row["symbol"] for row in (await ondo.get("/v1/assets/all/prices/latest/enhanced")).body}
    assert (metadata - prices, prices) == ({"NEWon"}, {"AAPLon", "TSLAon"})


async def test_faults_come_before_answers(ondo: Client) -> None:
    internal = json.dumps(PUBLISHED["errorEnvelope"]["internal"]).encode()
    ondo.simulator.inject(Fault(status=500, body=internal, path="*/bsc-56/*"))
    failed, answered = await ondo.get("/v1/chains/bsc-56/balances"), await ondo.get(BALANCES)
    assert (failed.status, failed.body["code"], answered.status) == (500, "INTERNAL_ERROR", 200)


async def test_requests_are_remembered_with_what_they_asked_for(ondo: Client) -> None:
    await ondo.get(BALANCES, userAddress=ONE)
    assert [request.param("userAddress") for request in ondo.simulator.asked("*/balances")] == [ONE]
