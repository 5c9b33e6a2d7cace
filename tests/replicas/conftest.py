from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.failures.household import household
from tests.graph import Graph
from tests.replicas.fleet import FAILURES, Fleet, count, open_fleet
from tests.replicas.redis_server import PROGRAM, RedisServer


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that knows nothing yet."""
    if PROGRAM is None:
        pytest.skip("redis-server is not on the path")
    server, refused = RedisServer(tmp_path), count(FAILURES, reason="refused")
    try:
        server.start()
        yield server
    finally:
        server.kill()
    assert server.was_full or count(FAILURES, reason="refused") == refused, "a script of ours is wrong"


@pytest.fixture
async def fleet(redis_server: RedisServer) -> AsyncIterator[Fleet]:
    """Two replicas over upstreams that know the household."""
    async with open_fleet(household(), redis_server.url) as fleet:
        yield fleet


@pytest.fixture
def first(fleet: Fleet) -> Graph:
    """One replica."""
    return fleet.first


@pytest.fixture
def second(fleet: Fleet) -> Graph:
    """The other replica."""
    return fleet.second
