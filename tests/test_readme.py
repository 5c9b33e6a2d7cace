from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client import REGISTRY

from server import Settings
from tests.graph import Graph

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first block of code in this language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_query_of_the_readme_has_the_answer_of_the_readme(demo: Graph) -> None:
    assert await demo.ask(block("graphql")) == json.loads(block("json"))["data"]


def test_every_setting_is_explained_to_operators() -> None:
    assert [name for name in Settings.model_fields if f"`{name.upper()}`" not in OPERATIONS] == []


def test_every_metric_is_explained_to_operators() -> None:
    ours = [family.name for family in REGISTRY.collect() if family.name.startswith("walletgraph_")]
    named = {name.removesuffix("_total") for name in re.findall(r"`(?:walletgraph_)?(\w+)", OPERATIONS)}
    assert len(ours) > 20
    assert [name for name in ours if name.removeprefix("walletgraph_") not in named] == []
