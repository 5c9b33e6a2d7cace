"""What is wrong with a request before any operation runs."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLError


class RequestError(Exception):
    """A request that is refused: the HTTP status, a message for the client, and its code."""

    def __init__(
        self, status: int, message: str, code: str = "BAD_USER_INPUT", *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}

    @property
    def graphql_error(self) -> GraphQLError:
        """The same in a response."""
        return GraphQLError(self.message, extensions={"code": self.code})

    @property
    def body(self) -> dict[str, Any]:
        """The response to the whole request."""
        return {"errors": [self.graphql_error.formatted]}
