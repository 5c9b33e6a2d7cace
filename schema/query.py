"""Query: where every operation begins."""

from __future__ import annotations

from typing import TypeVar, cast

import strawberry

from loaders.caip import AccountAddress, AssetId, ChainId
from resolvers.chain import resolve_chains
from resolvers.context import Info
from resolvers.errors import BadInputError
from resolvers.plan import Selection
from resolvers.wallet import SourceFailurePolicy, check_addresses, distinct, ensure_sources
from schema.chain import Chain
from schema.holding import Holding
from schema.holdings_view import Need, needs_below
from schema.node import Node, later
from schema.portfolio import Portfolio
from schema.token import AssetGroup, Token
from schema.wallet import Wallet

V = TypeVar("V", Wallet, Portfolio)

_NODES: dict[str, type[Node]] = {kind.__name__: kind for kind in (Wallet, Holding, Token, AssetGroup, Chain)}


@strawberry.type(name="Query", description="Where every operation begins.")
class SubgraphQuery:
    """The root fields of a subgraph: two subgraphs that both define ``Query.node`` do not compose."""

    # These fields are awaitable only if they must be: all loads of one tick go upstream together.

    @strawberry.field(description="What one address holds.")
    def wallet(
        self, info: Info, address: AccountAddress, on_source_failure: SourceFailurePolicy = SourceFailurePolicy.REPORT
    ) -> Wallet | None:
        return _answer(info, on_source_failure, Wallet.of(address))

    @strawberry.field(description="One entry per address, in the order asked; at most 25.")
    def wallets(
        self,
        info: Info,
        addresses: list[AccountAddress],
        on_source_failure: SourceFailurePolicy = SourceFailurePolicy.REPORT,
    ) -> list[Wallet | None]:
        check_addresses(addresses)
        return [_answer(info, on_source_failure, Wallet.of(address)) for address in addresses]

    @strawberry.field(description="Several addresses read as one, each address once; at most 25.")
    def portfolio(
        self,
        info: Info,
        addresses: list[AccountAddress],
        on_source_failure: SourceFailurePolicy = SourceFailurePolicy.REPORT,
    ) -> Portfolio | None:
        accounts = distinct(addresses)
        check_addresses(accounts, at_least_one=True)
        return _answer(info, on_source_failure, Portfolio.of(accounts))

    @strawberry.field(description="A token by its asset; null when no source knows it.")
    async def token(self, info: Info, asset_id: AssetId) -> Token | None:
        return await Token.load(info, asset_id)

    @strawberry.field(description="One entry per asset, in the order asked; null for one that no source knows.")
    def tokens(self, info: Info, asset_ids: list[AssetId]) -> list[Token | None]:
        return [later(Token.load(info, asset_id)) for asset_id in asset_ids]

    @strawberry.field(description="A chain; null when no source speaks of it.")
    async def chain(self, info: Info, chain_id: ChainId) -> Chain | None:
        return await Chain.load(info, chain_id)

    @strawberry.field(description="Every chain that a source covers in this deployment.")
    async def chains(self, info: Info) -> list[Chain]:
        return [Chain.of(chain_id) for chain_id in await resolve_chains(info.context)]


@strawberry.type(description="Where every operation begins.")
class Query(SubgraphQuery):
    """All root fields."""

    @strawberry.field(description="Anything by its global id; null when nobody knows it.")
    def node(self, info: Info, id: strawberry.ID) -> Node | None:
        return _node(info, "id", id)

    @strawberry.field(description="One entry per id, in the order asked.")
    def nodes(self, info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
        return [_node_or_error(info, "ids", id) for id in ids]


def _node(info: Info, argument: str, id: str) -> Node | None:
    kind, _, key = id.partition(":")
    if kind not in _NODES:
        raise BadInputError(argument, id, f"is not an id of this graph: expected {', '.join(_NODES)} and a key")
    return cast("Node | None", _NODES[kind].load_text(info, argument, key))  # or an awaitable of it


def _node_or_error(info: Info, argument: str, id: str) -> Node | None:
    """The node, or what is wrong with its id in its place: the executor raises it there, and keeps the others."""
    try:
        return _node(info, argument, id)
    except BadInputError as error:
        return cast("Node", error)


def _answer(info: Info, policy: SourceFailurePolicy, view: V) -> V:
    return later(_all_or_nothing(info, view)) if policy is SourceFailurePolicy.FAIL else view


async def _all_or_nothing(info: Info, view: V) -> V:
    selection = Selection.below(info._raw_info)
    # All of them first: what cannot be is refused before anything is asked.
    needs = list[Need](needs_below(info, type(view).__name__, view.accounts, selection))
    if isinstance(view, Portfolio):
        for wallet in view.wallets:
            needs += needs_below(info, Wallet.__name__, wallet.accounts, selection["wallets"])
    await ensure_sources(info.context, view.accounts, needs)
    return view
