"""Chain-agnostic identifiers in one canonical form: CAIP-2 chains, CAIP-10 accounts, CAIP-19 assets.

Each is a ``str``, so that equal things are equal keys and printing costs nothing. ``parse`` is the only way in
from text and raises ``InvalidIdError``; see https://chainagnostic.org for the grammars.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Self

import base58
from Crypto.Hash import keccak

from loaders.errors import InvalidIdError


class Namespace(Enum):
    """The CAIP-2 namespaces that wallets of this graph live in."""

    __hash__ = object.__hash__  # in C: there is one of each

    EIP155 = "eip155"
    SOLANA = "solana"


_NAMESPACES = {namespace.value: namespace for namespace in Namespace}

SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"

_CHAIN_SPELLINGS = {"ethereum-1": "eip155:1", "bsc-56": "eip155:56", "solana-900": SOLANA, "solana": SOLANA}
_CHAIN = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}")
_EIP155_CHAIN = re.compile(r"eip155:(0|[1-9][0-9]{0,31})")
_ASSET = re.compile(r"([-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32})/([-a-z0-9]{3,8}):([-.%a-zA-Z0-9]{1,128})")
_EVM_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
_EVM_ACCOUNT = re.compile(r"eip155:[0-9]{1,32}:(.*)", re.DOTALL)
_SOLANA_ACCOUNT = re.compile(rf"solana:(?:{SOLANA.partition(':')[2]}:)?([^:]*)", re.DOTALL)
_COIN_TYPE = re.compile(r"0|[1-9][0-9]{0,31}")

# Contracts that are the chain's native coin under another name.
_NATIVE_ALIASES = {
    "eip155:137/erc20:0x0000000000000000000000000000000000001010": "eip155:137/slip44:966",
    "eip155:42220/erc20:0x471ece3750da237f93b8e339c536989b8978a438": "eip155:42220/slip44:52752",
    # Placeholders by which Solana services name SOL; the wrapped mint So1…12 is another asset.
    f"{SOLANA}/token:{'1' * 32}": f"{SOLANA}/slip44:501",
    f"{SOLANA}/token:So{'1' * 41}": f"{SOLANA}/slip44:501",
}


_BASE58 = re.compile(r"(1*)([2-9A-HJ-NP-Za-km-z]?[1-9A-HJ-NP-Za-km-z]*)")
_LONG_BASE58 = re.compile(r"[2-9A-HJ-NP-Za-km-z][1-9A-HJ-NP-Za-km-z]{42,43}").fullmatch  # as nearly all are
_SHORTEST = [base58.b58encode_int(256**size, default_one=False).decode() for size in range(33)]
"""By size, the smallest base58 number that needs more bytes than that."""


def is_solana_address(text: str) -> bool:
    """Whether the text is base58 of exactly 32 bytes.

    Base58's digits are in the order of their character codes, so numbers of one length compare as their texts do.
    """
    if _LONG_BASE58(text):
        return text < _SHORTEST[32] if len(text) == 44 else text >= _SHORTEST[31]
    if not 32 <= len(text) <= 44 or (parts := _BASE58.fullmatch(text)) is None:
        return False
    zeros, number = parts.groups()
    size = 32 - len(zeros)
    if size <= 0 or not number:
        return size == 0 and not number
    least, past = _SHORTEST[size - 1], _SHORTEST[size]
    return (len(least), least) <= (len(number), number) < (len(past), past)


def eip55(address: str) -> str:
    """The EIP-55 checksummed spelling of a lower-case EVM address."""
    digits = address[2:]
    digest = keccak.new(digest_bits=256, data=digits.encode("ascii")).hexdigest()
    return "0x" + "".join(c.upper() if int(nibble, 16) > 7 else c for c, nibble in zip(digits, digest, strict=False))


class ChainId(str):
    """A CAIP-2 chain, e.g. ``eip155:1``; ``namespace`` None for one that no wallet of this graph lives in."""

    __slots__ = ("namespace",)

    namespace: Namespace | None

    def __new__(cls, text: str) -> Self:
        """The chain of a canonical text."""
        self = super().__new__(cls, text)
        self.namespace = _NAMESPACES.get(text.partition(":")[0])
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads CAIP-2 or an upstream's spelling (``ethereum-1``, ``bsc-56``, ``solana-900``, ``solana``)."""
        canonical = _CHAIN_SPELLINGS.get(text, text)
        known_shape = _EIP155_CHAIN if canonical.startswith("eip155:") else _CHAIN
        if not known_shape.fullmatch(canonical):
            raise InvalidIdError(
                text, "is not a chain: expected CAIP-2 such as eip155:1, or ethereum-1, bsc-56, solana"
            )
        return cls(canonical)


SOLANA_MAINNET = ChainId(SOLANA)


@lru_cache(maxsize=4_096)
def _chain(text: str) -> ChainId:
    """The chain of a canonical text, the same each time."""
    return ChainId(text)


class AccountAddress(str):
    """A wallet address: lower-case ``0x`` hex, or base58 of 32 bytes as it is."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads an address as people paste it: bare, as CAIP-10, or as ``solana:<address>``.

        Hex in mixed case must carry a valid EIP-55 checksum: a typo must not read as an empty wallet.
        """
        bare = text.strip()
        if account := _EVM_ACCOUNT.fullmatch(bare):
            bare = account[1]
            if not _EVM_ADDRESS.fullmatch(bare):
                raise InvalidIdError(text, "is not an account: eip155 wants 0x and 40 hex digits")
        elif account := _SOLANA_ACCOUNT.fullmatch(bare):
            bare = account[1]
            if not is_solana_address(bare):
                raise InvalidIdError(text, "is not an account: solana wants base58 of 32 bytes")
        if bare[:2] in ("0x", "0X"):
            return cls._parse_evm(bare, text)
        if is_solana_address(bare):
            return cls(bare)
        raise InvalidIdError(
            text, "is not an address: expected 0x and 40 hex digits, base58 of exactly 32 bytes, or CAIP-10"
        )

    @classmethod
    def _parse_evm(cls, bare: str, text: str) -> Self:
        if not _EVM_ADDRESS.fullmatch(bare):
            raise InvalidIdError(
                text, f"is not an address: expected 40 hex digits after 0x, found {len(bare) - 2} characters"
            )
        digits, lower = bare[2:], "0x" + bare[2:].lower()
        if digits not in (digits.lower(), digits.upper()) and eip55(lower)[2:] != digits:
            raise InvalidIdError(
                text, "is not an address: its EIP-55 checksum is wrong, so a character may be mistyped"
            )
        return cls(lower)

    @property
    def namespace(self) -> Namespace:
        """Where this address lives."""
        return Namespace.EIP155 if self.startswith("0x") else Namespace.SOLANA


class AccountId(str):
    """A CAIP-10 account, e.g. ``eip155:56:0xab…``, and its parts."""

    __slots__ = ("address", "chain_id")

    address: AccountAddress
    chain_id: ChainId

    @classmethod
    @lru_cache(maxsize=16_384)
    def of(cls, chain_id: ChainId, address: AccountAddress) -> Self:
        """The account of an address on a chain."""
        self = cls(f"{chain_id}:{address}")
        self.chain_id, self.address = chain_id, address
        return self


class AssetId(str):
    """A CAIP-19 asset type in canonical form, e.g. ``eip155:1/erc20:0x…`` or ``eip155:1/slip44:60``.

    ``local`` is what follows the chain, ``reference`` the contract, the mint, or the SLIP-44 number.
    """

    __slots__ = ("chain_id", "is_native", "local", "reference")

    chain_id: ChainId
    is_native: bool
    local: str
    reference: str

    def __new__(cls, text: str) -> Self:
        """The asset of a canonical text."""
        self = super().__new__(cls, text)
        chain_id, _, self.local = text.partition("/")
        kind, _, self.reference = self.local.partition(":")
        self.chain_id = _chain(chain_id)
        self.is_native = kind == "slip44"
        return self

    @classmethod
    @lru_cache(maxsize=65_536)
    def parse(cls, text: str) -> Self:
        """Reads CAIP-19 with hex in any case; a contract that is the native coin becomes ``slip44``."""
        parts = _ASSET.fullmatch(text)
        if parts is None:
            raise InvalidIdError(
                text, "is not an asset: expected CAIP-19 such as eip155:1/erc20:0x… or eip155:1/slip44:60"
            )
        chain_id, kind, reference = ChainId.parse(parts[1]), parts[2], parts[3]
        if kind == "slip44" and not _COIN_TYPE.fullmatch(reference):
            raise InvalidIdError(text, "is not an asset: slip44 wants a number without leading zeros")
        if chain_id.namespace is Namespace.EIP155 and kind == "erc20":
            if not _EVM_ADDRESS.fullmatch(reference):
                raise InvalidIdError(text, "is not an asset: erc20 wants 0x and 40 hex digits")
            reference = "0x" + reference[2:].lower()
        if chain_id.namespace is Namespace.SOLANA and kind == "token" and not is_solana_address(reference):
            raise InvalidIdError(text, "is not an asset: token wants base58 of exactly 32 bytes")
        canonical = f"{chain_id}/{kind}:{reference}"
        return cls(_NATIVE_ALIASES.get(canonical, canonical))

    @classmethod
    @lru_cache(maxsize=65_536)
    def of_token(cls, chain_id: ChainId, address: str) -> Self:
        """The asset of a contract (EVM) or a mint (Solana) as an upstream spells it."""
        kind = "erc20" if chain_id.namespace is Namespace.EIP155 else "token"
        return cls.parse(f"{chain_id}/{kind}:{address}")

    @property
    def token_address(self) -> str | None:
        """Contract or mint; None for a native coin."""
        return None if self.is_native else self.reference


NATIVE_SOL = AssetId(f"{SOLANA}/slip44:501")
