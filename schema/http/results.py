"""Results of operations as responses carry them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.types import Receive, Scope, Send
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from schema.errors import FAULT, complete_errors


def formatted(result: ExecutionResult) -> dict[str, Any]:
    """A response: without ``data`` where nothing was executed (GraphQL, section 7.1)."""
    response: dict[str, Any] = {}
    if result.errors:
        response["errors"] = [error.formatted for error in result.errors]
    if not is_request_error(result):
        response["data"] = result.data
    if result.extensions:
        response["extensions"] = result.extensions
    return response


def is_request_error(result: ExecutionResult) -> bool:
    """Whether nothing was executed: there is no data, and no error is a field's."""
    if isinstance(result, PreExecutionError):
        return True
    return result.data is None and bool(result.errors) and all(error.path is None for error in result.errors or ())


def status_of(result: ExecutionResult) -> int:
    """The HTTP status of ``application/graphql-response+json`` (GraphQL over HTTP, section 6.4.2)."""
    if not is_request_error(result):
        return 200
    codes = {(error.extensions or {}).get("code") for error in result.errors or ()}
    return 500 if FAULT in codes else 400


def fault(error: Exception) -> ExecutionResult:
    """The result of an operation that a fault of ours has ended; the fault itself is in the log alone."""
    errors = [GraphQLError("", original_error=error)]
    complete_errors(errors, None)
    return ExecutionResult(None, errors)


def to_json(value: Any) -> bytes:
    """JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, quoted from a client's own input
        return json.dumps(value).encode()


class Answer:
    """An HTTP response in one part, as an ASGI application."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes | None = None) -> None:
        """Without a body it has no length either, as that of a 304."""
        self._status = status
        self._headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        if body is not None:
            self._headers.append((b"content-length", b"%d" % len(body)))
        self._body = body or b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})
