"""Who waits for a budget is let in when his turn comes, and nobody counts what was not sent."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from loaders.errors import BudgetExhaustedError, LoadError, UpstreamRateLimitedError
from loaders.upstream.background import Background
from loaders.upstream.budget import Budget, Permit

WINDOW = 60.0
NAME = "A_SOURCE"


def budget(requests_per_minute: int | None, *, connections: int | None = 64, max_waiting: int = 99) -> Budget:
    return Budget(
        NAME,
        requests_per_minute=requests_per_minute,
        connections=connections,
        max_waiting=max_waiting,
        background=Background(),
    )


def used_up(*room_in: float) -> Budget:
    """A budget that is used up, and has room again in so many seconds."""
    full = budget(len(room_in))
    now = time.monotonic()
    full._log.extend(now - WINDOW + seconds for seconds in sorted(room_in))
    return full


async def enter(budget: Budget, within_seconds: float = 20.0) -> Permit:
    return await budget.enter(asyncio.get_running_loop().time() + within_seconds)


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"walletgraph_upstream_{name}", {"source": NAME}) or 0.0


async def give_up(*tasks: asyncio.Task[Permit]) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_those_who_wait_are_sent_in_the_order_in_which_they_came_each_when_there_is_room() -> None:
    room_in = (0.3, 0.6, 0.9, 1.2, 1.5)
    full, started = used_up(*room_in, *[40.0] * 5), time.monotonic()
    sent: list[tuple[int, float]] = []

    async def wait(number: int) -> None:
        permit = await enter(full)
        sent.append((number, time.monotonic() - started))
        await full.leave(permit, None)

    await asyncio.gather(*map(wait, range(5)))
    assert [number for number, _ in sent] == [0, 1, 2, 3, 4]
    for (_, seconds), room in zip(sent, room_in, strict=True):
        assert room - 0.05 <= seconds < room + 1.0


async def test_who_has_little_time_is_not_held_up_by_those_who_come_later() -> None:
    full = used_up(0.4, *[40.0] * 9)
    elder = asyncio.create_task(enter(full, 3.0))
    await asyncio.sleep(0)
    later = [asyncio.create_task(enter(full, 50.0)) for _ in range(5)]
    await full.leave(await elder, None)
    assert not any(task.done() for task in later)
    await give_up(*later)


async def test_who_would_wait_in_vain_is_refused_at_once_with_the_time_of_his_own_turn() -> None:
    full = used_up(10.0, 20.0, 30.0)
    waiting = [asyncio.create_task(enter(full, 50.0)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BudgetExhaustedError) as refused:
        await enter(full, 25.0)
    assert refused.value.retry_after_seconds in (29, 30)
    await give_up(*waiting)
    with pytest.raises(BudgetExhaustedError) as refused:
        await enter(full, 5.0)
    assert refused.value.retry_after_seconds in (9, 10)


async def test_after_a_silence_those_who_waited_go_in_their_order_and_no_more_than_there_is_room_for() -> None:
    few, sent = budget(4), list[int]()
    silence = UpstreamRateLimitedError(retry_after_seconds=1)
    await few.leave(await enter(few), None, silence)
    quiet_until = time.monotonic() + 1.0

    async def wait(number: int) -> str:
        try:
            permit = await enter(few, 8.0)
        except LoadError as error:
            return error.code.value
        assert time.monotonic() >= quiet_until - 0.05
        sent.append(number)
        await few.leave(permit, None)
        return "OK"

    told = await asyncio.gather(*map(wait, range(6)))
    assert sent == [0, 1, 2]
    assert told == ["OK"] * 3 + ["BUDGET_EXHAUSTED"] * 3
    assert few.left == 0


async def test_a_longer_silence_is_not_cut_short_by_a_shorter_one() -> None:
    free = budget(0)
    first, second = await enter(free), await enter(free)
    await free.leave(first, None, UpstreamRateLimitedError(retry_after_seconds=50))
    await free.leave(second, None, UpstreamRateLimitedError(retry_after_seconds=1))
    with pytest.raises(UpstreamRateLimitedError) as refused:
        await enter(free, 5.0)
    assert refused.value.retry_after_seconds in (49, 50)


@given(
    ages=st.lists(st.integers(min_value=0, max_value=59), max_size=20),
    under_way=st.integers(min_value=0, max_value=5),
    limit=st.integers(min_value=1, max_value=25),
    ahead=st.integers(min_value=0, max_value=10),
)
def test_the_wait_ends_when_fewer_than_the_limit_are_counted(
    ages: list[int], under_way: int, limit: int, ahead: int
) -> None:
    some = budget(limit)
    now = time.monotonic()
    some._log.extend(now - age for age in sorted(ages, reverse=True))
    some._sent = under_way
    wait = some._wait_for_budget(ahead)

    def counted(seconds: float) -> int:
        """How many upstream will count by then, if none that is under way has come to its end."""
        return under_way + ahead + sum(age + seconds < WINDOW for age in ages)

    if counted(0.0) < limit:
        assert wait == 0.0
    elif under_way + ahead >= limit:
        assert wait == WINDOW  # nobody knows
    else:
        assert counted(wait + 0.5) < limit <= counted(wait - 0.5)


async def test_where_nobody_may_wait_whoever_need_not_is_let_in() -> None:
    one = budget(0, connections=1, max_waiting=0)
    for _ in range(3):
        permit = await enter(one)
        with pytest.raises(BudgetExhaustedError):
            await enter(one)
        await one.leave(permit, None)


async def test_gauges_tell_of_requests_that_are_sent_and_of_those_that_wait() -> None:
    one = budget(9, connections=1)
    permit = await enter(one)
    waiting = [asyncio.create_task(enter(one)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (metric("requests_running"), metric("requests_waiting"), metric("budget_left")) == (1, 3, 8)
    await give_up(waiting[1])
    assert (metric("requests_running"), metric("requests_waiting"), metric("budget_left")) == (1, 2, 8)
    await one.leave(permit, None)
    await one.leave(await waiting[0], None)
    permit = await waiting[2]
    assert (metric("requests_running"), metric("requests_waiting"), metric("budget_left")) == (1, 0, 6)
    await one.leave(permit, None)
    assert (metric("requests_running"), metric("requests_waiting"), metric("budget_left")) == (0, 0, 6)


async def test_gauges_tell_of_those_who_wait_for_room_and_of_room_that_comes_by_itself() -> None:
    full = used_up(0.5, 0.5, 40.0)
    waiting = asyncio.create_task(enter(full))
    await asyncio.sleep(0)
    assert (metric("requests_running"), metric("requests_waiting"), metric("budget_left")) == (0, 1, 0)
    await give_up(waiting)
    assert (metric("requests_running"), metric("requests_waiting")) == (0, 0)
    async with asyncio.timeout(10):
        while metric("budget_left") < 2:  # noqa: ASYNC110  # and nobody asks
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [
        ("999999999", "0"),
        ("10001", "0"),
        ("60", "9999"),
        ("60", "-1"),
        ("-60", "0"),
        ("sixty", "none"),
        ("0", "0"),
        ("", ""),
        ("9" * 40, "0"),
    ],
)
async def test_absurd_limits_stop_no_request(limit: str, remaining: str) -> None:
    learning = budget(None, connections=None)
    told = {"x-ratelimit-limit": limit, "x-ratelimit-remaining": remaining}
    for _ in range(5):
        await learning.leave(await enter(learning, 5.0), told)
    assert learning.left in (None, 55)


async def test_a_limit_of_ten_thousand_is_one() -> None:
    learning = budget(None)
    told = {"x-ratelimit-limit": "10000", "x-ratelimit-remaining": "0"}
    await learning.leave(await enter(learning), told)
    assert learning.left == 0
    with pytest.raises(BudgetExhaustedError):
        await enter(learning, 5.0)
