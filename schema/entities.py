"""References by which gateways ask for entities (Apollo Federation's subgraph specification, ``_entities``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strawberry.federation.schema_directives import Key
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.info import Info

from resolvers.errors import BadInputError

_ARGUMENT = "representations"


@dataclass(frozen=True, slots=True)
class EntityType:
    """A type with a key; its ``resolve_reference`` gets those fields of a reference that the type has."""

    origin: Any
    field_names: frozenset[str]


def entity_types(converter: GraphQLCoreConverter) -> Mapping[str, EntityType]:
    """The types with a key that say how they are found, by their names."""
    types = {}
    for name, concrete in converter.type_map.items():
        definition = concrete.definition
        if (
            isinstance(definition, StrawberryObjectDefinition)
            and any(isinstance(directive, Key) for directive in definition.directives or ())
            and hasattr(definition.origin, "resolve_reference")
        ):
            field_names = map(converter.config.name_converter.get_graphql_name, definition.fields)
            types[name] = EntityType(definition.origin, frozenset(field_names))
    return types


def resolve_references(
    types: Mapping[str, EntityType], info: Info[Any, Any], representations: Sequence[object]
) -> list[Any]:
    """For each reference its entity, an awaitable of it, or the error that stands in its place alone.

    None is awaited here, so that what all of them need is asked for together.
    """
    return [_resolve(types, info, representation) for representation in representations]


def _resolve(types: Mapping[str, EntityType], info: Info[Any, Any], representation: object) -> Any:
    try:
        if not isinstance(representation, dict):
            raise BadInputError(_ARGUMENT, representation, "is not an object")
        type_name = representation.get("__typename")
        entity_type = types.get(type_name) if isinstance(type_name, str) else None
        if entity_type is None:
            raise BadInputError(_ARGUMENT, type_name, "is not the __typename of an entity")
        fields = {name: value for name, value in representation.items() if name in entity_type.field_names}
        return entity_type.origin.resolve_reference(info=info, **fields)
    except Exception as error:  # the executor raises it in the place of the item
        return error
