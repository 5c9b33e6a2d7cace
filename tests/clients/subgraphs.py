"""Subgraphs composed, and the gateway over them, as processes: with the scripts of the example."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.clients.node import execute
from tests.service import ROOT

EXAMPLE = ROOT / "examples/federation"
_QUIET = {"APOLLO_TELEMETRY_DISABLED": "true"}
_SECONDS = 30.0


def skip_without_packages(*folders: Path) -> pytest.MarkDecorator:
    """Skips where there is no node, or where ``npm ci`` was not run in each of these folders."""
    if shutil.which("node") is None:
        return pytest.mark.skip("node is not installed")
    missing = [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "node_modules").is_dir()]
    return pytest.mark.skipif(bool(missing), reason=f"run npm ci in {', '.join(missing)}")


async def compose(folder: Path, subgraphs: Mapping[str, tuple[str, str]]) -> Path:
    """The supergraph of these addresses and schemas; raises ``AssertionError`` with why there is none."""
    listed = {}
    for name, (url, sdl) in subgraphs.items():
        (folder / f"{name}.graphql").write_text(sdl, encoding="utf-8")
        listed[name] = {"url": url, "schema": f"{name}.graphql"}
    (folder / "subgraphs.json").write_text(json.dumps(listed), encoding="utf-8")
    supergraph = folder / "supergraph.graphql"
    supergraph.write_text(
        await execute("node", EXAMPLE / "compose.mjs", folder / "subgraphs.json", cwd=EXAMPLE, **_QUIET)
    )
    return supergraph


@asynccontextmanager
async def running(script: Path, *arguments: str | Path, **environment: str) -> AsyncIterator[str]:
    """A server; gives the address that it prints."""
    process = await asyncio.create_subprocess_exec(
        "node", script, *arguments, env={**os.environ, **_QUIET, **environment}, stdout=PIPE, stderr=STDOUT
    )
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(_SECONDS):
            while (address := re.search(r"http://[\w.]+:\d+/", said)) is None:
                line = (await process.stdout.readline()).decode()
                assert line, said
                said += line
        yield address[0]
    finally:
        process.kill()
        await process.wait()
