"""Errors that clients may see in ``errors``; everything else there is masked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from loaders.records import HoldingSource

_MAX_SHOWN = 80


class ClientError(Exception):
    """An error whose text is meant for the client. ``extensions`` carries its code, as graphql-core expects."""

    code: ClassVar[str]

    def __init__(self, message: str, **extensions: Any) -> None:
        super().__init__(message)
        self.extensions = {"code": self.code, **extensions}


class BadInputError(ClientError):
    """An argument that cannot be: names it, its value, and what is wrong."""

    code = "BAD_USER_INPUT"

    def __init__(self, argument: str, value: object, reason: str) -> None:
        super().__init__(f'Argument "{argument}": {shown(value)} {reason}', argument=argument)


class NoRoomError(ClientError):
    """More is wanted than there is room for."""

    code = "RATE_LIMITED"


class SourceFailedError(ClientError):
    """A source was not OK, and the client asked for all or nothing."""

    code = "SOURCE_FAILED"

    def __init__(self, address: str, sources: Sequence[HoldingSource]) -> None:
        names = [source.value for source in sources]
        super().__init__(f"Not every source answered for {address}: {', '.join(names)}", sources=names)


def shown(value: object) -> str:
    """What a client sent, as JSON has it, its beginning if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
