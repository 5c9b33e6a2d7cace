"""What a request asks for: the parameters of GraphQL over HTTP, read from a body, a query string or a message."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from schema.http.refusal import RequestError

Extensions = Mapping[str, Any]

_TYPES: Mapping[str, tuple[type, str]] = {
    "query": (str, "a string"),
    "documentId": (str, "a string"),
    "operationName": (str, "a string"),
    "variables": (dict, "an object"),
    "extensions": (dict, "an object"),
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """One operation as a client asks for it; ``document_id`` names a document in the place of ``query``."""

    query: str | None = None
    document_id: str | None = None
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: Extensions | None = None

    @classmethod
    def of(cls, value: object) -> Parameters:
        """Parameters as JSON carries them, what is null or unknown left out; raises ``RequestError``."""
        if not isinstance(value, dict):
            raise RequestError(400, "Expected an object with a query.")
        given = {name: value[name] for name in _TYPES if value.get(name) is not None}
        for name, found in given.items():
            expected, words = _TYPES[name]
            if not isinstance(found, expected):
                raise RequestError(400, f'"{name}" is not {words}.')
        return cls(
            given.get("query"),
            given.get("documentId"),
            given.get("operationName"),
            given.get("variables"),
            given.get("extensions"),
        )

    @classmethod
    def of_query_string(cls, pairs: Iterable[tuple[str, str]]) -> Parameters:
        """Parameters of a GET request (GraphQL over HTTP, section 7.2); raises ``RequestError``."""
        given: dict[str, Any] = {}
        for name, text in pairs:
            if name not in _TYPES:
                continue
            if name in given:
                raise RequestError(400, f'"{name}" is there twice.')
            given[name] = text
        for name in ("variables", "extensions"):
            if name in given:
                given[name] = read_json(given[name], f'"{name}"') if given[name] else None
        return cls.of({**given, "operationName": given.get("operationName") or None})


def read_json(text: str | bytes, what: str) -> Any:
    """JSON by RFC 8259, in UTF-8; raises ``RequestError`` that calls it ``what``."""
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode())
    except UnicodeDecodeError:
        raise RequestError(400, f"{what} is not UTF-8.") from None
    except RecursionError:
        raise RequestError(400, f"{what} is nested too deeply.") from None
    except ValueError:
        raise RequestError(400, f"{what} is not JSON.") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_constant=_refuse)
