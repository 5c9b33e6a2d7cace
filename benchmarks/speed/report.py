"""What was measured, as tables, and whether what we set out for is reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.speed.load import Round

_OURS = "ours"


@dataclass(slots=True)
class Result:
    """The rounds of one system in one scenario."""

    rounds: list[Round] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests a second, of the middle round."""
        return median(one.load.rate for one in self.rounds)

    @property
    def p50(self) -> float:
        """Milliseconds."""
        return median(one.load.p50 for one in self.rounds)

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return median(one.load.p99 for one in self.rounds)

    def row(self, name: str, ours: Result | None) -> list[str]:
        """One line of a scenario's table."""
        rates = [one.load.rate for one in self.rounds]
        failures = sum(one.load.failures for one in self.rounds)
        wrong, samples = sum(one.wrong for one in self.rounds), sum(one.samples for one in self.rounds)
        return [
            name,
            f"{self.rate:,.0f}",
            f"{min(rates):,.0f}-{max(rates):,.0f}",
            f"{self.p50:.1f}",
            f"{self.p99:.1f}",
            f"{median(one.cpu_per_1000 for one in self.rounds):.2f}",
            f"{median(one.upstream_requests for one in self.rounds):.2f}",
            f"{failures}",
            f"{wrong} of {samples}",
            "" if ours is None or not self.rate else f"{ours.rate / self.rate:.2f}",
        ]


HEADER = (
    "system",
    "requests/s",
    "from-to",
    "p50 ms",
    "p99 ms",
    "CPU s/1000",
    "upstream requests/answer",
    "failed",
    "wrong samples",
    "ours is × as fast",
)

Results = dict[str, dict[str, Result]]
"""By scenario and system."""


@dataclass(slots=True)
class Measured:
    """Everything, as far as it was measured."""

    results: Results = field(default_factory=dict)
    slowest_upstream_ms: float | None = None
    memory: Sequence[tuple[int, float]] = ()
    """Requests so far and resident MB then, first and last."""

    def ratio(self, scenario: str, other: str) -> float | None:
        """How many times as fast ours is as another one."""
        by_system = self.results.get(scenario, {})
        if _OURS not in by_system or other not in by_system or not by_system[other].rate:
            return None
        return by_system[_OURS].rate / by_system[other].rate

    def targets(self) -> Iterable[tuple[str, float | None, float, bool]]:
        """What is aimed at: what, how it is, how it should be, and whether that is the least (else the most)."""
        for case in ("wide", "narrow", "ten"):
            yield f"{case}: ours / yoga-jit", self.ratio(case, "yoga-jit"), 2.0, True
        yield "wide: ours / stock", self.ratio("wide", "stock"), 12.0, True
        yield "wide: ours / floor", self.ratio("wide", "floor"), 0.7, True
        slow = self.results.get("slow-1", {}).get(_OURS)
        upstream = self.slowest_upstream_ms
        over = None if slow is None or upstream is None else slow.p50 - upstream
        yield "50 ms upstreams, 1 client: p50 over the slowest upstream request, ms", over, 3.0, False
        yield "50 ms upstreams, 64 clients: ours / yoga-jit", self.ratio("slow-64", "yoga-jit"), 2.0, True
        wide = self.results.get("wide", {}).get(_OURS)
        yield "wide: p99 / p50", None if wide is None else wide.p99 / wide.p50, 4.0, False
        growth = self.memory[-1][1] / self.memory[0][1] if len(self.memory) > 1 and self.memory[0][1] else None
        yield "memory: at the end / after the first 1,000 requests", growth, 1.1, False

    def target_rows(self) -> list[list[str]]:
        """The targets as a table."""
        rows = []
        for what, is_now, wanted, at_least in self.targets():
            if is_now is None:
                verdict, shown = "not measured", ""
            else:
                reached = is_now >= wanted if at_least else is_now <= wanted
                verdict, shown = "reached" if reached else "not reached", f"{is_now:.2f}"
            rows.append([what, shown, f"{'>=' if at_least else '<='} {wanted:g}", verdict])
        return rows


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of Markdown that can be read as it is; all columns but the first to the right."""
    cells = [list(header), *[[str(value) for value in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    lines.insert(1, "|".join(["", "-" * (widths[0] + 2), *["-" * (width + 1) + ":" for width in widths[1:]], ""]))
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(row, widths, strict=True)
    return f"| {' | '.join([first[0].ljust(first[1]), *[text.rjust(width) for text, width in others]])} |"
