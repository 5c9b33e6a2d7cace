"""The systems that are compared, each one process on a core of its own, and what the machine tells of them."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, Child

HERE = Path(__file__).parent
LOAD_CORE, SERVER_CORE = "0", "1"
"""The load generator and the upstream share a core; what is measured has the other one."""

_NODE = HERE / "node"
_URL = re.compile(r"http://\S+")
_TICKS = os.sysconf("SC_CLK_TCK")

_ENVIRONMENT = {
    "ONDO_API_KEY": "any",
    "ONEBALANCE_API_KEY": "any",
    "THEGRAPH_API_TOKEN": "any",
    "THEGRAPH_PLAN": "500/50",
    "ONDO_SNAPSHOT_THRESHOLD": "0",
    "ONDO_REQUESTS_PER_MINUTE": "0",
    "ONEBALANCE_REQUESTS_PER_MINUTE": "0",
    "THEGRAPH_REQUESTS_PER_MINUTE": "0",
    "UPSTREAM_CONNECTIONS": "10000",
    "ONEBALANCE_CONNECTIONS": "10000",
    "UPSTREAM_MAX_WAITING": "100000",
    "MAX_OPERATIONS": "10000",
    "LOG_LEVEL": "error",
    "NODE_ENV": "production",
    "PORT": "0",
}
"""No limit of anybody's is reached, and no answer is of a whole chain."""


def _there() -> str | None:
    return None


def _node_missing() -> str | None:
    if shutil.which("node") is None:
        return "node is not installed"
    if not (_NODE / "node_modules").is_dir():
        return f"npm ci --prefix {_NODE.relative_to(ROOT)}"
    return None


@dataclass(frozen=True, slots=True)
class System:
    """How a system is started; ``missing`` says what it lacks, None when nothing."""

    name: str
    command: Sequence[str]
    missing: Callable[[], str | None] = _there


SYSTEMS = {
    system.name: system
    for system in (
        System("ours", (sys.executable, "server.py")),
        System("stock", (sys.executable, "-m", "benchmarks.speed.stock")),
        System("floor", (sys.executable, "-m", "benchmarks.speed.floor")),
        System("yoga-jit", ("node", str(_NODE / "yoga.mjs")), _node_missing),
        System("apollo", ("node", str(_NODE / "apollo.mjs")), _node_missing),
    )
}


@dataclass(slots=True)
class Server:
    """A system that serves; ``url`` takes its POST requests, ``pid`` is its process if the child is another."""

    name: str
    url: str
    child: Child
    pid: int | None = None

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far, its own and the kernel's for it."""
        fields = Path(f"/proc/{self.pid or self.child.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def memory_mb(self) -> float:
        """Resident memory now."""
        memory = self.child.memory()
        return memory[1] / 1_024 if memory else 0.0


@asynccontextmanager
async def run_upstream(holdings: int | None = None) -> AsyncIterator[Mapping[str, str]]:
    """The upstream beside the load generator; gives its base URLs."""
    options = [] if holdings is None else ["--holdings", str(holdings)]
    child = await start(LOAD_CORE, sys.executable, "-m", "benchmarks.speed.upstream", *options)
    try:
        yield json.loads(await child.line())
    finally:
        await child.stop()


@asynccontextmanager
async def run_system(system: System, bases: Mapping[str, str]) -> AsyncIterator[Server]:
    """A system over an upstream, alone on its core as long as the others idle."""
    child = await start(SERVER_CORE, *system.command, **bases)
    try:
        line = await child.line()
        found = _URL.search(line)
        if found is None:
            raise RuntimeError(f"{system.name} did not start: {line} {' '.join(child.odd)}")
        yield Server(system.name, found[0].rstrip('"},'), child)
    finally:
        await child.stop()


async def start(core: str, *command: str, **environment: str) -> Child:
    """A process on one core, where the system can tell it so."""
    pinned = ["taskset", "-c", core, *command] if can_pin() else command
    process = await asyncio.create_subprocess_exec(
        *pinned,
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT, **environment},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    return Child(process)


def can_pin() -> bool:
    """Whether load and server can have a core each."""
    return shutil.which("taskset") is not None and (os.cpu_count() or 1) > 1


async def describe_machine() -> list[str]:
    """What it was measured on, a line for each sort of thing."""
    cores = f"{os.cpu_count()} cores{'' if can_pin() else ', load and server not kept apart'}"
    packages = ("strawberry-graphql", "graphql-core", "aiohttp", "orjson", "uvloop", "uvicorn", "pydantic")
    lines = [
        f"{_cpu_model()}, {cores}, {platform.system()} {platform.release().partition('-')[0]}",
        f"Python {platform.python_version()}: " + ", ".join(f"{name} {metadata.version(name)}" for name in packages),
    ]
    if _node_missing() is None:
        node = await asyncio.create_subprocess_exec("node", "--version", stdout=PIPE)
        version = (await node.communicate())[0].decode().strip().removeprefix("v")
        wanted: dict[str, Any] = json.loads((_NODE / "package.json").read_text())["dependencies"]
        lines.append(f"Node {version}: " + ", ".join(f"{name} {number}" for name, number in wanted.items()))
    return lines


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
