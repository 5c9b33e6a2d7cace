"""References to entities, as no gateway would send them."""

from __future__ import annotations

import json
from typing import Any

from tests.hostile.cases import BAD, EVM, INVALID, TOO_LARGE, Case, ask, post, promised

_QUERY = "query ($r: [_Any!]!) { _entities(representations: $r) { __typename ... on Wallet { address } } }"
_NULLABLE = "query ($r: [_Any]!) { _entities(representations: $r) { __typename } }"


def _entities(*representations: Any) -> bytes:
    return ask(_QUERY, {"r": representations})


def _deep(levels: int) -> bytes:
    body = json.dumps({"query": _QUERY, "variables": {"r": [{"__typename": "Wallet", "address": "?"}]}})
    return post(body.replace('"?"', '{"a":' * levels + "1" + "}" * levels).encode())


_BAD_ITEMS = {
    "an unknown type": {"__typename": "Nothing", "id": "1"},
    "a type that is no entity": {"__typename": "Query"},
    "a type of the schema's own": {"__typename": "__Schema"},
    "a scalar's type": {"__typename": "Decimal", "id": "1"},
    "no type": {"address": EVM},
    "null for its type": {"__typename": None, "address": EVM},
    "a number for its type": {"__typename": 7, "address": EVM},
    "a list for its type": {"__typename": ["Wallet"], "address": EVM},
    "an object for its type": {"__typename": {"Wallet": 1}, "address": EVM},
    "a type of ten thousand letters": {"__typename": "W" * 10_000, "address": EVM},
    "a type with a method's name": {"__typename": "Wallet.load", "address": EVM},
    "no key": {"__typename": "Wallet"},
    "an empty key": {"__typename": "Wallet", "address": ""},
    "null for its key": {"__typename": "Wallet", "address": None},
    "a number for its key": {"__typename": "Wallet", "address": 1},
    "a half for its key": {"__typename": "Token", "assetId": 0.5},
    "true for its key": {"__typename": "Wallet", "id": True},
    "a list for its key": {"__typename": "Wallet", "address": [EVM]},
    "an object for its key": {"__typename": "Wallet", "address": {"address": EVM}},
    "a key of a hundred thousand letters": {"__typename": "Wallet", "address": "0x" + "1" * 100_000},
    "a key with a zero byte": {"__typename": "Wallet", "address": EVM[:-1] + "\0"},
    "a key with a lone surrogate": {"__typename": "Wallet", "address": "\ud800"},
    "the id of another type": {"__typename": "Wallet", "id": "Token:eip155:1/slip44:60"},
    "an id of colons": {"__typename": "Holding", "id": "Holding:" + ":" * 10_000},
    "an id of slashes": {"__typename": "Holding", "id": "Holding:" + "/" * 10_000},
    "a chain that is a path": {"__typename": "Chain", "chainId": "../../etc/passwd"},
    "an asset that is a URL": {"__typename": "Token", "assetId": "https://example.org/"},
}

CASES = [
    *[Case(f"a reference with {name}", _entities(item), 200, BAD) for name, item in _BAD_ITEMS.items()],
    *promised(
        {
            "a reference that is null": _entities(None),
            "a reference a hundred thousand deep": _deep(100_000),
        },
        400,
        BAD,
    ),
    *[
        Case(f"a reference that is {name}", _entities(item), (200, 400), BAD)
        for name, item in {"a number": 7, "a text": "Wallet", "a list": [["Wallet"]], "true": True}.items()
    ],
    *promised(
        {
            "a group of sixty thousand letters": _entities({"__typename": "AssetGroup", "groupId": "g" * 60_000}),
            "nine hundred references to nothing": _entities(*[{"__typename": "Nothing"}] * 900),
            "a good reference between bad ones": _entities(
                {"__typename": "Wallet"}, {"__typename": "Wallet", "address": EVM}, {}
            ),
        },
        200,
        BAD,
    ),
    *promised(
        {
            "a reference of a thousand keys": _entities(
                {"__typename": "Wallet", "address": EVM, **{f"k{n}": n for n in range(1_000)}}
            ),
            "a reference with keys of Python": _entities(
                {"__typename": "Wallet", "address": EVM, "self": 1, "cls": 2, "info": 3, "__class__": "x"}
            ),
            "no references": _entities(),
            "nine hundred references to one wallet": _entities(*[{"__typename": "Wallet", "address": EVM}] * 900),
        },
        200,
    ),
    Case("a reference two hundred deep", _deep(200), (200, 400), BAD + TOO_LARGE),
    Case("no list of references", ask(_QUERY, {"r": {"__typename": "Wallet", "address": EVM}}), (200, 400), BAD),
    Case("references that may be null", ask(_NULLABLE, {"r": [None]}), 400, INVALID),
    *promised(
        {
            "ten thousand references": _entities(*[{"__typename": "Wallet", "address": EVM}] * 10_000),
            "ten thousand nulls for references": _entities(*[None] * 10_000),
        },
        400,
        TOO_LARGE,
    ),
    Case(
        "references in the query",
        ask('{ _entities(representations: [{__typename: "Wallet", address: [[]]}, 7, "x"]) { __typename } }'),
        (200, 400),
        BAD + INVALID,
    ),
]
