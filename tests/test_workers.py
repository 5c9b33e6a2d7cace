"""Several processes behind one address."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.service import get, post, start

SERVES = re.compile(r"walletgraph serves (http://\S+)/graphql \(simulated data, worker (\d+)\)")


async def announced(process: Process) -> tuple[str, int]:
    """The address that a worker serves, and its process."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        line = (await process.stdout.readline()).decode()
    found = SERVES.match(line)
    assert found is not None, line
    return found[1], int(found[2])


@asynccontextmanager
async def two_workers(tmp_path: Path) -> AsyncIterator[tuple[Process, str, set[int]]]:
    process = await start("--demo", "--port", "0", "--workers", "2", cwd=tmp_path)
    try:
        (url, one), (same_url, other) = await announced(process), await announced(process)
        assert url == same_url
        yield process, url, {one, other}
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(30):
                await process.wait()


async def test_workers_serve_one_address_count_together_and_are_replaced(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as (process, url, workers):
        assert len(workers) == 2
        assert process.pid not in workers
        for _ in range(30):
            assert (await post(url, "query Counted { __typename }"))["data"] == {"__typename": "Query"}
        _, metrics, _ = await get(f"{url}/metrics")
        counted = re.search(r'walletgraph_operations_total\{operation="Counted"[^}]*\} (\S+)', metrics)
        assert counted is not None
        assert float(counted[1]) == 30
        assert "walletgraph_upstream_breaker_state" not in metrics  # rather than a 0 that nobody has counted
        assert {int(pid) for pid in re.findall(r'walletgraph_cache_bytes\{pid="(\d+)"\}', metrics)} == workers

        os.kill(min(workers), signal.SIGKILL)
        same_url, replacement = await announced(process)
        assert same_url == url
        assert replacement not in workers
        assert (await post(url, "{ __typename }"))["data"] == {"__typename": "Query"}

        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0
        for worker in (*workers, replacement):
            with pytest.raises(ProcessLookupError):
                os.kill(worker, 0)


async def test_a_service_without_workers_cannot_be(tmp_path: Path) -> None:
    process = await start("--demo", "--port", "0", "--workers", "0", cwd=tmp_path)
    async with asyncio.timeout(30):
        assert await process.wait() == 2
