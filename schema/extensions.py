"""What each operation has of its own: its loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from strawberry.extensions import SchemaExtension

from loaders import Loaders
from resolvers.context import Context, RequestContext


class OperationContext(SchemaExtension):
    """Replaces the transport's ``RequestContext`` with a ``Context`` of this one operation.

    A batch of operations, or a WebSocket, shares one request but no loaders.
    """

    _request: RequestContext

    def on_operation(self) -> Iterator[None]:
        self._request = self.execution_context.context
        loaders = Loaders(self._request.sources)
        self.execution_context.context = Context(loaders, self._request.incremental)
        try:
            yield
        finally:
            loaders.close()

    def get_results(self) -> dict[str, Any]:
        """The transport's notes."""
        return dict(self._request.extensions)
