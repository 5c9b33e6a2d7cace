"""No conversation over WebSocket makes the server fault; what breaks the protocol is told by its close codes."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.hostile.cases import EVM, GOOD
from tests.hostile.cases_documents import bomb
from tests.hostile.service import PATIENCE, Service, running_service

INIT = {"type": "connection_init"}
SUBSCRIPTION = f'subscription {{ walletChanged(address: "{EVM}") {{ at }} }}'
_AT_ONCE = 100
"""How many operations one connection may have under way."""

_UNHEARD = logging.getLogger("tests.hostile.client")
"""What the client has to say is no word of the server."""
_UNHEARD.disabled = True

Sent = str | bytes | dict[str, Any] | list[Any]


def subscribe(id: Any, query: Any = GOOD, **payload: Any) -> dict[str, Any]:
    return {"id": id, "type": "subscribe", "payload": {"query": query, **payload}}


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a client says, and the code by which the server ends it."""

    name: str
    says: Sequence[Sent]
    code: int | Collection[int]
    protocols: Sequence[str] = ("graphql-transport-ws",)


CLOSED = [
    Conversation("another subprotocol", [INIT], 4406, ["graphql-ws"]),
    Conversation("no subprotocol", [INIT], 4406, []),
    Conversation("a subprotocol of garbage", [INIT], 4406, ["x" * 1_000]),
    Conversation("a message before the first", [subscribe("1")], 4401),
    Conversation("init twice", [INIT, INIT], 4429),
    Conversation("init a hundred times", [INIT] * 100, 4429),
    Conversation("one id twice", [INIT, subscribe("1", SUBSCRIPTION), subscribe("1", SUBSCRIPTION)], 4409),
    Conversation("a text that is no JSON", [INIT, "junk"], 4400),
    Conversation("an empty text", [INIT, ""], 4400),
    Conversation("null", [INIT, "null"], 4400),
    Conversation("a number", [INIT, "7"], 4400),
    Conversation("NaN", [INIT, "NaN"], 4400),
    Conversation("a list", [INIT, [subscribe("1")]], 4400),
    Conversation("a hundred thousand brackets", [INIT, "[" * 100_000], 4400),
    Conversation("an object a hundred thousand deep", [INIT, '{"type":' * 100_000], 4400),
    Conversation("binary JSON", [INIT, json.dumps(subscribe("1")).encode()], 4400),
    Conversation("binary junk", [b"\x00\xff" * 1_000], 4400),
    Conversation("a message without a type", [INIT, {"id": "1"}], 4400),
    Conversation("a type that is null", [INIT, {"type": None}], 4400),
    Conversation("a type that is a list", [INIT, {"type": ["ping"]}], 4400),
    Conversation("a type that nobody knows", [INIT, {"type": "start", "id": "1"}], 4400),
    Conversation("a type of ten thousand letters", [INIT, {"type": "t" * 10_000}], 4400),
    Conversation("a type that only the server says", [INIT, {"type": "connection_ack"}], 4400),
    Conversation("a next from the client", [INIT, {"id": "1", "type": "next", "payload": {}}], 4400),
    Conversation("init with a text", [{**INIT, "payload": "secret"}], 4400),
    Conversation("init with a list", [{**INIT, "payload": []}], 4400),
    Conversation("an id that is a number", [INIT, subscribe(1)], 4400),
    Conversation("an id that is null", [INIT, subscribe(None)], 4400),
    Conversation("an id that is an object", [INIT, subscribe({"a": 1})], 4400),
    Conversation("an id that is empty", [INIT, subscribe("")], 4400),
    Conversation("an id of a hundred thousand letters", [INIT, subscribe("i" * 100_000)], 4400),
    Conversation("no id", [INIT, {"type": "subscribe", "payload": {"query": GOOD}}], 4400),
    Conversation("complete without an id", [INIT, {"type": "complete"}], 4400),
    Conversation("no payload", [INIT, {"id": "1", "type": "subscribe"}], 4400),
    Conversation("a payload that is a text", [INIT, {"id": "1", "type": "subscribe", "payload": GOOD}], 4400),
    Conversation("a payload that is a list", [INIT, {"id": "1", "type": "subscribe", "payload": []}], 4400),
    Conversation("a message of three megabytes", [INIT, json.dumps(subscribe("1", " " * (3 << 20)))], 1009),
    Conversation("a message of 32 megabytes in few bytes", [INIT, " " * (32 << 20)], 1009),
]

