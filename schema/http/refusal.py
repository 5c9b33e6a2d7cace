"""What a request gets that is not let in."""

from __future__ import annotations

from starlette.responses import JSONResponse


def refusal(message: str) -> JSONResponse:
    """A 503 that says, as a GraphQL response, to try again in a second."""
    error = {"message": message, "extensions": {"code": "RATE_LIMITED"}}
    return JSONResponse({"errors": [error]}, 503, {"Retry-After": "1"})
