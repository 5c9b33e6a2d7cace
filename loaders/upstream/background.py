"""Work behind the scenes, which ends with the application."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any


class Background:
    """Tasks that nobody need wait for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], *, for_others: bool = True) -> asyncio.Task[None]:
        """Lets work run until it is done or this is closed; ``for_others``: no operation counts it as its own."""
        task = asyncio.create_task(work, context=Context() if for_others else copy_context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Cancels what still runs."""
        while self._tasks:  # what ends may have something to tell
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
