"""Wallets and portfolios: whose holdings are read, and what happens when a source fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from enum import Enum

from loaders.caip import AccountAddress
from loaders.records import Wants
from loaders.source import Scope
from resolvers.context import Context
from resolvers.errors import BadInputError, SourceFailedError
from resolvers.view import load_view

MAX_ADDRESSES = 25


class SourceFailurePolicy(Enum):
    """What to do when a source is not OK."""

    REPORT = "REPORT"
    FAIL = "FAIL"


def check_addresses(addresses: Sequence[AccountAddress], *, at_least_one: bool = False) -> None:
    """Raises ``BadInputError`` for more addresses than one field may name, or for none where one must be."""
    if len(addresses) > MAX_ADDRESSES:
        raise BadInputError("addresses", len(addresses), f"addresses are too many: at most {MAX_ADDRESSES}")
    if at_least_one and not addresses:
        raise BadInputError("addresses", "[]", "is empty: at least one address is needed")


def distinct(addresses: Iterable[AccountAddress]) -> tuple[AccountAddress, ...]:
    """The addresses without repetition, in the order asked."""
    return tuple(dict.fromkeys(addresses))


async def ensure_sources(
    context: Context,
    addresses: Sequence[AccountAddress],
    needs: Iterable[tuple[tuple[AccountAddress, ...], Scope, Wants]],
) -> None:
    """Asks all that is needed; raises ``SourceFailedError`` unless every source that it takes is OK."""
    views = await asyncio.gather(*[load_view(context, *need) for need in needs])
    unsound = dict.fromkeys(source for view in views for source in view.unsound_sources)
    if unsound:
        raise SourceFailedError(", ".join(addresses), tuple(unsound))
