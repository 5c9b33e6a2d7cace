"""What a breaker counts, however many requests there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.upstream import breaker as module
from loaders.upstream.background import Background
from loaders.upstream.breaker import Breaker, BreakerState


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


def breaker(failure_rate: float, min_requests: int) -> Breaker:
    return Breaker(
        "A_BREAKER",
        failure_rate=failure_rate,
        min_requests=min_requests,
        open_seconds=5.0,
        background=Background(),
    )


@given(st.lists(st.tuples(st.floats(0.0, 12.0), st.booleans()), max_size=60))
async def test_it_opens_by_what_the_last_half_minute_says(outcomes: list[tuple[float, bool]]) -> None:
    """To a tenth of a second: within it, both answers are right."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(module, "time", clock)
        tested, seen = breaker(0.5, 4), list[tuple[float, bool]]()

        def tripped(seconds: float) -> bool:
            recent = [ok for at, ok in seen if at >= clock.now - seconds]
            return len(recent) >= 4 and recent.count(False) >= 0.5 * len(recent)

        for pause, ok in outcomes:
            clock.now += pause
            assert await tested.admit() is False
            await tested.record(ok, probe=False)
            seen.append((clock.now, ok))
            if tested.state is BreakerState.OPEN:
                assert any(tripped(seconds) for seconds in (29.8, 29.9, 30.0, 30.1, 30.2))
                return
            assert not all(tripped(seconds) for seconds in (29.8, 29.9, 30.0, 30.1, 30.2))


async def test_many_requests_take_no_more_room_than_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", clock := Clock())
    tested = breaker(0.5, 20)
    for _ in range(100_000):
        clock.now += 0.001
        await tested.record(True, probe=False)
    assert len(tested._slices) <= 302
    for _ in range(60_000):
        clock.now += 0.001
        await tested.record(False, probe=False)
        if tested.state is BreakerState.OPEN:
            break
    assert clock.now == pytest.approx(1_000.0 + 100.0 + 15.0, abs=0.2)
