"""What registers say of tokens is found out once, and anew as soon as one of them is another."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from loaders.books import Book, Books, Lexicons
from loaders.caip import AssetId
from loaders.records import HoldingSource, Observation, TokenFacts, TokenTrust
from resolvers.token import TokenRecord, observed_token
from tests.resolvers.records import asset, observation

ONDO, ONEBALANCE, SPL = HoldingSource.ONDO_GM, HoldingSource.ONEBALANCE, HoldingSource.SOLANA_SPL
OLD = TokenFacts(ONEBALANCE, symbol="OLD", trust=TokenTrust.LISTED)
NEW = TokenFacts(ONEBALANCE, symbol="NEW", trust=TokenTrust.LISTED)


class Register(Book):
    """A book of one register."""

    def __init__(self, facts: Mapping[AssetId, TokenFacts], *, knows_all: bool = False) -> None:
        self.facts, self.knows_all = facts, knows_all


def token(books: Books, facts: TokenFacts | None = None) -> TokenRecord:
    """The token that is held, with what its source says of it."""
    seen = observation(SPL, raw=5, decimals=0)
    held = Observation(
        seen.source,
        seen.account_id,
        seen.asset_id,
        seen.reported_asset,
        Decimal(5),
        5,
        0,
        None,
        seen.fetched_at,
        facts=facts,
    )
    return observed_token(held.asset_id, [held], books)


def shared(lexicons: Lexicons, *registers: Book) -> Books:
    """The books of one operation."""
    books = Books(zip((ONEBALANCE, ONDO), registers, strict=False))
    lexicons.share(books)
    return books


def test_operations_with_the_same_registers_share_what_was_found_out() -> None:
    lexicons, facts = Lexicons(), {asset(): OLD}
    one, other = shared(lexicons, Register(facts)), shared(lexicons, Register(facts))
    assert token(one).known.symbol == "OLD"
    assert one.lexicon is other.lexicon
    assert len(other.lexicon.known) == 1
    assert token(other).known.symbol == "OLD"


def test_a_new_register_is_believed_at_once() -> None:
    lexicons, old = Lexicons(), {asset(): OLD}
    assert token(shared(lexicons, Register(old))).known.symbol == "OLD"
    assert token(shared(lexicons, Register({asset(): NEW}))).known.symbol == "NEW"
    assert token(shared(lexicons, Register({}))).known.symbol is None
    assert token(shared(lexicons, Register(old))).known.symbol == "OLD"


def test_a_register_that_turns_out_whole_takes_claims_away() -> None:
    lexicons, facts = Lexicons(), dict[AssetId, TokenFacts]()
    claim = TokenFacts(ONEBALANCE, symbol="CLAIM", trust=TokenTrust.ISSUER)
    assert token(shared(lexicons, Register(facts)), claim).trust is TokenTrust.ISSUER
    assert token(shared(lexicons, Register(facts, knows_all=True)), claim).trust is TokenTrust.UNLISTED


def test_one_asset_is_what_each_of_its_holders_sources_says() -> None:
    books = shared(Lexicons(), Register({}))
    for symbol in ("ONE", "OTHER", "ONE"):
        assert token(books, TokenFacts(SPL, symbol=symbol)).known.symbol == symbol
    assert token(books).known.symbol is None


def test_registers_of_long_ago_are_forgotten() -> None:
    lexicons = Lexicons()
    first = shared(lexicons, Register({asset(): OLD}))
    kept = [shared(lexicons, Register({asset(): NEW})) for _ in range(50)]
    assert len(lexicons._kept) < 10
    assert shared(lexicons, first[ONEBALANCE]).lexicon is not first.lexicon
    assert shared(lexicons, kept[-1][ONEBALANCE]).lexicon is kept[-1].lexicon


def test_strangers_cannot_fill_the_memory_with_long_texts() -> None:
    books = shared(Lexicons(), Register({}))
    assert token(books, TokenFacts(SPL, symbol="X", metadata_uri="https://" + "x" * 2_000)).known.symbol == "X"
    assert not books.lexicon.known
