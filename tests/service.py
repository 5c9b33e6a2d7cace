"""The service as operators run it: in this process, and in one of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvicorn
from starlette.types import ASGIApp

from server import Settings

ROOT = Path(__file__).parent.parent
EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
SOLANA = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"
TOTAL = f'{{ wallet(address: "{EVM}") {{ total {{ valueUsd }} }} }}'
_NO_SETTINGS = {
    name: value
    for name, value in os.environ.items()
    if name not in {field.upper() for field in Settings.model_fields}
}


@asynccontextmanager
async def serve(app: ASGIApp, **options: Any) -> AsyncIterator[str]:
    """The application behind uvicorn on a free port; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, **{"log_level": "warning", **options}))
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await serving


async def post(url: str, query: str, **headers: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/graphql", json={"query": query}, headers=headers) as response,
    ):
        assert response.status == 200
        assert response.content_type == "application/json"
        return json.loads(await response.text())  # type: ignore[no-any-return]


async def get(url: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.text(), dict(response.headers)


async def start(*arguments: str, cwd: Path, **environment: str) -> Process:
    """The process as a shell starts it, in a folder of its own."""
    return await start_python(str(ROOT / "server.py"), *arguments, cwd=cwd, **environment)


async def start_python(*arguments: str, cwd: Path, **environment: str) -> Process:
    """A Python with no settings but these, in a folder of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env={**_NO_SETTINGS, "PYTHONPATH": str(ROOT), **environment},
        stdout=PIPE,
        stderr=PIPE,
    )


async def address_of(process: Process) -> str:
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    found = re.search(r"http://[\d.]+:\d+", line)
    assert found is not None, line
    return found[0]
