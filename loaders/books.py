"""Books: what sources know of tokens apart from balances, one by one and all together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

from loaders.caip import AssetId
from loaders.records import MAX_KEPT_TEXT, Group, HoldingSource, Price, Stock, TokenFacts

_MOST_KNOWN = 16_384
_MOST_LEXICONS = 8


class Book:
    """What a source knows of tokens apart from balances. The plain one knows nothing."""

    knows_all: bool = False
    """Whether its register was read whole: what is not in it has neither its trust nor its groups."""
    facts: Mapping[AssetId, TokenFacts] = MappingProxyType({})
    """What the source says of the tokens that it knows."""
    prices: Mapping[AssetId, Price] = MappingProxyType({})
    """What one whole token costs, of those that the source prices."""
    prices_whole: bool = True
    """Whether ``prices`` are all that there are."""

    def price_failed(self, asset_id: AssetId) -> bool:
        """Whether the source may have a price that could not be read; never if its prices are whole."""
        return False

    def stock(self, asset_id: AssetId) -> Stock | None:
        """What the token stands for; None when it is no tokenised stock or fund of this source."""
        return None

    def group(self, group_id: str) -> Group | None:
        """A group of the source's register; None when it has no such group."""
        return None


class Described(Protocol):
    """What a token is called, and how many decimals its smallest unit stands behind the point; None is unknown."""

    @property
    def symbol(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...
    @property
    def decimals(self) -> int | None: ...


class Known(Struct, frozen=True, gc=False):
    """What the registers make of what was ``observed`` of a token. Nothing in it leads to books: they lead here."""

    facts: TokenFacts | None
    described: Described
    observed: tuple[TokenFacts | None, ...]


class Lexicon:
    """What several sources' registers say of tokens, for as long as these stay the same."""

    def __init__(self, books: Mapping[HoldingSource, Book]) -> None:
        self._facts = [book.facts for book in books.values()]  # kept, for they are told apart by identity
        self.registers = [facts.get for facts in self._facts if facts]
        """Each gives what one source says of a token."""
        self.authorities = frozenset(name for name, book in books.items() if book.knows_all)
        """The sources whose registers were read whole."""
        self.known: dict[tuple[object, ...], Known] = {}
        """What was found out so far, by asset and by the identity of what was observed."""

    def keep(self, key: tuple[object, ...], known: Known) -> None:
        """Adds to ``known``, unless strangers' texts in it are long."""
        texts = [text for one in known.observed if one for text in (one.symbol, one.name, one.metadata_uri) if text]
        if sum(map(len, texts)) > MAX_KEPT_TEXT:
            return
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known[key] = known


class Books(dict[HoldingSource, Book]):
    """What several sources know of tokens."""

    @cached_property
    def lexicon(self) -> Lexicon:
        """What their registers say, all together."""
        return Lexicon(self)


class Lexicons:
    """The lexicons of late."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Lexicon] = {}

    def share(self, books: Books) -> None:
        """Lets books have the lexicon of others with the very same registers."""
        key = tuple([(name, id(book.facts), book.knows_all) for name, book in books.items()])
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _MOST_LEXICONS:
                del self._kept[next(iter(self._kept))]
            kept = self._kept[key] = books.lexicon
        books.lexicon = kept
