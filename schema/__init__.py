"""The graph: what clients see."""

from __future__ import annotations

import strawberry
from strawberry.schema.config import StrawberryConfig

from schema import enums as enums  # before the types that use them
from schema.query import Query, SubgraphQuery
from schema.scalars import SCALARS


def build_schema(*, subgraph: bool = False) -> strawberry.federation.Schema:
    """The executable schema; as a subgraph it has neither ``node`` nor ``nodes``."""
    return strawberry.federation.Schema(
        query=SubgraphQuery if subgraph else Query,
        config=StrawberryConfig(scalar_map=dict(SCALARS)),
        federation_version="2.3",
    )


schema = build_schema()
