"""What clients see of errors: a code for each, bad input by the name of its argument, nothing of our own bugs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSyntaxError,
    ListValueNode,
    Node,
    ObjectValueNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    visit,
)
from graphql.language import VisitorAction

from loaders.upstream.logs import log
from resolvers.errors import BadInputError

_OF_VARIABLE = re.compile(r"^Variable '?\$\w+'? has invalid value(?: at ([^\s:]+))?: ")


def complete_errors(errors: Sequence[GraphQLError], document: DocumentNode | None) -> None:
    """Gives each error its ``extensions.code``; what is a fault of ours is masked in place, and logged.

    The log and the client get the same ``errorId`` of a fault.
    """
    for error in errors:
        extensions = error.extensions or {}
        if "code" in extensions:
            continue
        if isinstance(error, GraphQLSyntaxError):
            error.extensions = {**extensions, "code": "GRAPHQL_PARSE_FAILED"}
        elif (bad_input := _bad_input(error, document)) is not None:
            error.message, error.extensions = bad_input
        elif error.path is None and error.nodes and error.original_error is None:
            error.extensions = {**extensions, "code": "GRAPHQL_VALIDATION_FAILED"}
        else:
            error_id = secrets.token_hex(8)
            field = next((node.name.value for node in error.nodes or () if isinstance(node, FieldNode)), None)
            log.error("internal error", error_id=error_id, field=field, exc_info=_fault(error))
            error.message = "Internal server error"
            error.extensions = {"code": "INTERNAL_SERVER_ERROR", "errorId": error_id}


def _fault(error: GraphQLError) -> BaseException:
    """What went wrong below; where that is an error of GraphQL itself, without its excerpt of the query."""
    fault: BaseException = error
    while isinstance(fault, GraphQLError) and fault.original_error is not None:
        fault = fault.original_error
    if isinstance(fault, GraphQLError):
        return GraphQLError(fault.message).with_traceback(fault.__traceback__)
    return fault


def _bad_input(error: GraphQLError, document: DocumentNode | None) -> tuple[str, dict[str, str]] | None:
    """The message and extensions of an argument that its type refused; None when the error is another."""
    node = error.nodes[0] if error.nodes else None
    reason = _reason(error)
    found: Node | str
    if isinstance(node, VariableDefinitionNode):
        place = _OF_VARIABLE.match(error.message)
        found, inside = node.variable.name.value, (place and place[1]) or ""
    elif isinstance(node, ValueNode) and (error.path is not None or reason is not None):
        found, inside = node, ""
    else:
        return None
    argument = _argument(document, found) + inside if document is not None else inside
    by_variable = f" (variable ${found})" if isinstance(found, str) else ""
    message = f'Argument "{argument}"{by_variable}: {reason or _OF_VARIABLE.sub("", error.message)}'
    return message, {"code": BadInputError.code, "argument": argument}


def _reason(error: BaseException | None) -> str | None:
    """What one of our scalars said, without the words that graphql-core puts around it."""
    while isinstance(error, GraphQLError):
        error = error.original_error or error.__cause__
    return str(error) if isinstance(error, ValueError) else None


def _argument(document: DocumentNode, found: Node | str) -> str:
    """The dotted name of the argument that a value, or a variable of this name, is given to."""
    names: list[str] = []

    class Finder(Visitor):
        def enter_argument(self, node: ArgumentNode, *_: object) -> VisitorAction:
            for place in _places(node.value, found):
                names.append(node.name.value + place)
            return self.SKIP

    visit(document, Finder())
    return names[0] if names else str(found)


def _places(value: ValueNode, found: Node | str) -> Iterator[str]:
    """Where in an argument's value the node, or the variable of this name, is."""
    if value is found or (isinstance(value, VariableNode) and value.name.value == found):
        yield ""
    elif isinstance(value, ObjectValueNode):
        for field in value.fields:
            yield from (f".{field.name.value}{place}" for place in _places(field.value, found))
    elif isinstance(value, ListValueNode):
        for index, item in enumerate(value.values):
            yield from (f"[{index}]{place}" for place in _places(item, found))
