"""The memory cache: never larger than it may be, and what was used last stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from loaders.cache import Entry, MemoryCache
from loaders.upstream.metrics import CACHE_BYTES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = st.sampled_from("abcde")
STEPS = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 12)), max_size=40)


def entry(size: int, seconds: float = 0) -> Entry[str]:
    return Entry("value", NOW + timedelta(seconds=seconds), size)


@given(STEPS)
def test_what_was_used_last_stays_as_far_as_there_is_room(steps: list[tuple[str, int | None]]) -> None:
    """Each step uses a key, or puts an entry of some size there."""
    cache, model = MemoryCache(10), dict[str, Entry[str]]()
    for seconds, (key, size) in enumerate(steps):
        if size is None:
            assert cache.get(key) is model.get(key)
            if key in model:
                model[key] = model.pop(key)
            continue
        new = entry(size, seconds)
        cache.put(key, new)
        if size <= 10:
            model.pop(key, None)
            model[key] = new
            while sum(one.size for one in model.values()) > 10:
                del model[next(iter(model))]
        assert CACHE_BYTES._value.get() == sum(one.size for one in model.values())
    assert {key: cache.get(key) for key in "abcde" if cache.get(key)} == model


def test_what_is_larger_than_the_cache_leaves_the_rest_alone() -> None:
    cache, small = MemoryCache(10), entry(10)
    cache.put("a", small)
    cache.put("b", entry(11))
    cache.put("a", entry(11, seconds=1))
    assert cache.get("a") is small
    assert cache.get("b") is None


def test_an_older_answer_takes_no_newer_ones_place() -> None:
    cache, newer = MemoryCache(10), entry(1, seconds=1)
    cache.put("a", newer)
    cache.put("a", entry(1))
    assert cache.get("a") is newer
