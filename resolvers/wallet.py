"""Wallets and portfolios: whose holdings are read, and what happens when a source fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from enum import Enum

from loaders.caip import AccountAddress
from loaders.records import Wants
from loaders.source import Scope
from resolvers.context import Context
from resolvers.errors import BadInputError
from resolvers.view import ensure_sound, load_view

MAX_ADDRESSES = 25


class SourceFailurePolicy(Enum):
    """What to do when a source is not OK."""

    REPORT = "REPORT"
    FAIL = "FAIL"


def check_addresses(addresses: Sequence[AccountAddress]) -> None:
    """Raises ``BadInputError`` for more addresses than one operation may ask."""
    if len(addresses) > MAX_ADDRESSES:
        raise BadInputError("addresses", len(addresses), f"addresses are too many: at most {MAX_ADDRESSES}")


def distinct(addresses: Iterable[AccountAddress]) -> tuple[AccountAddress, ...]:
    """The addresses without repetition, in the order asked."""
    return tuple(dict.fromkeys(addresses))


async def ensure_sources(
    context: Context, needs: Iterable[tuple[tuple[AccountAddress, ...], Scope, Wants]]
) -> None:
    """Asks all that is needed; raises ``SourceFailedError`` unless every source that it takes is OK."""
    views = await asyncio.gather(*[load_view(context, *need) for need in needs])
    for view in views:
        ensure_sound(view)
