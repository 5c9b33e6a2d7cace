"""The head of an answer and its body in one write: uvicorn makes two of them, each a system call and a packet."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from schema.http.head import BoundedHeadProtocol

_STATUS_LINE = b"HTTP/1.1 "


class JoinedWrites:
    """A transport that keeps the head of an answer for what is written next, as long as that comes at once."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self.is_closing = transport.is_closing
        self._loop = loop
        self._head: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """As that of the transport, with what was kept before it."""
        if self._head is not None:
            head, self._head = self._head, None
            self.transport.writelines((head, data))
        elif data.startswith(_STATUS_LINE):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self.transport.write(data)

    def close(self) -> None:
        """As that of the transport, when what was kept is written."""
        self._flush()
        self.transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None and not self.is_closing():
            self.transport.write(head)


class JoiningProtocol(BoundedHeadProtocol):
    """uvicorn's protocol with bounded heads, and with joined writes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(cast("asyncio.Transport", JoinedWrites(transport, self.loop)))

    def handle_websocket_upgrade(self) -> None:
        self.transport = cast("JoinedWrites", self.transport).transport
        super().handle_websocket_upgrade()
