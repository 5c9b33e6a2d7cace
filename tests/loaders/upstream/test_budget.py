"""What keeps a budget cheap changes nothing about whose turn it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from loaders.errors import BudgetExhaustedError
from loaders.upstream.background import Background
from loaders.upstream.budget import Budget, Permit


def budget(requests_per_minute: int | None, *, connections: int = 64) -> Budget:
    return Budget(
        "A_BUDGET",
        requests_per_minute=requests_per_minute,
        connections=connections,
        max_waiting=9,
        background=Background(),
    )


async def enter(budget: Budget, within_seconds: float = 20.0) -> Permit:
    return await budget.enter(asyncio.get_running_loop().time() + within_seconds)


async def test_who_has_a_place_is_not_overtaken_before_he_has_moved() -> None:
    few = budget(3, connections=2)
    first, second = await enter(few), await enter(few)
    waiting = asyncio.create_task(enter(few))
    await asyncio.sleep(0)
    await few.leave(first, None)
    await few.leave(second, None)
    with pytest.raises(BudgetExhaustedError):  # the last one is for him who waits
        await enter(few, 5.0)
    await few.leave(await waiting, None)
    assert few.left == 0


@pytest.mark.parametrize("limit", [0, 5, None])
async def test_where_nothing_stands_in_the_way_nobody_waits(limit: int | None) -> None:
    open_to_all = budget(limit)
    for _ in range(3):
        permit = finish(enter(open_to_all))
        finish(open_to_all.leave(permit, {}))


async def test_without_a_limit_nothing_is_remembered() -> None:
    free = budget(0)
    for _ in range(100):
        await free.leave(await enter(free), {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "0"})
    assert (free.left, len(free._log)) == (None, 0)


async def test_no_more_is_remembered_than_the_largest_limit_needs() -> None:
    told = {"x-ratelimit-limit": "10000", "x-ratelimit-remaining": "9990"}
    learning = budget(None)
    for _ in range(10_050):
        await learning.leave(await enter(learning), None)
    assert learning.left is None
    assert len(learning._log) == 10_000
    await learning.leave(await enter(learning), told)
    assert learning.left == 0


def finish(step: Any) -> Any:
    """What a coroutine returns that waits for nothing."""
    with pytest.raises(StopIteration) as stopped:
        step.send(None)
    return stopped.value.value
