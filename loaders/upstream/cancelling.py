"""A task cancelled by a callback, and by nobody else: what ``asyncio.timeout`` does, for half of its cost."""

from __future__ import annotations

import asyncio


class Cancelling:
    """Cancels the task that it was made in, when it is called."""

    __slots__ = ("_before", "_task", "called")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._before = task.cancelling()
        self.called = False

    def __call__(self) -> None:
        self.called = True
        self._task.cancel()

    @property
    def is_alone(self) -> bool:
        """Whether nobody else wants the task to be cancelled: then who was cancelled may go on."""
        return self.called and self._task.cancelling() <= self._before + 1

    def withdraw(self) -> None:
        """Makes the task one that was not cancelled by this."""
        if self.called:
            self._task.uncancel()
