"""Where the time of one request goes: samples of a server under load, taken from outside by py-spy.

    uv run python -m benchmarks.speed.profile
    uv run python -m benchmarks.speed.profile --system floor --case ten

py-spy starts the server, so it needs no privileges, and costs the server hardly anything. Milliseconds are of
processor time for one request; time in C code is its caller's.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import ROOT
from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.load import run_wrk
from benchmarks.speed.report import table
from benchmarks.speed.systems import SERVER_CORE, SYSTEMS, Server, System, run_upstream, start

_FRAME = re.compile(r"(.*) \((.*?)(?::(\d+))?\)$")
_LOOP = "asyncio/runners.py"
"""Below it is what serves; what is not below it is the start."""
_WARM_SECONDS = 1
_PYTHON = ("ours", "stock", "floor")


@dataclass(slots=True)
class _Profile:
    """Samples by where they were taken."""

    total: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    own: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    below: Counter[str] = field(default_factory=Counter)

    def add(self, stack: str, samples: int) -> None:
        """Counts samples of one stack, unless it is of the start."""
        frames = [_read(frame) for frame in stack.split(";")]
        loop = next((place for place, (_, file, _) in enumerate(frames) if file == _LOOP), None)
        if loop is None:
            return
        frames = frames[loop:]
        self.total += samples
        name, file, line = frames[-1]
        self.functions[f"{name} {file}"] += samples
        self.lines[f"{file}:{line} {name}"] += samples
        ours = next((frame for frame in reversed(frames) if _is_ours(frame[1])), None)
        part = file.partition("/")[0] if ours is None else ours[1]
        self.parts[part] += samples
        if ours == frames[-1]:
            self.own[part] += samples
        for below in {f"{name} {file}" for name, file, _ in frames if _is_ours(file)}:
            self.below[below] += samples


def _read(frame: str) -> tuple[str, str, str]:
    found = _FRAME.match(frame)
    return (found[1], found[2], found[3] or "") if found else (frame, "", "")


def _is_ours(file: str) -> bool:
    """Whether code is of this repository, or made by it; what dataclasses make is their caller's."""
    if file.startswith("<"):
        return not file.startswith(("<frozen", "<string>"))
    return not file.startswith(("/", ".venv")) and (ROOT / file).is_file()


async def _sample(system: System, case: Case, connections: int, seconds: int, rate: int) -> tuple[_Profile, float]:
    """The samples, and the processor milliseconds of one request."""
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if py_spy is None:
        raise FileNotFoundError("py-spy is not installed: uv pip install py-spy")
    async with run_upstream() as bases:
        with tempfile.TemporaryDirectory() as folder:
            stacks = Path(folder) / "stacks"
            record = [py_spy, "record", "--rate", str(rate), "--duration", "unlimited", "--format", "raw"]
            child = await start(SERVER_CORE, *record, "--output", str(stacks), "--", *system.command, **bases)
            try:
                url = ""
                while not url:
                    line = await child.line()
                    if not line:
                        raise RuntimeError(f"{system.name} did not start: {' '.join(child.odd)}")
                    url = next(iter(re.findall(r"http://[^\s\"]+", line)), "")
                server = Server(system.name, url, child, pid=_only_child(child.process.pid))
                await run_wrk(url, connections, _WARM_SECONDS, case)
                before = server.cpu_seconds
                load = await run_wrk(url, connections, seconds, case)
                cpu = server.cpu_seconds - before
                child.signal(signal.SIGINT)  # so that it writes what it has
                await child.process.wait()
            finally:
                await child.stop()
            profile = _Profile()
            for entry in stacks.read_text().splitlines():
                stack, _, samples = entry.rpartition(" ")
                profile.add(stack, int(samples))
    print(f"{load.rate:,.0f} requests/s, p50 {load.p50:.1f} ms, p99 {load.p99:.1f} ms, {load.failures} failed\n")
    return profile, 1e3 * cpu / max(1, load.requests)


def _only_child(pid: int) -> int:
    """The process that another one has started."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if children := (task / "children").read_text().split():
            return int(children[0])
    raise RuntimeError("py-spy has not started the server")


def _rows(counted: Iterable[tuple[str, int]], total: int, milliseconds: float) -> list[list[str]]:
    return [[name, f"{milliseconds * n / total:.3f}", f"{100 * n / total:.1f}"] for name, n in counted]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the profile."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--system", choices=_PYTHON, default="ours")
    parser.add_argument("--case", choices=list(CASES), default="wide")
    parser.add_argument("--seconds", type=int, default=8, help="how long to sample (default 8)")
    parser.add_argument("--connections", type=int, default=8, help="clients (default 8)")
    parser.add_argument("--rate", type=int, default=500, help="samples a second (default 500)")
    parser.add_argument("--top", type=int, default=25, help="lines of each table (default 25)")
    given = parser.parse_args(arguments)
    sampling = _sample(SYSTEMS[given.system], CASES[given.case], given.connections, given.seconds, given.rate)
    profile, milliseconds = asyncio.run(sampling)
    if not profile.total:
        sys.exit("no sample was taken while it served")
    print(f"{milliseconds:.2f} ms of processor time for a request, by {profile.total:,} samples\n")
    parts = [
        [*row, f"{100 * profile.own[row[0]] / profile.parts[row[0]]:.0f}"]
        for row in _rows(profile.parts.most_common(given.top), profile.total, milliseconds)
    ]
    print("Files: the innermost one of the repository at each moment, with the libraries that it calls\n")
    print(table(("file", "ms", "%", "% of it in its own code"), parts) + "\n")
    for title, counted in (
        ("Functions with all that they call", profile.below),
        ("Functions alone", profile.functions),
        ("Lines alone", profile.lines),
    ):
        print(f"{title}\n")
        rows = _rows(counted.most_common(given.top), profile.total, milliseconds)
        print(table((title.partition(" ")[0].lower().removesuffix("s"), "ms", "%"), rows) + "\n")


if __name__ == "__main__":
    main()
