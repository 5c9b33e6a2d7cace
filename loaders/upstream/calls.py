"""Who caused which upstream request: numbers for the reports, and counts for each operation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestLog:
    """The upstream requests that one operation caused, retries included."""

    requests: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _earlier: int = 0

    @property
    def count(self) -> int:
        """How many there were since the last round began, those under way included."""
        return sum(self.requests.values()) - self._earlier

    def begin_round(self) -> None:
        """Lets what was asked so far count no more: for operations that last."""
        self._earlier = sum(self.requests.values())

    def begin(self, upstream: str) -> None:
        """Count one request of an upstream."""
        self.requests[upstream] = self.requests.get(upstream, 0) + 1

    def take_back(self, upstream: str) -> None:
        """Count one less: it was not sent."""
        self.requests[upstream] -= 1

    def end(self, upstream: str, seconds: float) -> None:
        """Add how long one took."""
        self.seconds[upstream] = self.seconds.get(upstream, 0.0) + seconds


_numbers = itertools.count(1)
_log: ContextVar[RequestLog | None] = ContextVar("request_log", default=None)


def next_call() -> int:
    """A number for one upstream request, never given twice by this process."""
    return next(_numbers)


def current_log() -> RequestLog | None:
    """The log of the operation that runs; None outside of operations, e.g. in a refresh behind the scenes."""
    return _log.get()


@contextmanager
def logging_requests() -> Iterator[RequestLog]:
    """Collects the upstream requests made within, tasks started there included."""
    log = RequestLog()
    token = _log.set(log)
    try:
        yield log
    finally:
        _log.reset(token)
