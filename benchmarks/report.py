"""What a soak has shown, as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load import Tally
from benchmarks.world import SOURCES


@dataclass(frozen=True, slots=True)
class Server:
    """What one server process left behind; memory is (peak, now) in KiB, None where the system does not tell."""

    after_start: tuple[int, int] | None
    at_end: tuple[int, int] | None
    events: Counter[str]
    odd: Sequence[str]
    exit_status: int


class Metrics:
    """The sums of the counters of several processes."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._samples: Counter[tuple[str, frozenset[tuple[str, str]]]] = Counter()
        for text in texts:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    self._samples[sample.name, frozenset(sample.labels.items())] += sample.value  # type: ignore[assignment]

    def sum(self, name: str, **labels: str) -> int:
        """Of all samples that have these labels."""
        wanted = labels.items()
        found = (n for (of, have), n in self._samples.items() if of == name and have >= frozenset(wanted))
        return round(sum(found))

    def values(self, name: str, label: str) -> list[str]:
        """What a label has been."""
        return sorted({dict(labels)[label] for of, labels in self._samples if of == name and label in dict(labels)})


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns as wide as they must be, the first to the left and numbers to the right."""
    cells = [list(header), *[[_cell(value) for value in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]]
        )
        for row in cells
    ]
    return "\n".join([title, *[f"  {line.rstrip()}" for line in lines], ""])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def tables(
    tally: Tally, seconds: float, servers: Sequence[Server], metrics: Metrics, seen: Mapping[str, Mapping[str, Any]]
) -> str:
    """Everything, in the order in which it is best read."""
    return "\n".join(
        [
            _verdict(tally, seconds),
            _latencies(tally, seconds),
            _errors(tally),
            _memory(servers),
            _costs(tally, metrics, seen),
            _caches(metrics),
            _resilience(metrics, servers, seen),
            _oddities(servers),
        ]
    )


def _verdict(tally: Tally, seconds: float) -> str:
    counts = f"{tally.requests:,} requests in {seconds:,.0f} s, {tally.requests / seconds:,.1f} a second; "
    counts += f"{tally.left:,} clients left before the answer"
    violations = table("Violations", ("", "count"), sorted(tally.violations.items()) or [("none", 0)])
    return "\n".join([counts, "", violations, *[f"    {example}" for example in tally.examples]])


def _latencies(tally: Tally, seconds: float) -> str:
    every = [took for some in tally.seconds.values() for took in some]
    rows = [
        (shape, len(some), len(some) / seconds, *[_percentile(some, share) * 1_000 for share in (0.5, 0.9, 0.99, 1)])
        for shape, some in [("all", every), *sorted(tally.seconds.items()), ("/healthz", tally.pulse)]
        if some
    ]
    return table("Answers (milliseconds)", ("", "count", "a second", "p50", "p90", "p99", "longest"), rows)


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _errors(tally: Tally) -> str:
    reports = Counter(tally.sources)
    outcomes = sorted({outcome for _, outcome in reports})
    rows = [(outcome, *[reports[source, outcome] for source in SOURCES]) for outcome in outcomes]
    return "\n".join(
        [
            table("HTTP", ("", "count"), sorted(tally.statuses.items())),
            table("GraphQL error codes", ("", "count"), sorted(tally.codes.items()) or [("none", 0)]),
            table("Reports of the sources", ("", *SOURCES), rows),
        ]
    )


def _memory(servers: Sequence[Server]) -> str:
    def mebibytes(memory: tuple[int, int] | None) -> list[Any]:
        return ["–", "–"] if memory is None else [kibibytes / 1_024 for kibibytes in memory]

    rows = [
        (f"server {number}", *mebibytes(one.after_start), *mebibytes(one.at_end), one.exit_status)
        for number, one in enumerate(servers, 1)
    ]
    header = ("", "peak after 1,000", "then", "peak at end", "at end", "exit status")
    return table("Memory of the servers (RSS, MiB; first after 1,000 requests)", header, rows)


def _costs(tally: Tally, metrics: Metrics, seen: Mapping[str, Mapping[str, Any]]) -> str:
    def costs(source: str, *by: str) -> int:
        return sum(tally.costs[source, one] for one in by)

    asked = {source: Counter[str](seen[source]["asked"]) for source in SOURCES}
    total = {source: asked[source].total() - asked[source]["batched"] for source in SOURCES}
    rows: list[tuple[str, Iterable[int]]] = [
        ("one by one (1)", (costs(s, "cache", "joined", "not asked", "asked") for s in SOURCES)),
        ("  saved by caches (2)", (costs(s, "cache") for s in SOURCES)),
        ("  saved by single flight (3)", (costs(s, "joined") for s in SOURCES)),
        ("  failed without a request (4)", (costs(s, "not asked") for s in SOURCES)),
        ("  left to be asked", (costs(s, "asked") for s in SOURCES)),
        ("sent for balances (5)", (total[s] - asked[s]["registers"] for s in SOURCES)),
        ("  whole chains, further pages", (asked[s]["whole chains"] + asked[s]["further pages"] for s in SOURCES)),
        ("  saved by batching (6)", (asked[s]["batched"] for s in SOURCES)),
        ("sent for registers and tokens", (asked[s]["registers"] for s in SOURCES)),
        ("sent in all", (total[s] for s in SOURCES)),
        ("  retries", (metrics.sum("walletgraph_upstream_retries_total", source=s) for s in SOURCES)),
        ("  caused by answers (7)", (tally.caused[s] for s in SOURCES)),
    ]
    numbers = [(name, *(values := list(row)), sum(values)) for name, row in rows]
    notes = """\
  (1) what the sources' reports in all answers would have cost, had each address been asked about by itself with
      nothing known: one request for each report of Ondo and OneBalance, all pages and one for SOL on Solana
  (2) of these, reports with an age and without a request of their own, whole chains of Ondo included
  (3) with neither: another operation, or another replica, was asking already (single flight)
  (4) the circuit was open, or the request that was joined failed
  (5) by the upstreams' own logs; what goes on behind the scenes and for clients who left is included
  (6) addresses after the first in one request, by the same logs; what a whole chain answers is not in it
  (7) by the answers' own traces, registers included; the others were refreshes behind the scenes, or for who left
