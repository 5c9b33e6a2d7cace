from __future__ import annotations

import json
import re
from pathlib import Path

from server import Settings
from tests.graph import Graph

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first block of code in this language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_query_of_the_readme_has_the_answer_of_the_readme(demo: Graph) -> None:
    assert await demo.ask(block("graphql")) == json.loads(block("json"))["data"]


def test_the_readme_names_every_setting() -> None:
    assert [name for name in Settings.model_fields if f"`{name.upper()}`" not in README] == []
