"""Relay: its compiler reads our schema, and its runtime reads, pages and refetches."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.clients.node import Reports, checks_of, execute, holds, run, skip_without_node, workshop
from tests.clients.stage import stage
from tests.schema.test_schema import PRINTED

pytestmark = skip_without_node("relay-compiler", "relay-runtime")
SCRIPT = "relay/list.mjs"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    async def report(parent: Path) -> Reports:
        folder = workshop("relay", parent)
        shutil.copy(PRINTED, folder / "schema.graphql")
        (folder / "generated").mkdir()
        await execute("node", parent / "node_modules/relay-compiler/cli.js", "relay.config.json", cwd=folder)
        async with stage() as url:
            return await run(parent / SCRIPT, url)

    return asyncio.run(report(tmp_path_factory.mktemp("relay")))


@pytest.mark.parametrize("check", checks_of(SCRIPT))
def test_relay(reports: Reports, check: str) -> None:
    holds(reports, check)
