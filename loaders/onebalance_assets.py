"""OneBalance's register of aggregated assets: what to ask for, and what is known of each member."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from loaders.caip import AssetId, ChainId, Namespace
from loaders.errors import InvalidIdError
from loaders.records import (
    Group,
    HoldingSource,
    TokenFacts,
    TokenKind,
    TokenTrust,
    clean_image_url,
    clean_name,
    clean_symbol,
)
from loaders.source import (
    Scope,
)
from loaders.upstream.fields import Rows
from loaders.upstream.onebalance import (
    AssetRecord,
)

# The bucket of assets that stand alone: no group, although it looks like one.
NO_GROUP = "ob:single"

# Ids go into a comma-separated list, and are shown.
_ASKABLE = re.compile("/(erc20|token|slip44):")
_AGGREGATED_ID = re.compile(r"[!-+\--~]{1,128}")


@dataclass(frozen=True, slots=True)
class Assets:
    """The register of aggregates: what it knows of their members, which one each is in, and the ids to ask for.

    ``unreadable`` if there are aggregates that cannot be asked for.
    """

    facts: Mapping[AssetId, TokenFacts]
    aggregated_ids: Mapping[AssetId, str]
    groups: Mapping[str, Group]
    decimals: Mapping[str, int]
    ids_by_namespace: Mapping[Namespace, tuple[str, ...]]
    chains: frozenset[ChainId]
    unreadable: bool
    _all_ids: dict[frozenset[Namespace], tuple[str, ...]] = field(default_factory=dict, init=False, compare=False)

    def all_ids(self, namespaces: frozenset[Namespace]) -> tuple[str, ...]:
        """The aggregates with members in one of these namespaces, in order."""
        known = self._all_ids.get(namespaces)
        if known is None:
            some = set[str]().union(*[self.ids_by_namespace.get(namespace, ()) for namespace in namespaces])
            known = self._all_ids[namespaces] = tuple(sorted(some))
        return known

    def ids(self, namespace: Namespace, scope: Scope) -> set[str]:
        """The aggregates that a scope needs: all of the namespace, or those of the named assets."""
        if scope.asset_ids is not None:
            ids = [self.aggregated_ids.get(asset) for asset in named_assets(namespace, scope)]
            return {one for one in ids if one is not None}
        if scope.chains is not None and scope.chains.isdisjoint(self.chains):
            return set()
        return set(self.ids_by_namespace.get(namespace, ()))

    def outsiders(self, namespace: Namespace, scope: Scope) -> set[AssetId]:
        """The named assets of the namespace that are in no aggregate, of the kinds that OneBalance may know."""
        return {
            asset for asset in named_assets(namespace, scope) if asset not in self.facts and _ASKABLE.search(asset)
        }


def named_assets(namespace: Namespace, scope: Scope) -> list[AssetId]:
    """The assets of a namespace that a scope names."""
    named = scope.asset_ids or ()
    return [asset for asset in named if asset.chain_id.namespace is namespace and scope.allows_asset(asset)]


def index_assets(records: Rows[AssetRecord]) -> Assets:
    """The register of what OneBalance lists."""
    facts: dict[AssetId, TokenFacts] = {}
    aggregated_ids: dict[AssetId, str] = {}
    groups: dict[str, Group] = {}
    decimals: dict[str, int] = {}
    ids: dict[Namespace, dict[str, None]] = {}
    unreadable = records.dropped > 0
    for record in records.rows:
        if not _AGGREGATED_ID.fullmatch(record.aggregatedAssetId):
            unreadable = True
            continue
        group_id = None if record.aggregatedAssetId == NO_GROUP else record.aggregatedAssetId
        of_group: list[AssetId] = []
        entities = record.aggregatedEntities
        unreadable |= entities.dropped > 0 and not entities.rows
        namespaces = set(Namespace) if entities.dropped else set[Namespace]()
        for entity in entities.rows:
            try:
                asset_id = AssetId.parse(entity.assetType)
            except InvalidIdError:
                continue
            of_group.append(asset_id)
            if (namespace := asset_id.chain_id.namespace) is not None:
                namespaces.add(namespace)
            if asset_id in facts:
                continue
            facts[asset_id] = TokenFacts(
                HoldingSource.ONEBALANCE,
                symbol=clean_symbol(entity.symbol or record.symbol),
                name=clean_name(entity.name or record.name),
                decimals=entity.decimals,
                kind=_kind(asset_id),
                trust=TokenTrust.LISTED,
                image_url=clean_image_url(record.logoUrl),
                group_id=group_id,
            )
            aggregated_ids[asset_id] = record.aggregatedAssetId
        for namespace in namespaces:
            ids.setdefault(namespace, {})[record.aggregatedAssetId] = None
        if group_id is not None:
            symbol, name = clean_symbol(record.symbol), clean_name(record.name)
            groups[group_id] = Group(group_id, HoldingSource.ONEBALANCE, symbol, name, tuple(dict.fromkeys(of_group)))
            decimals[group_id] = record.decimals
    return Assets(
        facts,
        aggregated_ids,
        groups,
        decimals,
        {namespace: tuple(some) for namespace, some in ids.items()},
        frozenset(asset_id.chain_id for asset_id in facts),
        unreadable,
    )


def _kind(asset_id: AssetId) -> TokenKind | None:
    if asset_id.is_native:
        return TokenKind.NATIVE
    # OneBalance does not tell which of Solana's two token programs a mint belongs to.
    return TokenKind.ERC20 if asset_id.chain_id.namespace is Namespace.EIP155 else None
