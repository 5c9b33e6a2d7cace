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

FAULT = "INTERNAL_SERVER_ERROR"
"""The code of what the service is to blame for."""

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
    arguments = _Arguments(document)
    for error in errors:
        if "code" not in (error.extensions or {}):
            _complete(error, arguments)
        if (error.extensions or {}).get("code") != FAULT:
            _forget_frames(error)


def _complete(error: GraphQLError, arguments: _Arguments) -> None:
    extensions = error.extensions or {}
    if isinstance(error, GraphQLSyntaxError):
        error.message = shortened(error.message)
        error.extensions = {**extensions, "code": "GRAPHQL_PARSE_FAILED"}
    elif (bad_input := _bad_input(error, arguments)) is not None:
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
        error.extensions = {"code": FAULT, "errorId": error_id}


def _forget_frames(error: BaseException) -> None:
    """Lets go of the frames that an error came through: they know it, and all of its operation."""
    known: set[int] = set()
    unread: list[BaseException | None] = [error]
    while unread:
        found = unread.pop()
        if found is not None and id(found) not in known:
            known.add(id(found))
            found.__traceback__ = None
            unread += [found.__cause__, found.__context__, getattr(found, "original_error", None)]


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


def _bad_input(error: GraphQLError, arguments: _Arguments) -> tuple[str, dict[str, str]] | None:
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
    argument = arguments.name_of(found) + inside
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


class _Arguments:
    """The arguments of a document by their values, and by the variables that they are given; read once if at all."""

    def __init__(self, document: DocumentNode | None) -> None:
        self._document = document
        self._names: dict[int | str, str] | None = None

    def name_of(self, found: Node | str) -> str:
        """The dotted name of the argument that a value, or a variable of this name, is given to."""
        if self._document is None:
            return ""
        if self._names is None:
            self._names = {}
            for name, value in _arguments(self._document):
                for key, place in _places(value):
                    self._names.setdefault(key, name + place)
        return self._names.get(found if isinstance(found, str) else id(found), str(found))


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


def _places(value: ValueNode) -> Iterator[tuple[int | str, str]]:
    """Every value within an argument's value, and the name of every variable, with its place there."""
    unread = [(value, "")]
    while unread:
        value, place = unread.pop()
        yield id(value), place
        if isinstance(value, VariableNode):
            yield value.name.value, place
        elif isinstance(value, ObjectValueNode):
            unread.extend((field.value, f"{place}.{field.name.value}") for field in value.fields)
        elif isinstance(value, ListValueNode):
            unread.extend((item, f"{place}[{index}]") for index, item in enumerate(value.values))
