"""What a hostile request is, and what is promised for it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"

BAD = ("BAD_USER_INPUT",)
UNREADABLE = ("GRAPHQL_PARSE_FAILED",)
INVALID = ("GRAPHQL_VALIDATION_FAILED",)
TOO_LARGE = ("OPERATION_TOO_LARGE",)
REFUSED = (*INVALID, *TOO_LARGE)
UNKNOWN_HASH = ("PERSISTED_QUERY_NOT_FOUND",)

EVM = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
GOOD = "{ chains { chainId } }"
WALLET = f'wallet(address: "{EVM}")'

Headers = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Case:
    """A request byte by byte; the status of its answer, and the code of each error in it.

    Without codes there is no error, or the answer is no GraphQL. ``statuses`` has more than one where the layers
    below GraphQL may differ.
    """

    name: str
    request: bytes
    statuses: int | Collection[int] = 400
    codes: Collection[str] = ()

    def allows(self, status: int) -> bool:
        return status == self.statuses if isinstance(self.statuses, int) else status in self.statuses

    @property
    def body(self) -> bytes:
        return self.request.partition(b"\r\n\r\n")[2]


def promised(
    requests: Mapping[str, bytes], statuses: int | Collection[int], codes: Collection[str] = ()
) -> list[Case]:
    """The cases of these requests, by name, of which the same is promised."""
    return [Case(name, request, statuses, codes) for name, request in requests.items()]


def request(method: str, target: str, headers: Headers | None = None, body: bytes = b"") -> bytes:
    """An HTTP request as bytes. Of headers that are always there, an empty value leaves one out."""
    always: dict[str, str | bytes] = {"Host": "walletgraph", "Connection": "close"}
    if body:
        always["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1".encode()]
    for name, value in {**always, **(headers or {})}.items():
        if value != "" or name not in ("Host", "Connection", "Content-Length"):
            lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def post(body: bytes, headers: Headers | None = None) -> bytes:
    """A POST of this body, as JSON unless the headers say otherwise."""
    usual: Headers = {"Content-Type": JSON, "Accept": GRAPHQL_RESPONSE}
    return request("POST", "/graphql", {**usual, **(headers or {})}, body)


def post_json(value: Any, headers: Headers | None = None) -> bytes:
    """A POST of this value."""
    return post(json.dumps(value).encode(), headers)


def ask(query: Any, variables: Any = None, headers: Headers | None = None, **others: Any) -> bytes:
    """A POST of an operation."""
    return post_json({"query": query, "variables": variables, **others}, headers)


def wallet(selection: str) -> str:
    """A query of one wallet."""
    return f"{{ {WALLET} {{ {selection} }} }}"


def get(query_string: str, headers: Headers | None = None) -> bytes:
    """A GET with this query string."""
    return request("GET", f"/graphql?{query_string}", {"Accept": GRAPHQL_RESPONSE, **(headers or {})})


def get_operation(query: str, **parameters: str) -> bytes:
    """A GET of an operation."""
    return get(urlencode({"query": query, **parameters}, quote_via=quote))
