"""Wallet."""

from __future__ import annotations

from typing import Self

import strawberry

from loaders.caip import AccountAddress, AssetId, Namespace
from resolvers.context import Info
from resolvers.holdings import find_holding
from resolvers.plan import Selection, wants_of_holding
from schema.holding import Holding
from schema.holdings_view import HoldingsView
from schema.node import Node


@strawberry.federation.type(keys=["id", "address"], description="One address, whatever it holds on whichever chain.")
class Wallet(Node, HoldingsView):
    natural_key = "address"
    parse_key = AccountAddress.parse

    address: AccountAddress
    namespace: Namespace

    @strawberry.field(description="One holding by asset; null when no source reports it.")
    async def holding(self, info: Info, asset_id: AssetId) -> Holding | None:
        wants = wants_of_holding(Selection.below(info._raw_info))
        listed = await find_holding(info.context, self.accounts, asset_id, wants)
        return None if listed is None else Holding.of(listed)

    @classmethod
    def of(cls, address: AccountAddress) -> Self:
        return cls(
            id=cls.global_id(address),
            accounts=(address,),
            address=address,
            namespace=address.namespace,
        )

    @classmethod
    def of_key(cls, key: AccountAddress) -> Self:
        return cls.of(key)

    @classmethod
    def load(cls, info: Info, key: AccountAddress) -> Self:
        return cls.of(key)
