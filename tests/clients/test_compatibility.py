"""Apollo's tests of what a subgraph can do, against a subgraph made of our schema class and our view.

They ask it themselves, and through a gateway over it and two subgraphs of the suite's own.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.clients.compatibility.products import SCHEMA, products_view
from tests.clients.node import HERE, execute
from tests.clients.subgraphs import EXAMPLE, compose, running, skip_without_packages
from tests.service import serve

FOLDER = HERE / "compatibility"
SUBGRAPHS = FOLDER / "node_modules/@apollo/federation-subgraph-compatibility-tests/dist/subgraphs"
REQUIRED = ("introspection", "@key single", "@link")
OPTIONAL = (
    "@key multiple",
    "@key composite",
    "repeatable @key",
    "@requires",
    "@provides",
    "@shareable",
    "@tag",
    "@override",
    "@inaccessible",
    "@composeDirective",
    "@interfaceObject",
)

pytestmark = skip_without_packages(EXAMPLE, FOLDER)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[dict[str, Any]]]:
    """The suite's results by what they are about."""
    report = json.loads(asyncio.run(run_suite(tmp_path_factory.mktemp("supergraph"))))
    found = defaultdict(list)
    for result in (one for file in report["testResults"] for one in file["assertionResults"]):
        found[(result["ancestorTitles"] or [result["title"]])[0]].append(result)
    return found


async def run_suite(folder: Path) -> str:
    """The report of the suite."""
    async with (
        serve(products_view()) as products,
        running(SUBGRAPHS / "users/index.js", USERS_PORT=free_port()) as users,
        running(SUBGRAPHS / "inventory/index.js", INVENTORY_PORT=free_port()) as inventory,
    ):
        schemas = {name: (SUBGRAPHS / f"{name}/{name}.graphql").read_text() for name in ("users", "inventory")}
        supergraph = await compose(
            folder,
            {
                "products": (products, SCHEMA.as_str()),
                "users": (users, schemas["users"]),
                "inventory": (inventory, schemas["inventory"]),
            },
        )
        async with running(EXAMPLE / "gateway.mjs", supergraph, "0") as gateway:
            return await execute(
                FOLDER / "node_modules/.bin/jest",
                "--ci",
                "--json",
                f"--config={FOLDER / 'jest.config.cjs'}",
                cwd=FOLDER,
                PRODUCTS_URL=products,
                ROUTER_URL=gateway,
            )


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("about", [*REQUIRED, *OPTIONAL])
def test_the_subgraph_does_what_gateways_of_apollo_expect(
    results: Mapping[str, list[dict[str, Any]]], about: str
) -> None:
    assert results[about]
    for result in results[about]:
        assert result["status"] == "passed", "\n".join(result["failureMessages"])


def test_nothing_else_is_in_the_suite_but_federated_tracing(results: Mapping[str, list[dict[str, Any]]]) -> None:
    assert set(results) == {*REQUIRED, *OPTIONAL}
