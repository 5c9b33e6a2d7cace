"""From observations to holdings: grouping, the choice of amount and value, and totals. Pure functions.

Sources are never added to each other and never merged by symbol or by equal amount: identity is (account, asset).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from loaders import amounts
from loaders.books import Books
from loaders.caip import AccountAddress, AccountId, AssetId, ChainId
from loaders.records import (
    AsOf,
    HoldingSource,
    Observation,
    Report,
    SourceStatus,
    TokenFacts,
    merged_facts,
)
from resolvers.chain import native_facts

AMOUNT_RANK = (HoldingSource.SOLANA_SPL, HoldingSource.ONDO_GM, HoldingSource.ONEBALANCE)
"""Whose amount is shown: the one that reads the chain itself comes first."""
_AMOUNT_PLACE = {source: place for place, source in enumerate(AMOUNT_RANK)}

FACTS_RANK = (HoldingSource.ONDO_GM, HoldingSource.ONEBALANCE, HoldingSource.SOLANA_SPL)
"""Whose word on a token's name, decimals and price is taken: the issuer's first, the token's own last."""


class ValueStatus(Enum):
    """Where a holding's value comes from, or why it has none."""

    REPORTED = "REPORTED"
    DERIVED = "DERIVED"
    UNPRICED = "UNPRICED"
    UNAVAILABLE = "UNAVAILABLE"


class SourceAgreement(Enum):
    """Whether the sources of a holding give the same amount."""

    SINGLE = "SINGLE"
    AGREE = "AGREE"
    DIFFER = "DIFFER"
    NOT_COMPARABLE = "NOT_COMPARABLE"


# A member of an enumeration takes five times as long to look up.
_SINGLE, _REPORTED, _DERIVED = SourceAgreement.SINGLE, ValueStatus.REPORTED, ValueStatus.DERIVED
_ZERO = amounts.ZERO


class HoldingKey(Struct, frozen=True, gc=False):
    """What tells one holding from another."""

    account_id: AccountId
    asset_id: AssetId

    @property
    def id(self) -> str:
        """The global id: account and asset."""
        return f"Holding:{self.account_id}/{self.asset_id.local}"

    @property
    def address(self) -> AccountAddress:
        """Whose it is."""
        return self.account_id.address

    @property
    def chain_id(self) -> ChainId:
        """The chain of the asset."""
        return self.asset_id.chain_id


class Word(Struct, frozen=True, gc=False):
    """One source's word on a holding, and whether it was chosen."""

    observation: Observation
    chosen: bool


class HoldingRecord(HoldingKey, frozen=True, gc=False):
    """One account's position in one asset; ``observations`` begin with the ``chosen`` one, whose amount it is."""

    value: Decimal | None
    value_status: ValueStatus
    value_source: HoldingSource | None
    agreement: SourceAgreement
    chosen: Observation
    observations: tuple[Observation, ...]

    @property
    def words(self) -> list[Word]:
        """Every source's word."""
        return [Word(observation, index == 0) for index, observation in enumerate(self.observations)]

    @property
    def amount(self) -> Decimal | None:
        """Whole tokens."""
        return self.chosen.amount

    @property
    def raw(self) -> int | None:
        """Smallest units."""
        return self.chosen.raw

    @property
    def amount_source(self) -> HoldingSource:
        """Whose amount it is."""
        return self.chosen.source

    @property
    def as_of(self) -> AsOf | None:
        """How current the amount is."""
        return self.chosen.as_of

    @property
    def is_zero(self) -> bool:
        """Whether nothing is held."""
        return _is_zero(self.chosen)


