"""The process stops when it is told to, and leaves nothing half done that can be finished."""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from loaders.upstream.simulator.base import Fault
from loaders.upstream.simulator.ondo import OndoSimulator
from tests.graph import ONDO_BALANCES, Simulators
from tests.service import TOTAL, address_of, start_python

SERVE = "import server, sys; server.Server.grace_seconds = 1; sys.exit(server.main(['--port', '0']))"


@asynccontextmanager
async def serving(ondo: OndoSimulator, folder: Path) -> AsyncIterator[tuple[Process, str]]:
    """A process over this upstream that waits a second for what runs; and its address."""
    process = await start_python("-c", SERVE, cwd=folder, ONDO_BASE_URL=ondo.url, ONDO_API_KEY=ondo.key)
    try:
        yield process, await address_of(process)
    finally:
        if process.returncode is None:
            process.kill()


async def ended(process: Process) -> tuple[int | None, list[str]]:
    """The status, and the events in the log."""
    async with asyncio.timeout(20):
        _, errors = await process.communicate()
    return process.returncode, [json.loads(line)["event"] for line in errors.splitlines()]


async def accepts(url: str) -> bool:
    """Whether new connections are taken."""
    host, port = url.removeprefix("http://").split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        return False
    writer.close()
    return True


async def test_what_runs_is_finished_and_nobody_else_is_let_in(tmp_path: Path) -> None:
    async with (
        Simulators.demo().ondo as ondo,
        serving(ondo, tmp_path) as (process, url),
        aiohttp.ClientSession() as session,
        aiohttp.ClientSession() as idle,
    ):
        async with idle.get(f"{url}/healthz") as response:
            assert response.status == 200  # and the connection stays
        ondo.inject(Fault(kind="delay", seconds=0.5, path=ONDO_BALANCES))
        asking = asyncio.create_task(session.post(f"{url}/graphql", json={"query": TOTAL}))
        while not ondo.asked(ONDO_BALANCES):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        while await accepts(url):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        async with await asking as response:
            assert (await response.json())["data"]["wallet"]["total"]["valueUsd"] is not None
        assert await ended(process) == (0, ["operation"])


async def test_what_hangs_is_cancelled_when_the_grace_is_over_and_its_client_is_told(tmp_path: Path) -> None:
    async with (
        Simulators.demo().ondo as ondo,
        serving(ondo, tmp_path) as (process, url),
        aiohttp.ClientSession() as session,
    ):
        ondo.inject(Fault(kind="hang", path=ONDO_BALANCES))
        asking = asyncio.create_task(session.post(f"{url}/graphql", json={"query": TOTAL}))
        while not ondo.asked(ONDO_BALANCES):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        async with await asking as response:
            assert response.status == 503
            assert (await response.json())["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
        status, (notice, operation) = await ended(process)
        assert (status, operation) == (0, "operation")
        assert notice.startswith("Cancel 1 running task")
