"""What all transports of one graph have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from starlette.requests import HTTPConnection

from schema.base import GraphSchema
from schema.http.admission import Admission
from schema.http.persisted import PersistedDocuments, TrustedDocuments
from schema.http.settings import HttpSettings
from schema.http.streams import Streams


class ContextValue(Protocol):
    """What the transports know of the context value of an operation.

    They say by ``incremental`` whether the client takes ``@defer`` and ``@stream``; ``trace`` is whether the answer
    is for this one request, and ``lifetimes`` for how many seconds what went into it is fresh.
    """

    incremental: bool

    @property
    def trace(self) -> bool: ...
    @property
    def lifetimes(self) -> Sequence[float | None]: ...


GetContext = Callable[[HTTPConnection], ContextValue]
Charge = Callable[[HTTPConnection, int], Awaitable[None]]


async def free(connection: HTTPConnection, operations: int) -> None:
    """Lets everybody run whatever they like."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A schema that is served, and how.

    ``get_context`` gives each operation its context value. ``charge`` is told how many operations a client wants to
    run, before it runs them, and raises ``RequestError`` if that is too much.
    """

    schema: GraphSchema
    get_context: GetContext
    settings: HttpSettings
    documents: PersistedDocuments
    admission: Admission
    streams: Streams
    charge: Charge

    @classmethod
    def of(
        cls,
        schema: GraphSchema,
        get_context: GetContext,
        settings: HttpSettings,
        *,
        trusted_documents: TrustedDocuments | None = None,
        charge: Charge = free,
    ) -> Self:
        """The endpoint by these settings."""
        return cls(
            schema,
            get_context,
            settings,
            PersistedDocuments(trusted_documents),
            Admission(settings.max_operations, settings.max_queued_operations),
            Streams(settings.max_subscriptions),
            charge,
        )
