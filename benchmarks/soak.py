"""A soak: mixed load on real server processes while their upstreams, and Redis, fail again and again.

``uv run python -m benchmarks.soak --minutes 10 --replicas 2 --redis``. The upstreams are simulated, everything is on
loopback, and every answer is compared with the data behind it. Exit status 1: something was false, or missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.load import Load
from benchmarks.processes import ROOT, Child, RedisServer, run_python, run_redis
from benchmarks.report import Metrics, Server, tables
from benchmarks.world import ONDO_GM, ONEBALANCE, SOLANA_SPL, World

_WARM_REQUESTS = 1_000
_PROGRESS_SECONDS = 15.0

_SETTINGS = {
    # Lives so short that answers of every age are met, failures that end soon, and budgets that do not run out.
    "CACHE_FRESH_SECONDS": "3",
    "CACHE_STALE_WHILE_REVALIDATE_SECONDS": "6",
    "CACHE_STALE_IF_ERROR_SECONDS": "30",
    "BREAKER_MIN_REQUESTS": "10",
    "BREAKER_OPEN_SECONDS": "1",
    "UPSTREAM_TIMEOUT_SECONDS": "3",
    "UPSTREAM_REQUEST_TIMEOUT_SECONDS": "1.5",
    "OPERATION_TIMEOUT_SECONDS": "10",
    "ONDO_REQUESTS_PER_MINUTE": "30000",
    "ONEBALANCE_REQUESTS_PER_MINUTE": "30000",
    "THEGRAPH_REQUESTS_PER_MINUTE": "30000",
    "ONDO_API_KEY": "demo-key",
    "ONEBALANCE_API_KEY": "demo-key",
    "THEGRAPH_API_TOKEN": "demo-token",
    "THEGRAPH_PLAN": "scale",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "warning",
}


async def soak(options: argparse.Namespace) -> tuple[str, bool]:
    """Runs it; gives what it has shown, and whether all was true."""
    over = asyncio.Event()
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(interrupt, over.set)
    world = World(options.seed)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        simulated = ("-m", "benchmarks.upstreams", str(options.seed))
        upstreams = await stack.enter_async_context(run_python(*simulated, cwd=folder))
        redis = await stack.enter_async_context(run_redis(folder)) if options.redis else None
        settings = _settings(json.loads(await upstreams.line()), redis)
        servers = [
            await stack.enter_async_context(
                run_python(str(ROOT / "server.py"), "--port", "0", cwd=folder, **settings)
            )
            for _ in range(options.replicas)
        ]
        urls = [await _address(server) for server in servers]
        load = Load(world, urls, seed=options.seed, connections=options.connections)
        started = time.monotonic()
        _tell(upstreams, b"begin\n")
        disturbed: Counter[str] = Counter()
        warm = await _run(load, servers, redis, disturbed, options.minutes * 60, over)
        seconds = time.monotonic() - started
        texts = [await _metrics(url) for url in urls]
        at_end = [server.memory() for server in servers]
        for number, status in enumerate([await server.stop() for server in servers], 1):
            if status:
                load.tally.accuse("exit", f"server {number} ended with {status}")
        seen = await _farewell(upstreams)
    left = [
        Server(first, last, server.events, list(server.odd), server.process.returncode or 0)
        for server, first, last in zip(servers, warm, at_end, strict=True)
    ]
    shown = tables(load.tally, seconds, left, Metrics(filter(None, texts)), seen)
    if redis is not None:
        shown += "\nRedis was " + (", ".join(disturbed) or "left alone") + "\n"
    return shown, not load.tally.violations


async def _run(
    load: Load,
    servers: Sequence[Child],
    redis: RedisServer | None,
    disturbed: Counter[str],
    seconds: float,
    over: asyncio.Event,
) -> list[tuple[int, int] | None]:
    """The load, with whatever disturbs it, for so long; gives the servers' memory once they are warm."""
    warm: list[tuple[int, int] | None] = [None for _ in servers]

    async def watch() -> None:
        ends, told = time.monotonic() + seconds, time.monotonic()
        measured = False
        while time.monotonic() < ends and not over.is_set():
            if not measured and load.tally.requests >= _WARM_REQUESTS:
                warm[:], measured = [server.memory() for server in servers], True
            if time.monotonic() > told + _PROGRESS_SECONDS:
                told = time.monotonic()
                counts = f"{load.tally.requests:,} requests, {load.tally.violations.total()} violations"
                print(f"{ends - told:5.0f} s to go: {counts}", file=sys.stderr, flush=True)
            await asyncio.sleep(0.05)
        over.set()

    disturbing = asyncio.create_task(redis.disturb(seconds, disturbed)) if redis is not None else None
    try:
        await asyncio.gather(load.run(over), watch())
    finally:
        over.set()
        if disturbing is not None:
            disturbing.cancel()
            (failed,) = await asyncio.gather(disturbing, return_exceptions=True)
            if isinstance(failed, Exception):
                load.tally.accuse("redis", repr(failed))
    return warm


def _settings(urls: dict[str, str], redis: RedisServer | None) -> dict[str, str]:
    addresses = {
        "ONDO_BASE_URL": urls[ONDO_GM],
        "ONEBALANCE_BASE_URL": f"{urls[ONEBALANCE]}/api",
        "THEGRAPH_BASE_URL": urls[SOLANA_SPL],
    }
    return {**_SETTINGS, **addresses, **({} if redis is None else {"REDIS_URL": redis.url})}


async def _address(server: Child) -> str:
    for word in (await server.line()).split():
        if word.startswith("http://"):
            return word.removesuffix("/graphql")
    await server.stop()
    raise RuntimeError("\n".join(["the server did not start", *server.odd]))


async def _metrics(url: str) -> str | None:
    """What a server has counted; None when it does not answer."""
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/metrics") as response:
            return await response.text()
    except (aiohttp.ClientError, TimeoutError):
        return None


def _tell(child: Child, line: bytes) -> None:
    assert child.process.stdin is not None
    child.process.stdin.write(line)


async def _farewell(upstreams: Child) -> Any:
    """Ends the upstreams; gives what they have seen."""
    assert upstreams.process.stdin is not None
    upstreams.process.stdin.close()
    return json.loads(await upstreams.line())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a soak and prints what it has shown; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.soak", description="Load and faults, with every answer checked."
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--replicas", type=int, default=1, help="server processes (default 1)")
    parser.add_argument("--redis", action="store_true", help="start a Redis that they share, and disturb it")
    parser.add_argument("--connections", type=int, default=16, help="clients at once (default 16)")
    parser.add_argument("--seed", type=int, default=1, help="of data, load and faults (default 1)")
    parser.add_argument("--out", type=Path, help="file to write the tables to as well")
    options = parser.parse_args(arguments)
    if options.redis and shutil.which("redis-server") is None:
        parser.error("--redis needs redis-server on the path")
    shown, true = asyncio.run(soak(options))
    print(shown)
    if options.out is not None:
        options.out.write_text(shown, encoding="utf-8")
    return 0 if true else 1


if __name__ == "__main__":
    sys.exit(main())
