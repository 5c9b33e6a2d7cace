"""How often a client may ask: never more than it is allowed, whatever others do, and whatever becomes of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from loaders.upstream.shared import SharedStore
from schema.http import rate_limit
from schema.http.authentication import ApiKeys, Authentication, Authenticator, Client
from schema.http.rate_limit import RateLimit, RateLimitedError, client_key
from schema.http.refusal import RequestError, turn_away
from server import Settings
from tests.replicas.redis_server import PROGRAM, RedisServer
from tests.service import serve

PATIENCE_SECONDS = 2.0
"""What a command to Redis may take where its speed is not the question."""


class Clock:
    """Time in microseconds, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 10**9

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1_000_000)


async def let_in(limit: RateLimit, client: str, times: int) -> int:
    """How many of so many operations may run."""
    return [await limit.take(client) for _ in range(times)].count(None)


# The law


async def test_a_burst_and_then_one_by_one() -> None:
    clock = Clock()
    limit = RateLimit(60, 3, clock=clock)
    assert await let_in(limit, "a", 10) == 3
    assert await limit.take("a") == 1.0
    clock.sleep(0.4)
    assert await limit.take("a") == pytest.approx(0.6)
    clock.sleep(0.6)
    assert await let_in(limit, "a", 10) == 1
    clock.sleep(3_600)
    assert await let_in(limit, "a", 10) == 3


async def test_a_batch_costs_as_much_as_its_operations_and_runs_whole_or_not_at_all() -> None:
    clock = Clock()
    limit = RateLimit(60, 5, clock=clock)
    assert await limit.take("a", 3) is None
    assert await limit.take("a", 3) == 1.0
    assert await limit.take("a", 2) is None
    assert await limit.take("a", 5) == 5.0
    clock.sleep(5)
    assert await limit.take("a", 5) is None


async def test_a_share_of_a_minute_that_does_not_come_out_even_is_rounded_to_nobody_s_gain() -> None:
    clock = Clock()
    limit = RateLimit(7, 1, clock=clock)
    assert await limit.take("a") is None
    clock.now += 60_000_000 // 7
    assert await limit.take("a") is not None
    clock.now += 1
    assert await limit.take("a") is None


async def test_without_a_burst_of_its_own_it_is_a_minute_s_worth() -> None:
    assert await let_in(RateLimit(7, clock=Clock()), "a", 20) == 7


asks = st.lists(st.tuples(st.integers(0, 5_000_000), st.sampled_from("abc"), st.integers(1, 5)), max_size=60)


@given(asks, st.integers(1, 5_000), st.integers(5, 20))
async def test_never_more_than_burst_and_rate_in_any_window(
    asked: list[tuple[int, str, int]], per_minute: int, burst: int
) -> None:
    clock = Clock()
    limit = RateLimit(per_minute, burst, clock=clock)
    passed: dict[str, list[tuple[int, int]]] = {"a": [], "b": [], "c": []}
    for pause, client, count in asked:
        clock.now += pause
        if await limit.take(client, count) is None:
            passed[client].append((clock.now, count))
    for let_in in passed.values():
        for first, (begin, _) in enumerate(let_in):
            sum_of_counts = 0
            for end, count in let_in[first:]:
                sum_of_counts += count
                assert sum_of_counts * 60_000_000 <= burst * 60_000_000 + (end - begin) * per_minute


@given(asks, st.integers(1, 5_000), st.integers(5, 20))
async def test_clients_do_not_influence_each_other(
    asked: list[tuple[int, str, int]], per_minute: int, burst: int
) -> None:
    clock, alone_clock = Clock(), Clock()
    together, alone = RateLimit(per_minute, burst, clock=clock), RateLimit(per_minute, burst, clock=alone_clock)
    for pause, client, count in asked:
        clock.now += pause
        alone_clock.now = clock.now
        answer = await together.take(client, count)
        if client == "a":
            assert answer == await alone.take(client, count)


@given(asks, st.integers(1, 5_000), st.integers(5, 20))
async def test_who_waits_as_long_as_told_is_let_in_and_not_a_moment_before(
    asked: list[tuple[int, str, int]], per_minute: int, burst: int
) -> None:
    clock = Clock()
    limit = RateLimit(per_minute, burst, clock=clock)
    for pause, client, count in asked:
        clock.now += pause
        wait = await limit.take(client, count)
        if wait is not None:
            clock.now += round(wait * 1_000_000) - 1
            assert await limit.take(client, count) is not None
            clock.now += 1
            assert await limit.take(client, count) is None


