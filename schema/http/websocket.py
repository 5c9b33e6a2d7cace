"""GraphQL over WebSocket, by the protocol graphql-transport-ws."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from schema.http.endpoint import Endpoint
from schema.http.parameters import Parameters, read_json
from schema.http.refusal import RequestError, too_busy, turn_away
from schema.http.results import fault, formatted, is_request_error, to_json

PROTOCOL = "graphql-transport-ws"

Authenticate = Callable[[HTTPConnection, Mapping[str, Any]], Awaitable[None]]

_MAX_ID_LENGTH = 256
_MAX_REASON_BYTES = 123
"""Of a close frame (RFC 6455, section 5.5)."""

_MAX_UNKNOWN_BYTES = 16 * 1024
"""Of a message before its sender is known: a credential is shorter."""


class _EndError(Exception):
    """The connection is to be closed with this code, for this reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class WebSocketServer:
    """An ASGI application that answers GraphQL operations over WebSocket connections.

    ``authenticate`` gets what a client sends to begin with, and raises ``RequestError`` for one that is not let in.
    """

    def __init__(self, endpoint: Endpoint, *, authenticate: Authenticate | None = None) -> None:
        self.endpoint = endpoint
        self.authenticate = authenticate
        self._connected = 0
        self._nobody = asyncio.Event()
        self._nobody.set()

    async def drained(self) -> None:
        """Returns when nobody is connected; once the streams are closed, that is when what runs has ended."""
        await self._nobody.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._connected >= self.endpoint.settings.max_websockets:
            await turn_away(too_busy("There are too many connections: try again."), scope, receive, send)
            return
        self._connected += 1
        self._nobody.clear()
        try:
            await _Connection(self, WebSocket(scope, receive, send)).serve()
        finally:
            self._connected -= 1
            if not self._connected:
                self._nobody.set()


