from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.failures.household import open_household
from tests.graph import Graph


@pytest.fixture
async def graph() -> AsyncIterator[Graph]:
    """The graph over upstreams that know the household."""
    async with open_household() as graph:
        yield graph
