"""How large an operation may be."""

from __future__ import annotations

from dataclasses import dataclass

from graphql import GraphQLError

CODE = "OPERATION_TOO_LARGE"
_MAX_INT = 2**31 - 1


class TooLargeError(GraphQLError):
    """An operation that passes a limit; ``extensions`` say which one, what was asked, and what is allowed."""

    def __init__(self, limit: str, asked: int, allowed: int) -> None:
        asked = min(asked, _MAX_INT)  # nested fragments ask for numbers that no client can read
        super().__init__(
            f"The operation is too large: {limit} {asked}, and {allowed} is allowed.",
            extensions={"code": CODE, "limit": limit, "asked": asked, "allowed": allowed},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large an operation may be; each is the largest number that is let through.

    Of the document as it is written: ``max_document_bytes`` of its text in UTF-8; ``max_tokens``, comments included,
    and as many lines; ``max_nesting``, brackets of any kind inside each other, and selection sets with every fragment
    in its place; ``max_operations_per_document``; ``max_fragments``, definitions; ``max_selections``, fields, spreads
    and inline fragments; ``max_directives`` in all and ``max_directives_per_location``.

    Of its operations, every fragment in the place where it is spread: ``max_fields`` of all of them together, a
    fragment counting as one more; of each, ``max_depth``, fields inside each other, ``max_aliases`` and
    ``max_root_fields``. Introspection counts like all else.

    Of what goes with it: ``max_list_items`` of any one list, written or in a variable; ``max_variable_values``, all
    values in variables, those inside others too; ``max_nesting`` of them.

    Of what it would do: ``max_cost``, as ``schema.cost`` has it.
    """

    max_document_bytes: int = 32 * 1024
    max_tokens: int = 1_500
    max_nesting: int = 50
    max_operations_per_document: int = 20
    max_fragments: int = 100
    max_selections: int = 750
    max_directives: int = 60
    max_directives_per_location: int = 5
    max_depth: int = 20
    max_fields: int = 3_000
    max_aliases: int = 100
    max_root_fields: int = 30
    max_list_items: int = 1_000
    max_variable_values: int = 10_000
    max_cost: int = 100_000

    def check(self, limit: str, asked: int) -> None:
        """Raises ``TooLargeError`` when more is asked than ``limit``, a name such as ``max_depth``, lets through."""
        allowed: int = getattr(self, limit)
        if asked > allowed:
            raise TooLargeError(_shown(limit), asked, allowed)


def _shown(limit: str) -> str:
    first, *rest = limit.removeprefix("max_").split("_")
    return first + "".join(word.capitalize() for word in rest)
