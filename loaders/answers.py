"""One operation's questions to one source, united so that the source is asked once for each address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct

from loaders.base import BatchLoader
from loaders.caip import AccountAddress
from loaders.records import Wants
from loaders.registers import Reading
from loaders.source import EVERYTHING, Answer, Question, Scope, Source


class AnswerKey(Struct, frozen=True):
    """What one field wants of one address.

    ``scope`` None wants whatever the other fields want, or everything when there are none. ``company`` are the
    addresses that it is read as one with, itself included.
    """

    address: AccountAddress
    scope: Scope | None
    wants: Wants
    company: frozenset[AccountAddress]


class Asked(Struct, frozen=True):
    """A source's answer, and all scopes that the operation has asked of it for the address."""

    answer: Answer
    scopes: tuple[Scope, ...]


@dataclass(slots=True)
class _Past:
    question: Question
    answer: asyncio.Future[Answer]


class AnswersByAddressLoader(BatchLoader[AnswerKey, Asked]):
    """Loads one source's answers by address; an address is asked about again only for what is not known yet."""

    def __init__(self, source: Source, reading: Callable[[], Reading]) -> None:
        super().__init__()
        self._source = source
        self._reading = reading
        self._past: dict[AccountAddress, list[_Past]] = {}

    def begin(self, key: AnswerKey) -> asyncio.Future[Asked]:
        """As inherited; who does not need the source does not wait for what others ask of it."""
        value = super().begin(key)
        if key.scope is None or self._needs_source(key.address, key.scope):
            return value
        unasked: asyncio.Future[Asked] = asyncio.get_running_loop().create_future()
        unasked.set_result(Asked(self._source.unasked(key.address), (key.scope,)))
        return unasked

    async def fetch(self, keys: Sequence[AnswerKey]) -> Mapping[AnswerKey, Asked]:
        """Unites the keys of each address into one question, and asks all questions together."""
        by_address: dict[AccountAddress, list[AnswerKey]] = {}
        for key in keys:
            by_address.setdefault(key.address, []).append(key)
        answers: dict[AccountAddress, asyncio.Future[Answer]] = {}
        new: list[_Past] = []
        for address, alike in by_address.items():
            question = self._unite(address, alike)
            known = self._known(question)
            if known is None:
                known = _Past(question, asyncio.get_running_loop().create_future())
                self._past.setdefault(address, []).append(known)
                new.append(known)
            answers[address] = known.answer
        try:
            await self._ask(new)
        except BaseException as error:
            for past in new:
                if not past.answer.done():
                    past.answer.set_exception(error if isinstance(error, Exception) else asyncio.CancelledError())
                    past.answer.exception()  # retrieved, whoever waits
            raise
        asked: dict[AnswerKey, Asked] = {}
        for address, alike in by_address.items():
            answer = await answers[address]
            scopes = self._scopes(address)
            asked.update((key, Asked(answer, scopes)) for key in alike)
        return asked

    def _unite(self, address: AccountAddress, keys: Sequence[AnswerKey]) -> Question:
        scopes = dict.fromkeys(key.scope for key in keys if key.scope is not None)
        wants, company = Wants.NOTHING, frozenset[AccountAddress]()
        for key in keys:
            company |= key.company
            if key.scope is None or self._needs_source(address, key.scope):
                wants |= key.wants
        # A source's own aggregates are of use only to those whose accounts they are over.
        summed = {key.company for key in keys if Wants.AGGREGATES in key.wants}
        if len(summed) == 1:
            (company,) = summed
        apart = len(summed) > 1 or (bool(summed) and len(company) == 1)
        return Question(address, tuple(scopes) or self._scopes(address) or (EVERYTHING,), wants, company, apart)

    def _scopes(self, address: AccountAddress) -> tuple[Scope, ...]:
        past = self._past.get(address, ())
        return tuple(dict.fromkeys(scope for one in past for scope in one.question.scopes))

    def _known(self, question: Question) -> _Past | None:
        for past in self._past.get(question.address, ()):
            asked = past.question
            wanted = question.wants & self._source.wants_answered
            if wanted & ~asked.wants or (wanted and not asked.apart and asked.company != question.company):
                continue
            if all(scope in asked.scopes for scope in question.scopes):
                return past
        return None

    def _needs_source(self, address: AccountAddress, scope: Scope) -> bool:
        source, namespace = self._source, address.namespace
        allowed = namespace in source.namespaces and scope.allows_source(source.name)
        return allowed and bool(source.needed_parts(namespace, scope))

    async def _ask(self, new: Sequence[_Past]) -> None:
        source, questions = self._source, []
        for past in new:
            question = past.question
            needed = tuple(scope for scope in question.scopes if self._needs_source(question.address, scope))
            if source.configured and needed:
                questions.append(Question(question.address, needed, question.wants, question.company, question.apart))
            else:
                past.answer.set_result(source.unasked(question.address))
        answers = await source.ask(questions, self._reading()) if questions else {}
        for past in new:
            if not past.answer.done():
                past.answer.set_result(answers[past.question.address])
