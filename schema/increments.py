"""Documents for clients that take one result."""

from __future__ import annotations

from graphql import REMOVE, DirectiveNode, DocumentNode, GraphQLDeferDirective, GraphQLStreamDirective, Visitor, visit
from graphql.language import VisitorAction

_NAMES = (GraphQLDeferDirective.name, GraphQLStreamDirective.name)


def without_increments(document: DocumentNode) -> DocumentNode:
    """The document less ``@defer`` and ``@stream``; itself where it has neither."""
    without: DocumentNode = visit(document, _Remover())
    return without


class _Remover(Visitor):
    def enter_directive(self, node: DirectiveNode, *_: object) -> VisitorAction:
        return REMOVE if node.name.value in _NAMES else None

    def enter_argument(self, *_: object) -> VisitorAction:
        return self.SKIP
