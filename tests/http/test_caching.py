"""For how long an answer may be kept by who got it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.upstream.simulator.base import Fault
from schema.http.app import GraphQLApp
from schema.http.caching import cache_control, entity_tag, matches
from tests.graph import KEPT, Graph, Simulators, open_graph
from tests.http.client import Client, client_of
from tests.service import EVM

AMOUNTS = f'{{ wallet(address: "{EVM}") {{ holdings {{ nodes {{ amount }} }} }} }}'
OF_ONE_SOURCE = f'{{ wallet(address: "{EVM}") {{ holdings(filter: {{sources: [SOURCE]}}) {{ totalCount }} }} }}'


@pytest.fixture
async def kept() -> AsyncIterator[Graph]:
    async with open_graph(Simulators.demo(), base=KEPT) as graph:
        yield graph


@pytest.fixture
async def client(kept: Graph) -> AsyncIterator[Client]:
    async with client_of(GraphQLApp(kept.upstreams)) as client:
        yield client


def seconds(header: str | None) -> int:
    assert header is not None
    assert header.startswith("max-age="), header
    return int(header.removeprefix("max-age="))


@pytest.mark.parametrize(("source", "fresh"), [("ONDO_GM", 60), ("ONEBALANCE", 30)])
async def test_an_answer_may_be_kept_for_as_long_as_its_source_is_fresh(
    client: Client, source: str, fresh: int
) -> None:
    query = OF_ONE_SOURCE.replace("SOURCE", source)
    for answer in (await client.post({"query": query}), await client.get(query=query)):
        assert fresh - 5 < seconds(answer.header("cache-control")) <= fresh


async def test_the_shortest_lifetime_of_all_that_went_in_counts(client: Client) -> None:
    assert seconds((await client.post({"query": AMOUNTS})).header("cache-control")) <= 30
    both = [{"query": OF_ONE_SOURCE.replace("SOURCE", source)} for source in ("ONDO_GM", "ONEBALANCE")]
    assert seconds((await client.post(both)).header("cache-control")) <= 30


async def test_what_no_source_went_into_is_asked_for_again_each_time(client: Client) -> None:
    answer = await client.post({"query": f'{{ wallet(address: "{EVM}") {{ address }} }}'})
    assert answer.header("cache-control") == "no-cache"


async def test_an_answer_with_any_failure_is_kept_by_nobody(kept: Graph, client: Client) -> None:
    kept.simulators.onebalance.inject(Fault(status=500))
    for answer in (await client.post({"query": AMOUNTS}), await client.get(query=AMOUNTS)):
        assert answer.header("cache-control") == "no-store"
        assert answer.header("etag") is None
    good = OF_ONE_SOURCE.replace("SOURCE", "ONDO_GM")
    mixed = await client.post([{"query": good}, {"query": AMOUNTS}])
    assert mixed.header("cache-control") == "no-store"


@pytest.mark.parametrize("query", ["{", "{ nothing }", '{ nodes(ids: ["x"]) { id } }'])
async def test_an_answer_with_errors_is_kept_by_nobody(client: Client, query: str) -> None:
    assert (await client.post({"query": query})).header("cache-control") == "no-store"


async def test_what_an_operation_cost_is_told_once(client: Client) -> None:
    answer = await client.post({"query": AMOUNTS}, x_walletgraph_trace="1")
    assert answer.header("cache-control") == "no-store"
    assert "x-walletgraph-trace" in (answer.header("vary") or "").lower()


async def test_who_has_the_same_answer_by_get_is_not_sent_it_again(kept: Graph, client: Client) -> None:
    first = await client.get(query=AMOUNTS)
    tag = first.header("etag")
    assert tag is not None
    for known in (tag, f'"x", {tag}', "*", tag.removeprefix("W/")):
        again = await client.get(query=AMOUNTS, headers={"if-none-match": known})
        assert (again.status, again.text, again.header("etag")) == (304, "", tag)
        assert seconds(again.header("cache-control")) <= 30
        assert again.header("vary") == first.header("vary")
    changed = await client.get(query=AMOUNTS, headers={"if-none-match": '"x"'})
    assert (changed.status, changed.json) == (200, first.json)


async def test_a_post_has_no_tag(client: Client) -> None:
    assert (await client.post({"query": AMOUNTS})).header("etag") is None


LIFETIMES = st.lists(st.none() | st.floats(0, 100), max_size=5)


@given(LIFETIMES, st.booleans())
def test_one_failure_is_enough_and_else_nothing_outlives_its_shortest_part(
    lifetimes: list[float | None], private: bool
) -> None:
    header = cache_control(lifetimes, private=private)
    known = [lifetime for lifetime in lifetimes if lifetime is not None]
    if not lifetimes or 0 in known:
        assert header == "no-store"
    else:
        assert header.startswith("private, ") is private
        kept = header.removeprefix("private, ")
        assert kept == "no-cache" if not known else int(kept.removeprefix("max-age=")) <= min(known)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_tags_are_alike_where_answers_are(one: bytes, other: bytes) -> None:
    assert matches(entity_tag(one), entity_tag(other)) is (one == other)
