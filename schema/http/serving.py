"""uvicorn as this service runs it: one line when it serves, and an end that cuts nobody off."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette

from schema.http.settings import HttpSettings
from schema.http.writing import JoiningProtocol

_CLIENTS_MISTAKES = (
    "Invalid UTF-8 sequence received from client",
    "ASGI callable returned without completing response",  # to one who does not read
    "ASGI callable returned without completing handshake",  # of a WebSocket that is refused
)
"""What uvicorn takes for errors of an application."""


def is_no_clients_mistake(record: logging.LogRecord) -> bool:
    """Whether a record of uvicorn's tells of more than what a client did wrong."""
    message = record.getMessage()
    return not any(mistake in message for mistake in _CLIENTS_MISTAKES)


def _drop_those_who_do_not_read(sockets: Sequence[Any], seconds: float) -> None:
    """Ends connections whose peers have taken nothing for so long, where the system can (RFC 5482)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    for listening in sockets if option is not None else ():
        listening.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1_000))


class Server(uvicorn.Server):
    """Says in one line where it serves, once it accepts requests; stops at SIGTERM when all that runs is done."""

    grace_seconds: int = 10
    """How long what runs at SIGTERM may go on; then it is cancelled."""

    def __init__(self, app: Starlette, host: str, port: int, settings: HttpSettings, *, note: str = "") -> None:
        """``note`` is added to the line that says where it serves."""
        config = uvicorn.Config(
            app,
            host,
            port,
            lifespan="on",
            log_config=None,  # its logs go where all others go
            log_level="warning",
            access_log=False,  # addresses and queries are in the lines of requests
            http=JoiningProtocol,
            ws_max_size=settings.max_body_bytes,
            ws_ping_interval=settings.heartbeat_seconds,
            ws_ping_timeout=settings.heartbeat_seconds,
            server_header=False,
            timeout_graceful_shutdown=self.grace_seconds,
        )
        super().__init__(config)
        self._drain = app.state.drain
        self._send_seconds = settings.send_timeout_seconds
        self._note = note

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in self.servers:
            _drop_those_who_do_not_read(listening.sockets, self._send_seconds)
            host, port = listening.sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            print(f"walletgraph serves http://{shown}:{port}/graphql{self._note}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in self.servers:
            listening.close()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.grace_seconds
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._drain()
        self.config.timeout_graceful_shutdown = max(0, round(deadline - loop.time()))
        await super().shutdown(sockets)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn raises again the signal that stopped it: a wish granted is no failure.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        await super().serve(sockets)
