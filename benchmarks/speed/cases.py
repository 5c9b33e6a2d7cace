"""What is asked, and of which addresses: never twice of the same, unless that is what is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

_LEAVES = "accountId amount rawAmount valueUsd valueStatus amountSource token { symbol decimals }"
_PORTFOLIO = "query %s($addresses: [AccountAddress!]!) { portfolio(addresses: $addresses) { %s } }"
_WALLETS = "query %s($addresses: [AccountAddress!]!) { wallets(addresses: $addresses) { %s } }"
_HOLDINGS = "holdings(first: 200) { nodes { %s } }"

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_EVM, _SOLANA = "<EVM>", "<SOLANA>"


@dataclass(frozen=True, slots=True)
class Case:
    """One operation, and how many addresses of each kind it is about."""

    name: str
    operation: str
    query: str
    evm: int = 1
    solana: int = 1

    def body(self, addresses: Sequence[str]) -> bytes:
        """A request about these addresses, as a client sends it."""
        variables = {"addresses": addresses}
        return json.dumps({"operationName": self.operation, "query": self.query, "variables": variables}).encode()

    @property
    def template(self) -> bytes:
        """A request with places in which the load generator puts addresses."""
        return self.body([_EVM] * self.evm + [_SOLANA] * self.solana)

    def nodes(self, data: Mapping[str, Any]) -> list[Any]:
        """The holdings in an answer, of all wallets one after the other."""
        wallets = data["wallets"] if "wallets" in data else [data["portfolio"]]
        return [node for wallet in wallets for node in wallet["holdings"]["nodes"]]


WIDE = Case("wide", "Wide", _PORTFOLIO % ("Wide", _HOLDINGS % _LEAVES))
"""Eight leaves of each holding of a pair."""
NARROW = Case("narrow", "Narrow", _PORTFOLIO % ("Narrow", _HOLDINGS % "amount token { symbol }"))
"""Two leaves of each."""
TEN = Case("ten", "Ten", _WALLETS % ("Ten", _HOLDINGS % _LEAVES), 5, 5)
"""Ten wallets in one operation."""

CASES = {case.name: case for case in (WIDE, NARROW, TEN)}


def wallets(number: int) -> Case:
    """So many wallets in one operation, half of them on Solana."""
    return Case(f"{number} wallets", "Ten", TEN.query, number - number // 2, number // 2)


def addresses(case: Case, seed: int) -> Iterator[list[str]]:
    """The addresses of one request after the other; another seed has others, and so has the load generator."""
    numbers = count(seed << 32)
    while True:
        evm = [f"0x{next(numbers):040x}" for _ in range(case.evm)]
        yield evm + [_solana(next(numbers)) for _ in range(case.solana)]


def _solana(number: int) -> str:
    """A text of 43 characters that is base58 of 32 bytes, as all are whose first character is 6 or a later one."""
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_BASE58[digit])
    return "6" + "".join(reversed(digits)).rjust(42, "2")
