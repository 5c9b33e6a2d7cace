"""GraphQL Code Generator: an application's types, and the manifest of its documents that the server trusts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from schema.http.persisted import TrustedDocuments, TrustedMode
from tests.clients.node import HERE, Reports, checks_of, execute, holds, run, skip_without_node, workshop
from tests.clients.stage import stage
from tests.schema.test_schema import PRINTED

pytestmark = skip_without_node("@graphql-codegen/cli", "@graphql-codegen/client-preset", "typescript")
BIN = HERE / "node_modules/.bin"
FILES = {"gql.ts", "graphql.ts", "index.ts", "persisted-documents.json"}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the printed schema gives."""
    return asyncio.run(_generate(tmp_path_factory.mktemp("codegen"), str(PRINTED)))


async def _generate(parent: Path, schema: str) -> Path:
    folder = workshop("application", parent)
    await execute(BIN / "graphql-codegen", "--config", "codegen.ts", cwd=folder, SCHEMA=schema)
    return folder / "generated"


async def test_the_types_of_an_application_hold_for_a_strict_compiler(generated: Path) -> None:
    await execute(BIN / "tsc", "--project", ".", cwd=generated.parent)


async def test_the_running_server_gives_the_same_types_as_the_printed_schema(generated: Path, tmp_path: Path) -> None:
    async with stage() as url:
        introspected = await _generate(tmp_path, url)
    assert _texts(introspected) == _texts(generated)


def _texts(folder: Path) -> dict[str, str]:
    texts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    assert set(texts) == FILES
    return texts


@pytest.fixture(scope="module")
def reports(generated: Path) -> Reports:
    async def report() -> Reports:
        trusted = TrustedDocuments.load(generated, TrustedMode.REQUIRE)
        async with stage(trusted_documents=trusted) as url:
            return await run("trusted.mjs", url, str(generated / "persisted-documents.json"))

    return asyncio.run(report())


@pytest.mark.parametrize("check", checks_of("trusted.mjs"))
def test_trusted_documents(reports: Reports, check: str) -> None:
    holds(reports, check)
