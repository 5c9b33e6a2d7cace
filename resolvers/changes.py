"""What changed in what an account holds, as far as it is certain. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from loaders.books import Books
from loaders.caip import ChainId
from loaders.records import HoldingSource, Observation, Report, SourceStatus
from resolvers.reconcile import HoldingRecord
from resolvers.view import View

T = TypeVar("T")

_PART_SOUND = (SourceStatus.OK, SourceStatus.PARTIAL)


@dataclass(frozen=True, slots=True)
class Held:
    """A holding as it was last known for certain, and the books of that time."""

    record: HoldingRecord
    books: Books


Holdings = Mapping[str, Held]
"""What is held, by the holding's id; nothing of zero."""


def delta(
    old: Mapping[str, T], new: Mapping[str, T], same: Callable[[T, T], bool]
) -> tuple[Sequence[str], Sequence[str]]:
    """The keys that appeared or are no longer the same, and those that are gone, both in order."""
    changed = sorted(key for key in new if key not in old or not same(old[key], new[key]))
    return changed, sorted(key for key in old if key not in new)


def same_amount(one: Held, other: Held) -> bool:
    """Whether the balance is the same."""
    return (one.record.amount, one.record.raw) == (other.record.amount, other.record.raw)


def same_value(one: Held, other: Held) -> bool:
    """Whether the balance is the same, and so is what it is worth."""
    return same_amount(one, other) and _worth(one.record) == _worth(other.record)


def known_for_certain(before: Holdings, view: View) -> Holdings:
    """What one account holds now; where the sources leave it open, what was known before.

    A holding is gone only if every source that spoke of it has answered. Its amount is another only by the word of a
    source that has answered: the one whose amount was shown, or, while that one fails, one that changed its own word.
    """
    status = _Statuses(view.reports)
    now = {holding.id: holding for holding in view.holdings}
    certain = {id: Held(holding, view.books) for id, holding in now.items() if not holding.is_zero}
    for id, held in before.items():
        if not _is_certain(held.record, now.get(id), status):
            certain[id] = held
    return certain


class _Statuses:
    """How the sources did, by chain."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self._by_part = {(report.source, report.chain_id): report.status for report in reports}

    def __call__(self, source: HoldingSource, chain_id: ChainId) -> SourceStatus:
        by_part = self._by_part
        return by_part.get((source, None)) or by_part.get((source, chain_id)) or SourceStatus.FAILED


def _is_certain(before: HoldingRecord, now: HoldingRecord | None, status: _Statuses) -> bool:
    """Whether what is known now may take the place of what was known before."""
    chain_id = before.chain_id
    if now is None or now.is_zero:
        return all(status(one.source, chain_id) is SourceStatus.OK for one in before.observations)
    word = now.chosen
    how = status(word.source, chain_id)
    earlier = next((one for one in before.observations if one.source is word.source), None)
    if how not in _PART_SOUND or (how is SourceStatus.PARTIAL and not _is_whole(word, earlier)):
        return False
    if word.source is before.amount_source or status(before.amount_source, chain_id) is SourceStatus.OK:
        return True
    return earlier is not None and (earlier.amount, earlier.raw) != (word.amount, word.raw)


def _is_whole(word: Observation, earlier: Observation | None) -> bool:
    """Whether a source that lacks rows lacks none that it had of this holding."""
    if earlier is None:
        return False
    seen = {account.address for account in word.token_accounts}
    return all(account.address in seen for account in earlier.token_accounts)


def _worth(record: HoldingRecord) -> object:
    return record.value, record.value_status, record.value_source
