"""The audits of graphql-http against both ways of serving."""

from __future__ import annotations

from server import Settings, create_app
from tests.clients.node import Reports, run, skip_without_node
from tests.clients.stage import stage
from tests.service import serve

pytestmark = skip_without_node("graphql-http")


async def test_the_mounted_graph_passes_every_audit_of_graphql_over_http() -> None:
    async with stage() as url:
        _has_passed(await run("audits.mjs", url))


async def test_the_service_passes_every_audit_of_graphql_over_http() -> None:
    async with serve(create_app(Settings(demo=True, _env_file=None))) as url:
        _has_passed(await run("audits.mjs", f"{url}/graphql"))


def _has_passed(reports: Reports) -> None:
    assert len(reports) == 61
    assert {audit: wrong for audit, wrong in reports.items() if wrong is not None} == {}