class _Connection:
    """One client. Each of its operations is a task; only what breaks the protocol closes the connection."""

    def __init__(self, server: WebSocketServer, socket: WebSocket) -> None:
        self._authenticate = server.authenticate
        self._endpoint = server.endpoint
        self._settings = server.endpoint.settings
        self._socket = socket
        self._sending = asyncio.Lock()
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: set[asyncio.Task[None]] = set()
        self._initialised = False
        self._acknowledged = False
        self._ending: asyncio.Future[_EndError] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Answers until one of both ends the connection."""
        socket = self._socket
        protocol = PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", ()) else None
        await socket.accept(protocol)
        helpers = [
            asyncio.create_task(work) for work in (self._receive(), self._await_beginning(), self._await_closing())
        ]
        if protocol is None:
            self._end(4406, "Subprotocol not acceptable")
        try:
            closed = await self._ending
            with suppress(RuntimeError, WebSocketDisconnect, TimeoutError, OSError):
                async with asyncio.timeout(self._settings.send_timeout_seconds):
                    await socket.close(closed.code, closed.reason)
        finally:
            tasks = [*helpers, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, code: int, reason: str) -> None:
        if not self._ending.done():
            short = reason.encode(errors="replace")[:_MAX_REASON_BYTES].decode(errors="ignore")
            self._ending.set_result(_EndError(code, short))

    async def _await_closing(self) -> None:
        """Once the server stops, what is no subscription may come to its end."""
        await self._endpoint.streams.closing.wait()
        while running := self._tasks - self._subscriptions:
            await asyncio.wait(running)
        self._end(1012, "The server stops")

    async def _await_beginning(self) -> None:
        await asyncio.sleep(self._settings.connection_init_timeout_seconds)
        if not self._initialised:
            self._end(4408, "Connection initialisation timeout")

    # What the client sends

    async def _receive(self) -> None:
        try:
            while True:
                await self._take(await self._next_message())
        except _EndError as closed:
            self._end(closed.code, closed.reason)
        except WebSocketDisconnect:
            self._end(1000, "")
        except Exception as error:
            fault(error)
            self._end(1011, "Internal server error")

    async def _next_message(self) -> dict[str, Any]:
        received = await self._socket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1000))
        text = received.get("text")
        if text is None:
            raise _EndError(4400, "Messages must be text")
        if len(text) > (self._settings.max_body_bytes if self._acknowledged else _MAX_UNKNOWN_BYTES):
            raise _EndError(1009, "The message is too long")
        try:
            message = read_json(text, "The message")
        except RequestError as error:
            raise _EndError(4400, error.message) from None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise _EndError(4400, "Messages must be objects with a type")
        return message

    async def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connection_init":
                await self._initialise(message)
            case "ping":
                payload = message.get("payload")
                await self._send({"type": "pong"} if payload is None else {"type": "pong", "payload": payload})
            case "pong":
                pass
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                self._complete(_id(message))
            case _:
                raise _EndError(4400, "Messages of this type are not known")

    async def _initialise(self, message: dict[str, Any]) -> None:
        if self._initialised:
            raise _EndError(4429, "Too many initialisation requests")
        self._initialised = True
        payload = message.get("payload")
        if payload is None:
            payload = {}
        if not isinstance(payload, dict):
            raise _EndError(4400, "The payload must be an object")
        if self._authenticate is not None:
            try:
                await self._authenticate(self._socket, payload)
            except RequestError:
                raise _EndError(4403, "Forbidden") from None
        await self._send({"type": "connection_ack"})
        self._acknowledged = True

    async def _subscribe(self, message: dict[str, Any]) -> None:
        if not self._acknowledged:
            raise _EndError(4401, "Unauthorized")
        id, payload = _id(message), message.get("payload")
        if id in self._operations:
            raise _EndError(4409, f"Subscriber for {id} already exists")
        if not isinstance(payload, dict):
            raise _EndError(4400, "The payload must be an object")
        if self._endpoint.streams.closing.is_set():
            return  # the connection ends as soon as what runs has
        if len(self._operations) >= self._settings.max_operations_per_websocket:
            error = RequestError(429, "This connection has too many operations under way.", "RATE_LIMITED")
            await self._send({"id": id, "type": "error", "payload": [error.graphql_error.formatted]})
            return
        task = self._operations[id] = asyncio.create_task(self._operate(id, payload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._subscriptions.discard)

    def _complete(self, id: str) -> None:
        if (task := self._operations.pop(id, None)) is not None:
            task.cancel()

    # What it gets

    async def _operate(self, id: str, payload: dict[str, Any]) -> None:
        me = asyncio.current_task()
        assert me is not None
        try:
            ended = await self._answer(id, payload, me)
        except RequestError as error:
            ended = {"type": "error", "payload": [error.graphql_error.formatted]}
        except Exception as error:
            ended = {"type": "error", "payload": formatted(fault(error))["errors"]}
        finally:
            if self._operations.get(id) is me:  # its id may be used again at once
                del self._operations[id]
        await self._send({"id": id, **ended})

    async def _answer(self, id: str, payload: dict[str, Any], task: asyncio.Task[None]) -> dict[str, Any]:
        """Sends the results of an operation, whose task this is; gives the last message. Raises ``RequestError``."""
        endpoint = self._endpoint
        parameters = Parameters.of(payload)
        text = endpoint.documents.text_of(parameters)
        await endpoint.charge(self._socket, 1)
        if endpoint.schema.is_subscription(text, parameters.operation_name, parameters.variables):
            with endpoint.streams.opened("websocket"):
                self._subscriptions.add(task)
                return await self._send_results(id, self._results(text, parameters))
        async with endpoint.admission.place():
            return await self._send_results(id, self._results(text, parameters))

    async def _results(self, text: str, parameters: Parameters) -> AsyncGenerator[Any, None]:
        results: AsyncGenerator[Any, None] = await self._endpoint.schema.stream(
            text,
            variable_values=parameters.variables,
            operation_name=parameters.operation_name,
            context_value=self._endpoint.get_context(self._socket),
        )
        async with aclosing(results):
            first = True
            async for result in results:
                if first and not is_request_error(result):
                    self._endpoint.documents.keep(parameters)
                first = False
                yield result

    async def _send_results(self, id: str, results: AsyncGenerator[Any, None]) -> dict[str, Any]:
        async with aclosing(results):
            async for result in results:
                if is_request_error(result):
                    return {"type": "error", "payload": [error.formatted for error in result.errors or ()]}
                await self._send({"id": id, "type": "next", "payload": formatted(result)})
        return {"type": "complete"}

    async def _send(self, message: dict[str, Any]) -> None:
        """Sends a message, one at a time; ends the connection if it is not taken."""
        try:
            async with asyncio.timeout(self._settings.send_timeout_seconds), self._sending:
                await self._socket.send({"type": "websocket.send", "text": to_json(message).decode()})
        except TimeoutError:
            self._end(1013, "Messages are not read in time")
        except (RuntimeError, WebSocketDisconnect, OSError):  # it is gone
            self._end(1000, "")


def _id(message: dict[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= _MAX_ID_LENGTH:
        raise _EndError(4400, "The id must be text")
    return id
