"""Global object identification: every id is ``<Type>:<natural key>``."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="Anything with a global id.")
class Node:
    id: strawberry.ID


def global_id(type_name: str, key: str) -> strawberry.ID:
    """The id of an object."""
    return strawberry.ID(f"{type_name}:{key}")
