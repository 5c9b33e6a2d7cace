"""The data goes one way, and so do the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from loaders import SOURCES
from loaders.records import HoldingSource
from resolvers.reconcile import AMOUNT_RANK, FACTS_RANK

ROOT = Path(__file__).parent.parent
LAYERS = ("server", "schema", "resolvers", "loaders", "loaders.upstream")
BOTTOM = {"loaders.errors", "loaders.caip", "loaders.amounts"}
FILES = [ROOT / "server.py", *(file for name in LAYERS[1:4] for file in (ROOT / name).rglob("*.py"))]


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> int | None:
    """How far down a module lies; None for one that is not ours."""
    found = [n for n, layer in enumerate(LAYERS) if module == layer or module.startswith(f"{layer}.")]
    return found[-1] if found else None


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_never_lead_back_up(file: Path) -> None:
    own = layer_of(module_of(file))
    assert own is not None
    for imported in imports(file):
        layer = layer_of(imported)
        if layer is not None and imported not in BOTTOM and module_of(file) not in BOTTOM:
            assert layer >= own, f"{module_of(file)} imports {imported}"


@pytest.mark.parametrize("module", sorted(BOTTOM))
def test_the_bottom_stands_on_nothing(module: str) -> None:
    ours = {name for name in imports(ROOT / f"{module.replace('.', '/')}.py") if layer_of(name) is not None}
    assert ours <= BOTTOM


def test_only_the_tables_that_rank_sources_name_them_above_the_loaders() -> None:
    names = {source.name for source in HoldingSource}
    for file in FILES:
        if layer_of(module_of(file)) in (1, 2):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            named = [
                node.attr
                for statement in tree.body
                if not (isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]).endswith("_RANK"))
                for node in ast.walk(statement)
                if isinstance(node, ast.Attribute) and node.attr in names
            ]
            assert named == [], module_of(file)


def test_every_source_is_registered_and_ranked() -> None:
    assert len(SOURCES) == len(HoldingSource)
    assert set(AMOUNT_RANK) == set(FACTS_RANK) == set(HoldingSource)


def test_only_the_server_reads_the_environment() -> None:
    for file in FILES:
        if module_of(file) != "server":
            text = file.read_text(encoding="utf-8")
            assert "os.environ" not in text
            assert "getenv" not in text
