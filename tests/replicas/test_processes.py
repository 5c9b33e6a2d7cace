"""Two server processes over one Redis, as operators run them."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from loaders.upstream.simulator.base import Fault
from tests.failures.household import EVM, ONDO_GM, ONEBALANCE, SOLANA, household
from tests.graph import ONDO_BALANCES, Simulators
from tests.replicas.fleet import EVERYTHING, as_text, crowd, tell_by, until
from tests.replicas.redis_server import RedisServer
from tests.replicas.test_limits import public
from tests.service import address_of, get, start


@dataclass(slots=True)
class Replica:
    """A server process."""

    process: Process
    url: str
    session: aiohttp.ClientSession

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of one operation that has no errors."""
        body = {"query": query, "variables": variables}
        async with self.session.post(f"{self.url}/graphql", json=body) as response:
            answer: dict[str, Any] = json.loads(await response.text())
        assert not answer.get("errors"), answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    async def ready(self) -> dict[str, Any]:
        """What it says of its readiness."""
        status, text, _ = await get(f"{self.url}/readyz")
        assert status == 200
        said: dict[str, Any] = json.loads(text)
        return said


@asynccontextmanager
async def two_processes(
    simulators: Simulators, redis_server: RedisServer, folder: Path
) -> AsyncIterator[list[Replica]]:
    """Two of them, ended with no farewell."""
    ondo, onebalance, thegraph = simulators.all
    for simulator in simulators.all:
        await simulator.start()
    environment = {
        "ONDO_BASE_URL": ondo.url,
        "ONDO_API_KEY": ondo.key,
        "ONEBALANCE_BASE_URL": f"{onebalance.url}/api",
        "ONEBALANCE_API_KEY": onebalance.key,
        "THEGRAPH_BASE_URL": thegraph.url,
        "THEGRAPH_API_TOKEN": thegraph.token,
        "REDIS_URL": redis_server.url,
        "REDIS_TIMEOUT_SECONDS": "2",
        "LOG_LEVEL": "error",
    }
    processes: list[Process] = []
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            processes = [await start("--port", "0", cwd=folder, **environment) for _ in range(2)]
            yield [Replica(process, await address_of(process), session) for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        for simulator in simulators.all:
            await simulator.close()


async def test_two_processes_ask_once_between_them(redis_server: RedisServer, tmp_path: Path) -> None:
    simulators = household()
    async with two_processes(simulators, redis_server, tmp_path) as (first, second):
        for simulator in simulators.all:
            simulator.inject(Fault(kind="delay", seconds=0.4))
        seen = await asyncio.gather(*[one.ask(EVERYTHING, a=[EVM, SOLANA]) for one in (first, second)])
        assert as_text(seen[0]["portfolio"]) == as_text(seen[1]["portfolio"])
        assert len(seen[0]["portfolio"]["holdings"]["nodes"]) == 8
        asked = [(request.path, request.query) for request in simulators.requests() if "/prices/" not in request.path]
        assert len(asked) == len(set(asked))


async def test_a_process_that_is_killed_while_it_asks_holds_up_nobody_for_long(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    simulators = household()
    (wallet,) = crowd(simulators, 1)
    ondo = simulators.ondo
    async with two_processes(simulators, redis_server, tmp_path) as (first, second):
        ondo.inject(Fault(kind="hang", path=ONDO_BALANCES, times=1))
        lost = asyncio.create_task(tell_by(first.ask, ONDO_GM, [wallet]))
        await until(lambda: ondo.asked(ONDO_BALANCES))
        waiting = asyncio.create_task(tell_by(second.ask, ONDO_GM, [wallet]))
        await asyncio.sleep(0.5)
        assert len(ondo.asked(ONDO_BALANCES)) == 1
        first.process.kill()
        async with asyncio.timeout(6):
            told = await waiting
        assert (told.amounts, told.codes) == ({wallet: "1"}, ["OK"])
        assert len(ondo.asked(ONDO_BALANCES)) == 2
        await asyncio.gather(lost, return_exceptions=True)


async def test_two_processes_under_load_keep_the_limit_of_the_public_key(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    simulators, onebalance = public(requests_per_minute=60)
    wallets = crowd(simulators, 120)
    names = [*wallets]
    async with two_processes(simulators, redis_server, tmp_path) as (first, second):
        told = await asyncio.gather(
            tell_by(first.ask, ONEBALANCE, names[:60]), tell_by(second.ask, ONEBALANCE, names[60:])
        )
    codes = Counter(told[0].codes + told[1].codes)
    assert len(onebalance.requests) <= 60
    assert onebalance.refused == 0
    assert codes["OK"] + codes["BUDGET_EXHAUSTED"] == 120
    assert codes["OK"] >= 50
    for one in told:
        assert all(amount == wallets[name] for name, amount in one.amounts.items())


async def test_processes_say_whether_redis_is_there_and_answer_without_it(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    simulators = household()
    wallets = crowd(simulators, 2)
    async with two_processes(simulators, redis_server, tmp_path) as replicas:
        for wallet, state in zip(wallets, ("OK", "UNAVAILABLE"), strict=True):
            for one in replicas:
                assert (await tell_by(one.ask, ONDO_GM, [wallet])).amounts == {wallet: wallets[wallet]}
                ready = await one.ready()
                assert (ready["status"], ready["shared_store"]) == ("ready", state)
                assert "redis://" not in json.dumps(ready)
            redis_server.kill()
