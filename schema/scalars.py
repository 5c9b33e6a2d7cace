"""Scalars: exact numbers as text, instants in UTC, and chain-agnostic identifiers."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Mapping
from typing import Any, NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from loaders import amounts
from loaders.caip import AccountAddress, AccountId, AssetId, ChainId
from resolvers.errors import shown

BigInt = NewType("BigInt", int)


def _text(parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def parse_text(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"{shown(value)} is not text")
        return parse(value)

    return parse_text


def _parse_decimal(value: Any) -> decimal.Decimal:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{shown(value)} is not exact: write the number as text")
    return amounts.parse_plain(str(value))


def _parse_integer(value: Any) -> BigInt:
    number = _parse_decimal(value)
    if number != number.to_integral_value():
        raise ValueError(f"{shown(value)} is not a whole number")
    return BigInt(int(number))


def _instant(value: datetime.datetime) -> str:
    return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")


def _parse_instant(value: Any) -> datetime.datetime:
    instant = _text(datetime.datetime.fromisoformat)(value)
    if instant.tzinfo is None:
        raise ValueError(f"{shown(value)} has no time zone")
    return instant  # type: ignore[no-any-return]  # what fromisoformat gave


SCALARS: Mapping[object, ScalarDefinition] = {
    decimal.Decimal: strawberry.scalar(
        name="Decimal",
        description=(
            "Exact base-10 number as a plain string: no exponent, no trailing zeros "
            '("5", "0.000000000000000001", "0").'
        ),
        serialize=amounts.plain,
        parse_value=_parse_decimal,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="Integer of any size, as a decimal string.",
        serialize=str,
        parse_value=_parse_integer,
    ),
    datetime.datetime: strawberry.scalar(
        name="DateTime",
        description="UTC instant, RFC 3339, ending in Z.",
        serialize=_instant,
        parse_value=_parse_instant,
    ),
    AccountAddress: strawberry.scalar(
        name="AccountAddress",
        description=(
            "A wallet address. Input: 0x-hex in one case, or in mixed case with a valid EIP-55 checksum; base58 of "
            'exactly 32 bytes (Solana); CAIP-10; or "solana:<address>". Output: lower-case hex, or base58 as is.'
        ),
        serialize=str,
        parse_value=_text(AccountAddress.parse),
    ),
    AccountId: strawberry.scalar(
        name="AccountId",
        description="CAIP-10 account, e.g. eip155:1:0xab… or solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:9xQ…",
        serialize=str,
        parse_value=_text(str),
    ),
    ChainId: strawberry.scalar(
        name="ChainId",
        description="CAIP-2 chain. Input also takes the upstream spellings ethereum-1, bsc-56, solana-900, solana.",
        serialize=str,
        parse_value=_text(ChainId.parse),
    ),
    AssetId: strawberry.scalar(
        name="AssetId",
        description="CAIP-19 asset type in canonical form: EVM address in lower case, native as slip44.",
        serialize=str,
        parse_value=_text(AssetId.parse),
    ),
}
