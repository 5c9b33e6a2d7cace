"""The graph: what clients see."""

from __future__ import annotations

from strawberry.schema.config import StrawberryConfig

from schema import enums as enums  # before the types that use them
from schema.base import GraphSchema
from schema.extensions import OperationContext
from schema.limits import Limits
from schema.query import Query, SubgraphQuery
from schema.scalars import SCALARS
from schema.subscription import Subscription
from schema.telemetry import Telemetry


class Schema(GraphSchema):
    """The executable schema; as a subgraph it has neither ``node`` nor ``nodes``.

    Operations are executed with a ``resolvers.context.RequestContext`` as their context value.
    """

    def __init__(self, *, subgraph: bool = False, limits: Limits | None = None, introspection: bool = True) -> None:
        super().__init__(
            query=SubgraphQuery if subgraph else Query,
            subscription=Subscription,
            extensions=[Telemetry, OperationContext],
            config=StrawberryConfig(scalar_map=dict(SCALARS)),
            limits=Limits() if limits is None else limits,
            introspection=introspection,
        )


schema = Schema()

__all__ = ["Limits", "Schema", "schema"]
