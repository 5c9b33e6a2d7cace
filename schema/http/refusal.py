"""What a request gets that is not let in."""

from __future__ import annotations

from starlette.responses import JSONResponse


def refusal(status: int, message: str, code: str, **headers: str) -> JSONResponse:
    """A refusal as a GraphQL response with one error; underscores in names of headers are hyphens."""
    error = {"message": message, "extensions": {"code": code}}
    return JSONResponse({"errors": [error]}, status, {name.replace("_", "-"): text for name, text in headers.items()})


def too_busy(message: str) -> JSONResponse:
    """A 503 that says to try again in a second."""
    return refusal(503, message, "RATE_LIMITED", retry_after="1")
