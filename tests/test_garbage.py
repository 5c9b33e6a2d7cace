"""What an operation made is let go when it ends, without the garbage collector."""

from __future__ import annotations

import gc
from collections import Counter

from tests.failures.household import EVM, SOLANA, household
from tests.graph import open_graph

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
_OURS = ("loaders", "resolvers", "schema", "graphql", "strawberry", "aiodataloader")


async def test_an_operation_leaves_nothing_to_the_garbage_collector() -> None:
    async with open_graph(household(), cache_max_bytes=0) as graph:
        for _ in range(5):
            await graph.ask(_QUERY, pair=[EVM, SOLANA])
        asked = len(graph.simulators.onebalance.requests)
        gc.collect()
        flags = gc.get_debug()
        gc.disable()
        try:
            for _ in range(_OPERATIONS):
                await graph.ask(_QUERY, pair=[EVM, SOLANA])
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
        finally:
            gc.set_debug(flags)
            gc.garbage.clear()
            gc.enable()
        assert len(graph.simulators.onebalance.requests) > asked + _OPERATIONS
    ours = {name: count for name, count in left.items() if name.startswith(_OURS)}
    assert sum(ours.values()) < _OPERATIONS, ours
