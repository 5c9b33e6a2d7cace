"""The processes of a benchmark: each is ended by its own id, whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LINE_BYTES = 4 * 1024 * 1024


class Child:
    """A process that logs to stderr; of its log, events are counted and the last odd lines kept."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.events: Counter[str] = Counter()
        self.odd: deque[str] = deque(maxlen=5)
        self._reading = asyncio.create_task(self._read_log())

    async def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            return (await self.process.stdout.readline()).decode()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def stop(self) -> int:
        """Ends it, gently if it can be; gives its exit status."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
        status = await self.process.wait()
        await self._reading
        return status

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                entry = json.loads(line)
                event = entry["event"].partition("\n")[0]  # what follows names a task
                self.events[" ".join(filter(None, (event, entry.get("source"), entry.get("reason"))))] += 1
                if "exception" in entry or entry["level"] == "error":
                    self.odd.append("\n    ".join([event, *entry.get("exception", "").splitlines()[-5:]]))
            except (ValueError, KeyError, TypeError):
                self.events["lines that are no event"] += 1
                self.odd.append(line.decode(errors="replace").rstrip())

    def memory(self) -> tuple[int, int] | None:
        """Its resident memory at its peak and now, in KiB; None where the system does not tell."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return None
        values = dict(line.split(":", 1) for line in status.splitlines())
        peak, now = (int(values.get(name, "0 kB").split()[0]) for name in ("VmHWM", "VmRSS"))
        return peak, now


async def _start(*command: str, cwd: Path, environment: Mapping[str, str]) -> Child:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={"PATH": os.environ.get("PATH", os.defpath), **environment},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=_LINE_BYTES,
        start_new_session=True,  # an interrupt at the terminal is for us, who end them
    )
    return Child(process)


@asynccontextmanager
async def run_python(*arguments: str, cwd: Path, **environment: str) -> AsyncIterator[Child]:
    """A Python with no settings but these, while the context lasts."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    child = await _start(sys.executable, *arguments, cwd=cwd, environment={"PYTHONPATH": path, **environment})
    try:
        yield child
    finally:
        await child.stop()


class RedisServer:
    """A Redis that keeps nothing on disk, and can be killed, paused and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self._folder = folder
        self._child: Child | None = None

    async def start(self) -> None:
        """Starts it, empty, and waits until it listens."""
        options = {"--port": str(self._port), "--bind": "127.0.0.1", "--save": "", "--appendonly": "no"}
        arguments = [text for option in options.items() for text in option]
        self._child = await _start("redis-server", *arguments, cwd=self._folder, environment={})
        while "Ready to accept connections" not in (line := await self._child.line()):
            if not line:
                raise RuntimeError("redis-server did not start")

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        if self._child is not None:
            self._child.signal(number)

    async def stop(self) -> None:
        """Ends it, also where it is paused."""
        if self._child is not None:
            self._child.signal(signal.SIGCONT)
            await self._child.stop()
            self._child = None

    async def disturb(self, seconds: float, begun: Counter[str]) -> None:
        """Within so many seconds it is killed, paused and restarted, once each; ``begun`` says how far that is."""
        calm, away = seconds / 5, min(seconds / 20, 5.0)
        await asyncio.sleep(calm)
        begun["killed"] += 1
        self.signal(signal.SIGKILL)
        await asyncio.sleep(away)
        await self.stop()
        await self.start()
        await asyncio.sleep(calm)
        begun["paused"] += 1
        self.signal(signal.SIGSTOP)
        await asyncio.sleep(away)
        self.signal(signal.SIGCONT)
        await asyncio.sleep(calm)
        begun["restarted"] += 1
        await self.stop()
        await self.start()


@asynccontextmanager
async def run_redis(folder: Path) -> AsyncIterator[RedisServer]:
    """A Redis of our own, while the context lasts."""
    server = RedisServer(folder)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
