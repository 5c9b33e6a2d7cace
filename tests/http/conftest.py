from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.graph import Graph
from tests.http.client import Client, client_of_graph


@pytest.fixture
async def client(demo: Graph) -> AsyncIterator[Client]:
    """A client of the graph over the upstreams of the demo."""
    async with client_of_graph(demo) as client:
        yield client
