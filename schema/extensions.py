"""What happens around each operation: its own loaders before, and what they asked upstream after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from strawberry.extensions import SchemaExtension

from loaders import Loaders
from loaders.upstream.http import RequestLog, logging_requests
from resolvers.context import Context, RequestContext


class OperationContext(SchemaExtension):
    """Replaces the transport's ``RequestContext`` with a ``Context`` of this one operation.

    A batch of operations, or a WebSocket, shares one request but no loaders.
    """

    _request: RequestContext
    _log: RequestLog

    def on_operation(self) -> Iterator[None]:
        self._request = self.execution_context.context
        with logging_requests() as self._log:
            loaders = Loaders(self._request.sources)
            self.execution_context.context = Context(loaders)
            try:
                yield
            finally:
                loaders.close()

    def get_results(self) -> dict[str, Any]:
        """The transport's notes, and requests and milliseconds for each source if the client asks for a trace."""
        extensions = dict(self._request.extensions)
        if self._request.trace:
            extensions["upstream"] = {
                name: {"requests": count, "milliseconds": round(self._log.seconds[name] * 1_000, 3)}
                for name, count in self._log.requests.items()
            }
        return extensions
