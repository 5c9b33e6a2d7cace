"""A Redis of the tests' own, which can die, freeze, fill up and be slow."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import redis

PROGRAM = shutil.which("redis-server")
_START_SECONDS = 20.0


class RedisServer:
    """A Redis process on a loopback port of its own, with nothing on disk; ``client`` looks into it."""

    was_full = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.client: Any = redis.Redis(port=self.port)

    @property
    def url(self) -> str:
        """Where it is, whether it runs or not."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it, empty, and waits until it answers; after ``kill`` on the same port again."""
        assert PROGRAM is not None
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "save": "", "appendonly": "no"}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self._process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends_at = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)

    def kill(self) -> None:
        """Ends it at once, with all that it knew."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.client.close()

    def pause(self) -> None:
        """Lets it hold its connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def limit_memory(self, size: int) -> None:
        """Bounds what it holds, in bytes: it refuses writes beyond; 0 takes the bound away."""
        self.was_full = True
        self.client.config_set("maxmemory-policy", "noeviction")
        self.client.config_set("maxmemory", size)

    def calls(self, command: str) -> int:
        """How often a command was run since the start, or since ``forget_calls``."""
        return int(self.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

    def forget_calls(self) -> None:
        """Counts from here on."""
        self.client.config_resetstat()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


class SlowProxy:
    """The way to a server on loopback whose answers come ``seconds`` late.

    ``scripts`` counts the scripts that it was asked to run.
    """

    def __init__(self, port: int, seconds: float) -> None:
        self._target = port
        self._seconds = seconds
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.scripts = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)

        async def ask() -> None:
            while data := await reader.read(65_536):
                self.scripts += data.count(b"EVALSHA")
                back.write(data)
            back.close()

        async def answer() -> None:
            while data := await there.read(65_536):
                await asyncio.sleep(self._seconds)
                writer.write(data)

        with suppress(ConnectionError):
            try:
                await asyncio.gather(ask(), answer())
            finally:
                writer.close()
                back.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
