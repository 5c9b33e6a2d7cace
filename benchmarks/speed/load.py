"""The load: wrk with new addresses for every request, and a client beside it that looks at some of the answers."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import zlib
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.speed.cases import Case, addresses
from benchmarks.speed.systems import HERE, LOAD_CORE, Server, can_pin

_SAMPLE_SECONDS = 0.25
_REST_SECONDS = 0.15
_PATIENCE_SECONDS = 60
_LONG_ENOUGH = 9
"""Raw amounts of so many digits have some of the address's."""

# Addresses are new in every run of the benchmark as well: what is measured may keep its caches.
_SEEDS: Iterator[int] = count(int(time.time()) % 10**9)


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the load generator has seen; latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    failures: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Round:
    """One measured run: the load, what it cost, and what was wrong with the answers that were looked at."""

    load: Load
    cpu_seconds: float
    upstream_requests: float
    samples: int
    wrong: int

    @property
    def cpu_per_1000(self) -> float:
        """Processor seconds of the server for a thousand requests."""
        return 1_000 * self.cpu_seconds / max(1, self.load.requests + self.samples)


async def run_wrk(url: str, connections: int, seconds: int, case: Case | None, *, again: bool = False) -> Load:
    """So many clients, one request at a time each; ``again``: always the same one. Without a case it is a GET."""
    seed = next(_SEEDS)
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        if case is not None:
            body.write_bytes(case.body(next(addresses(case, seed))) if again else case.template)
        arguments = [f"-c{connections}", "-t1", f"-d{seconds}s", f"--timeout={_PATIENCE_SECONDS}s"]
        script = [f"--script={HERE / 'load.lua'}", url, "--", str(body) if case is not None else "-", str(seed)]
        pin = ["taskset", "-c", LOAD_CORE] if can_pin() else []
        process = await asyncio.create_subprocess_exec(*pin, "wrk", *arguments, *script, stdout=PIPE)
        said = (await process.communicate())[0].decode()
    told = json.loads(said.splitlines()[-1])
    return Load(
        told["requests"],
        told["microseconds"] / 1e6,
        told["p50"] / 1e3,
        told["p99"] / 1e3,
        told["refused"] + told["broken"],
    )


async def rest(server: Server) -> None:
    """Waits until a server is done with what its clients have left."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    spent = -1.0
    while time.monotonic() < deadline and (now := server.cpu_seconds) != spent:
        spent = now
        await asyncio.sleep(_REST_SECONDS)


class Client:
    """Asks one question at a time, and the upstream for its counts."""

    def __init__(self, session: aiohttp.ClientSession, control: str) -> None:
        self._session = session
        self._control = control

    async def ask(self, server: Server, case: Case, about: list[str]) -> Mapping[str, Any]:
        """The whole answer of a system; empty when it is none."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        with suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with self._session.post(server.url, data=case.body(about), headers=headers) as response:
                answer = json.loads(await response.read())
                return answer if isinstance(answer, dict) else {}
        return {}

    async def measure(
        self, server: Server, case: Case, connections: int, seconds: int, *, again: bool = False
    ) -> Round:
        """One round; returns when the server has nothing left to do."""
        await self.control("reset")
        before = server.cpu_seconds
        sampling = asyncio.create_task(self._sample(server, case))
        load = await run_wrk(server.url, connections, seconds, case, again=again)
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        cpu = server.cpu_seconds - before
        seen = self._seen
        counts = await self.control("counts")
        await rest(server)
        asked = sum(counts.values()) / max(1, load.requests + seen["samples"])
        return Round(load, cpu, asked, seen["samples"], seen["wrong"])

    async def control(self, what: str) -> dict[str, float]:
        """Tells the upstream something, and what it has counted."""
        async with self._session.get(f"{self._control}/{what}") as response:
            counts: dict[str, float] = json.loads(await response.read())
            return counts

    async def _sample(self, server: Server, case: Case) -> None:
        """Asks now and then until cancelled."""
        self._seen: Counter[str] = Counter()
        for about in addresses(case, next(_SEEDS)):
            await asyncio.sleep(_SAMPLE_SECONDS)
            answer = await self.ask(server, case, about)
            self._seen["samples"] += 1
            self._seen["wrong"] += bool(not answer or answer.get("errors") or _mixed_up(case, about, answer))


def _mixed_up(case: Case, about: list[str], answer: Mapping[str, Any]) -> bool:
    """Whether an answer has other addresses or amounts than those of its question."""
    nodes = case.nodes(answer["data"])
    for node in nodes:
        address = node.get("accountId", "").rpartition(":")[2]
        if not address:
            continue
        digits = f"{zlib.crc32(address.encode()) % 10**8:08}"
        raw = node["rawAmount"]
        if address not in about or (raw is not None and len(raw) >= _LONG_ENOUGH and digits not in raw):
            return True
    return not nodes
