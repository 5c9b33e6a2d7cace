"""How the cost of an answer grows: with the holdings of a wallet, with the wallets asked for, and with clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.speed.cases import WIDE, Case, wallets
from benchmarks.speed.load import run_wrk
from benchmarks.speed.report import table
from benchmarks.speed.systems import SYSTEMS, Server, run_system, run_upstream

_HOLDINGS = (100, 1_000, 10_000)
_WALLETS = (1, 2, 5, 10, 25)
_MOST_CLIENTS = 1_000
_WARM_SECONDS, _SECONDS = 1, 4


async def scale(names: Sequence[str], say: Callable[[str], None]) -> None:
    """Measures each system alone."""
    of_holdings = {name: list[list[str]]() for name in names}
    for number in _HOLDINGS:
        async with run_upstream(number) as bases:
            for name in names:
                async with run_system(SYSTEMS[name], bases) as server:
                    of_holdings[name].append(await _cost(server, WIDE, number))
    header = ("system", "holdings", "p50 ms", "µs/holding", "CPU µs/holding", "failed")
    say("## Holdings of a pair, one client, the first page of 200\n")
    say(table(header, [row for rows in of_holdings.values() for row in rows]) + "\n")

    of_wallets, crowds = [], []
    async with run_upstream() as bases:
        for name in names:
            async with run_system(SYSTEMS[name], bases) as server:
                of_wallets += [await _cost(server, wallets(number), number) for number in _WALLETS]
            async with run_system(SYSTEMS[name], bases) as server:
                crowds.append(await _crowd(server))
    say("## Wallets in one operation, one client\n")
    say(table(("system", "wallets", "p50 ms", "µs/wallet", "CPU µs/wallet", "failed"), of_wallets) + "\n")
    say(f"## {_MOST_CLIENTS:,} clients at once\n")
    say(table(("system", "MB at start", "MB then", "requests/s", "p99 ms", "failed"), crowds) + "\n")


async def _cost(server: Server, case: Case, number: int) -> list[str]:
    """What one of so many costs one client after the other."""
    await run_wrk(server.url, 1, _WARM_SECONDS, case)
    before = server.cpu_seconds
    load = await run_wrk(server.url, 1, _SECONDS, case)
    cpu = (server.cpu_seconds - before) / max(1, load.requests)
    return [
        server.name,
        f"{number:,}",
        f"{load.p50:.1f}",
        f"{1e3 * load.p50 / number:.1f}",
        f"{1e6 * cpu / number:.1f}",
        f"{load.failures}",
    ]


async def _crowd(server: Server) -> list[str]:
    """What many clients at once take in memory."""
    at_start = server.memory_mb
    load = await run_wrk(server.url, _MOST_CLIENTS, 2 * _SECONDS, WIDE)
    return [
        server.name,
        f"{at_start:.1f}",
        f"{server.memory_mb:.1f}",
        f"{load.rate:,.0f}",
        f"{load.p99:,.0f}",
        f"{load.failures}",
    ]