class Pricing:
    """What is known of prices: books for unit prices, and the sources whose observations carry values.

    ``answered`` tells whether such a source answered for an account's observations.
    """

    def __init__(
        self,
        books: Books,
        valuing_sources: Sequence[HoldingSource],
        answered: Callable[[HoldingSource, AccountId], bool],
    ) -> None:
        self.books = books
        ranked = [books[source] for source in FACTS_RANK if source in books]
        self.price_lists = [book.prices for book in ranked if book.prices]
        self._may_fail = [book for book in ranked if not book.prices_whole]
        self._valuing_sources = valuing_sources
        self._answered = answered
        self._silent: dict[AccountId, frozenset[HoldingSource]] = {}

    def may_be_lacking(self, chosen: Observation, observations: Sequence[Observation]) -> bool:
        """Whether somebody may know of a value, and could not be heard."""
        silent = self._silent_on(chosen.account_id)
        if silent and not silent <= {observation.source for observation in observations}:
            return True
        return any([book.price_failed(chosen.asset_id) for book in self._may_fail])

    def _silent_on(self, account_id: AccountId) -> frozenset[HoldingSource]:
        """The sources that carry values and have not answered for an account."""
        silent = self._silent.get(account_id)
        if silent is None:
            silent = self._silent[account_id] = frozenset(
                source for source in self._valuing_sources if not self._answered(source, account_id)
            )
        return silent


def reconcile(
    observations: Iterable[Observation], stale: Callable[[Observation], bool], pricing: Pricing
) -> list[HoldingRecord]:
    """One holding for each (account, asset), in no particular order, zero holdings included."""
    groups: dict[tuple[AccountId, AssetId], Observation | list[Observation]] = {}
    for observation in observations:
        key = (observation.account_id, observation.asset_id)
        seen = groups.setdefault(key, observation)
        if seen is observation:
            continue
        if isinstance(seen, list):
            seen.append(observation)
        else:
            groups[key] = [seen, observation]
    return [
        _of_several(group, stale, pricing) if isinstance(group, list) else _of_one(group, pricing)
        for group in groups.values()
    ]


def _of_one(chosen: Observation, pricing: Pricing) -> HoldingRecord:
    if chosen.amount is None or chosen.raw is None:
        chosen = _scaled(chosen, (chosen,), pricing.books)
    observations = (chosen,)
    value, status, source = _value(chosen, observations, pricing)
    return HoldingRecord(chosen.account_id, chosen.asset_id, value, status, source, _SINGLE, chosen, observations)


def _of_several(group: list[Observation], stale: Callable[[Observation], bool], pricing: Pricing) -> HoldingRecord:
    group.sort(key=lambda one: (stale(one), _AMOUNT_PLACE[one.source]))
    for index, one in enumerate(group):
        group[index] = _scaled(one, group, pricing.books)
    chosen = group[0]
    value, status, source = _value(chosen, group, pricing)
    return HoldingRecord(
        chosen.account_id, chosen.asset_id, value, status, source, _agreement(group), chosen, tuple(group)
    )


def _scaled(observation: Observation, group: Sequence[Observation], books: Books) -> Observation:
    """The observation with both amounts, where its own source, another one or a register knows the decimals."""
    decimals, amount, raw = observation.decimals, observation.amount, observation.raw
    if amount is not None and raw is not None:
        return observation
    if decimals is None:
        decimals = _decimals(observation, group, books)
        if decimals is None:  # nothing is nothing at any scale
            return replace(observation, amount=amounts.ZERO, raw=0) if _is_zero(observation) else observation
    if amount is None and raw is not None:
        amount = amounts.whole(raw, decimals)
    elif raw is None and amount is not None:
        raw = amounts.raw(amount, decimals)
    return replace(observation, decimals=decimals, amount=amount, raw=raw)


def _decimals(observation: Observation, group: Sequence[Observation], books: Books) -> int | None:
    own = books.get(observation.source)
    facts = None if own is None else own.facts.get(observation.asset_id)
    if facts is not None and facts.decimals is not None:
        return facts.decimals
    for other in group:
        if other.decimals is not None:
            return other.decimals
    for source in FACTS_RANK:
        book = books.get(source)
        facts = None if book is None else book.facts.get(observation.asset_id)
        if facts is not None and facts.decimals is not None:
            return facts.decimals
    coin = native_facts(observation.asset_id)
    return None if coin is None else coin.decimals


