"""Tokens: what the sources know of them apart from anyone's balance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from loaders.books import Book, Books, Described, Known
from loaders.caip import AssetId, ChainId, Namespace
from loaders.records import (
    Group,
    HoldingSource,
    Observation,
    Price,
    Stock,
    TokenFacts,
    TokenKind,
    TokenTrust,
    Wants,
)
from resolvers.chain import native_facts
from resolvers.context import Context
from resolvers.reconcile import FACTS_RANK, facts_of


class _Undescribed(Struct, frozen=True, gc=False):
    symbol: str | None = None
    name: str | None = None
    decimals: int | None = None


_UNDESCRIBED = _Undescribed()


class TokenRecord(Struct, frozen=True, gc=False):
    """One token: what the sources know of it, what it is ``known`` as, and the books. What nobody knows is None."""

    asset_id: AssetId
    facts: TokenFacts | None
    known: Described
    books: Books

    @property
    def id(self) -> str:
        """The global id."""
        return f"Token:{self.asset_id}"

    @property
    def chain_id(self) -> ChainId:
        """The chain it lives on."""
        return self.asset_id.chain_id

    @property
    def address(self) -> str | None:
        """Contract or mint; None for a native one."""
        return self.asset_id.token_address

    @property
    def kind(self) -> TokenKind:
        """What sort of token it is."""
        return kind_of(self.asset_id, self.facts)

    @property
    def metadata_uri(self) -> str | None:
        """Where its issuer describes it."""
        return None if self.facts is None else self.facts.metadata_uri

    @property
    def image_url(self) -> str | None:
        """A picture of it."""
        return None if self.facts is None else self.facts.image_url

    @property
    def trust(self) -> TokenTrust:
        """What the registers attest."""
        return trust_of(self.facts)

    @property
    def metadata_source(self) -> HoldingSource | None:
        """Whose word its symbol, name and decimals are."""
        return self.facts.source if self.facts is not None and self.facts.describes else None

    @property
    def price(self) -> Price | None:
        """US dollars for one of it."""
        return next((price for book in self._ranked if (price := book.prices.get(self.asset_id)) is not None), None)

    @property
    def stock(self) -> Stock | None:
        """What it stands for."""
        return next((stock for book in self._ranked if (stock := book.stock(self.asset_id)) is not None), None)

    @property
    def group(self) -> GroupRecord | None:
        """The asset group that it belongs to."""
        group_id = None if self.facts is None else self.facts.group_id
        group = None if group_id is None else find_group(group_id, self.books)
        return None if group is None else GroupRecord(group.group_id, group, self.books)

    @property
    def _ranked(self) -> list[Book]:
        return [self.books[source] for source in FACTS_RANK if source in self.books]


class GroupRecord(Struct, frozen=True, gc=False):
    """An asset group, and the books that describe its members; ``group`` None when only its id is known."""

    group_id: str
    group: Group | None
    books: Books

    @property
    def id(self) -> str:
        """The global id."""
        return f"AssetGroup:{self.group_id}"

    @property
    def members(self) -> list[TokenRecord]:
        """Every token of the group, by the register that defines it."""
        return [] if self.group is None else [build_token(one, (), self.books) for one in self.group.members]


def kind_of(asset_id: AssetId, facts: TokenFacts | None) -> TokenKind:
    """What sort of token an asset is; UNKNOWN for a mint whose program no source named."""
    if asset_id.is_native:
        return TokenKind.NATIVE
    if facts is not None and facts.kind is not None:
        return facts.kind
    is_erc20 = asset_id.chain_id.namespace is Namespace.EIP155 and "/erc20:" in asset_id
    return TokenKind.ERC20 if is_erc20 else TokenKind.UNKNOWN


def trust_of(facts: TokenFacts | None) -> TokenTrust:
    """What the registers attest; a token that none of them has was seen on chain only."""
    return (facts and facts.trust) or TokenTrust.UNLISTED


def described(asset_id: AssetId, facts: TokenFacts | None) -> Described:
    """What gives a token its symbol, name and decimals: the sources, or else what its chain's coin is known as."""
    if facts is not None and (facts.symbol is not None or facts.describes):
        return facts
    return native_facts(asset_id) or _UNDESCRIBED


def build_token(asset_id: AssetId, observed: Iterable[TokenFacts | None], books: Books) -> TokenRecord:
    """One token by what was observed of it and by the books."""
    facts = facts_of(asset_id, observed, books)
    return TokenRecord(asset_id, facts, described(asset_id, facts), books)


def observed_token(asset_id: AssetId, observations: Sequence[Observation], books: Books) -> TokenRecord:
    """As ``build_token``; most wallets hold what others hold, so what was found out is kept."""
    # By identity, which holds as long as what was observed is kept too.
    if len(observations) == 1:
        key: tuple[object, ...] = (asset_id, id(observations[0].facts))
    else:
        key = (asset_id, *[id(one.facts) for one in observations])
    known = books.lexicon.known.get(key)
    if known is None:
        observed = tuple([one.facts for one in observations])
        token = build_token(asset_id, observed, books)
        books.lexicon.keep(key, Known(token.facts, token.known, observed))
        return token
    return TokenRecord(asset_id, known.facts, known.described, books)


def find_group(group_id: str, books: Books) -> Group | None:
    """A group of any source's register; None when none has it."""
    return next((group for book in books.values() if (group := book.group(group_id)) is not None), None)


async def resolve_token(context: Context, asset_id: AssetId, wants: Wants) -> TokenRecord | None:
    """The token of this asset, or None when no source knows it."""
    books = await context.loaders.books.load((asset_id, wants))
    if facts_of(asset_id, (), books) is None and native_facts(asset_id) is None:
        return None
    return build_token(asset_id, (), books)


async def resolve_group(context: Context, group_id: str, wants: Wants) -> GroupRecord | None:
    """An asset group, or None when no register has it."""
    books = await context.loaders.read_books(None, wants)
    group = find_group(group_id, books)
    return None if group is None else GroupRecord(group_id, group, books)
