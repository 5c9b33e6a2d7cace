"""The headers of a request as ASGI has them: to look for one costs less than to make an object of them all."""

from __future__ import annotations

from starlette.types import Scope


def values(scope: Scope, name: bytes) -> list[str]:
    """The value of each header of this name, which is in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def first(scope: Scope, name: bytes, default: str = "") -> str:
    """The value of the first header of this name, which is in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return default
