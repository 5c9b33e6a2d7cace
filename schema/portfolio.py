"""Portfolio."""

from __future__ import annotations

from typing import Self

import strawberry

from loaders.caip import AccountAddress
from schema.holdings_view import HoldingsView
from schema.wallet import Wallet


@strawberry.type(description="Several accounts read as one, e.g. a person's EVM and Solana pair. Not an entity.")
class Portfolio(HoldingsView):
    wallets: list[Wallet]

    @classmethod
    def of(cls, accounts: tuple[AccountAddress, ...]) -> Self:
        return cls(accounts=accounts, wallets=[Wallet.of(address) for address in accounts])
