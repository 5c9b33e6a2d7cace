"""Every client gets the media type that it wants most of those that there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.http.media import EVENT_STREAM, GRAPHQL_RESPONSE, JSON, Accept, accepts_gzip

TYPES = (JSON, GRAPHQL_RESPONSE, EVENT_STREAM)
APOLLO = "application/graphql-response+json,application/json;q=0.9"
URQL = f"{GRAPHQL_RESPONSE}, application/graphql+json, {JSON}, {EVENT_STREAM}, multipart/mixed"


@pytest.mark.parametrize(
    ("header", "best"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        (APOLLO, GRAPHQL_RESPONSE),
        (URQL, GRAPHQL_RESPONSE),
        ("application/json, application/graphql-response+json", JSON),
        ("application/json;q=0.5, application/graphql-response+json;q=0.6", GRAPHQL_RESPONSE),
        ("text/event-stream", EVENT_STREAM),
        ("text/event-stream, application/json;q=0.9", EVENT_STREAM),
        ("application/json;q=0, */*", GRAPHQL_RESPONSE),
        ("APPLICATION/JSON ; Charset=utf-8", JSON),
        ("image/png, text/html", None),
        ("*/*;q=0", None),
        ("application/json;q=2", None),
        (";;;,,,q=1", None),
    ],
)
def test_the_type_that_is_wanted_most_wins_then_the_one_named_first(header: str, best: str | None) -> None:
    assert Accept(header).best(*TYPES) == best


@given(st.text(max_size=300))
def test_no_header_is_too_odd_to_be_read(header: str) -> None:
    assert Accept(header).best(*TYPES) in (*TYPES, None)
    assert accepts_gzip(header) in (True, False)


@given(st.permutations(TYPES), st.lists(st.sampled_from([1.0, 0.7, 0.3, 0.001, 0.0]), min_size=3, max_size=3))
def test_weights_alone_decide_in_whatever_order_they_are_named(types: list[str], weights: list[float]) -> None:
    accept = Accept(",".join(f"{one};q={weight}" for one, weight in zip(types, weights, strict=True)))
    best = accept.best(*TYPES)
    most = max(weights)
    assert best == (types[weights.index(most)] if most else None)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br, gzip;q=0.1", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
    ],
)
def test_gzip_is_taken_only_by_who_says_so(header: str, *, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted
