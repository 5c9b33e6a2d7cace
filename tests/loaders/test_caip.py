"""Identifiers: one form for every spelling, and nothing that is none gets through."""

from __future__ import annotations

from collections.abc import Callable

import base58
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from loaders.caip import (
    NATIVE_SOL,
    SOLANA_MAINNET,
    AccountAddress,
    AccountId,
    AssetId,
    ChainId,
    Namespace,
    eip55,
    is_solana_address,
)
from loaders.errors import InvalidIdError

SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
USDC_MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"

# The examples of EIP-55 itself.
CHECKSUMMED = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)

evm_addresses = st.binary(min_size=20, max_size=20).map(lambda digits: "0x" + digits.hex())
# Leading zero bytes are written as ones, so that addresses of 32 to 44 characters all occur.
solana_addresses = st.builds(
    lambda zeros, rest: base58.b58encode(b"\0" * zeros + rest[zeros:]).decode(),
    st.integers(0, 32),
    st.binary(min_size=32, max_size=32),
)
addresses = evm_addresses | solana_addresses
evm_chains = st.integers(0, 10**32 - 1).map(lambda number: f"eip155:{number}")
slip44_assets = st.builds(
    lambda chain, number: f"{chain}/slip44:{number}", evm_chains | st.just(SOLANA), st.integers(0, 10**9)
)
erc20_assets = st.builds(lambda chain, address: f"{chain}/erc20:{address}", evm_chains, evm_addresses)
mint_assets = solana_addresses.map(lambda mint: f"{SOLANA}/token:{mint}")
assets = slip44_assets | erc20_assets | mint_assets

# Text as it comes, and text that is nearly an identifier.
pieces = st.sampled_from(
    [
        "eip155",
        "solana",
        ":",
        "/",
        "0x",
        "0X",
        "erc20",
        "token",
        "slip44",
        "1",
        "60",
        "-",
        "%",
        " ",
        "\n",
        "\0",
        "é",
        "٣",
    ]
)
texts = (
    st.text()
    | st.lists(pieces | addresses | evm_chains | assets, max_size=8).map("".join)
    | st.builds(
        lambda text, place, change: text[: place % len(text)] + change + text[place % len(text) + 1 :],
        addresses | evm_chains | assets,
        st.integers(0, 200),
        st.text(max_size=2),
    )
)


def spellings(address: str) -> st.SearchStrategy[str]:
    """Ways in which one address may be written."""
    if not address.startswith("0x"):
        forms = [address, f"solana:{address}", f"{SOLANA}:{address}"]
    else:
        written = [
            address,
            "0x" + address[2:].upper(),
            "0X" + address[2:].upper(),
            "0X" + address[2:],
            eip55(address),
        ]
        forms = [*written, *(f"eip155:{chain}:{form}" for chain in ("1", "56", "42161") for form in written)]
    spaces = st.sampled_from(["", " ", "\n\t"])
    return st.tuples(spaces, st.sampled_from(forms), spaces).map("".join)


# Addresses


@given(st.data(), addresses)
def test_every_spelling_of_an_address_is_one_address(data: st.DataObject, address: str) -> None:
    parsed = AccountAddress.parse(data.draw(spellings(address)))
    assert parsed == address
    assert AccountAddress.parse(parsed) == parsed
    assert parsed.namespace is (Namespace.EIP155 if address.startswith("0x") else Namespace.SOLANA)


@pytest.mark.parametrize("address", CHECKSUMMED)
def test_the_examples_of_eip_55_are_valid(address: str) -> None:
    assert eip55(address.lower()) == address
    assert AccountAddress.parse(address) == address.lower()


@given(evm_addresses, st.integers(0, 39))
def test_one_letter_in_the_wrong_case_is_refused(address: str, place: int) -> None:
    digits = eip55(address)[2:]
    assume(digits[place].isalpha())
    flipped = digits[:place] + digits[place].swapcase() + digits[place + 1 :]
    assume(flipped not in (flipped.lower(), flipped.upper()))
    with pytest.raises(InvalidIdError, match="checksum"):
        AccountAddress.parse("0x" + flipped)


@given(evm_addresses, st.integers(0, 39), st.sampled_from("0123456789abcdefABCDEF"))
def test_one_mistyped_digit_of_a_checksummed_address_gives_no_other_address_unless_the_case_is_lost(
    address: str, place: int, digit: str
) -> None:
    digits = eip55(address)[2:]
    assume(digits not in (digits.lower(), digits.upper()))
    typed = "0x" + digits[:place] + digit + digits[place + 1 :]
    try:
        parsed = AccountAddress.parse(typed)
    except InvalidIdError:
        return
    assert parsed == address or typed[2:] in (typed[2:].lower(), typed[2:].upper()) or eip55(parsed) == typed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        "0x" + "a" * 39,
        "0x" + "a" * 41,
        "a" * 40,
        "0x" + "g" * 40,
        "0x" + "é" * 40,
        "0x" + "٣" * 40,
        "0x " + "a" * 39,
        "eip155:1",
        "eip155:1:",
        "eip155:x:0x" + "a" * 40,
        "eip155::0x" + "a" * 40,
        "EIP155:1:0x" + "a" * 40,
        f"eip155:1:{USDC_MINT}",
        f"eip155:1:solana:{USDC_MINT}",
        "eip155:1:eip155:1:0x" + "a" * 40,
        "solana:0x" + "a" * 40,
        f"solana:solana:{USDC_MINT}",
        f"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1:{USDC_MINT}",
        f"{SOLANA}:",
        f"{USDC_MINT},{USDC_MINT}",
        USDC_MINT.lower(),
        USDC_MINT.replace("E", "0", 1),
        USDC_MINT + "\0",
        "vitalik.eth",
    ],
)
def test_what_is_no_address_is_refused_with_its_own_words(text: str) -> None:
    with pytest.raises(InvalidIdError) as caught:
        AccountAddress.parse(text)
    assert (text if len(text) <= 80 else text[:77]) in str(caught.value)


@given(st.binary(max_size=64))
@example(b"\0" * 31)
@example(b"\0" * 32)
@example(b"\0" * 33)
@example(b"\xff" * 31)
@example(b"\xff" * 32)
@example(b"\xff" * 33)
@example(b"\x01" * 31)
@example(b"\x01" * 33)
def test_a_solana_address_is_base58_of_32_bytes_and_of_no_other_number(content: bytes) -> None:
    text = base58.b58encode(content).decode()
    assert is_solana_address(text) is (len(content) == 32)
    if len(content) != 32:
        with pytest.raises(InvalidIdError):
            AccountAddress.parse(text)
        with pytest.raises(InvalidIdError):
            AssetId.parse(f"{SOLANA}/token:{text}")


def test_a_solana_address_has_no_space_around_it() -> None:
    address = base58.b58encode(b"\0" * 8 + b"\x07" * 24).decode()  # short enough for a space to fit in
    assert is_solana_address(address)
    for space in (" ", "\n", "\t", "\r\n", "\x0b", "\x0c", "\0", "\u00a0"):
        assert not is_solana_address(space + address)
        assert not is_solana_address(address + space)


@given(solana_addresses)
def test_the_case_of_a_solana_address_is_never_folded(address: str) -> None:
    assert AccountAddress.parse(address) == address
    swapped = address.swapcase()
    assert not is_solana_address(swapped) or AccountAddress.parse(swapped) == swapped


# Any text


@pytest.mark.parametrize("parse", [ChainId.parse, AccountAddress.parse, AssetId.parse])
@given(text=texts)
def test_any_text_is_an_identifier_in_canonical_form_or_an_invalid_one(
    parse: Callable[[str], str], text: str
) -> None:
    try:
        parsed = parse(text)
    except InvalidIdError:
        return
    assert parse(parsed) == parsed
    assert parsed.isascii()
    assert not any(character.isspace() for character in parsed)


@pytest.mark.parametrize("parse", [ChainId.parse, AccountAddress.parse, AssetId.parse])
def test_an_enormous_text_is_refused_and_not_repeated(parse: Callable[[str], str]) -> None:
    for text in ("1" * 10**6, "0x" + "a" * 10**6, "eip155:" + "1" * 10**6, f"{SOLANA}/token:" + "1" * 10**6):
        with pytest.raises(InvalidIdError) as caught:
            parse(text)
        assert len(str(caught.value)) < 300


# Chains


@pytest.mark.parametrize(
    ("text", "chain_id"),
    [
        ("ethereum-1", "eip155:1"),
        ("bsc-56", "eip155:56"),
        ("solana-900", SOLANA),
        ("solana", SOLANA),
        (SOLANA, SOLANA),
        ("eip155:1", "eip155:1"),
        ("cosmos:cosmoshub-4", "cosmos:cosmoshub-4"),
    ],
)
def test_the_spellings_of_upstreams_are_the_chains_of_caip_2(text: str, chain_id: str) -> None:
    assert ChainId.parse(text) == chain_id


@given(evm_chains)
def test_an_evm_chain_is_its_number_without_leading_zeros(chain: str) -> None:
    assert ChainId.parse(chain) == chain
    assert ChainId.parse(chain).namespace is Namespace.EIP155
    with pytest.raises(InvalidIdError):
        ChainId.parse(chain.replace(":", ":0"))


@pytest.mark.parametrize(
    "text",
    ["", "1", "eip155", "eip155:", "eip155:x", "eip155:-1", "Ethereum-1", "SOLANA", " solana", "eip155:1:0x", "٣:٣"],
)
def test_what_is_no_chain_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdError):
        ChainId.parse(text)


# Accounts


@given(evm_chains, evm_addresses)
def test_an_account_gives_back_its_chain_and_address(chain: str, address: str) -> None:
    account = AccountId.of(ChainId.parse(chain), AccountAddress.parse(address))
    assert account == f"{chain}:{address}"
    assert (account.chain_id, account.address) == (chain, address)
    assert AccountAddress.parse(account) == address


@given(solana_addresses)
def test_a_solana_account_gives_back_its_chain_and_address(address: str) -> None:
    account = AccountId.of(SOLANA_MAINNET, AccountAddress.parse(address))
    assert (account.chain_id, account.address) == (SOLANA, address)
    assert AccountAddress.parse(account) == address


# Assets


@given(evm_chains, evm_addresses, st.integers(0, 2**40 - 1), st.sampled_from(["0x", "0X"]))
def test_every_case_of_a_contract_is_one_asset(chain: str, address: str, upper: int, prefix: str) -> None:
    digits = "".join(d.upper() if upper >> place & 1 else d for place, d in enumerate(address[2:]))
    asset = AssetId.parse(f"{chain}/erc20:{prefix}{digits}")
    assert asset == f"{chain}/erc20:{address}"
    assert (asset.chain_id, asset.reference, asset.token_address, asset.is_native) == (chain, address, address, False)
    assert AssetId.of_token(ChainId.parse(chain), prefix + digits) == asset


@given(mint_assets)
def test_a_mint_is_its_asset_as_is_unless_it_stands_for_sol(text: str) -> None:
    asset = AssetId.parse(text)
    assert asset in (text, NATIVE_SOL)
    assert AssetId.parse(asset) == asset


@given(assets)
def test_an_asset_parsed_again_is_the_same_asset(text: str) -> None:
    asset = AssetId.parse(text)
    assert AssetId.parse(asset) == asset
    assert AssetId.parse(f"{asset.chain_id}/{asset.partition('/')[2]}") == asset
    assert asset.is_native is (asset.token_address is None)


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("eip155:137/erc20:0x0000000000000000000000000000000000001010", "eip155:137/slip44:966"),
        ("eip155:137/erc20:0X0000000000000000000000000000000000001010", "eip155:137/slip44:966"),
        ("eip155:42220/erc20:0x471EcE3750Da237f93B8E339c536989b8978a438", "eip155:42220/slip44:52752"),
        (f"{SOLANA}/token:{'1' * 32}", f"{SOLANA}/slip44:501"),
        (f"{SOLANA}/token:So{'1' * 41}", f"{SOLANA}/slip44:501"),
    ],
)
def test_a_contract_or_mint_that_is_the_native_coin_is_the_native_coin(text: str, native: str) -> None:
    asset = AssetId.parse(text)
    assert (asset, asset.is_native, asset.token_address) == (native, True, None)


@pytest.mark.parametrize(
    "text",
    [
        "eip155:1/erc20:0x0000000000000000000000000000000000001010",
        "eip155:1/erc20:0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
        f"{SOLANA}/token:So{'1' * 40}2",
    ],
)
def test_a_wrapped_coin_or_a_contract_of_another_chain_is_no_native_coin(text: str) -> None:
    assert AssetId.parse(text) == text
    assert not AssetId.parse(text).is_native


@pytest.mark.parametrize("number", ["060", "00", "0000000000060"])
def test_a_coin_type_has_one_spelling(number: str) -> None:
    try:
        asset = AssetId.parse(f"eip155:1/slip44:{number}")
    except InvalidIdError:
        return
    assert asset == f"eip155:1/slip44:{int(number)}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "eip155:1",
        "eip155:1/",
        "eip155:1/erc20",
        "eip155:1/erc20:",
        "eip155:1/erc20:0x12",
        "eip155:01/erc20:0x" + "a" * 40,
        "ethereum-1/erc20:0x" + "a" * 40,
        "eip155:1/ERC20:0x" + "a" * 40,
        "eip155:1/erc20:0x" + "a" * 40 + "/1",
        "eip155:1/erc20:0x" + "a" * 40 + "\n",
        " eip155:1/slip44:60",
        "eip155:1/slip44:eth",
        "eip155:1/slip44:-60",
        "eip155:1/slip44:",
        f"{SOLANA}/slip44:sol",
        f"{SOLANA}/token:{USDC_MINT[:-2]}",
        f"{SOLANA}/token:{USDC_MINT}1",
        f"{SOLANA}/token:0x" + "a" * 40,
    ],
)
def test_what_is_no_asset_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdError):
        AssetId.parse(text)
