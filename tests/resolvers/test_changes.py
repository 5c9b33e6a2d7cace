from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from loaders.books import Books
from loaders.records import HoldingSource, Observation, Report, SourceStatus, TokenAccountRecord, TokenFacts
from resolvers.changes import Held, Holdings, delta, known_for_certain, same_amount, same_value
from resolvers.reconcile import Pricing, reconcile
from resolvers.view import View
from tests.resolvers.records import ADDRESS, asset, observation

ONDO, ONEBALANCE = HoldingSource.ONDO_GM, HoldingSource.ONEBALANCE
OK, PARTIAL, STALE, FAILED = SourceStatus.OK, SourceStatus.PARTIAL, SourceStatus.STALE, SourceStatus.FAILED
CHAIN = asset().chain_id

states = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 2))


def applied(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int]:
    """What a client has that is told of the difference."""
    changed, removed = delta(old, new, lambda one, other: one == other)
    return {**{key: value for key, value in old.items() if key not in removed}, **{key: new[key] for key in changed}}


@given(st.lists(st.tuples(states, st.booleans()), min_size=1))
def test_whatever_a_subscriber_missed_its_events_lead_to_what_is_held(
    polls: list[tuple[dict[str, int], bool]],
) -> None:
    (seen, _), *later = polls
    told = dict(seen)
    for number, (state, missed) in enumerate(later, 1):
        if missed and number < len(later):
            continue
        told = applied(told, state) if told == seen else {}
        seen = state
    assert told == polls[-1][0]


@given(states, states)
def test_a_difference_names_what_differs_and_nothing_else(old: dict[str, int], new: dict[str, int]) -> None:
    changed, removed = delta(old, new, lambda one, other: one == other)
    assert set(changed) == {key for key in new if old.get(key) != new[key]}
    assert set(removed) == old.keys() - new.keys()
    assert list(changed) == sorted(changed)


def view(*observations: Observation, **statuses: SourceStatus) -> View:
    """What some sources say of one account; those that are not named are OK."""
    reports = [
        Report(ONDO, CHAIN, (ADDRESS,), statuses.get("ondo", OK)),
        Report(ONEBALANCE, None, (ADDRESS,), statuses.get("onebalance", OK)),
    ]
    stale = {report.source for report in reports if report.status is STALE}
    pricing = Pricing(Books(), [ONEBALANCE], lambda *_: True)
    holdings = reconcile(observations, lambda one: one.source in stale, pricing)
    return View((ADDRESS,), holdings, reports, (), {}, Books())


def ondo(amount: str, number: int = 1) -> Observation:
    return observation(ONDO, amount=amount, asset_id=asset(number))


def onebalance(amount: str, number: int = 1, value: str | None = None) -> Observation:
    return observation(ONEBALANCE, amount=amount, asset_id=asset(number), value=value)


def amounts(holdings: Holdings) -> list[str]:
    return [str(held.record.amount) for held in holdings.values()]


def after(*views: View) -> list[str]:
    """The amounts that are known for certain once all of these were seen."""
    known: Holdings = {}
    for one in views:
        known = known_for_certain(known, one)
    return amounts(known)


def test_what_every_source_agrees_to_is_certain() -> None:
    assert after(view(ondo("5"))) == ["5"]
    assert after(view(ondo("5")), view(ondo("6"))) == ["6"]
    assert after(view(ondo("5")), view()) == []
    assert after(view(ondo("5")), view(ondo("0"))) == []
    assert after(view(ondo("0"))) == []


def test_what_a_source_that_fails_does_not_say_is_not_gone() -> None:
    for status in (FAILED, PARTIAL, STALE):
        assert after(view(ondo("5")), view(ondo=status)) == ["5"]
        assert after(view(ondo("5")), view(onebalance("0"), ondo=status)) == ["5"]
        assert after(view(ondo("5")), view(ondo=status), view()) == []


def test_a_holding_is_gone_only_when_all_who_spoke_of_it_have_answered() -> None:
    both = view(ondo("5"), onebalance("5"))
    assert after(both, view(onebalance=FAILED)) == ["5"]
    assert after(both, view(onebalance("0"), ondo=FAILED)) == ["5"]
    assert after(both, view(onebalance("0"))) == []


def test_another_source_s_word_on_the_same_balance_is_no_change_of_it() -> None:
    both = view(ondo("5.000001"), onebalance("5"))
    assert after(both, view(onebalance("5"), ondo=FAILED)) == ["5.000001"]
    assert after(view(ondo("5.000001")), view(onebalance("5"), ondo=FAILED)) == ["5.000001"]


def test_a_source_that_changes_its_own_word_is_believed_while_another_fails() -> None:
    both = view(ondo("5.000001"), onebalance("5"))
    assert after(both, view(onebalance("3"), ondo=FAILED)) == ["3"]
    assert after(both, view(onebalance("3"), ondo=FAILED), both) == ["5.000001"]


def test_an_old_word_is_no_change() -> None:
    assert after(view(ondo("5")), view(ondo("4"), ondo=STALE)) == ["5"]


def test_a_source_that_lacks_rows_is_believed_for_those_that_it_has() -> None:
    assert after(view(ondo("5")), view(ondo("4"), ondo=PARTIAL)) == ["4"]


def test_a_sum_that_lacks_a_token_account_is_not_believed() -> None:
    def of(*accounts: str) -> Observation:
        records = tuple(
            TokenAccountRecord(name, "mint", asset(), "program", 5, 1, 1, TokenFacts(ONDO)) for name in accounts
        )
        amount = Decimal(5 * len(accounts))
        one = observation(ONDO, amount=str(amount))
        return Observation(
            one.source,
            one.account_id,
            one.asset_id,
            one.reported_asset,
            amount,
            None,
            None,
            None,
            one.fetched_at,
            token_accounts=records,
        )

    assert after(view(of("a", "b")), view(of("a"), ondo=PARTIAL)) == ["10"]
    assert after(view(of("a", "b")), view(of("a", "b", "c"), ondo=PARTIAL)) == ["15"]
    assert after(view(of("a", "b")), view(of("a"))) == ["5"]


def test_a_value_is_a_change_only_for_who_sees_it() -> None:
    before, now = (known_for_certain({}, view(onebalance("5", value=value))) for value in ("10", "11"))
    (one,), (other,) = before.values(), now.values()
    assert isinstance(one, Held)
    assert same_amount(one, other)
    assert not same_value(one, other)
