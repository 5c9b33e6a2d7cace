"""What a callback cancels, and nobody else: as ``asyncio.timeout`` does, for half of its cost."""

from __future__ import annotations

import asyncio
from typing import Self


class Cancelling:
    """Cancels the task that it was made in, when it is called.

    A context that it alone cancelled ends there, and the task goes on; ``called`` tells.
    """

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if not self.called:
            return False
        return self._task.uncancel() <= self._before and kind is asyncio.CancelledError
