import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from yarl import URL

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.thegraph import TheGraphSimulator, js_number
from loaders.upstream.simulator.thegraph_dataset import (
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
    AccountBalance,
    TheGraphDataset,
)

DATA: dict[str, Any] = json.loads((Path(__file__).parents[3] / "data" / "thegraph.json").read_bytes())
EXECUTED: list[dict[str, Any]] = DATA["executed"]
DOCUMENTED: dict[str, Any] = {
    example["path"]: example["body"] for example in DATA["documented"] if example["status"] == 200
}
OWNER_A: str = DATA["labels"]["owner_a"]
OWNER_B: str = DATA["labels"]["owner_b"]
WSOL: str = DATA["labels"]["mints"]["WSOL"]
USDC: str = DATA["labels"]["mints"]["USDC"]
NATIVE_MINT = "So11111111111111111111111111111111111111111"
WALLET = "7AN6avKCJPMkXkW8kPwMuHmaWvJeHH69e8rKpLf9rdfk"
BALANCES = f"/v1/svm/balances?network=solana&owner={OWNER_A}"


class Client:
    """Asks a running simulator, with the token unless told otherwise."""

    def __init__(self, session: ClientSession, simulator: TheGraphSimulator) -> None:
        self._session = session
        self._simulator = simulator

    async def ask(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        if headers is None:
            headers = {"Authorization": f"Bearer {self._simulator.token}"}
        url = URL(self._simulator.url + path, encoded=True)
        async with self._session.request(method, url, headers=headers, allow_redirects=False) as response:
            lowered = {name.lower(): value for name, value in response.headers.items()}
            return response.status, lowered, await response.read()

    async def body(self, path: str) -> Any:
        return json.loads((await self.ask(path))[2])

    async def rows(self, path: str) -> list[dict[str, Any]]:
        status, _, body = await self.ask(path)
        assert status == 200, body
        rows: list[dict[str, Any]] = json.loads(body)["data"]
        return rows


@pytest.fixture
async def simulator() -> AsyncIterator[TheGraphSimulator]:
    simulator = TheGraphSimulator(TheGraphDataset.from_fixture(DATA["fixture"]), plan="pro")
    async with simulator:
        yield simulator


@pytest.fixture
async def client(simulator: TheGraphSimulator) -> AsyncIterator[Client]:
    async with ClientSession() as session:
        yield Client(session, simulator)


def stable(body: Any) -> Any:
    """A body without what differs from one answer to the next."""
    if not isinstance(body, dict):
        return body
    return {key: value for key, value in body.items() if key not in DATA["volatile_fields"]}


@pytest.mark.parametrize("pair", EXECUTED, ids=lambda pair: pair["id"])
async def test_an_executed_request_gets_the_recorded_answer(
    simulator: TheGraphSimulator, client: Client, pair: dict[str, Any]
) -> None:
    simulator.release = pair["implementation"]
    simulator.plan = pair["plan"]
    request = pair["request"]
    status, headers, body = await client.ask(
        request["path"],
        method=request["method"],
        headers={"Authorization": "Bearer demo-token"} | request.get("headers", {}),
    )
    assert status == pair["status"]
    relevant = {"location", "cache-control"} | ({"content-type"} & pair["headers"].keys())
    assert {name: value for name, value in headers.items() if name in relevant} == pair["headers"]
    answer = json.loads(body) if body else None
    assert stable(answer) == stable(pair["body"])
    if isinstance(answer, dict) and "data" in answer:
        assert answer.keys() == pair["body"].keys()
        assert answer["statistics"].keys() == pair["body"]["statistics"].keys()
        assert [list(row) for row in answer["data"]] == [list(row) for row in pair["body"]["data"]]


# The documented examples


def example_of(path: str) -> dict[str, Any]:
    row: dict[str, Any] = DOCUMENTED[path]["data"][0]
    return row


def time_of(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["last_update"])


async def test_the_documented_balance_is_served_with_its_documented_key(
    simulator: TheGraphSimulator, client: Client
) -> None:
    row = example_of("/v1/svm/balances")
    dataset = simulator.dataset = TheGraphDataset()
    dataset.add_mint(
        mint=row["mint"],
        decimals=row["decimals"],
        name=row["name"],
        symbol=row["symbol"],
        uri=row["uri"],
        program_id=row["program_id"],
    )
    dataset.add_token_account(
        owner=row["owner"],
        account=row["token_account"],
        mint=row["mint"],
        amount=int(row["amount"]),
        program_id=row["program_id"],
        block=row["last_update_block_num"],
        time=time_of(row),
    )
    simulator.account_key = "token_account"
    assert await client.rows(f"/v1/svm/balances?network=solana&owner={row['owner']}") == [row]


async def test_the_documented_native_balance_is_served(simulator: TheGraphSimulator, client: Client) -> None:
    row = example_of("/v1/svm/balances/native")
    simulator.dataset = TheGraphDataset()
    simulator.dataset.add_native(
        address=row["address"],
        lamports=int(row["amount"]),
        block=row["last_update_block_num"],
        time=time_of(row),
    )
    assert await client.rows(f"/v1/svm/balances/native?network=solana&address={row['address']}") == [row]


async def test_the_documented_tokens_are_served(simulator: TheGraphSimulator, client: Client) -> None:
    token, native = example_of("/v1/svm/tokens"), example_of("/v1/svm/tokens/native")
    dataset = simulator.dataset = TheGraphDataset()
    dataset.add_mint(
        mint=token["mint"],
        decimals=token["decimals"],
        name=token["name"],
        symbol=token["symbol"],
        supply=3549470253660017000,
        holders=token["holders"],
        block=token["last_update_block_num"],
        time=time_of(token),
    )
    dataset.add_native_supply(
        lamports=655531029852287400,
        holders=native["holders"],
        block=native["last_update_block_num"],
        time=time_of(native),
    )
    assert await client.rows(f"/v1/svm/tokens?network=solana&mint={token['mint']}") == [token]
    assert await client.rows("/v1/svm/tokens/native?network=solana") == [native]


async def test_the_documented_owner_is_served_without_is_closed(client: Client) -> None:
    row = example_of("/v1/svm/owner")
    del row["is_closed"]
    assert await client.rows(f"/v1/svm/owner?network=solana&account={row['account']}") == [row]


async def test_the_documented_network_is_served(simulator: TheGraphSimulator, client: Client) -> None:
    network = DOCUMENTED["/v1/networks"]["networks"][0]
    simulator.dataset.add_network(
        id=network["id"],
        full_name=network["fullName"],
        short_name=network["shortName"],
        native_token=network["nativeToken"],
        caip2_id=network["caip2Id"],
        icon="ethereum",
        aliases=network["aliases"],
        version="0.2.2",
        categories=["transfers"],
        block=24278225,
        time=datetime.fromisoformat("2026-01-20 19:57:11"),
    )
    assert await client.body("/v1/networks") == DOCUMENTED["/v1/networks"]


async def test_networks_are_sorted_and_can_be_chosen(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.dataset.add_network()
    simulator.dataset.add_network(id="mainnet", caip2_id="eip155:1")

    async def ids(query: str) -> list[str]:
        return [network["id"] for network in (await client.body(f"/v1/networks{query}"))["networks"]]

    assert await ids("") == ["mainnet", "solana"]
    assert await ids("?network=solana") == ["solana"]
    assert await ids("?network=solana,mainnet") == ["mainnet", "solana"]
    refused = await client.body("/v1/networks?network=nope")
    assert refused == {
        "status": 400,
        "code": "bad_query_input",
        "message": "[invalid_union] network: Invalid input",
    }


async def test_health_and_version_are_as_documented(client: Client) -> None:
    assert await client.body("/v1/health") == DOCUMENTED["/v1/health"]
    assert await client.body("/v1/version") == DOCUMENTED["/v1/version"]


# The gateway


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "demo-token"}, {"X-Api-Key": "wrong"}],
    ids=["none", "wrong token", "no scheme", "wrong key"],
)
async def test_a_missing_or_wrong_token_is_unauthorized(client: Client, headers: dict[str, str]) -> None:
    status, answered, body = await client.ask(BALANCES, headers=headers)
    assert status == 401
    assert answered["content-type"] == "application/json"
    assert [json.loads(body)] == [example["body"] for example in DATA["documented"] if example["status"] == 401]


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer demo-token"}, {"X-Api-Key": "demo-token"}], ids=["bearer", "key"]
)
async def test_the_token_is_taken_in_either_header(client: Client, headers: dict[str, str]) -> None:
    assert (await client.ask(BALANCES, headers=headers))[0] == 200


