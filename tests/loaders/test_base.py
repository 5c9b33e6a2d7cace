from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from loaders.base import BatchLoader


class Doubles(BatchLoader[int, int]):
    """Loads the double of a number, and keeps the batches that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fetch(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.batches.append(list(keys))
        await self.may_answer.wait()
        if 13 in keys:
            raise LookupError("13 has no double")
        return {key: 2 * key for key in keys}


async def later(loader: Doubles, key: int, ticks: int) -> int:
    for _ in range(ticks):
        await asyncio.sleep(0)
    return await loader.load(key)


async def test_values_come_by_key_and_each_key_is_fetched_once() -> None:
    loader = Doubles()
    assert await asyncio.gather(*[loader.load(key) for key in (1, 2, 1)]) == [2, 4, 2]
    assert await loader.load(2) == 4
    assert loader.batches == [[1, 2]]


async def test_loads_of_different_depth_go_together() -> None:
    loader = Doubles()
    assert await asyncio.gather(*[later(loader, ticks, ticks) for ticks in range(8)]) == [2 * n for n in range(8)]
    assert loader.batches == [list(range(8))]


async def test_a_caller_that_goes_away_takes_nothing_from_the_others() -> None:
    loader = Doubles()
    loader.may_answer.clear()
    impatient, patient = asyncio.create_task(loader.load(1)), asyncio.create_task(loader.load(1))
    while not loader.batches:  # noqa: ASYNC110  # the batch begins some ticks later
        await asyncio.sleep(0)
    impatient.cancel()
    loader.may_answer.set()
    assert await patient == 2


async def test_after_the_close_nothing_is_fetched_any_more() -> None:
    loader = Doubles()
    queued = asyncio.create_task(loader.load(1))
    await asyncio.sleep(0)
    loader.close()
    with pytest.raises(asyncio.CancelledError):
        await queued
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(loader.load(2))
    assert loader.batches == []


async def test_a_batch_that_fails_fails_for_all_who_wait_for_it() -> None:
    loader = Doubles()
    for outcome in await asyncio.gather(loader.load(1), loader.load(13), return_exceptions=True):
        assert isinstance(outcome, LookupError)
