"""The law of every codec: what was written is what is read, and what cannot be read is said to be so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import base58
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loaders import Sources
from loaders.cache import Codec
from loaders.caip import SOLANA_MAINNET, AccountAddress, AssetId, ChainId
from loaders.errors import LoadError
from loaders.ondo_balances import _HELD, Balance, Held
from loaders.onebalance_balances import _WORDS, Said
from loaders.onebalance_balances import Balance as AssetBalance
from loaders.records import Aggregate, HoldingSource, TokenAccountRecord, TokenTrust
from loaders.registers import Register
from loaders.solana_balances import _METADATA, _NATIVES, _ROWS, OwnerRows, OwnerSol
from loaders.solana_tokens import token_account_of
from loaders.upstream import Upstreams, UpstreamSettings
from loaders.upstream.thegraph import MintRecord, NativeBalanceRecord, SplBalanceRecord

NO_UNICODE = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3)  # JSON can escape half a character
ANY_TEXT = (st.text(max_size=20) | NO_UNICODE).map(lambda text: json.loads(json.dumps(text)))
RAW = st.integers(min_value=0, max_value=10**100 - 1)
EXACT = st.tuples(RAW, st.integers(-120, 20)).map(lambda parts: Decimal(parts[0]).scaleb(parts[1]))
EVM = st.binary(min_size=20, max_size=20).map(lambda raw: AccountAddress(f"0x{raw.hex()}"))
SOLANA = st.binary(min_size=32, max_size=32).map(lambda raw: AccountAddress(base58.b58encode(raw).decode()))
ADDRESS = EVM | SOLANA
ASSET = st.one_of(
    st.tuples(st.sampled_from(["eip155:1", "eip155:56"]), EVM).map(
        lambda at: AssetId.of_token(ChainId(at[0]), at[1])
    ),
    SOLANA.map(lambda mint: AssetId.of_token(SOLANA_MAINNET, mint)),
    st.integers(0, 2**31 - 1).map(lambda coin: AssetId.parse(f"eip155:1/slip44:{coin}")),
)
DECIMALS = st.none() | st.integers(0, 255)
BLOCK = st.integers(0, 2**64)

held = st.builds(
    Held,
    st.dictionaries(
        ADDRESS,
        st.dictionaries(ASSET, st.builds(Balance, EXACT, ANY_TEXT, ANY_TEXT), min_size=1, max_size=3),
        max_size=3,
    ),
    st.booleans(),
)


@st.composite
def said(draw: st.DrawFn) -> Said:
    """What OneBalance may have said: its aggregates are over the accounts of the answer."""
    accounts = draw(st.frozensets(ADDRESS, max_size=2))
    aggregate = st.builds(
        Aggregate,
        st.just(HoldingSource.ONEBALANCE),
        ANY_TEXT,
        st.just(accounts),
        RAW,
        DECIMALS,
        st.none() | EXACT,
    )
    balance = st.builds(AssetBalance, RAW, DECIMALS, EXACT, ANY_TEXT, st.booleans())
    return Said(
        draw(st.dictionaries(ASSET, balance, max_size=4)),
        tuple(draw(st.lists(aggregate, max_size=3))),
        accounts,
        draw(st.booleans()),
    )


TEXT = st.none() | ANY_TEXT
WORD = st.text(max_size=20)
spl_row = st.builds(
    lambda **fields: token_account_of(msgspec.convert(fields, SplBalanceRecord)),
    owner=SOLANA,
    account=SOLANA,
    mint=SOLANA,
    program_id=SOLANA,
    amount=RAW,
    decimals=DECIMALS,
    name=TEXT,
    symbol=TEXT,
    uri=TEXT,
    last_update_block_num=BLOCK,
    last_update_timestamp=BLOCK,
)
rows = st.builds(OwnerRows, st.lists(spl_row, max_size=3).map(tuple), st.booleans(), st.booleans())
native_row = st.builds(
    lambda **fields: msgspec.convert(fields, NativeBalanceRecord),
    address=WORD,
    amount=RAW,
    last_update_block_num=BLOCK,
    last_update_timestamp=BLOCK,
)
native = st.builds(OwnerSol, st.none() | native_row, st.booleans())
mint = st.none() | st.builds(
    lambda **fields: MintRecord.model_validate(fields),
    mint=WORD,
    program_id=WORD,
    decimals=DECIMALS,
    name=TEXT,
    symbol=TEXT,
    uri=TEXT,
)

CODECS: dict[str, tuple[Codec[Any], st.SearchStrategy[Any]]] = {
    "ondo": (_HELD, held),
    "onebalance": (_WORDS, st.dictionaries(ADDRESS, said(), min_size=1, max_size=2)),
    "solana token accounts": (_ROWS, rows),
    "solana native": (_NATIVES, native),
    "solana mints": (_METADATA, mint),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORD,
    lambda some: st.lists(some, max_size=4) | st.dictionaries(WORD, some, max_size=3),
)


def digits(value: object) -> list[str]:
    """Every decimal in it as it is written: 1.0 and 1.00 are equal, and not the same."""
    if isinstance(value, Decimal):
        return [str(value)]
    if isinstance(value, dict):
        return [text for one in value.values() for text in digits(one)]
    if isinstance(value, Said):
        return digits([b.value for b in value.rows.values()] + [a.value for a in value.aggregates])
    if isinstance(value, Held):
        return digits([b.amount for balances in value.by_holder.values() for b in balances.values()])
    return [text for one in value for text in digits(one)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_what_was_written_is_read(name: str, data: st.DataObject) -> None:
    codec, some = CODECS[name]
    value = data.draw(some)
    read = codec.decode(codec.encode(value))
    assert read == value
    assert digits(read) == digits(value)
    assert codec.size(read) == codec.size(value) > 0


@pytest.mark.parametrize("name", CODECS)
@given(body=st.binary(max_size=100))
@example(body=b"}")
def test_what_is_no_json_is_not_read(name: str, body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each codec has words of its own
        CODECS[name][0].decode(b"{" + body)


ACCOUNT = base58.b58encode(bytes(range(32))).decode()
WRITTEN = [ACCOUNT, ACCOUNT, ACCOUNT, "5", 1, 1, 6, "USDC", "USD Coin", "https://example.org"]


def token_accounts(*rows: list[Any]) -> tuple[TokenAccountRecord, ...]:
    """What is read of rows in the shared store."""
    return _ROWS.decode(json.dumps([False, False, rows]).encode()).accounts


@pytest.mark.parametrize("place", range(len(WRITTEN)))
@pytest.mark.parametrize("wrong", [["x"], "0OIl", -1])
def test_a_token_account_that_nobody_wrote_is_not_read(place: int, wrong: object) -> None:
    written = [*WRITTEN[:place], wrong, *WRITTEN[place + 1 :]]
    if isinstance(wrong, int) and place in (4, 5):
        assert token_accounts(written)  # any number may be a block or a time
    elif isinstance(wrong, str) and place >= 7:
        assert token_accounts(written)
    else:
        with pytest.raises(ValueError):  # noqa: PT011  # each part has words of its own
            token_accounts(written)


def test_what_the_shared_store_says_of_a_mint_is_as_little_trusted_as_the_mint() -> None:
    (account,) = token_accounts([*WRITTEN[:7], "US\u202eDC", "\u200bUSD Coin", "javascript:alert(1)"])
    facts = account.facts
    assert (facts.symbol, facts.name, facts.metadata_uri) == ("USDC", "USD Coin", None)
    assert (facts.source, facts.trust, facts.group_id) == (HoldingSource.SOLANA_SPL, TokenTrust.UNLISTED, None)


def test_token_accounts_share_what_is_not_their_own() -> None:
    one, other = token_accounts(WRITTEN, WRITTEN)
    assert one.mint is other.mint
    assert one.asset_id is other.asset_id
    assert one.program_id is other.program_id
    assert one.facts is other.facts


def registers() -> Iterable[Any]:
    """Every register of every source, by what it holds."""
    settings = UpstreamSettings(ondo_api_key="key", onebalance_api_key="key", thegraph_api_token="key")
    for source in Sources(Upstreams(settings)).by_name.values():
        for name, value in vars(source).items():
            if isinstance(value, Register):
                yield pytest.param(value._answers._codec, id=f"{source.name.value}{name}")


WORDS = st.sampled_from(
    ["symbol", "primaryMarket", "price", "aggregatedAssetId", "networks", "id", "indexed_to", "1.5"]
)


@pytest.mark.parametrize("codec", [*registers()])
@given(
    value=st.recursive(
        WORDS | WORD | st.integers(),
        lambda some: st.lists(some, max_size=4) | st.dictionaries(WORDS, some, max_size=4),
    )
)
def test_a_register_is_written_as_it_came(codec: Codec[Any], value: object) -> None:
    body = json.dumps(value).encode()
    try:
        built = codec.decode(body)
    except LoadError:
        return
    assert codec.encode(built) == body
    assert codec.decode(codec.encode(built)) == built