@pytest.mark.parametrize("path", ["/v1/networks", "/v1/health", "/v1/version"])
async def test_what_is_free_needs_no_token(client: Client, path: str) -> None:
    assert (await client.ask(path, headers={}))[0] == 200


async def test_requests_above_the_rate_are_told_when_to_retry(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.requests_per_minute = 2
    statuses = [(await client.ask(BALANCES))[0] for _ in range(2)]
    status, headers, body = await client.ask(BALANCES)
    assert [*statuses, status] == [200, 200, 429]
    assert 0 < int(headers["retry-after"]) <= 60
    assert json.loads(body).keys() == {"status", "code", "message"}
    assert json.loads(body)["status"] == 429
    assert (await client.ask("/v1/health"))[0] == 200
    simulator.requests_per_minute = None
    assert (await client.ask(BALANCES))[0] == 200


async def test_a_custom_plan_has_its_own_caps(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.plan = "20/3"
    assert (await client.ask(f"{BALANCES},{OWNER_B},{WALLET}&limit=20"))[0] == 200
    assert (await client.body(f"{BALANCES}&limit=21"))["message"].endswith("maximum of 20 items.")
    too_many = await client.body(f"{BALANCES},{OWNER_B},{WALLET},{WSOL}")
    assert too_many["message"] == "Parameters 'owner' (4 values) exceed maximum batch limit of 3."


async def test_the_default_limit_is_held_against_the_plan_too(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.plan = "5/1"
    assert (await client.ask(BALANCES))[0] == 403
    assert (await client.ask(f"{BALANCES}&limit=5"))[0] == 200
    assert (await client.ask(f"/v1/svm/tokens?network=solana&mint={WSOL}"))[0] == 200


async def test_a_plan_of_zeros_has_no_caps(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.plan = "0/0"
    owners = ",".join([OWNER_A] * 100)
    assert (await client.ask(f"/v1/svm/balances?network=solana&owner={owners}&limit=1000"))[0] == 200


async def test_faults_of_the_base_apply(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.inject(Fault(status=504, path="/v1/svm/balances", times=1))
    assert [(await client.ask(BALANCES))[0] for _ in range(2)] == [504, 200]
    assert [request.param("owner") for request in simulator.asked("*/balances")] == [OWNER_A, OWNER_A]


# Routes and redirects


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_have_no_route(client: Client, method: str) -> None:
    status, _, body = await client.ask("/v1/svm/balances", method=method)
    assert status == 404
    assert json.loads(body)["message"] == f"Path not found: {method} /v1/svm/balances"


@pytest.mark.parametrize("mint", [SYSTEM_PROGRAM, NATIVE_MINT, NATIVE_MINT.upper(), "sol" + "1" * 32])
async def test_a_native_mint_is_sent_elsewhere_before_anything_is_checked(client: Client, mint: str) -> None:
    status, headers, body = await client.ask(f"/v1/svm/balances?owner=bad&mint={mint}&limit=0")
    assert (status, body) == (302, b"")
    assert headers["location"] == "/v1/svm/balances/native?owner=bad&limit=0"


@pytest.mark.parametrize("mints", [f"mint={WSOL}", f"mint={NATIVE_MINT},{WSOL}", f"mint={NATIVE_MINT}&mint={WSOL}"])
async def test_wrapped_sol_and_lists_of_mints_stay(client: Client, mints: str) -> None:
    assert [row["mint"] for row in await client.rows(f"{BALANCES}&{mints}")] == [WSOL]


async def test_tokens_do_not_redirect_native_mints(client: Client) -> None:
    assert await client.rows(f"/v1/svm/tokens?network=solana&mint={NATIVE_MINT}") == []


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("%205%20", None),
        ("5e0", None),
        ("5.0", None),
        ("1_0", "[invalid_type] limit: Invalid input: expected number, received NaN"),
        ("nan", "[invalid_type] limit: Invalid input: expected number, received NaN"),
        ("-0.5", "[invalid_type] limit: Invalid input: expected int, received number"),
        ("1e9", "[too_big] limit: Too big: expected number to be <=1000"),
    ],
)
async def test_numbers_are_read_as_javascript_does(client: Client, limit: str, message: str | None) -> None:
    assert (await client.body(f"{BALANCES}&limit={limit}")).get("message") == message


# Rows


async def test_values_are_printed_as_javascript_does(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.dataset.add_mint(mint=WALLET, decimals=7)
    simulator.dataset.add_token_account(owner=OWNER_A, account=WALLET, mint=WALLET, amount=1)
    _, _, body = await client.ask(f"{BALANCES}&limit=50")
    for value in (b"5", b"0.000001", b"1e-7", b"1234.56789", b"18446744073709552000"):
        assert b'"value":' + value + b"," in body


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (5.0, "5"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.25e22, "1.25e+22"),
    ],
)
def test_a_double_is_written_in_its_javascript_form(value: float, text: str) -> None:
    assert js_number(value) == text


async def test_the_account_can_be_named_either_way_or_both(simulator: TheGraphSimulator, client: Client) -> None:
    names: dict[str, set[str]] = {}
    simulator.account_key = "account"
    names["account"] = set((await client.rows(BALANCES))[0])
    simulator.account_key = "token_account"
    names["token_account"] = set((await client.rows(BALANCES))[0])
    simulator.account_key = "both"
    row = (await client.rows(BALANCES))[0]
    assert names["account"] ^ names["token_account"] == {"account", "token_account"}
    assert set(row) == names["account"] | names["token_account"]
    assert row["account"] == row["token_account"]


async def test_rows_of_one_second_are_ordered_by_account(simulator: TheGraphSimulator, client: Client) -> None:
    accounts = [letter * 44 for letter in "zB1Aa"]
    for account in accounts:
        simulator.dataset.add_token_account(owner=WALLET, account=account, mint=USDC, amount=1)
    rows = await client.rows(f"/v1/svm/balances?network=solana&owner={WALLET}")
    assert [row["account"] for row in rows] == sorted(accounts)


async def test_a_changed_account_moves_to_the_front_of_a_running_simulator(
    simulator: TheGraphSimulator, client: Client
) -> None:
    last = (await client.rows(BALANCES))[-1]
    simulator.dataset.add_balance(
        account=last["account"],
        mint=last["mint"],
        amount=777,
        decimals=last["decimals"],
        block=400_000_000,
        time=datetime(2026, 2, 1),
    )
    first = (await client.rows(BALANCES))[0]
    assert (first["account"], first["amount"], first["last_update"]) == (
        last["account"],
        "777",
        "2026-02-01 00:00:00",
    )


async def test_a_closed_or_moved_account_leaves_its_owner(simulator: TheGraphSimulator, client: Client) -> None:
    first, second = (await client.rows(BALANCES))[:2]
    simulator.dataset.add_owner(account=first["account"], owner="")
    simulator.dataset.add_owner(account=second["account"], owner=OWNER_B)
    left = {row["account"] for row in await client.rows(BALANCES)}
    assert left.isdisjoint({first["account"], second["account"]})
    simulator.release = "3.16.6"
    seen = {row["account"] for row in await client.rows(f"{BALANCES}&limit=50")}
    assert seen >= {first["account"], second["account"]}


async def test_a_mint_of_unknown_scale_counts_whole_units(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.dataset.add_mint(mint=WALLET, decimals=None, name="Fresh", program_id=TOKEN_2022_PROGRAM)
    simulator.dataset.add_token_account(
        owner=WALLET, account=WALLET, mint=WALLET, amount=42, program_id=TOKEN_2022_PROGRAM
    )
    (row,) = await client.rows(f"/v1/svm/balances?network=solana&owner={WALLET}")
    assert (row["decimals"], row["value"], row["name"], row["symbol"]) == (0, 42, "Fresh", None)
    simulator.dataset.add_mint(mint=WALLET, decimals=1)
    (row,) = await client.rows(f"/v1/svm/balances?network=solana&owner={WALLET}")
    assert (row["decimals"], row["value"], row["name"]) == (1, 4.2, None)


async def test_a_large_wallet_is_paged_without_gaps_or_repeats(simulator: TheGraphSimulator, client: Client) -> None:
    simulator.dataset = TheGraphDataset()
    for number in range(10_000):
        account = f"{number:044}".replace("0", "z")
        simulator.dataset.add_token_account(owner=WALLET, account=account, mint=USDC, amount=number % 4, block=number)
    pages: list[list[dict[str, Any]]] = []
    while not pages or pages[-1]:
        path = f"/v1/svm/balances?network=solana&owner={WALLET}&limit=500&page={len(pages) + 1}"
        pages.append(await client.rows(path))
    accounts = [row["account"] for page in pages for row in page]
    assert [len(page) for page in pages] == [500] * 15 + [0]
    assert accounts == sorted(set(accounts))
    assert len(accounts) == 7_500


def test_tables_can_be_given_whole() -> None:
    dataset = TheGraphDataset(balances_by_account=[AccountBalance(WALLET, USDC, 5, 6, TOKEN_2022_PROGRAM, 1, 2)])
    assert dataset.positions([WALLET], "post-556") == []
    dataset.add_owner(account=WALLET, owner=OWNER_A)
    assert [position.amount for position in dataset.positions([OWNER_A], "post-556")] == [5]
