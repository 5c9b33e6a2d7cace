"""How the graph is served over HTTP and WebSocket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How the graph is served over HTTP and WebSocket.

    Of operations, ``max_operations`` run at once and ``max_queued_operations`` wait. A body, or a message of a
    WebSocket, has at most ``max_body_bytes``; a batch at most ``max_batch_operations``, 1 means none at all.

    At most ``max_subscriptions`` are open, ``max_watches`` wallets watched and ``max_websockets`` connected in one
    process; one WebSocket has at most ``max_operations_per_websocket`` under way. A wallet is looked at every
    ``watch_floor_seconds`` at most. Every ``heartbeat_seconds`` something is sent on an idle stream of HTTP; one
    that does not take what it is sent within ``send_timeout_seconds`` is dropped.
    """

    max_operations: int = 128
    max_queued_operations: int = 256
    max_body_bytes: int = 2 * 1024 * 1024
    max_batch_operations: int = 10
    max_subscriptions: int = 1_000
    max_watches: int = 1_000
    watch_floor_seconds: int = 15
    max_websockets: int = 1_000
    max_operations_per_websocket: int = 100
    heartbeat_seconds: float = 15.0
    send_timeout_seconds: float = 10.0
    connection_init_timeout_seconds: float = 10.0