def _is_zero(observation: Observation) -> bool:
    return observation.raw == 0 if observation.amount is None else not observation.amount


def _same_amount(one: Observation, other: Observation) -> bool | None:
    """Whether two observations of one asset give the same amount; None when they cannot be compared."""
    if one.amount is not None and other.amount is not None:
        return one.amount == other.amount
    if one.raw is not None and other.raw is not None:
        return one.raw == other.raw
    return None


def _agreement(observations: Sequence[Observation]) -> SourceAgreement:
    same = [_same_amount(observations[0], other) for other in observations[1:]]
    if False in same:
        return SourceAgreement.DIFFER
    return SourceAgreement.NOT_COMPARABLE if None in same else SourceAgreement.AGREE


def _value(
    chosen: Observation, observations: Sequence[Observation], pricing: Pricing
) -> tuple[Decimal | None, ValueStatus, HoldingSource | None]:
    amount = chosen.amount
    if not amount and _is_zero(chosen):
        return _ZERO, _REPORTED, chosen.source
    for prices in pricing.price_lists:
        price = prices.get(chosen.asset_id)
        if price is not None and amount is not None:
            return amounts.product_rounded(amount, price.usd), _DERIVED, price.source
    for observation in observations:
        value = observation.value
        if value and value > _ZERO:
            if observation is chosen or _same_amount(observation, chosen):
                return value, _REPORTED, observation.source
            if observation.amount and amount is not None:
                derived = amounts.scaled_rounded(value, amount, observation.amount)
                return derived, _DERIVED, observation.source
    unavailable = pricing.may_be_lacking(chosen, observations)
    return None, ValueStatus.UNAVAILABLE if unavailable else ValueStatus.UNPRICED, None


@dataclass(frozen=True, slots=True)
class TotalRecord:
    """A sum over holdings, and whether it is the whole of it."""

    value: Decimal | None
    complete: bool
    holding_count: int
    unpriced_count: int
    missing_sources: tuple[HoldingSource, ...]


def sum_holdings(holdings: Iterable[HoldingRecord], reports: Iterable[Report]) -> TotalRecord:
    """The total of some holdings, given how the sources that could know of them did.

    Without any source that was asked the total is unknown, not 0.
    """
    count = unpriced = 0
    values: list[Decimal] = []
    held = False
    for holding in holdings:
        count += 1
        zero = holding.is_zero
        held |= not zero
        if holding.value is not None:
            if not zero:
                values.append(holding.value)
        else:
            unpriced += 1
    involved = [report for report in reports if report.status.was_asked]
    missing = dict.fromkeys(report.source for report in involved if report.status.lacks_data)
    sound = bool(involved) and all(report.status is SourceStatus.OK for report in involved)
    value: Decimal | None = amounts.total(values)
    if not values and (held or missing or not involved):
        value = None
    return TotalRecord(value, sound and unpriced == 0, count, unpriced, tuple(missing))


def facts_of(asset_id: AssetId, observed: Iterable[TokenFacts | None], books: Books) -> TokenFacts | None:
    """What the sources know of a token, the first of ``FACTS_RANK`` leading; None when none knows it."""
    found = [facts for register in books.lexicon.registers if (facts := register(asset_id)) is not None]
    for facts in observed:
        if facts is not None:
            found.append(_without_claims(facts) if facts.source in books.lexicon.authorities else facts)
    if len(found) < 2:
        return found[0] if found else None
    found.sort(key=lambda facts: FACTS_RANK.index(facts.source))
    return merged_facts(*found)


@lru_cache(maxsize=16_384)
def _without_claims(observed: TokenFacts) -> TokenFacts:
    """What a row says of its token without its claims to trust and group, where the register has the last word."""
    return replace(observed, trust=None, group_id=None)
