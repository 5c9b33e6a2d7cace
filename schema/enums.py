"""The enums of the graph, as clients see them."""

from __future__ import annotations

import strawberry

from loaders.caip import Namespace
from loaders.errors import SourceErrorCode
from loaders.records import HoldingSource, SourceStatus, TokenKind, TokenTrust
from resolvers.paging import HoldingOrderField, OrderDirection
from resolvers.reconcile import SourceAgreement, ValueStatus
from resolvers.wallet import SourceFailurePolicy

_DESCRIPTIONS = {
    HoldingSource: "A source of holdings. SOLANA_SPL: SPL token accounts and native SOL from The Graph Token API.",
    Namespace: "The CAIP-2 namespace that an address lives in.",
    TokenKind: "What sort of token it is; UNKNOWN where no source named a Solana mint's program.",
    TokenTrust: (
        "Evidence that we hold about a token, not a spam verdict. ISSUER: in the issuer's own register (Ondo GM). "
        "LISTED: in OneBalance's list of aggregated assets. UNLISTED: seen on chain only."
    ),
    ValueStatus: (
        "REPORTED: the source gave this value for this very amount. DERIVED: computed from a unit price or from "
        "another source's value, rounded half-even to 18 places. UNPRICED: no source prices this token (a source's 0 "
        "for a non-zero balance counts as this). UNAVAILABLE: the pricing source failed or was not asked."
    ),
    SourceAgreement: (
        "SINGLE: only one source speaks of this account and asset. AGREE. DIFFER: the amount shown is the chosen "
        "source's. NOT_COMPARABLE: decimals unknown on one side."
    ),
    SourceStatus: (
        "PARTIAL: some pages, tokens or chains are missing. STALE: the upstream failed; an earlier good answer is "
        "served. NOT_CONFIGURED: no API key, or switched off. NOT_APPLICABLE: the source does not cover this kind of "
        "address. NOT_REQUESTED: the selected fields or the filter did not need it."
    ),
    SourceErrorCode: "Why a source failed.",
    SourceFailurePolicy: (
        "REPORT: answer with what is known and say what is missing. FAIL: null this wallet and add a GraphQL error "
        "if any applicable source is not OK."
    ),
    HoldingOrderField: "What holdings are ordered by; unknown comes last in both directions, ties are by id.",
    OrderDirection: "Ascending or descending.",
}

for _enum, _description in _DESCRIPTIONS.items():
    strawberry.enum(_enum, description=_description)
