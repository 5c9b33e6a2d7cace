"""Chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

import strawberry

from loaders.caip import ChainId, Namespace
from loaders.errors import InvalidIdError
from loaders.records import HoldingSource
from resolvers.chain import chain_name, native_asset, resolve_chain, resolve_sources
from resolvers.context import Info
from resolvers.errors import BadInputError
from schema.node import Node, global_id

if TYPE_CHECKING:
    from schema.token import Token


@strawberry.federation.type(keys=["id", "chainId"], description="A chain that a source covers.")
class Chain(Node):
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
    def of(cls, chain_id: ChainId) -> Self:
        return cls(
            id=global_id("Chain", chain_id),
            chain_id=chain_id,
            namespace=chain_id.namespace or Namespace.EIP155,
            name=chain_name(chain_id),
        )

    @classmethod
    async def resolve_reference(
        cls, info: Info, id: str | None = None, chain_id: str | None = None, **key: str
    ) -> Self | None:
        text = key.get("chainId", chain_id) or (id or "").removeprefix("Chain:")
        try:
            known = await resolve_chain(info.context, ChainId.parse(text))
        except InvalidIdError as error:
            raise BadInputError("representations", text, str(error)) from error
        return None if known is None else cls.of(known)
