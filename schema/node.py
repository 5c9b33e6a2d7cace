"""Global object identification: every id is ``<Type>:<natural key>``, and every node is loaded by its natural key."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, ClassVar, Self, TypeVar

import strawberry
from strawberry.types import get_object_definition

from loaders.errors import InvalidIdError
from resolvers.context import Info
from resolvers.errors import BadInputError
from resolvers.plan import Selection

T = TypeVar("T")

ENTITY = "_Entity"
"""The union of all that a gateway may refer to (Apollo Federation's subgraph specification)."""


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
    known_by_key: ClassVar[tuple[str, ...]] = ()
    """The fields that its natural key tells without asking anyone, as clients spell them."""

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
        return cls.load(info, cls._parse(argument, text, text))

    @classmethod
    def selection(cls, info: Info) -> Selection:
        """What is selected of this type below the field being resolved."""
        definition = get_object_definition(cls, strict=True)
        interfaces = [interface.name for interface in definition.interfaces]
        return Selection.below(info._raw_info, (definition.name, *interfaces, ENTITY))

    @classmethod
    def of_key(cls, key: Any) -> Self:
        """A node of which only ``known_by_key`` may be read."""
        raise NotImplementedError

    @classmethod
    def resolve_reference(cls, info: Info, **representation: Any) -> Self | Awaitable[Self | None] | None:
        """The entity that a gateway names by ``id``, by its natural key or by both, spelled as clients spell them.

        One of which only the key is selected is taken to be there: nobody is asked. Raises ``BadInputError``.
        """
        argument = "representations"
        keys = {}
        names = dict.fromkeys(("id", cls.natural_key))
        for name in names:
            if (text := representation.get(name)) is not None:
                if not isinstance(text, str):
                    raise BadInputError(argument, text, f"is no {name} of {cls.__name__}: it is not text")
                keys[name] = cls._parse_reference(argument, name, text)
        if not keys:
            raise BadInputError(argument, cls.__name__, f"is named without a key: {' or '.join(names)}")
        key, *others = keys.values()
        if any(other != key for other in others):
            raise BadInputError(argument, representation["id"], f"is not the id of this {cls.natural_key}")
        return cls.of_key(key) if cls.selection(info).only(*cls.known_by_key) else cls.load(info, key)

    @classmethod
    def _parse_reference(cls, argument: str, name: str, text: str) -> Any:
        prefix = f"{cls.__name__}:" if name == "id" else ""
        if not text.startswith(prefix):
            raise BadInputError(argument, text, f"is no id of {cls.__name__}: it does not begin with {prefix}")
        return cls._parse(argument, text, text.removeprefix(prefix))

    @classmethod
    def _parse(cls, argument: str, text: str, key: str) -> Any:
        try:
            return cls.parse_key(key)
        except InvalidIdError as error:
            raise BadInputError(argument, text, error.reason) from error