async def test_any_number_of_clients_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_MAX_CLIENTS", 100)
    clock = Clock()
    limit = RateLimit(60, 2, clock=clock)
    for number in range(1_000):
        assert await limit.take(f"address:{number}") is None
        await limit.take("steady")
    assert len(limit._paid_at) == 100
    assert await limit.take("steady") is not None  # who keeps asking is not forgotten
    clock.sleep(3_600)
    await limit.take("another")
    assert len(limit._paid_at) == 1


# Who is who


def key_of(peer: str | None, **more: Any) -> str:
    return client_key({"type": "http", "client": None if peer is None else (peer, 1), **more})


def test_a_client_is_its_name_or_else_its_address() -> None:
    assert key_of("192.0.2.1", **{"walletgraph.client": Client("key:mobile")}) == "key:mobile"
    assert key_of("192.0.2.1") == key_of("::ffff:192.0.2.1") == "address:192.0.2.1"
    assert key_of("192.0.2.1") != key_of("192.0.2.2")
    assert key_of(None) == "address:"
    assert key_of("testclient") == "address:testclient"
    assert len(key_of("x" * 10_000)) < 100


def test_all_addresses_of_an_ipv6_network_are_one_client() -> None:
    assert key_of("2001:db8::1") == key_of("2001:db8::ffff:1:2:3") == "address:2001:db8::/64"
    assert key_of("2001:db8:0:1::1") != key_of("2001:db8::1")
    assert key_of("fe80::1%eth0") == key_of("fe80::2")


# Over HTTP


def counted(limit: RateLimit, operations: int = 1) -> ASGIApp:
    """An application each of whose requests counts as so many operations."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await limit.charge(HTTPConnection(scope), operations)
        except RequestError as error:
            await turn_away(error, scope, receive, send)
        else:
            await PlainTextResponse("ran")(scope, receive, send)

    return app


@asynccontextmanager
async def asking(app: ASGIApp) -> AsyncIterator[Any]:
    async with serve(app) as url, aiohttp.ClientSession() as session:

        async def ask(**headers: str) -> tuple[int, Any, Any]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.post(url, headers=named) as response:
                body = await response.json() if response.content_type == "application/json" else None
                return response.status, response.headers, body

        yield ask


def refused() -> float:
    return REGISTRY.get_sample_value("walletgraph_requests_refused_total", {"reason": "RATE_LIMITED"}) or 0


async def test_who_asks_too_often_is_told_when_to_come_again() -> None:
    before = refused()
    async with asking(counted(RateLimit(2, 2, clock=Clock()))) as ask:
        assert [(await ask())[0] for _ in range(3)] == [200, 200, 429]
        status, headers, body = await ask()
    assert (status, refused()) == (429, before + 2)
    assert headers["Retry-After"] == "30"
    assert headers["RateLimit-Policy"] == '"operations";q=2;w=60'
    assert headers["RateLimit"] == '"operations";r=0;t=30'
    assert headers["Cache-Control"] == "no-store"
    (error,) = body["errors"]
    assert error["extensions"] == {"code": "RATE_LIMITED"}
    assert "30 s" in error["message"]


async def test_what_is_left_is_told_to_a_batch_that_wants_more() -> None:
    limit = RateLimit(60, 5, clock=Clock())
    await limit.take("address:127.0.0.1", 2)
    async with asking(counted(limit, 4)) as ask:
        status, headers, _ = await ask()
    assert (status, headers["RateLimit"]) == (429, '"operations";r=3;t=1')


async def test_a_batch_that_can_never_run_is_no_matter_of_waiting() -> None:
    async with asking(counted(RateLimit(60, 3, clock=Clock()), 4)) as ask:
        status, headers, body = await ask()
    assert status == 400
    assert "Retry-After" not in headers
    assert body["errors"][0]["extensions"] == {"code": "OPERATION_TOO_LARGE"}


async def test_two_keys_behind_one_address_are_two_clients() -> None:
    keys = {name: ApiKeys.new(name) for name in ("mobile", "partner")}
    authenticator = Authenticator(ApiKeys.parse(",".join(hashed for _, hashed in keys.values())))
    async with asking(Authentication(counted(RateLimit(1, 2, clock=Clock())), authenticator)) as ask:
        assert [(await ask(x_api_key=keys["mobile"][0]))[0] for _ in range(3)] == [200, 200, 429]
        assert [(await ask(x_api_key=keys["partner"][0]))[0] for _ in range(3)] == [200, 200, 429]


async def test_no_header_makes_another_client_of_somebody() -> None:
    """The address is the server's word; which proxies it believes is its own setting."""

    async def unproxied(scope: Scope, receive: Receive, send: Send) -> None:
        scope["client"] = ("198.51.100.7", 1)
        await counted(limit)(scope, receive, send)

    limit = RateLimit(1, 2, clock=Clock())
    async with asking(unproxied) as ask:
        answers = [
            await ask(x_forwarded_for=f"203.0.113.{n}", forwarded=f"for=203.0.113.{n}", x_real_ip="203.0.113.9")
            for n in range(4)
        ]
    assert [status for status, _, _ in answers] == [200, 200, 429, 429]


