"""When a failed request is sent again, and how long after."""

from __future__ import annotations

import random
import time

_LONGEST_WAIT_SECONDS = 5.0
_RESERVE = 10.0
_EARNED_PER_SECOND = 0.5


class RetryBudget:
    """Keeps retries to ``ratio`` of all requests, so that an outage is not multiplied.

    A reserve of 10, which grows back by one every two seconds, is there for upstreams that are asked little.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._tokens = _RESERVE
        self._earned_at = time.monotonic()

    def deposit(self) -> None:
        """A first request earns a part of a retry."""
        self._earn(self._ratio)

    def withdraw(self) -> bool:
        """Takes one retry, if there is one."""
        self._earn(0.0)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _earn(self, tokens: float) -> None:
        now = time.monotonic()
        tokens += (now - self._earned_at) * _EARNED_PER_SECOND
        self._tokens, self._earned_at = min(_RESERVE, self._tokens + tokens), now


def backoff_seconds(first_seconds: float, attempt: int, asked_seconds: float | None) -> float:
    """How long to wait after the ``attempt``-th failure, from 1: doubling, with jitter, at most 5 s.

    What the upstream asked for is obeyed, with a little jitter on top so that not all come back at once.
    """
    wait = min(first_seconds * 2 ** (attempt - 1), _LONGEST_WAIT_SECONDS)
    if asked_seconds is not None:
        return asked_seconds + random.uniform(0, first_seconds)
    return random.uniform(wait / 2, wait)
