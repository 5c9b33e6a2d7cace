"""Chain."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from loaders.caip import ChainId, Namespace
from loaders.records import HoldingSource
from resolvers.chain import chain_name, native_asset, resolve_chain, resolve_sources
from resolvers.context import Info
from schema.node import Node

if TYPE_CHECKING:
    from schema.token import Token


@strawberry.federation.type(keys=["id", "chainId"], description="A chain that a source covers.")
class Chain(Node):
    natural_key = "chainId"
    known_by_key = ("id", "chainId")
    parse_key = ChainId.parse

    chain_id: ChainId
    namespace: Namespace
    name: str

    @strawberry.field(description="The chain's own coin.")
    async def native_token(self, info: Info) -> Annotated[Token, strawberry.lazy(".token")]:
        from schema.token import load_native_token

        return await load_native_token(info, native_asset(self.chain_id))

    @strawberry.field(description="Which sources can speak for this chain in this deployment.")
    async def sources(self, info: Info) -> list[HoldingSource]:
        return await resolve_sources(info.context, self.chain_id)

    @classmethod
    @lru_cache(maxsize=1_024)
    def of(cls, chain_id: ChainId) -> Self:
        """The chain of an id, the same each time."""
        return cls(
            id=cls.global_id(chain_id),
            chain_id=chain_id,
            namespace=chain_id.namespace or Namespace.EIP155,
            name=chain_name(chain_id),
        )

    @classmethod
    def of_key(cls, key: ChainId) -> Self:
        return cls.of(key)

    @classmethod
    async def load(cls, info: Info, key: ChainId) -> Self | None:
        known = await resolve_chain(info.context, key)
        return None if known is None else cls.of(known)
