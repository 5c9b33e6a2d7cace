"""The clients that applications in JavaScript are built with, against the mounted graph."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from schema.http.authentication import ApiKeys, Authenticator
from tests.clients.node import Reports, checks_of, holds, run, skip_without_node
from tests.clients.stage import stage

pytestmark = skip_without_node("@apollo/client", "apollo-client-3", "@urql/core", "graphql-ws", "graphql-sse", "ws")
SCRIPTS = ("apollo.mjs", "apollo3.mjs", "urql.mjs", "ws.mjs", "sse.mjs", "keys.mjs")


@pytest.fixture(scope="module")
def reports() -> Mapping[str, Reports]:
    """By script; each has a server of its own, and they run beside each other."""

    async def report(script: str) -> Reports:
        if script != "keys.mjs":
            async with stage() as url:
                return await run(script, url)
        key, setting = ApiKeys.new("tests")
        async with stage(authenticator=Authenticator(ApiKeys.parse(setting))) as url:
            return await run(script, url, key)

    async def report_all() -> list[Reports]:
        return await asyncio.gather(*map(report, SCRIPTS))

    return dict(zip(SCRIPTS, asyncio.run(report_all()), strict=True))


@pytest.mark.parametrize(("script", "check"), [(script, check) for script in SCRIPTS for check in checks_of(script)])
def test_client(reports: Mapping[str, Reports], script: str, check: str) -> None:
    holds(reports[script], check)
