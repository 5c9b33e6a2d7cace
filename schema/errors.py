"""What clients see of errors: a code for each, bad input by the name of its argument, nothing of our own bugs."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSyntaxError,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
)

from loaders.upstream.logs import log
from resolvers.errors import BadInputError

_MAX_MESSAGE = 400
_LONG_WORD = re.compile(r"(\S{80})\S{41,}")
_OF_VARIABLE = re.compile(r"^Variable '?\$\w+'? has invalid value(?: at ([^\s:]+))?: ")
_VALUE = re.compile(r"(?:, found)?: .*", re.DOTALL)
_OF_CLIENTS = (
    "Too many errors processing variables",
    "Variable values are nested too deeply",
    "initialCount must be",
)
"""What graphql-core says of bad input without saying that it is such."""


def complete_errors(errors: Sequence[GraphQLError], document: DocumentNode | None) -> None:
    """Gives each error its ``extensions.code``; what is a fault of ours is masked in place, and logged.

    The log and the client get the same ``errorId`` of a fault.
    """
    for error in errors:
        extensions = error.extensions or {}
        if "code" in extensions:
            continue
        if isinstance(error, GraphQLSyntaxError):
            error.message = shortened(error.message)
            error.extensions = {**extensions, "code": "GRAPHQL_PARSE_FAILED"}
        elif (bad_input := _bad_input(error, document)) is not None:
            error.message, error.extensions = bad_input
        elif error.message.startswith(_OF_CLIENTS):
            error.extensions = {**extensions, "code": BadInputError.code}
        elif error.path is None and error.nodes and error.original_error is None:
            error.message = shortened(error.message)
            error.extensions = {**extensions, "code": "GRAPHQL_VALIDATION_FAILED"}
        else:
            error_id = secrets.token_hex(8)
            field = next((node.name.value for node in error.nodes or () if isinstance(node, FieldNode)), None)
            log.error("internal error", error_id=error_id, field=field, exc_info=_fault(error))
            error.message = "Internal server error"
            error.extensions = {"code": "INTERNAL_SERVER_ERROR", "errorId": error_id}


def shortened(text: str) -> str:
    """A message that does not quote all of what a client sent, nor null as Python has it."""
    text = _LONG_WORD.sub(r"\1...", text[: 10 * _MAX_MESSAGE]).replace("not to be None", "not to be null")
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 3] + "..."


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
    if isinstance(found, str):
        message = f'Argument "{argument}" (variable ${found}): {reason or _without_value(error.message)}'
    else:
        message = f'Argument "{argument}": {reason or error.message}'
    return shortened(message), {"code": BadInputError.code, "argument": shortened(argument)}


def _without_value(message: str) -> str:
    """What graphql-core says of a value, without the value: it shows those of variables as Python does."""
    return _VALUE.sub("", _OF_VARIABLE.sub("", message))


def _reason(error: BaseException | None) -> str | None:
    """What one of our scalars said, without the words that graphql-core puts around it."""
    while isinstance(error, GraphQLError):
        error = error.original_error or error.__cause__
    return str(error) if isinstance(error, ValueError) else None


def _argument(document: DocumentNode, found: Node | str) -> str:
    """The dotted name of the argument that a value, or a variable of this name, is given to."""
    names = (name + place for name, value in _arguments(document) for place in _places(value, found))
    return next(names, str(found))


def _arguments(document: DocumentNode) -> Iterator[tuple[str, ValueNode]]:
    """The name and the value of every argument of a document, and of every variable that has a default."""
    unread: list[Any] = [*reversed(document.definitions)]
    while unread:
        node = unread.pop()
        if isinstance(node, OperationDefinitionNode):
            for variable in node.variable_definitions or ():
                if variable.default_value is not None:
                    yield f"${variable.variable.name.value}", variable.default_value
        arguments = [*(node.arguments or ())] if isinstance(node, FieldNode) else []
        for directive in getattr(node, "directives", None) or ():
            arguments += directive.arguments or ()
        yield from ((argument.name.value, argument.value) for argument in arguments)
        selection_set = getattr(node, "selection_set", None)
        if selection_set is not None:
            unread.extend(reversed(selection_set.selections))


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
