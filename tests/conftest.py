from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from tests.graph import Graph, Simulators, open_graph

settings.register_profile("unhurried", deadline=None, max_examples=60)
settings.load_profile("unhurried")


@pytest.fixture
async def graph() -> AsyncIterator[Graph]:
    """The graph over upstreams that know nothing yet."""
    async with open_graph(Simulators.empty()) as graph:
        yield graph


@pytest.fixture
async def demo() -> AsyncIterator[Graph]:
    """The graph over the upstreams of the demo."""
    async with open_graph(Simulators.demo()) as graph:
        yield graph
