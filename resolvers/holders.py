"""Who holds a token, from the sources that can list its holders."""

from __future__ import annotations

import asyncio

from loaders.caip import AssetId
from loaders.records import SourceStatus, Wants
from loaders.source import EVERYTHING
from resolvers.context import Context
from resolvers.holdings import Filter, HoldingList, list_view
from resolvers.paging import Fingerprint, HoldingOrderField, Order, PageArguments, check_page
from resolvers.reconcile import Pricing, reconcile
from resolvers.view import View

_ORDER = Order(HoldingOrderField.AMOUNT)


async def resolve_holders(
    context: Context, asset_id: AssetId, arguments: PageArguments, wants: Wants
) -> HoldingList | None:
    """A page of the holders of a token, the largest first; None when no source can list them."""
    listing = Fingerprint(lambda: ("holders", asset_id))
    check_page(_ORDER, listing, arguments)  # refuses a page or cursor that cannot be
    answers, books = await asyncio.gather(
        context.loaders.holders.load(asset_id), context.loaders.books.load((asset_id, wants))
    )
    if not answers:
        return None
    observations = [one for answer in answers for one in answer.observations(EVERYTHING)]
    holdings = reconcile(observations, lambda _: False, Pricing(books, (), lambda *_: True))
    reports = [
        report.counting(len(observations)) if report.status is not SourceStatus.FAILED else report
        for answer in answers
        for report in answer.reports
    ]
    view = View((), holdings, reports, (), {}, books)
    return list_view(view, Filter(), _ORDER, arguments, listing, None)