REFUSED: Sequence[tuple[str, dict[str, Any], str]] = [
    ("no query", subscribe("x", None), "BAD_USER_INPUT"),
    ("an empty query", subscribe("x", ""), "BAD_USER_INPUT"),
    ("a query that is a number", subscribe("x", 7), "BAD_USER_INPUT"),
    ("variables that are a list", subscribe("x", GOOD, variables=[]), "BAD_USER_INPUT"),
    ("an operation's name that is an object", subscribe("x", GOOD, operationName={}), "BAD_USER_INPUT"),
    ("extensions that are a text", subscribe("x", GOOD, extensions="{}"), "BAD_USER_INPUT"),
    ("a query that cannot be read", subscribe("x", "{"), "GRAPHQL_PARSE_FAILED"),
    ("a query that cannot be", subscribe("x", "{ nothing }"), "GRAPHQL_VALIDATION_FAILED"),
    ("a mutation", subscribe("x", "mutation { drop }"), "GRAPHQL_VALIDATION_FAILED"),
    ("a fragment bomb", subscribe("x", bomb(30, width=10)), "OPERATION_TOO_LARGE"),
    ("a million brackets in a query", subscribe("x", "{" * 1_000_000), "OPERATION_TOO_LARGE"),
    ("a lone surrogate in a query", subscribe("x", "{ \ud800 }"), "GRAPHQL_PARSE_FAILED"),
    ("a subscription to no address", subscribe("x", SUBSCRIPTION.replace(EVM, "vitalik")), "BAD_USER_INPUT"),
    (
        "a hash that nobody registered",
        subscribe("x", None, extensions={"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}),
        "PERSISTED_QUERY_NOT_FOUND",
    ),
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


@pytest.fixture(autouse=True)
def _nothing_is_hurt(service: Service) -> Iterator[None]:
    """After each conversation the server answers, and has logged no fault."""
    service.errors()
    yield
    assert service.is_well()
    assert service.errors() == []


def opened(service: Service, protocols: Sequence[str] = ("graphql-transport-ws",)) -> ClientConnection:
    names = [Subprotocol(protocol) for protocol in protocols] or None
    url = f"{service.url.replace('http', 'ws')}/graphql"
    connection: ClientConnection = connect(url, subprotocols=names, logger=_UNHEARD)
    return connection


def say(connection: ClientConnection, *messages: Sent) -> None:
    """Sends these messages, as far as they are taken."""
    with suppress(ConnectionClosed):
        for message in messages:
            connection.send(message if isinstance(message, str | bytes) else json.dumps(message))


def heard(connection: ClientConnection) -> Iterator[dict[str, Any]]:
    """The server's messages until the connection is closed."""
    with suppress(ConnectionClosed):
        while True:
            yield json.loads(connection.recv(PATIENCE))


@pytest.mark.parametrize("case", CLOSED, ids=lambda case: case.name)
def test_who_breaks_the_protocol_is_closed_by_its_code(service: Service, case: Conversation) -> None:
    with opened(service, case.protocols) as connection:
        say(connection, *case.says)
        told = list(heard(connection))
        assert {message["type"] for message in told} <= {"connection_ack"}
        assert connection.close_code == case.code, connection.close_reason
        assert len(connection.close_reason or "") <= 100


@pytest.mark.parametrize(("message", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_an_operation_that_cannot_be_is_refused_and_the_connection_stays(
    service: Service, message: dict[str, Any], code: str
) -> None:
    with opened(service) as connection:
        say(connection, INIT, message)
        messages = heard(connection)
        assert next(messages)["type"] == "connection_ack"
        refused = next(messages)
        assert (refused["id"], refused["type"]) == ("x", "error")
        assert {error["extensions"]["code"] for error in refused["payload"]} == {code}
        say(connection, subscribe("y"))
        assert next(messages)["payload"]["data"]["chains"]
        assert next(messages) == {"id": "y", "type": "complete"}


def test_of_a_thousand_subscriptions_as_many_are_taken_as_one_connection_may_have(service: Service) -> None:
    with opened(service) as connection:
        say(connection, INIT, *[subscribe(str(n), SUBSCRIPTION) for n in range(1_000)])
        messages = heard(connection)
        assert next(messages)["type"] == "connection_ack"
        refused = [next(messages) for _ in range(1_000 - _AT_ONCE)]
        assert {message["type"] for message in refused} == {"error"}
        assert {message["payload"][0]["extensions"]["code"] for message in refused} == {"RATE_LIMITED"}
        say(connection, {"type": "ping"})
        assert next(messages)["type"] == "pong"


def test_who_leaves_and_comes_back_with_every_id_finds_each_free(service: Service) -> None:
    with opened(service) as connection:
        say(connection, INIT)
        for _ in range(50):
            say(connection, subscribe("1", SUBSCRIPTION), {"id": "1", "type": "complete"})
        say(connection, {"id": "nobody", "type": "complete"}, {"type": "pong", "payload": {"a": 1}}, subscribe("2"))
        told = [next(heard(connection)) for _ in range(3)]
        assert [message["type"] for message in told] == ["connection_ack", "next", "complete"]


def test_clients_that_vanish_in_the_middle_of_a_word_leave_nothing_behind(service: Service) -> None:
    for _ in range(20):
        with opened(service) as connection:
            say(connection, INIT, subscribe("1", SUBSCRIPTION), subscribe("2"))
            connection.socket.shutdown(socket.SHUT_RDWR)
    assert service.busy_seconds() < 1


def _frame(opcode: int, payload: bytes, *, first: int = 0x80, masked: bool = True) -> bytes:
    """One frame (RFC 6455, section 5.2) of less than 126 bytes."""
    head = struct.pack("!BB", first | opcode, (0x80 if masked else 0) | len(payload))
    return head + (bytes(4) if masked else b"") + payload


_PROTOCOL_ERROR, _NO_UNICODE, _TOO_LARGE = 1002, 1007, 1009


@dataclass(frozen=True, slots=True)
class Frames:
    """Bytes behind the handshake, and the code by which the server ends the connection."""

    name: str
    sent: bytes = field(repr=False)
    code: int


FRAMES = [
    Frames("a frame without a mask", _frame(1, b"{}", masked=False), _PROTOCOL_ERROR),
    Frames("an opcode that nobody knows", _frame(3, b"{}"), _PROTOCOL_ERROR),
    Frames("reserved bits", _frame(1, b"{}", first=0xB0), _PROTOCOL_ERROR),
    Frames("a continuation of nothing", _frame(0, b"{}"), _PROTOCOL_ERROR),
    Frames("a ping in parts", _frame(9, b"", first=0), _PROTOCOL_ERROR),
    Frames("text that is not UTF-8", _frame(1, b"\xff\xfe"), _NO_UNICODE),
    Frames("a frame of 2⁶³ bytes", b"\x81\xff" + struct.pack("!Q", (1 << 63) - 1) + bytes(4), _TOO_LARGE),
    Frames("a close with half a code", _frame(8, b"\x03"), _PROTOCOL_ERROR),
    Frames("a close with a code that cannot be", _frame(8, struct.pack("!H", 999)), _PROTOCOL_ERROR),
]


@pytest.mark.parametrize("case", FRAMES, ids=lambda case: case.name)
def test_junk_for_frames_ends_the_connection(service: Service, case: Frames) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    handshake = (
        "GET /graphql HTTP/1.1\r\nHost: walletgraph\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        connection.sendall(handshake.encode())
        assert connection.recv(12) == b"HTTP/1.1 101"
        connection.sendall(case.sent)
        received = b""
        with suppress(ConnectionResetError):
            while part := connection.recv(1 << 12):
                received += part
        # The last frame is the server's close.
        assert struct.pack("!H", case.code) in received.rpartition(b"\x88")[2][:3]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Sec-WebSocket-Version", "12"),
        ("Sec-WebSocket-Version", "many"),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Key", "\xff" * 24),
        ("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=99"),
        ("Sec-WebSocket-Protocol", "a,,b;;"),
        ("Upgrade", "websocket, h2c"),
    ],
)
def test_a_handshake_that_cannot_be_is_refused(service: Service, header: str, value: str) -> None:
    headers = {
        "Host": "walletgraph",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        header: value,
    }
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection:
        connection.sendall(f"GET /graphql HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
        status = int(connection.recv(1 << 12).split(b" ")[1])
        assert status == 101 or 400 <= status < 500
