"""Global object identification: every id is ``<Type>:<natural key>``, and every node is loaded by its natural key."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar, Self, TypeVar

import strawberry

from loaders.errors import InvalidIdError
from resolvers.context import Info
from resolvers.errors import BadInputError

T = TypeVar("T")


def later(result: Awaitable[T]) -> T:
    """The awaitable itself, which the executor awaits: for resolvers that are not awaitable throughout.

    So bad input is refused before anything is asked, and loads of one tick go upstream together.
    """
    return result  # type: ignore[return-value]  # the type checker does not know the executor


@strawberry.interface(description="Anything with a global id.")
class Node:
    id: strawberry.ID

    natural_key: ClassVar[str]
    """The field that identifies it beside ``id``, as clients spell it."""

    @classmethod
    def parse_key(cls, text: str) -> Any:
        """The natural key in its canonical form; raises ``InvalidIdError``."""
        raise NotImplementedError

    @classmethod
    def load(cls, info: Info, key: Any) -> Self | Awaitable[Self | None] | None:
        """The node of a natural key, with what the selected fields need; None when nobody knows it."""
        raise NotImplementedError

    @classmethod
    def global_id(cls, key: object) -> strawberry.ID:
        """The id of the node with this natural key."""
        return strawberry.ID(f"{cls.__name__}:{key}")

    @classmethod
    def load_text(cls, info: Info, argument: str, text: str) -> Self | Awaitable[Self | None] | None:
        """As ``load``, of a key as clients wrote it in this argument; raises ``BadInputError``."""
        try:
            key = cls.parse_key(text)
        except InvalidIdError as error:
            raise BadInputError(argument, text, error.reason) from error
        return cls.load(info, key)

    @classmethod
    def resolve_reference(cls, info: Info, **representation: Any) -> Self | Awaitable[Self | None] | None:
        """The entity that a federation gateway names by ``id`` or by its natural key, spelled as clients spell it."""
        text = str(representation.get(cls.natural_key) or representation.get("id") or "")
        return cls.load_text(info, "representations", text.removeprefix(f"{cls.__name__}:"))