"""
    return table("Upstream requests", ("", *SOURCES, "all"), numbers) + notes


def _caches(metrics: Metrics) -> str:
    reads, batches = "walletgraph_cache_reads_total", "walletgraph_batch_size"
    rows = []
    for kind in metrics.values(reads, "kind"):
        found = [
            metrics.sum(reads, kind=kind, tier=tier, result=result)
            for tier, result in (
                ("memory", "fresh"),
                ("memory", "stale_while_revalidate"),
                ("memory", "stale_if_error"),
                ("memory", "miss"),
                ("shared", "fresh"),
                ("shared", "stale_while_revalidate"),
            )
        ]
        questions, requests = metrics.sum(f"{batches}_sum", kind=kind), metrics.sum(f"{batches}_count", kind=kind)
        refreshes = metrics.sum("walletgraph_cache_fetches_total", kind=kind, outcome="FAILED")
        rows.append((kind, *found, questions, requests, refreshes))
    header = ("", "fresh", "renewing", "if error", "miss", "shared", "sh. renewing", "fetched", "batches", "failed")
    return table("Cache reads by age, in memory and shared; answers fetched, in batches", header, rows)


def _resilience(metrics: Metrics, servers: Sequence[Server], seen: Mapping[str, Mapping[str, Any]]) -> str:
    events = sum((server.events for server in servers), Counter[str]())
    faults = sorted({fault for one in seen.values() for fault in one["met"]})
    rows: list[tuple[Any, ...]] = [
        ("circuit opened", *[events[f"circuit opened {source}"] for source in SOURCES]),
        ("retries", *[metrics.sum("walletgraph_upstream_retries_total", source=s) for s in SOURCES]),
        ("retries denied", *[metrics.sum("walletgraph_upstream_retries_denied_total", source=s) for s in SOURCES]),
    ]
    rows += [(f"met: {fault}", *[seen[source]["met"].get(fault, 0) for source in SOURCES]) for fault in faults]
    counts = [
        ("evicted from memory", metrics.sum("walletgraph_cache_evictions_total")),
        ("shared values that could not be read", metrics.sum("walletgraph_cache_corrupt_total")),
        *[
            (
                f"failed commands of Redis: {reason}",
                metrics.sum("walletgraph_shared_store_failures_total", reason=reason),
            )
            for reason in metrics.values("walletgraph_shared_store_failures_total", "reason")
        ],
        *[(f"log: {event}", count) for event, count in sorted(events.items()) if "circuit" not in event],
    ]
    return table("Faults of upstreams", ("", *SOURCES), rows) + "\n" + table("Of the servers", ("", "count"), counts)


def _oddities(servers: Sequence[Server]) -> str:
    lines = [f"  server {number}: {line}" for number, one in enumerate(servers, 1) for line in one.odd]
    return "\n".join(["Last odd lines of the logs", *lines, ""]) if lines else ""
