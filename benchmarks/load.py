"""Mixed load over HTTP: some shapes of queries about some wallets more than others, every answer checked."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import aiohttp

from benchmarks.witness import VIEW, Witness, check_tokens
from benchmarks.world import World

PATIENCE_SECONDS = 20.0
"""What has no answer after so long has none."""

SILENCE_SECONDS = 2.0
"""A server that says nothing for so long does not serve: whether it is alive depends on nobody else."""

_ZIPF = 1.1
_LEAVING = 0.02
_KEPT_EXAMPLES = 10
_PULSE_SECONDS = 0.2

_WALLET = "query ($a: AccountAddress!, $first: Int!) { wallet(address: $a) {" + VIEW + "} }"
_STRICT = "query ($a: AccountAddress!, $first: Int!) { wallet(address: $a, onSourceFailure: FAIL) {" + VIEW + "} }"
_PORTFOLIO = "query ($a: [AccountAddress!]!, $first: Int!) { portfolio(addresses: $a) {" + VIEW + "} }"
_WALLETS = "query ($a: [AccountAddress!]!, $first: Int!) { wallets(addresses: $a) { address" + VIEW + "} }"
_TOKENS = "query ($a: [AssetId!]!) { tokens(assetIds: $a) { assetId symbol decimals price { usd } } }"

_INVALID: Sequence[tuple[str, Mapping[str, Any], str]] = (
    ("{ wallet(address:", {}, "GRAPHQL_PARSE_FAILED"),
    ("{ wallet { nothing } }", {}, "GRAPHQL_VALIDATION_FAILED"),
    (_WALLET, {"a": "0x123", "first": 5}, "BAD_USER_INPUT"),
    (_WALLET, {"a": "0x" + "0" * 40, "first": 500}, "BAD_USER_INPUT"),
    (_PORTFOLIO, {"a": [], "first": 5}, "BAD_USER_INPUT"),
    (_WALLETS, {"a": [f"0x{n:040x}" for n in range(26)], "first": 5}, "BAD_USER_INPUT"),
    (_TOKENS, {"a": ["eip155:1/erc20:0x12"]}, "BAD_USER_INPUT"),
)

_Check = Callable[[dict[str, Any]], list[str]]


@dataclass(frozen=True, slots=True)
class Ask:
    """One operation to send, and what is false in an answer to it."""

    shape: str
    query: str
    variables: Mapping[str, Any]
    check: _Check


@dataclass(slots=True)
class Tally:
    """What came of the load. Costs are upstream requests for balances, by source and by what answered."""

    requests: int = 0
    left: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)
    pulse: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    sources: Counter[tuple[str, str]] = field(default_factory=Counter)
    costs: Counter[tuple[str, str]] = field(default_factory=Counter)
    caused: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def accuse(self, kind: str, text: str) -> None:
        """Counts what must not be, and keeps the first ones."""
        self.violations[kind] += 1
        if len(self.examples) < _KEPT_EXAMPLES:
            self.examples.append(f"{kind}: {text}")


class Load:
    """Clients, each with one request at a time, who ask one of the servers after the other."""

    def __init__(self, world: World, urls: Sequence[str], *, seed: int, connections: int) -> None:
        self.tally = Tally()
        self._world = world
        self._urls = urls
        self._seed = seed
        self._connections = connections
        ranks = random.Random(f"ranks {seed}")
        self._evm = _Popular(ranks.sample(world.evm, len(world.evm)))
        self._solana = _Popular(ranks.sample(world.solana, len(world.solana)))
        self._assets = _Popular(ranks.sample(world.assets, len(world.assets)))

    async def run(self, over: asyncio.Event) -> None:
        """Asks until it is over."""
        connector = aiohttp.TCPConnector(limit=self._connections)
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            clients = [self._client(session, number, over) for number in range(self._connections)]
            await asyncio.gather(*clients, *[self._feel_pulse(url, over) for url in self._urls])

    async def _client(self, session: aiohttp.ClientSession, number: int, over: asyncio.Event) -> None:
        rng = random.Random(f"client {number} {self._seed}")
        turn = number
        while not over.is_set():
            ask, turn = self._next(rng), turn + 1
            patience = rng.expovariate(20) if rng.random() < _LEAVING else None
            started = time.perf_counter()
            self.tally.requests += 1
            try:
                async with asyncio.timeout(patience) as presence:
                    status, body = await self._send(session, self._urls[turn % len(self._urls)], ask)
            except TimeoutError:
                if presence.expired():
                    self.tally.left += 1
                else:
                    self.tally.accuse("no answer", f"{ask.shape} after {PATIENCE_SECONDS} s")
            except aiohttp.ClientError as error:
                self.tally.statuses[type(error).__name__] += 1
                self.tally.accuse("no answer", f"{ask.shape}: {error!r}")
                await asyncio.sleep(0.1)
            else:
                self.tally.seconds.setdefault(ask.shape, []).append(time.perf_counter() - started)
                self._judge(ask, status, body)

    async def _feel_pulse(self, url: str, over: asyncio.Event) -> None:
        """Asks a server again and again whether it is alive, on a connection that nobody else uses."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not over.is_set():
                started = time.perf_counter()
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"{url}/healthz") as response:
                        await response.read()
                took = time.perf_counter() - started
                self.tally.pulse.append(took)
                if took > SILENCE_SECONDS:
                    self.tally.accuse("silence", f"/healthz took {took:.1f} s")
                await asyncio.sleep(_PULSE_SECONDS)

    async def _send(self, session: aiohttp.ClientSession, url: str, ask: Ask) -> tuple[int, bytes]:
        body = {"query": ask.query, "variables": ask.variables}
        headers = {"x-walletgraph-trace": "1"}
        async with session.post(f"{url}/graphql", json=body, headers=headers) as response:
            return response.status, await response.read()

    def _judge(self, ask: Ask, status: int, body: bytes) -> None:
        tally = self.tally
        tally.statuses[str(status)] += 1
        answer = None
        with suppress(ValueError):
            answer = json.loads(body)
        if status != 200 or not isinstance(answer, dict):
            tally.accuse("not a 200 of JSON", f"{ask.shape}: {status} {body[:200]!r}")
            return
        for error in answer.get("errors", ()):
            tally.codes[error["extensions"]["code"]] += 1
        for source, cost in answer.get("extensions", {}).get("upstream", {}).items():
            tally.caused[source] += cost["requests"]
        try:
            faults = ask.check(answer)
        except (KeyError, TypeError, ValueError) as error:
            faults = [f"not the shape that was asked for: {error!r}"]
        for fault in faults:
            tally.accuse("false", f"{ask.shape} {json.dumps(ask.variables)[:300]}: {fault}")

    def _next(self, rng: random.Random) -> Ask:
        shape = rng.choices(
            ("narrow", "all or nothing", "pair", "ten wallets", "tokens", "invalid"), (44, 8, 20, 8, 15, 5)
        )[0]
        if shape in ("narrow", "all or nothing"):
            address = (self._evm if rng.random() < 0.6 else self._solana).one(rng)
            query = _WALLET if shape == "narrow" else _STRICT
            return self._about(shape, query, [address], {"a": address, "first": 5}, strict=shape != "narrow")
        if shape == "pair":
            pair = [self._evm.one(rng), self._solana.one(rng)]
            return self._about(shape, _PORTFOLIO, pair, {"a": pair, "first": 200})
        if shape == "ten wallets":
            ten = [*self._evm.some(rng, 6), *self._solana.some(rng, 4)]
            return self._about(shape, _WALLETS, ten, {"a": ten, "first": 20})
        if shape == "tokens":
            assets = self._assets.some(rng, 5)
            return Ask(shape, _TOKENS, {"a": assets}, lambda answer: self._check_tokens(assets, answer))
        query, variables, code = rng.choice(_INVALID)
        return Ask(shape, query, variables, lambda answer: _check_refusal(code, answer))

    def _about(
        self, shape: str, query: str, addresses: list[str], variables: dict[str, Any], *, strict: bool = False
    ) -> Ask:
        def check(answer: dict[str, Any]) -> list[str]:
            codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
            (found,) = (answer.get("data") or {"none": None}).values()
            if strict and codes == {"SOURCE_FAILED"} and found is None:
                return []
            if codes or found is None:
                return [f"errors {sorted(codes)}"]
            if not isinstance(found, list):
                return self._check_view(addresses, found, strict=strict)
            if [view["address"] for view in found] != addresses:
                return ["other wallets than were asked for"]
            checks = [self._check_view([view["address"]], view, strict=False) for view in found]
            return [fault for faults in checks for fault in faults]

        return Ask(shape, query, variables, check)

    def _check_view(self, addresses: Sequence[str], view: dict[str, Any], *, strict: bool) -> list[str]:
        self._count(view["sources"])
        faults = Witness(self._world, addresses, view).faults
        if strict and {report["status"] for report in view["sources"]} - {"OK", "NOT_APPLICABLE"}:
            faults.append("all or nothing, and a source is not OK")
        return faults

    def _count(self, reports: Sequence[dict[str, Any]]) -> None:
        """Notes how the sources did, and what the answers would have cost one by one by what gave them."""
        tally = self.tally
        for report in reports:
            if report["status"] == "NOT_APPLICABLE":
                continue
            source = report["source"]
            tally.sources[source, " ".join(filter(None, (report["status"], report["code"])))] += 1
            if report["upstreamCalls"]:
                by = "asked"
            elif report["cacheAgeSeconds"] is not None:
                by = "cache"
            else:
                by = "not asked" if report["status"] == "FAILED" else "joined"
            tally.costs[source, by] += sum(self._world.cost(source, address) for address in report["accounts"])

    def _check_tokens(self, assets: Sequence[str], answer: dict[str, Any]) -> list[str]:
        if answer.get("errors"):
            return [f"errors {answer['errors']}"[:300]]
        return check_tokens(self._world, assets, answer["data"]["tokens"])


def _check_refusal(code: str, answer: dict[str, Any]) -> list[str]:
    codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
    return [] if codes == {code} else [f"errors {sorted(codes)} instead of {code}"]


class _Popular:
    """Things of which the first is asked for most."""

    def __init__(self, things: Sequence[str]) -> None:
        self._things = things
        self._weights = list(accumulate(1 / rank**_ZIPF for rank in range(1, len(things) + 1)))

    def one(self, rng: random.Random) -> str:
        return rng.choices(self._things, cum_weights=self._weights)[0]

    def some(self, rng: random.Random, count: int) -> list[str]:
        """So many different ones."""
        chosen: dict[str, None] = {}
        while len(chosen) < count:
            chosen[self.one(rng)] = None
        return list(chosen)
