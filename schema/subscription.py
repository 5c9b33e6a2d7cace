"""Subscription: what clients are told of without asking again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

import strawberry

from loaders.caip import AccountAddress
from loaders.records import Wants
from loaders.source import EVERYTHING, Scope
from resolvers.context import Info
from resolvers.plan import Selection, wants_of_holding, wants_of_sources
from resolvers.watch import Change, Needs, Watches
from schema.holding import Holding
from schema.holdings_view import needs_below
from schema.wallet import Wallet

_VALUES = ("valueUsd", "valueStatus", "valueSource")


@strawberry.type(description="What changed in a wallet since the event before.")
class WalletChange:
    wallet: Wallet = strawberry.field(description="The whole wallet, by the same answers of the sources.")
    changed: list[Holding] = strawberry.field(
        description=(
            "Holdings that are new, or whose balance is another. Another value is a change for those who select "
            "valueUsd, valueStatus or valueSource here."
        )
    )
    removed_ids: list[strawberry.ID] = strawberry.field(
        description="Ids of holdings that are gone. A source that fails never takes one away."
    )
    at: datetime = strawberry.field(description="When the sources were asked.")

    @classmethod
    def from_record(cls, address: AccountAddress, record: Change) -> WalletChange:
        return cls(
            wallet=Wallet.of(address),
            changed=[Holding.of(listed) for listed in record.changed],
            removed_ids=[strawberry.ID(id) for id in record.removed_ids],
            at=record.at,
        )


@strawberry.type(description="What clients are told of without asking again.")
class Subscription:
    @strawberry.subscription(
        description=(
            "The wallet is asked for every so many seconds (at least 15), once for all who watch it. An event says "
            "what changed since the one before; the first, since the subscription began. Subscribe first, then ask "
            "for the whole: nothing is missed in between, though something may be told twice."
        )
    )
    async def wallet_changed(
        self, info: Info, address: AccountAddress, every_seconds: int = 60
    ) -> AsyncGenerator[WalletChange, None]:
        watches = info.context.watches
        if watches is None:
            raise RuntimeError("the transport has no watches: give its RequestContext some")
        # What cannot be is refused before anything is asked, as an error of the request itself.
        selection = Selection.below(info._raw_info)
        needs = _needs(info, address, selection)
        watches.check(address, every_seconds)
        valued = selection["changed"].any(*_VALUES)
        return _events(info, watches, address, every_seconds, needs, valued=valued)


async def _events(
    info: Info, watches: Watches, address: AccountAddress, every_seconds: int, needs: Needs, *, valued: bool
) -> AsyncGenerator[WalletChange, None]:
    async with aclosing(watches.changes(address, every_seconds, needs, valued=valued)) as changes:
        async for change in changes:
            info.context.adopt(change.context)
            yield WalletChange.from_record(address, change)


def _needs(info: Info, address: AccountAddress, selection: Selection) -> Needs:
    """What an event's fields read; raises ``BadInputError`` for a filter or page that cannot be."""
    needs: dict[Scope, Wants] = {EVERYTHING: wants_of_holding(selection["changed"])}
    for wallet in (selection["wallet"], selection["changed"]["wallet"]):
        below = [(EVERYTHING, wants_of_sources(wallet["sources"]))]
        below += [(scope, wants) for _, scope, wants in needs_below(info, Wallet.__name__, (address,), wallet)]
        for scope, wants in below:
            needs[scope] = needs.get(scope, Wants.NOTHING) | wants
    return needs
