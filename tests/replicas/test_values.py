"""What is written into Redis, and what becomes of it when it is not as it was written."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random

import pytest

from loaders.cache import Codec, Entry, Lifetime, SharedCache, _checksum
from loaders.upstream.connections import MAX_BODY_BYTES
from loaders.upstream.shared import SharedStore
from loaders.upstream.simulator.base import Fault
from tests.failures.household import ONDO_GM, assert_whole, household, look
from tests.graph import ONDO_BALANCES
from tests.replicas.fleet import PATIENCE_SECONDS, Fleet, count, crowd, join, open_fleet, see, tell, until, values
from tests.replicas.redis_server import RedisServer

HEAD_BYTES = 30
CORRUPT = "walletgraph_cache_corrupt_total"
TEXT: Codec[str] = Codec(version=1, encode=str.encode, decode=bytes.decode, size=len)


def write(redis_server: RedisServer, key: str, value: bytes) -> None:
    """Puts something else in the place of an answer."""
    redis_server.client.set(f"{{walletgraph}}:{key}", value, keepttl=True)


async def stored(fleet: Fleet, redis_server: RedisServer) -> dict[str, bytes]:
    """What Redis holds once one replica has seen the household."""
    assert_whole(await look(fleet.first))
    await until(lambda: not redis_server.client.keys("*:flight"))
    kept = values(redis_server)
    assert len(kept) >= 8
    return kept


async def test_every_key_is_ours_lives_on_terms_and_no_secret_is_in_redis(redis_server: RedisServer) -> None:
    simulators = household()
    simulators.onebalance.public_key = True
    simulators.onebalance.requests_per_minute = 60
    simulators.ondo.key, simulators.onebalance.key, simulators.thegraph.token = secrets = ("s-1-x", "s-2-x", "s-3-x")
    async with open_fleet(simulators, redis_server.url, breaker_min_requests=4, retries=0) as fleet:
        await see(fleet.first)
        simulators.ondo.inject(Fault(status=500, path=ONDO_BALANCES))
        await see(fleet.second, *crowd(simulators, 5))
        client = redis_server.client
        keys = client.keys()
        for part in (b":budget:", b":breaker:", b":demand:", b":flight", b"ondo:", b"onebalance:", b"thegraph:"):
            assert [key for key in keys if part in key], part
        for key in keys:
            assert key.startswith(b"{walletgraph}:")
            assert client.ttl(key) > -1, key
            held = str(client.zrange(key, 0, -1)).encode() if client.type(key) == b"zset" else client.get(key) or b""
            assert not [secret for secret in secrets if secret.encode() in key + held]
        for value in values(redis_server).values():
            body = zlib.decompress(value[HEAD_BYTES + 4 :])
            assert not [secret for secret in secrets if secret.encode() in body]


async def test_values_are_compressed_and_begin_with_their_version(fleet: Fleet, redis_server: RedisServer) -> None:
    for key, value in (await stored(fleet, redis_server)).items():
        assert value[0] == (2 if "thegraph:balances:" in key else 1), key
        assert int(value[1:14]) > 0
        assert zlib.decompress(value[HEAD_BYTES + 4 :])


async def test_what_another_version_wrote_counts_as_not_there(fleet: Fleet, redis_server: RedisServer) -> None:
    for key, value in (await stored(fleet, redis_server)).items():
        write(redis_server, key, b"\x03" + value[1:])
    corrupt, requests = count(CORRUPT), len(fleet.simulators.requests())
    assert_whole(await look(fleet.second))
    assert len(fleet.simulators.requests()) == 2 * requests
    assert count(CORRUPT) == corrupt


RUINS: dict[str, Callable[[bytes], bytes]] = {
    "random bytes": lambda value: value[:1] + Random(1).randbytes(len(value)),
    "a random body": lambda value: value[:HEAD_BYTES] + Random(1).randbytes(100),
    "a flipped bit": lambda value: value[:-9] + bytes([value[-9] ^ 4]) + value[-8:],
    "half of it": lambda value: value[: len(value) // 2],
    "all but a byte": lambda value: value[:-1],
    "the head alone": lambda value: value[:HEAD_BYTES],
    "one byte": lambda value: value[:1],
    "nothing": lambda value: b"",
    "no number for its time": lambda value: value[:20] + b"\xff" + value[21:],
}


@pytest.mark.parametrize("ruin", RUINS)
async def test_a_ruined_value_is_asked_for_anew_and_counted(
    ruin: str, fleet: Fleet, redis_server: RedisServer
) -> None:
    for key, value in (await stored(fleet, redis_server)).items():
        write(redis_server, key, RUINS[ruin](value))
    corrupt, requests = count(CORRUPT), len(fleet.simulators.requests())
    assert_whole(await look(fleet.second))
    assert len(fleet.simulators.requests()) == 2 * requests
    assert (count(CORRUPT) > corrupt) is (ruin != "nothing")


@pytest.mark.parametrize(
    "ruin",
    [
        "random bytes",
        "a flipped bit",
        "nothing",
    ],
)
async def test_a_ruined_value_is_replaced_by_the_next_answer(
    ruin: str, fleet: Fleet, redis_server: RedisServer
) -> None:
    for key, value in (await stored(fleet, redis_server)).items():
        write(redis_server, key, RUINS[ruin](value))
    assert_whole(await look(fleet.second))
    await until(lambda: not redis_server.client.keys("*:flight"))
    fleet.simulators.forget()
    async with join(fleet.first) as late:
        assert_whole(await look(late))
    assert [request.path for request in fleet.simulators.requests() if "/prices/" not in request.path] == []


async def test_a_value_that_would_fill_the_memory_is_asked_for_anew_and_counted(
    fleet: Fleet, redis_server: RedisServer
) -> None:
    bomb = zlib.compress(b"0" * (MAX_BODY_BYTES + 1))
    key, value = next((key, value) for key, value in (await stored(fleet, redis_server)).items() if "ondo:bal" in key)
    write(redis_server, key, value[:HEAD_BYTES] + _checksum(value[:HEAD_BYTES], bomb) + bomb)
    corrupt = count(CORRUPT)
    assert_whole(await look(fleet.second))
    assert count(CORRUPT) == corrupt + 1


async def test_an_answer_that_is_dated_ahead_is_not_served_for_ever(redis_server: RedisServer) -> None:
    simulators = household()
    (wallet,) = crowd(simulators, 1)
    settings = {"cache_fresh_seconds": 0.5, "cache_stale_while_revalidate_seconds": 0.0}
    async with open_fleet(simulators, redis_server.url, **settings) as fleet:
        assert (await tell(fleet.first, ONDO_GM, [wallet])).amounts == {wallet: "1"}
        await until(lambda: not redis_server.client.keys("*:flight"))
        for key, value in values(redis_server).items():
            write(redis_server, key, value[:14] + b"9" + value[15:])
        await tell(fleet.second, ONDO_GM, [wallet])
        simulators.ondo.dataset.add_balance(chain="ethereum-1", symbol="AAPLon", account=wallet, balance="7")
        await asyncio.sleep(0.6)
        assert (await tell(fleet.second, ONDO_GM, [wallet])).amounts == {wallet: "7"}


async def test_no_flipped_bit_changes_what_is_read(redis_server: RedisServer) -> None:
    store = SharedStore(redis_server.url, PATIENCE_SECONDS)
    await store.open()
    try:
        cache = SharedCache(store, "kind", TEXT, Lifetime(60, 60, 60))
        entry = Entry("what was said", datetime.now(UTC), 1)
        await cache.land({"whole": entry}, "token")
        whole = redis_server.client.get("{walletgraph}:whole")
        for bit in range(8 * len(whole)):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            redis_server.client.set(f"{{walletgraph}}:{bit}", bytes(flipped))
        read = await cache.board([str(bit) for bit in range(8 * len(whole))], "token")
        entries = [shared.entry for shared in read.values() if shared.entry is not None]
        assert {(one.value, one.fetched_at) for one in entries} <= {(entry.value, entry.fetched_at)}
    finally:
        await store.close()
