"""Compares systems that answer the same questions with the same JSON from the same upstream.

    uv run python -m benchmarks.speed
    uv run python -m benchmarks.speed --systems ours,floor --cases wide --rounds 3 --seconds 2

Load and upstream have one core, the system that is measured the other; the others idle meanwhile. Rounds alternate
between the systems, and the medians of rounds are shown. Needs wrk; what the Node servers need is installed by
``npm ci --prefix benchmarks/speed/node``. A whole run takes some eight minutes, and writes benchmarks/results.md.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.processes import ROOT
from benchmarks.speed.cases import CASES, NARROW, TEN, WIDE, Case, addresses
from benchmarks.speed.load import Client, rest, run_wrk
from benchmarks.speed.report import HEADER, Measured, Result, table
from benchmarks.speed.scale import scale
from benchmarks.speed.systems import SYSTEMS, Server, describe_machine, run_system, run_upstream
from benchmarks.speed.wallet import HOLDINGS

_OUT = ROOT / "benchmarks" / "results.md"
_CONNECTIONS = 8
_DELAY_MS = 50
_WARM_SECONDS = 1
_FIRST_REQUESTS = 1_000
_MEMORY = "memory"
_MEMORY_SECONDS = 90.0
"""As long as it may take if the number of requests was not asked for."""


@dataclass(frozen=True, slots=True)
class _Scenario:
    """One thing to measure; ``systems`` None: all of them."""

    title: str
    case: Case
    connections: int = _CONNECTIONS
    delay_ms: int = 0
    again: bool = False
    systems: tuple[str, ...] | None = None
    rounds: int | None = None


_SCENARIOS = {
    "wide": _Scenario("eight fields of 189 holdings", WIDE),
    "narrow": _Scenario("two fields of 189 holdings", NARROW),
    "ten": _Scenario("ten wallets, eight fields of 945 holdings", TEN),
    "slow-1": _Scenario(
        "wide, upstreams of 50 ms, one client",
        WIDE,
        connections=1,
        delay_ms=_DELAY_MS,
        systems=("ours", "floor", "yoga-jit"),
        rounds=3,
    ),
    "slow-64": _Scenario("wide, upstreams of 50 ms, 64 clients", WIDE, connections=64, delay_ms=_DELAY_MS, rounds=3),
    "again": _Scenario(
        "wide, the same addresses again and again", WIDE, again=True, systems=("ours", "floor", "yoga-jit"), rounds=3
    ),
}


async def _compare(client: Client, servers: Sequence[Server]) -> list[str]:
    """Asks all systems the same; says which of them answer otherwise than the first."""
    complaints = []
    for case in CASES.values():
        about = next(addresses(case, random.getrandbits(20)))
        first, *others = servers
        answer = await client.ask(first, case, about)
        expected = answer.get("data")
        if not expected or answer.get("errors"):
            complaints.append(f"{case.name}: {first.name} gives no answer: {str(answer)[:300]}")
            continue
        if (held := len(case.nodes(expected))) != HOLDINGS * case.evm:
            complaints.append(f"{case.name}: {first.name} lists {held} holdings, not {HOLDINGS * case.evm}")
        for other in others:
            data = (await client.ask(other, case, about)).get("data")
            if data != expected:
                complaints.append(f"{case.name}: {other.name} answers otherwise than {first.name}")
                complaints += [f"    {line}" for line in _difference(case, expected, data)]
    return complaints


def _difference(case: Case, expected: Mapping[str, Any], data: Mapping[str, Any] | None) -> list[str]:
    if not data:
        return ["nothing"]
    pairs = zip(case.nodes(expected), case.nodes(data), strict=False)
    return next(([str(one), str(other)] for one, other in pairs if one != other), ["another number of holdings"])


async def _measure(
    client: Client, scenario: _Scenario, servers: Sequence[Server], rounds: int, seconds: int
) -> dict[str, Result]:
    """The rounds of one scenario, each in another order of systems."""
    taking_part = [server for server in servers if scenario.systems is None or server.name in scenario.systems]
    results = {server.name: Result() for server in taking_part}
    await client.control("delay?ms=0")
    for server in taking_part:
        await run_wrk(server.url, scenario.connections, _WARM_SECONDS, scenario.case)
        await rest(server)
    await client.control(f"delay?ms={scenario.delay_ms}")
    for number in range(rounds if scenario.rounds is None else min(rounds, scenario.rounds)):
        turn = number % max(1, len(taking_part))
        for server in (*taking_part[turn:], *taking_part[:turn]):
            result = await client.measure(server, scenario.case, scenario.connections, seconds, again=scenario.again)
            results[server.name].rounds.append(result)
    await client.control("delay?ms=0")
    return results


async def _slowest_upstream_ms(client: Client, bases: Mapping[str, str]) -> float:
    """The p50 of the slowest of the requests that a pair needs, asked for alone."""
    evm, solana = next(addresses(WIDE, 1))
    thegraph = f"{bases['THEGRAPH_BASE_URL']}/v1/svm/balances"
    paging = "network=solana&limit=500&page=1"
    await client.control(f"delay?ms={_DELAY_MS}")
    slowest = 0.0
    for url in (
        f"{bases['ONDO_BASE_URL']}/v1/chains/ethereum-1/balances?userAddress={evm}",
        f"{bases['ONEBALANCE_BASE_URL']}/v3/balances/aggregated-balance?account=eip155:1:{evm},solana:{solana}",
        f"{thegraph}?{paging}&owner={solana}",
        f"{thegraph}/native?{paging}&address={solana}",
    ):
        slowest = max(slowest, (await run_wrk(url, 1, 1, None)).p50)
    await client.control("delay?ms=0")
    return slowest


async def _memory(bases: Mapping[str, str], requests: int, patience: float | None) -> list[tuple[int, float]]:
    """Requests and resident memory of a new server of ours, after the first ones and after all."""
    async with run_system(SYSTEMS["ours"], bases) as server:
        sent, spent, seen = 0, 0.0, list[tuple[int, float]]()
        while sent < requests and (patience is None or spent < patience):
            load = await run_wrk(server.url, _CONNECTIONS, 5 if seen else 1, WIDE)
            sent, spent = sent + load.requests, spent + load.seconds
            if sent >= _FIRST_REQUESTS and (not seen or sent >= requests or spent >= (patience or float("inf"))):
                seen.append((sent, server.memory_mb))
    return seen


@asynccontextmanager
async def _stage(names: Sequence[str]) -> AsyncIterator[tuple[Mapping[str, str], Client, list[Server]]]:
    """The upstream, a client and every system that can be had."""
    async with AsyncExitStack() as stack:
        bases = await stack.enter_async_context(run_upstream())
        timeout = aiohttp.ClientTimeout(total=60)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        servers = []
        for name in names:
            if (missing := SYSTEMS[name].missing()) is not None:
                print(f"{name} is left out: {missing}", flush=True)
            else:
                servers.append(await stack.enter_async_context(run_system(SYSTEMS[name], bases)))
        yield bases, Client(session, bases["control"]), servers


async def _run(given: argparse.Namespace) -> int:
    started = datetime.now(UTC)
    texts: list[str] = []

    def say(text: str) -> None:
        texts.append(text)
        print(text, flush=True)

    measured = Measured()
    say("# Speed\n\n" + "\n".join(f"- {line}" for line in await describe_machine()))
    say(
        f"- {started:%Y-%m-%d}: medians of {given.rounds} rounds of {given.seconds} s in turn, {_CONNECTIONS} "
        "clients, new addresses in every request\n"
    )
    async with _stage(given.systems) as (bases, client, servers):
        complaints = await _compare(client, servers) if servers else []
        for complaint in complaints:
            say(complaint)
        if len(servers) > 1 and not complaints:
            say(f"All systems give equal `data` in {len(CASES)} cases: {', '.join(one.name for one in servers)}.\n")
        for name in given.cases:
            if (scenario := _SCENARIOS.get(name)) is None:
                continue
            if name == "slow-1":
                measured.slowest_upstream_ms = await _slowest_upstream_ms(client, bases)
            results = await _measure(client, scenario, servers, given.rounds, given.seconds)
            measured.results[name] = results
            ours = results.get("ours")
            say(f"## {name}: {scenario.title}\n")
            say(table(HEADER, [result.row(system, ours) for system, result in results.items()]) + "\n")
    if _MEMORY in given.cases and "ours" in given.systems:
        async with run_upstream() as bases:
            patience = None if given.requests else _MEMORY_SECONDS
            measured.memory = await _memory(bases, given.requests or 30_000, patience)
        rows = [[f"{requests:,}", f"{megabytes:.1f}"] for requests, megabytes in measured.memory]
        say("## memory: ours, resident\n\n" + table(("requests so far", "MB"), rows) + "\n")
    if measured.slowest_upstream_ms is not None:
        say(f"The slowest upstream request alone: {measured.slowest_upstream_ms:.1f} ms.\n")
    if given.scale:
        await scale([name for name in given.systems if SYSTEMS[name].missing() is None], say)
    if any(is_now is not None for _, is_now, _, _ in measured.targets()):
        say("## Targets\n\n" + table(("what", "is", "wanted", ""), measured.target_rows()) + "\n")
    if given.out is not None:
        given.out.write_text("\n".join(texts))
        print(f"written to {given.out}")
    return 1 if complaints else 0


def _names(known: Sequence[str]) -> Any:
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
        return names

    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and reports; 1 when systems do not give the same answers."""
    cases = [*_SCENARIOS, _MEMORY]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", type=_names(list(SYSTEMS)), help=f"some of {','.join(SYSTEMS)}")
    parser.add_argument("--cases", type=_names(cases), help=f"some of {','.join(cases)}")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of each system (default 5; 3 of the later cases)"
    )
    parser.add_argument("--seconds", type=int, default=3, help="length of a round (default 3)")
    parser.add_argument(
        "--requests", type=int, help="requests after which memory is looked at (default 30,000 or 90 s)"
    )
    parser.add_argument("--scale", action="store_true", help="also how it grows with holdings, wallets and clients")
    parser.add_argument("--out", type=Path, help=f"where to write (default {_OUT.relative_to(ROOT)}, of a whole run)")
    given = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        print("wrk is not installed: it sends the load", file=sys.stderr)
        return 2
    if given.systems is None and given.cases is None and given.out is None:
        given.out = _OUT
    given.systems = given.systems or list(SYSTEMS)
    given.cases = given.cases or cases
    return asyncio.run(_run(given))


if __name__ == "__main__":
    sys.exit(main())
