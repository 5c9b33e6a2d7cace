"""What one operation carries: its loaders, and what they have given so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from strawberry.types.info import Info as StrawberryInfo

from loaders import Loaders, Sources
from loaders.upstream.calls import current_log

if TYPE_CHECKING:
    from resolvers.reconcile import HoldingRecord
    from resolvers.watch import Watches


@dataclass(slots=True)
class RequestContext:
    """What a transport knows of a request before any operation begins."""

    sources: Sources
    trace: bool = False
    extensions: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """``traceparent`` and ``tracestate`` as the client sent them."""
    incremental: bool = False
    """Whether the client takes ``@defer`` and ``@stream`` as such; else they are as if they were not there."""
    watches: Watches | None = None
    """The application's watched wallets; None where there are no subscriptions."""
    lifetimes: list[float | None] = field(default_factory=list)
    """For how many seconds each ended operation's answer stays fresh; None where no upstream's went into it."""


@dataclass(slots=True)
class Context:
    """One operation's context."""

    loaders: Loaders
    incremental: bool = False
    watches: Watches | None = None
    reconciled: dict[object, Sequence[HoldingRecord]] = field(default_factory=dict)

    def adopt(self, other: Context) -> None:
        """Answers from now on by what the other was told; what is asked beyond that begins a round of its own."""
        self.loaders, self.reconciled = other.loaders, other.reconciled
        self.loaders.extend()
        if (log := current_log()) is not None:
            log.begin_round()


Info = StrawberryInfo[Context, Any]
