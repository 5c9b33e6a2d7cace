"""Documents that are meant to cost a server much: each as large as the default limits let it be, or larger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schema.limits import Limits

LIMITS = Limits()
ADDRESS = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
_BYTES = LIMITS.max_document_bytes
_TOKENS = LIMITS.max_tokens
_SELECTIONS = LIMITS.max_selections


def wallet(inside: str) -> str:
    return f'{{ wallet(address: "{ADDRESS}") {{ {inside} }} }}'


def chained(count: int, body: str, on: str = "Wallet") -> str:
    """Fragments of which each spreads the next one, and has the body."""
    last = f"fragment F{count} on {on} {{ __typename }}"
    return " ".join(f"fragment F{n} on {on} {{ {body} ...F{n + 1} }}" for n in range(count)) + last


def doubling(count: int) -> str:
    """Fragments of which each spreads the next one twice, in fields of its own."""
    each = "a: holdings { nodes { wallet { ...F%d } } } b: holdings { nodes { wallet { ...F%d } } }"
    fragments = [f"fragment F{n} on Wallet {{ {each % (n + 1, n + 1)} }}" for n in range(count)]
    return " ".join(fragments) + f" fragment F{count} on Wallet {{ id }}"


def _many(text: str, count: int) -> str:
    return " ".join(text.replace("%", str(n)) for n in range(count))


_FILL = _SELECTIONS - 10

DOCUMENTS: Mapping[str, str] = {
    # What is never parsed
    "open brackets": "{" * _BYTES,
    "open brackets, 2 MiB": "{" * 2**21,
    "quotes": '"' * _BYTES,
    "one long string": "{ " + '"' + "x" * (_BYTES - 10) + '" }',
    "one long string as an address": f'{{ wallet(address: "{"x" * (_BYTES - 100)}") {{ id }} }}',
    "one long block string": f'{{ wallet(address: """{"x " * ((_BYTES - 100) // 2)}""") {{ id }} }}',
    "one long string of escapes": '{ wallet(address: "' + "\\u0041" * ((_BYTES - 100) // 6) + '") { id } }',
    "one long string as a source": wallet(
        f'holdings(filter: {{sources: ["{"x" * (_BYTES - 200)}"]}}) {{ totalCount }}'
    ),
    "one long name": "x" * _BYTES,
    "one long name of a field": "{ " + "x" * (_BYTES - 10) + " }",
    "one long name of a type": "{ ... on " + "x" * (_BYTES - 50) + " { id } }",
    "one long enum value": wallet(f"holdings(filter: {{sources: [{'x' * (_BYTES - 200)}]}}) {{ totalCount }}"),
    "one long number": wallet(f"holdings(first: {'9' * (_BYTES - 200)}) {{ totalCount }}"),
    "one long variable": f"query (${'x' * (_BYTES - 100)}: Int) {{ chains {{ id }} }}",
    "white space": " " * (_BYTES - 20) + "{ chains { id } }",
    "line ends": "\n" * (_BYTES - 20) + "{ chains { id } }",
    "line ends, as many as there may be": "\n" * (_TOKENS - 2) + "{" + _many("x%", 30) + "}",
    "commas": "," * (_BYTES - 20) + "{ chains { id } }",
    "comments": "#\n" * ((_BYTES - 20) // 2) + "{ chains { id } }",
    "comments, as many as there may be": "#\n" * (_TOKENS - 10) + "{ chains { id } }",
    "one long comment": "#" + "x" * (_BYTES - 30) + "\n{ chains { id } }",
    "letters of three bytes": '{ x(a: "' + "€" * (_BYTES // 3 - 10) + '") }',
    # Nesting
    "deep selections": "{ a" * 500 + "}" * 500,
    "deep selections, 40": wallet("holdings { nodes { wallet { " * 12 + "id" + " } } }" * 12),
    "deep lists": "{ a(b: " + "[" * 900 + "]" * 900 + ") }",
    "deep lists, 45": "{ wallets(addresses: " + "[" * 45 + "]" * 45 + ") { id } }",
    "deep objects": "{ a(b: " + "{a: " * 400 + "1" + "}" * 400 + ") }",
    "deep types": "query ($a: " + "[" * 900 + "Int" + "]" * 900 + ") { a }",
    "deep types, 48, many": "query (" + _many("$a%: " + "[" * 48 + "Int" + "]" * 48, 14) + ") { a }",
    "deep inline fragments": "{ " + "... { " * 45 + "chains { id }" + " }" * 45 + " }",
    "deep inline fragments in chained fragments": "{ ...F0 }"
    + " ".join(f"fragment F{n} on Query {{ {'... { ' * 6} ...F{n + 1} {'} ' * 6} }}" for n in range(6))
    + "fragment F6 on Query { chains { id } }",
    "deep introspection": "{ __schema { types { fields { type { " + "ofType { " * 12 + "name" + " }" * 16,
    "introspection in circles": "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
    # The same again and again
    "one field again and again": wallet("total { " + "valueUsd " * _FILL + "}"),
    "many aliases": "{" + _many("a%: chains { id }", 25) + "}",
    "many aliases of one field, no more than there may be": wallet(
        "total {" + _many("a%: valueUsd", LIMITS.max_aliases) + "}"
    ),
    "nested fields again and again": wallet("holdings { nodes { id } } " * 200),
    "fields with arguments again and again": wallet("holdings(first: 5) { totalCount } " * 150),
    "fields of two types again and again": "{ nodes(ids: []) {"
    + "... on Chain { name } ... on Token { t: name } " * 100
    + "} }",
    "fields with long equal arguments": "{"
    + f"a: nodes(ids: [{'1 ' * 450}]) {{ id }} a: nodes(ids: [{'1 ' * 450}]) {{ id }} "
    + "}",
    "directives": "{ chains " + "@skip(if: false) " * 200 + "{ id } }",
    "directives on many fields": "{ chains { " + "id @include(if: true) @skip(if: false) " * 30 + "} }",
    "unknown directives": "{ chains { " + "id @a @b @c @d @e " * 12 + "} }",
    "operations": _many("query Q% { chains { id } }", 200),
    "operations, as many as there may be": _many("query Q% { ...F0 }", 20) + chained(45, "name", "Query"),
    "operations with variables and fragments": _many("query Q%($a: ID!) { ...F0 }", 20)
    + chained(40, "node(id: $a) { id }", "Query"),
    "operations without names": "{ chains { id } } " * 20,
    "type definitions": _many("type T% { a: Int }", 180),
    "type definitions of one name": "scalar A " * 700,
    "directive definitions": _many("directive @d%(a: Int) on FIELD", 140),
    # Fragments
    "doubling fragments": wallet("...F0") + doubling(30),
    "doubling fragments, six": wallet("...F0") + doubling(6),
    "doubling fragments of nothing else": wallet("...F0")
    + " ".join(f"fragment F{n} on Wallet {{ ...F{n + 1} ...F{n + 1} }}" for n in range(45))
    + "fragment F45 on Wallet { id }",
    "tenfold fragments": wallet("...F0")
    + " ".join(f"fragment F{n} on Wallet {{ {f'...F{n + 1} ' * 9}}}" for n in range(45))
    + "fragment F45 on Wallet { id }",
    "chained fragments": wallet("...F0") + chained(45, "total { valueUsd } address"),
    "a fragment spread again and again": wallet("...F " * 720) + "fragment F on Wallet { id }",
    "fragments within each other": wallet("...F0")
    + " ".join(f"fragment F{n} on Wallet {{ total {{ valueUsd }} ...F{(n + 1) % 45} }}" for n in range(45)),
    "fragments all within all": wallet("...F0")
    + " ".join(f"fragment F{n} on Wallet {{ {_many('...F%', 30)} }}" for n in range(30)),
    "fragments nested within themselves": wallet("...F")
    + "fragment F on Wallet { holdings { nodes { wallet { ...F } } } }",
    "unused fragments": "{ chains { id } }" + _many("fragment F% on Wallet { id address }", 99),
    "fragments of one name": wallet("...F") + "fragment F on Wallet { id }" * 95,
    "fragments on unknown types": wallet(_many("... on T% { id }", 240)),
    "unknown fragments": wallet(_many("...F%", _FILL)),
    "conflicts": wallet("total {" + "a: valueUsd a: complete " * 50 + "}"),
    "conflicts far below": wallet(
        "holdings { nodes { token { name } } } " * 100 + "holdings { nodes { token { name: id } } }"
    ),
    "other fields for each type": "{ nodes(ids: []) {"
    + "".join(f"... on {on} {{ a: id b: __typename c: id }} " for on in ("Chain", "Token", "Wallet", "Holding") * 10)
    + "} }",
    "a fragment at every place": wallet("".join(f"a{n}: holdings {{ nodes {{ ...F0 }} }} " for n in range(18)))
    + chained(44, "", "Holding"),
    # Names that nobody knows
    "unknown fields": "{" + _many("wallex%", 30) + "}",
    "unknown fields, long names": "{" + _many("walletwalletwalletwalletwalletwallet%", 30) + "}",
    "unknown arguments": "{ chains(" + _many("a%: 1", 450) + ") { id } }",
    "unknown arguments like a known one": wallet("holdings(" + _many("firs%: 1", 450) + ") { totalCount }"),
    "unknown types": "query (" + _many("$a%: Portfoli%", 360) + ") { chains { id } }",
    "unknown types, names of 40 letters": "query ("
    + _many("$a%: " + "HoldingsSourceStatusOrderFieldTotalV%", 360)
    + ") { chains { id } }",
    "unknown enum values": wallet("holdings(filter: {sources: [" + _many("ONEBALANC%", 900) + "]}) { totalCount }"),
    "unknown input fields": wallet("holdings(filter: {" + _many("sourc%: 1", 450) + "}) { totalCount }"),
    "arguments of one name": "{ chains(" + "a: 1 " * 450 + ") { id } }",
    "input fields of one name": wallet("holdings(filter: {" + "search: 1 " * 450 + "}) { totalCount }"),
    # Values and variables
    "a long list of wrong values": "{ wallets(addresses: [" + "1 " * 990 + "]) { id } }",
    "a long list of wrong strings": "{ tokens(assetIds: [" + '"x" ' * 990 + "]) { id } }",
    "a long list of right strings and wrong ones": "{ nodes(ids: [" + '"x" ' * 950 + "1.5 " * 40 + "]) { id } }",
    "a long list of objects": "{ _entities(representations: [" + "{a: 1} " * 280 + "]) { __typename } }",
    "a list that is too long": "{ nodes(ids: [" + "1 " * 1_200 + "]) { id } }",
    "variables": "query (" + _many("$a%: Int", 360) + ") { chains { id } }",
    "variables that are used": "query ("
    + _many("$a%: ID!", 140)
    + ") { "
    + _many("nodes(ids: [$a%]) { id }", 25)
    + "}",
    "one variable again and again": "query ($a: ID!) { nodes(ids: [" + "$a " * 700 + "]) { id } }",
    "variables that nobody defined": "{ nodes(ids: [" + _many("$a%", 700) + "]) { id } }",
    "variables of one name": "query (" + "$a: Int " * 360 + ") { chains { id } }",
    "variables of a wrong type": "query ($a: Int) { nodes(ids: [" + "$a " * 700 + "]) { id } }",
    "default values of a wrong type": "query (" + _many("$a%: Int = x", 240) + ") { chains { id } }",
    # What is valid, and as large as it may be
    "as many fields as there may be": wallet("total { valueUsd complete } " * 170 + "id " * 220),
    "as many fields as there may be, by fragments": wallet("holdings { nodes { wallet { ...F } } } " * 9)
    + "fragment F on Wallet { id address "
    + "total { valueUsd } " * 150
    + "}",
    "as many tokens as there may be": wallet(
        'holdings(first: 5, filter: {search: "a", includeZero: true}) { totalCount } ' * 75
    ),
}

VARIABLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "a list of 50,000 in a variable": (
        "query ($a: [ID!]!) { nodes(ids: $a) { id } }",
        {"a": ["Chain:eip155:1"] * 50_000},
    ),
    "lists in lists in a variable": (
        "query ($a: [ID!]!) { nodes(ids: $a) { id } }",
        {"a": [[[]] * 1_000] * 1_000},
    ),
    "a variable nested deeply": (
        "query ($a: [_Any!]!) { _entities(representations: $a) { __typename } }",
        {"a": None},
    ),
    "many variables": ("{ chains { id } }", {f"a{n}": n for n in range(100_000)}),
}

_deep: list[Any] = []
for _ in range(5_000):
    _deep = [_deep]
VARIABLES["a variable nested deeply"][1].update(a=_deep)  # type: ignore[attr-defined]
