"""Several processes that serve one socket, by uvicorn's supervisor: it starts again whatever ends or hangs."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import multiprocess


class _Config(uvicorn.Config):
    """What the supervisor needs to know, and how a worker makes its server; the latter can be pickled."""

    build: Callable[[], uvicorn.Server]


class _Worker(multiprocess.Process):
    """A process that serves in our way; the supervisor's own runs a plain server."""

    config: _Config

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = self.config.build()
        return self._server


def run_workers(build: Callable[[], uvicorn.Server], host: str, port: int, count: int) -> int:
    """Serves until SIGINT or SIGTERM, by so many processes; gives the exit status.

    SIGHUP replaces them one by one. ``build`` is called in each of them, and must be importable there.
    """
    config = _Config("", host, port, workers=count, log_config=None, log_level="warning")
    config.build = build
    multiprocess.Process = _Worker  # type: ignore[misc]  # the supervisor takes no other hint
    supervisor = multiprocess.Multiprocess(config, [config.bind_socket()])
    supervisor.run()
    return 1 if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes) else 0
