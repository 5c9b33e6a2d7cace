"""Work behind the scenes, which ends with the application."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any

_CLOSING_SECONDS = 1.0


class Background:
    """Tasks that nobody need wait for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_words: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], *, for_others: bool = True) -> asyncio.Task[None]:
        """Lets work run until it is done or this is closed; ``for_others``: no operation counts it as its own."""
        return self._start(work, self._tasks, Context() if for_others else copy_context())

    def tell(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Lets work run that tells others of an end: it is done even when this is closed."""
        return self._start(work, self._last_words, Context())

    async def close(self) -> None:
        """Cancels what still runs, and waits a second at most for what there is to tell."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._last_words:
            _, late = await asyncio.wait(self._last_words, timeout=_CLOSING_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(
        self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]], context: Context
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(work, context=context)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task
