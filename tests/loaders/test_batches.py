"""Batches of an operation that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from loaders.base import BatchLoader


class Recording(BatchLoader[str, str]):
    """Gives each key back, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[str]] = []

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, str]:
        self.asked.append(keys)
        await asyncio.sleep(0)
        return {key: key for key in keys}


@pytest.mark.parametrize("ticks", range(20))
async def test_a_loader_that_is_closed_begins_nothing_and_complains_of_nothing(
    ticks: int, caplog: pytest.LogCaptureFixture
) -> None:
    loader = Recording()
    value = loader.begin("key")
    for _ in range(ticks):
        await asyncio.sleep(0)
    asked = list(loader.asked)
    loader.close()
    for _ in range(30):
        await asyncio.sleep(0)
    assert loader.asked == asked
    assert value.done()
    assert value.cancelled() or value.result() == "key"
    assert caplog.records == []


async def test_what_is_wanted_within_some_ticks_goes_together() -> None:
    loader = Recording()

    async def later(key: str, ticks: int) -> str:
        for _ in range(ticks):
            await asyncio.sleep(0)
        return await loader.load(key)

    loaded = await asyncio.gather(later("a", 0), later("b", 3), later("c", 6), later("a", 9))
    assert list(loaded) == ["a", "b", "c", "a"]
    assert loader.asked == [["a", "b", "c"]]
