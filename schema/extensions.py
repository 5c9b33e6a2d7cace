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
        self.execution_context.context = Context(loaders, self._request.incremental, self._request.watches)
        try:
            yield
        finally:
            self._request.lifetimes.append(self._fresh_seconds(loaders))
            loaders.close()

    def _fresh_seconds(self, loaders: Loaders) -> float | None:
        """For how long the answer stays fresh; 0 for one with errors."""
        result = self.execution_context.result
        return 0.0 if result is None or result.errors else loaders.fresh_seconds

    def get_results(self) -> dict[str, Any]:
        """The transport's notes."""
        return dict(self._request.extensions)
