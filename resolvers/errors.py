"""Errors that clients may see in ``errors``; everything else there is masked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from loaders.records import HoldingSource


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
        super().__init__(f'Argument "{argument}": {_shown(value)} {reason}', argument=argument)


class SourceFailedError(ClientError):
    """A source was not OK, and the client asked for all or nothing."""

    code = "SOURCE_FAILED"

    def __init__(self, address: str, sources: Sequence[HoldingSource]) -> None:
        names = [source.value for source in sources]
        super().__init__(f"Not every source answered for {address}: {', '.join(names)}", sources=names)


def _shown(value: object) -> str:
    text = str(value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return f'"{text}"' if isinstance(value, str) else text
