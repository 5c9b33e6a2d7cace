"""A bound on how much goes on at once, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Turnstile:
    """Lets in as many as ``places`` says at the time; the others wait in the order in which they came."""

    def __init__(self, places: Callable[[], int]) -> None:
        self._places = places
        self._queue: deque[asyncio.Future[None]] = deque()
        self.inside = 0

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._queue)

    @property
    def is_free(self) -> bool:
        """Whether the next one need not wait."""
        return self.inside < self._places() and not self._queue

    async def enter(self, deadline: float) -> None:
        """Waits for a place until the event-loop time ``deadline``; raises ``TimeoutError``."""
        if self.is_free:
            self.inside += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place was ours already
            with suppress(ValueError):
                self._queue.remove(turn)
            raise

    def leave(self) -> None:
        """Gives a place back."""
        self.inside -= 1
        self.let_in()

    def let_in(self) -> None:
        """Lets in who waits, if there is room or if there are more places now."""
        while self._queue and self.inside < self._places():
            turn = self._queue.popleft()
            if not turn.done():
                self.inside += 1
                turn.set_result(None)
