"""The simulated upstreams in a process of their own, with faults that come and go.

It prints its addresses as a line of JSON, lets faults begin when it is told so by a line of input, and at the end of
its input prints what it has seen.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack

from benchmarks.world import ONDO_GM, ONEBALANCE, SOLANA_SPL, World
from loaders.upstream.simulator.base import Fault, SeenRequest, Simulator
from loaders.upstream.simulator.ondo import OndoSimulator
from loaders.upstream.simulator.onebalance import OneBalanceSimulator
from loaders.upstream.simulator.thegraph import TheGraphSimulator

FAULTS = {
    "500": Fault(status=500, body=b'{"message": "Internal Server Error"}'),
    "429": Fault(status=429, headers={"Retry-After": "1"}),
    "reset": Fault("reset"),
    "hang": Fault("hang"),
    "drip": Fault("drip", status=200, body=b"{" + b" " * 100, seconds=0.1),
    "truncated": Fault("truncate", status=200, body=b'{"tokens": [], "data": [], ' + b" " * 100 + b"}"),
    "garbage": Fault(status=200, body=b"<html><body>Back soon</body></html>"),
    "another shape": Fault(status=200, body=b'{"result": {"tokens": [], "data": []}}'),
    "slow": Fault("delay", seconds=0.8),
}
"""What goes wrong; no fault is an answer that a client could take for a true one."""

_TICK_SECONDS = 0.25
_CALM_SECONDS = (2.0, 8.0)
_FAULT_SECONDS = (1.0, 5.0)
# A request's delay, of which each tick takes another part.
_DELAYS = {ONDO_GM: 0.03, ONEBALANCE: 0.08, SOLANA_SPL: 0.04}


class Upstream:
    """One upstream: its simulator, its schedule of faults, and counts of what it was asked."""

    def __init__(self, source: str, simulator: Simulator, seed: int) -> None:
        self.source = source
        self.simulator = simulator
        self.asked: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self._random = random.Random(f"faults {source} {seed}")
        self._fault: str | None = None

    async def run(self, begin: asyncio.Event) -> None:
        """Lets calm and faults take turns."""
        schedule = self._schedule()
        loop = asyncio.get_running_loop()
        ends = None
        while True:
            if begin.is_set() and (ends is None or loop.time() >= ends):
                self._fault, seconds = next(schedule)
                ends = loop.time() + seconds
            self.simulator.heal()
            seconds = _DELAYS[self.source] * self._random.uniform(0.5, 1.5)
            self.simulator.inject(Fault("delay", seconds=seconds))
            if self._fault is not None:
                self.simulator.inject(FAULTS[self._fault])
            await asyncio.sleep(_TICK_SECONDS)
            self.count()

    def count(self) -> None:
        """Counts the requests seen since last time, and forgets them."""
        for request in self.simulator.requests:
            kind, values = _kind(request)
            self.asked[kind] += 1
            self.asked["batched"] += values - 1
            if self._fault is not None:
                self.met[self._fault] += 1
        self.simulator.requests.clear()

    def _schedule(self) -> Iterator[tuple[str | None, float]]:
        """Every fault in turn, each round in another order."""
        while True:
            for fault in self._random.sample(list(FAULTS), len(FAULTS)):
                yield None, self._random.uniform(*_CALM_SECONDS)
                yield fault, self._random.uniform(*_FAULT_SECONDS)


def _kind(request: SeenRequest) -> tuple[str, int]:
    """What a request asks for, and how many addresses it asks about that could have been asked one by one."""
    path = request.path
    if path.endswith("/balances") and path.startswith("/v1/chains/"):
        whole = request.param("userAddress") is None and request.param("tokenAddress") is None
        return ("whole chains" if whole else "balances"), 1
    if path.endswith("/aggregated-balance"):
        return "balances", len((request.param("account") or "").split(","))
    if path.startswith("/v1/svm/balances"):
        if request.param("page") not in (None, "1"):
            return "further pages", 1
        return "balances", len((request.param("owner") or request.param("address") or "").split(","))
    return "registers", 1


async def serve(seed: int) -> None:
    """Serves until the input ends."""
    world = World(seed)
    upstreams = [
        Upstream(ONDO_GM, OndoSimulator(world.ondo), seed),
        Upstream(ONEBALANCE, OneBalanceSimulator(world.onebalance), seed),
        Upstream(SOLANA_SPL, TheGraphSimulator(world.thegraph, plan="scale"), seed),
    ]
    begin = asyncio.Event()
    async with AsyncExitStack() as stack:
        for upstream in upstreams:
            await stack.enter_async_context(upstream.simulator)
        runs = [asyncio.create_task(upstream.run(begin)) for upstream in upstreams]
        print(json.dumps({upstream.source: upstream.simulator.url for upstream in upstreams}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begin.set()
        await asyncio.to_thread(sys.stdin.read)
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
        for upstream in upstreams:
            upstream.count()
        print(json.dumps({one.source: {"asked": one.asked, "met": one.met} for one in upstreams}), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
