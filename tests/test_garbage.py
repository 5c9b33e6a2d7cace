"""What an operation made is let go when it ends, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from server import Settings, create_app
from tests.failures.household import EVM, SOLANA, household
from tests.graph import open_graph
from tests.service import serve
from tests.test_disconnect import HangingUpstream, until

_QUERY = """
query ($pair: [AccountAddress!]!) {
  portfolio(addresses: $pair) {
    holdings(first: 50) {
      edges { cursor share node { amount valueUsd token { symbol price { usd } } } }
      sources { status }
    }
    total { valueUsd }
    byAssetGroup { amount holdings { id } }
    wallets { address holdings { nodes { token { holders(first: 1) { totalCount } } } } }
  }
}
"""
_OPERATIONS = 20
_OF_CONNECTIONS = {"loaders.upstream.tracing.TraceContext", "loaders.upstream.calls.RequestLog"}
"""A connection of aiohttp's that is broken off is in a cycle with the context in which it was made."""
_OURS = ("loaders", "resolvers", "schema", "graphql", "strawberry", "aiodataloader")


@contextmanager
def left_behind() -> Iterator[Counter[str]]:
    """What of ours only the garbage collector could free, by type, once the context is left."""
    left = Counter[str]()
    gc.collect()
    flags = gc.get_debug()
    gc.disable()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        names = [f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage]
        left.update(name for name in names if name.startswith(_OURS))
    finally:
        gc.set_debug(flags)
        gc.garbage.clear()
        gc.enable()


async def test_an_operation_leaves_nothing_to_the_garbage_collector() -> None:
    async with open_graph(household(), cache_max_bytes=0) as graph:
        for _ in range(5):
            await graph.ask(_QUERY, pair=[EVM, SOLANA])
        asked = len(graph.simulators.onebalance.requests)
        with left_behind() as left:
            for _ in range(_OPERATIONS):
                await graph.ask(_QUERY, pair=[EVM, SOLANA])
        assert len(graph.simulators.onebalance.requests) > asked + _OPERATIONS
    assert left.total() < _OPERATIONS, left


async def test_an_operation_whose_client_goes_away_is_let_go_as_well() -> None:
    upstream = HangingUpstream()
    async with upstream.listening():
        settings = Settings(
            ondo_base_url=upstream.url,
            ondo_api_key="k",
            thegraph_base_url=upstream.url,
            thegraph_api_token="k",
            thegraph_plan="500/50",
            _env_file=None,
        )
        async with serve(create_app(settings)) as url, aiohttp.ClientSession() as session:

            async def leave() -> None:
                """Asks, and goes away once all upstreams were asked for balances."""
                asked = upstream.asked
                request = session.post(f"{url}/graphql", json={"query": _QUERY, "variables": {"pair": [EVM, SOLANA]}})
                asking = asyncio.ensure_future(request)
                await until(lambda: upstream.asked >= asked + 4)
                asking.cancel()
                await until(lambda: upstream.aborted == upstream.asked)

            await leave()
            with left_behind() as left:
                for _ in range(_OPERATIONS):
                    await leave()
    assert set(left) <= _OF_CONNECTIONS, left
