"""How the Token API reads its query parameters: what it accepts, and the words it refuses with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from aiohttp import web

MAX_LIMIT = 1_000
MAX_PAGE = 767_465_558_638

_ADDRESS = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

_T = TypeVar("_T")


class RefusalError(Exception):
    """What the server answers in place of data."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


class Query:
    """Reads the parameters of one request, each as it is asked for, and collects what is wrong with them.

    ``lists`` keeps the values of every list parameter; ``limit`` is 0 until ``paging`` is asked for.
    """

    def __init__(self, request: web.Request) -> None:
        self._parameters = request.query
        self.started = datetime.now(UTC)
        self.issues: list[str] = []
        self.lists: dict[str, list[str]] = {}
        self.limit = 0
        self.page = 1

    def network(self) -> None:
        sent = self._sent("network")
        if sent in ([], [""]):
            self.issues.append("[invalid_type] network: network is required")
        elif len(sent) > 1:
            self.issues.append(
                "[custom] network: multiple values are not supported on this endpoint. "
                "Please provide only a single value."
            )
        elif sent != ["solana"]:
            self.issues.append('[invalid_value] network: Invalid input: expected "solana"')

    def addresses(self, name: str, *, required: bool = False) -> list[str]:
        if required and self._sent(name) in ([], [""]):
            self.issues.append(f"[invalid_type] {name}: {name} is required")
            return []
        return self.values(name, lambda value: _ADDRESS.fullmatch(value) is not None, "Invalid SVM address")

    def values(self, name: str, is_valid: Callable[[str], bool], complaint: str) -> list[str]:
        """A list, either of comma-separated values or of a repeated parameter, never both."""
        sent = self._sent(name)
        if len(sent) > 1:
            self.issues += [
                f"[custom] {name}/{index}: {complaint}" for index, value in enumerate(sent) if not is_valid(value)
            ]
            values = sent
        else:
            values = [item.strip() for item in sent[0].split(",")] if sent else []
            if not all(map(is_valid, values)):
                self.issues.append(f"[invalid_union] {name}: Invalid input")
        self.lists[name] = values
        return values

    def choice(self, name: str, options: Sequence[str]) -> str | None:
        sent = self._sent(name)
        if not sent:
            return None
        if len(sent) > 1 or sent[0] not in options:
            expected = "|".join(f'"{option}"' for option in options)
            self.issues.append(f"[invalid_value] {name}: Invalid option: expected one of {expected}")
        return sent[0]

    def flag(self, name: str) -> bool:
        sent = self._sent(name)
        if sent not in ([], ["true"], ["false"]):
            self.issues.append(f"[custom] {name}: Must be `true` or `false`")
        return sent == ["true"]

    def paging(self) -> None:
        self.limit = self._integer("limit", default=10, maximum=MAX_LIMIT)
        self.page = self._integer("page", default=1, maximum=MAX_PAGE)

    def cut(self, rows: Iterable[_T]) -> Iterable[_T]:
        """The rows on the page that was asked for."""
        offset = self.limit * (self.page - 1)
        return islice(rows, offset, offset + self.limit)

    def _integer(self, name: str, *, default: int, maximum: int) -> int:
        sent = self._sent(name)
        if not sent:
            return default
        text = sent[0].strip() if len(sent) == 1 else "?"
        if text and not _NUMBER.fullmatch(text):
            self.issues.append(f"[invalid_type] {name}: Invalid input: expected number, received NaN")
            return default
        number = float(text or 0)
        if not number.is_integer():
            self.issues.append(f"[invalid_type] {name}: Invalid input: expected int, received number")
            return default
        if number < 1:
            self.issues.append(f"[too_small] {name}: Too small: expected number to be >=1")
        elif number > maximum:
            self.issues.append(f"[too_big] {name}: Too big: expected number to be <={maximum}")
        return int(number)

    def _sent(self, name: str) -> list[str]:
        return self._parameters.getall(name, [])