async def test_a_proxy_that_the_server_trusts_names_the_client() -> None:
    """On loopback one is trusted without a setting."""
    async with asking(counted(RateLimit(1, 1, clock=Clock()))) as ask:
        answers = [await ask(x_forwarded_for=f"203.0.113.{n}") for n in (1, 2, 1)]
    assert [status for status, _, _ in answers] == [200, 200, 429]


# Over replicas


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip("redis-server is not on the path")
    server = RedisServer(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def stores(url: str, count: int = 2) -> AsyncIterator[list[SharedStore]]:
    found = [SharedStore(url, PATIENCE_SECONDS) for _ in range(count)]
    try:
        await asyncio.gather(*[store.open() for store in found])
        yield found
    finally:
        await asyncio.gather(*[store.close() for store in found])


async def test_replicas_count_together(redis_server: RedisServer) -> None:
    async with stores(redis_server.url) as found:
        first, second = (RateLimit(6, 4, store=store) for store in found)
        taken = await asyncio.gather(*[limit.take("a") for _ in range(10) for limit in (first, second)])
        assert taken.count(None) == 4
        assert await let_in(second, "b", 6) == 4
        assert all(0 < wait <= 10 for wait in taken if wait is not None)
        again = RateLimit(6, 4, store=found[0])  # a process that has just begun
        wait = await again.take("a", 2)
        assert wait is not None
        assert 10 < wait <= 20
        assert await again.take("c", 3) is None
        assert await second.take("c", 2) is not None
        assert await second.take("c", 1) is None
    keys = redis_server.client.keys()
    assert len(keys) == 3
    assert all(key.startswith(b"{walletgraph}:rate:") for key in keys)
    assert all(0 < redis_server.client.pttl(key) <= 40_000 for key in keys)


async def test_redis_lets_in_again_as_time_goes_by(redis_server: RedisServer) -> None:
    async with stores(redis_server.url, 1) as (store,):
        assert await let_in(RateLimit(600, 2, store=store), "a", 5) == 2
        wait = await RateLimit(600, 2, store=store).take("a")
        assert wait is not None
        assert 0 < wait <= 0.1
        await asyncio.sleep(wait + 0.01)
        assert await RateLimit(600, 2, store=store).take("a") is None


async def test_no_client_is_named_in_redis(redis_server: RedisServer) -> None:
    async with stores(redis_server.url, 1) as (store,):
        await RateLimit(60, 2, store=store).take("address:192.0.2.1")
    (key,) = redis_server.client.keys()
    assert b"192.0.2.1" not in key


async def test_who_is_refused_here_costs_redis_nothing(redis_server: RedisServer) -> None:
    async with stores(redis_server.url, 1) as (store,):
        limit = RateLimit(1, 2, store=store)
        await let_in(limit, "a", 2)
        redis_server.forget_calls()
        assert await let_in(limit, "a", 100) == 0
    assert redis_server.calls("evalsha") == 0


async def test_a_replica_goes_on_counting_from_what_it_let_in_when_redis_dies(redis_server: RedisServer) -> None:
    async with stores(redis_server.url, 1) as (store,):
        limit = RateLimit(1, 5, store=store)
        assert await let_in(limit, "a", 3) == 3
        redis_server.kill()
        taken = await asyncio.gather(*[limit.take("a") for _ in range(20)])
        assert taken.count(None) == 2
        assert await let_in(limit, "b", 20) == 5


async def test_a_redis_that_hangs_holds_nobody_up(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, 0.02)
    try:
        await store.open()
        limit = RateLimit(1, 5, store=store)
        assert await limit.take("a") is None
        redis_server.pause()
        async with asyncio.timeout(2):
            assert await let_in(limit, "a", 20) == 4
        assert not store.available or await limit.take("b") is None
    finally:
        redis_server.resume()
        await store.close()


# Settings


def test_without_a_setting_there_is_no_limit() -> None:
    assert Settings(_env_file=None).rate_limit(None) is None


async def test_the_settings_make_the_limit() -> None:
    limit = Settings(_env_file=None, rate_limit_per_minute=60, rate_limit_burst=2).rate_limit(None)
    assert limit is not None
    assert await let_in(limit, "a", 5) == 2


@pytest.mark.parametrize("given", [{"rate_limit_per_minute": -1}, {"rate_limit_burst": 0}])
def test_a_limit_that_lets_nobody_in_makes_no_server(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="greater than"):
        Settings(_env_file=None, **given)


def test_a_limit_is_refused_as_the_transports_expect() -> None:
    assert issubclass(RateLimitedError, RequestError)
