"""Bodies that are no JSON, no object, no UTF-8, or not what a GraphQL request is."""

from __future__ import annotations

import gzip
import json

from tests.hostile.cases import (
    BAD,
    EVM,
    GOOD,
    INVALID,
    JSON,
    TOO_LARGE,
    UNREADABLE,
    Case,
    ask,
    post,
    post_json,
    promised,
)

_BODY = json.dumps({"query": GOOD})
_TYPED = "query ($a: AccountAddress!) { wallet(address: $a) { id } }"
_DEEP = 100_000

SCALARS = [
    Case(f"a body that is {name}", post(body), 400, BAD)
    for name, body in {
        "a JSON string": b'"x"',
        "a number": b"1",
        "null": b"null",
        "true": b"true",
        "NaN": b"NaN",
        "-Infinity": b"-Infinity",
        "a number of a hundred thousand digits": b"9" * 100_000,
        "1e400": b"1e400",
        "an empty object": b"{}",
        "white space": b" \r\n\t ",
        "empty": b"",
        "a single brace": b"{",
        "the query itself": GOOD.encode(),
    }.items()
]

DEPTHS = [
    *promised(
        {
            "arrays a hundred thousand deep": post(b"[" * _DEEP + b"]" * _DEEP),
            "arrays a hundred thousand deep, not closed": post(b"[" * _DEEP),
            "objects a hundred thousand deep": post(b'{"a":' * _DEEP + b"1" + b"}" * _DEEP),
            "variables a hundred thousand deep": post(
                b'{"query":"{ chains { chainId } }","variables":{"a":' + b"[" * _DEEP + b"]" * _DEEP + b"}}"
            ),
            "an extension a hundred thousand deep": post(
                b'{"query":"{ chains { chainId } }","extensions":{"a":' + b"[" * _DEEP + b"]" * _DEEP + b"}}"
            ),
        },
        400,
        BAD,
    ),
    Case(
        "variables some hundreds deep",
        post(json.dumps({"query": _TYPED, "variables": {"a": "?"}}).replace('"?"', "[" * 400 + "]" * 400).encode()),
        400,
        BAD + TOO_LARGE,
    ),
]

TEXTS = [
    *promised(
        {
            "a key that is there twice": post(b'{"query":"{ nothing }","query":"{ chains { chainId } }"}'),
            "unknown keys beside the query": post_json({"query": GOOD, "id": 7, "__proto__": {"admin": True}}),
            "a megabyte of spaces before the body": post(b" " * (1 << 20) + _BODY.encode()),
        },
        200,
    ),
    *promised(
        {
            "a lone surrogate in a variable": ask(_TYPED, {"a": "\ud800"}),
            "a zero byte in a variable": ask(_TYPED, {"a": "0x\0" + EVM}),
            "something behind the body": post(_BODY.encode() + b" {}"),
            "a comma too much": post(_BODY[:-1].encode() + b",}"),
            "quotation marks of Python": post(_BODY.replace('"', "'").encode()),
            "a control character in a string": post(b'{"query":"{\n chains { chainId } }"}'),
            "bytes that are not UTF-8": post(b'{"query":"\xff\xfe{ chains { chainId } }"}'),
            "an overlong encoding of UTF-8": post(b'{"query":"\xc0\xaf{ chains { chainId } }"}'),
            "surrogates encoded as UTF-8": post(b'{"query":"\xed\xa0\x80{ chains { chainId } }"}'),
            "UTF-16": post(_BODY.encode("utf-16")),
            "UTF-16 without a mark": post(_BODY.encode("utf-16-be")),
            "UTF-32": post(_BODY.encode("utf-32")),
            "a megabyte of zero bytes": post(bytes(1 << 20)),
        },
        400,
        BAD,
    ),
    Case(
        "a lone surrogate in a string of the query",
        ask('{ wallet(address: "\ud800") { id } }'),
        400,
        BAD + UNREADABLE,
    ),
    Case("a lone surrogate as the operation's name", ask(GOOD, operationName="\udfff"), 400, BAD + INVALID),
    Case("a lone surrogate in a name of the query", ask("{ \ud800 }"), 400, UNREADABLE),
    Case("a byte order mark before the body", post(b"\xef\xbb\xbf" + _BODY.encode()), (200, 400), BAD),
    Case("more than a body may have", post(b'{"query":"' + b" " * (3 << 20) + b'"}'), 413, TOO_LARGE),
]

TYPES = [
    Case(f"{name} that is {kind}", post_json({"query": GOOD, name: value}), 400, BAD)
    for name, wrong in {
        "query": {
            "a number": 1,
            "an array": [GOOD],
            "an object": {"a": GOOD},
            "false": False,
            "empty": "",
            "null": None,
        },
        "variables": {"a string": "{}", "an array": [], "a number": 1, "true": True},
        "operationName": {"a number": 1, "an object": {}, "an array": ["a"]},
        "extensions": {"a string": "{}", "an array": [1], "zero": 0},
        "documentId": {"a number": 1, "an object": {}},
    }.items()
    for kind, value in wrong.items()
]

_ADDRESSES = "query ($a: [AccountAddress!]!) { wallets(addresses: $a) { id } }"
_PAGE = f'query ($n: Int) {{ wallet(address: "{EVM}") {{ holdings(first: $n) {{ totalCount }} }} }}'
_FILTER = f'query ($f: HoldingFilter) {{ wallet(address: "{EVM}") {{ holdings(filter: $f) {{ totalCount }} }} }}'

VARIABLES = [
    *promised(
        {
            "fifty thousand variables that nobody asked for": ask(GOOD, {f"v{n}": n for n in range(50_000)}),
            "forty thousand addresses": ask(_ADDRESSES, {"a": [EVM] * 40_000}),
            "fifty thousand nulls for addresses": ask(_ADDRESSES, {"a": [None] * 50_000}),
            "fifty thousand lists for addresses": ask(_ADDRESSES, {"a": [[]] * 50_000}),
        },
        400,
        TOO_LARGE,
    ),
    *promised(
        {
            "nine hundred wrong addresses": ask(_ADDRESSES, {"a": ["z" * 100] * 900}),
            "an address of a megabyte": ask(_TYPED, {"a": "0x" + "1" * (1 << 20)}),
            "an address in base58 of a megabyte": ask(_TYPED, {"a": "z" * (1 << 20)}),
            "an object of nine thousand keys for an address": ask(_TYPED, {"a": {f"k{n}": n for n in range(9_000)}}),
            "no value for a variable that must have one": ask(_TYPED),
            "null for a variable that must have a value": ask(_TYPED, {"a": None}),
            "a variable for a page of 2³²": ask(_PAGE, {"n": 1 << 32}),
            "a variable for a page of 2⁶⁴": ask(_PAGE, {"n": 1 << 64}),
            "a variable for a page of a thousand digits": ask(_PAGE, {"n": int("9" * 1_000)}),
            "a variable for a page of ten thousand digits": post(
                json.dumps({"query": _PAGE, "variables": {"n": "?"}}).replace('"?"', "9" * 10_000).encode()
            ),
            "a variable for a page of 1e400": post(
                json.dumps({"query": _PAGE, "variables": {"n": "?"}}).replace('"?"', "1e400").encode()
            ),
            "a variable for a page of NaN": post(
                json.dumps({"query": _PAGE, "variables": {"n": float("nan")}}).encode()
            ),
            "a variable for a page of a half": ask(_PAGE, {"n": 0.5}),
            "a variable for a page that is true": ask(_PAGE, {"n": True}),
            "a least value of a hundred thousand digits": ask(_FILTER, {"f": {"minValueUsd": "9" * 100_000}}),
            "a least value with a huge exponent": ask(_FILTER, {"f": {"minValueUsd": "1e999999999"}}),
            "a filter with a key that is no name": ask(_FILTER, {"f": {"\0'\"><script>": 1}}),
            "a filter with nine thousand unknown keys": ask(_FILTER, {"f": {f"k{n}": 1 for n in range(9_000)}}),
            "a filter with an unknown key of ten thousand letters": ask(_FILTER, {"f": {"k" * 10_000: 1}}),
            "an unknown value of an enum of ten thousand letters": ask(_FILTER, {"f": {"kinds": ["K" * 10_000]}}),
            "an asset of many slashes": ask(
                "query ($x: AssetId!) { token(assetId: $x) { id } }", {"x": "/" * 100_000}
            ),
            "an asset of many colons": ask(
                "query ($x: AssetId!) { token(assetId: $x) { id } }", {"x": ":" * 100_000}
            ),
        },
        400,
        BAD,
    ),
    Case(
        "a list of ten thousand numbers for an address", ask(_TYPED, {"a": list(range(10_000))}), 400, BAD + TOO_LARGE
    ),
    Case("a filter with a search of a megabyte", ask(_FILTER, {"f": {"search": "s" * (1 << 20)}}), (200, 400), BAD),
]

BATCHES = [
    Case("an empty batch", post(b"[]"), 400, BAD),
    *promised(
        {
            "a batch of a thousand": post_json([{"query": GOOD}] * 1_000),
            "a batch of a hundred thousand nothings": post(b"[" + b"0," * 99_999 + b"0]"),
        },
        400,
        TOO_LARGE,
    ),
    Case("a batch within a batch", post_json([[{"query": GOOD}]]), (200, 400), BAD),
    Case(
        "a batch of garbage",
        post_json([{"query": GOOD}, None, "x", [], {"query": "{"}]),
        (200, 400),
        BAD + UNREADABLE,
    ),
    Case(
        "a batch of one subscription",
        post_json([{"query": f'subscription {{ walletChanged(address: "{EVM}") {{ at }} }}'}]),
        (200, 400),
        BAD + INVALID,
    ),
]

_ZIPPED = gzip.compress(_BODY.encode())
_BOMB = gzip.compress(b'{"query":"' + b" " * (64 << 20) + b'"}')

ENCODINGS = [
    Case("a gzipped body that does not say so", post(_ZIPPED), 400, BAD),
    *promised(
        {
            "a body that only says that it is gzipped": post(_BODY.encode(), {"Content-Encoding": "gzip"}),
            "a body gzipped twice": post(gzip.compress(_ZIPPED), {"Content-Encoding": "gzip, gzip"}),
            "a body without a type": post(_BODY.encode(), {"Content-Type": ""}),
        },
        (400, 415),
        BAD,
    ),
    *promised(
        {
            "a gzipped body": post(_ZIPPED, {"Content-Encoding": "gzip"}),
            "a type of ten kilobytes": post(_BODY.encode(), {"Content-Type": JSON + ";" + "a=b;" * 2_500}),
            "a charset that is not closed": post(_BODY.encode(), {"Content-Type": f'{JSON}; charset="'}),
            "a response's type for a request": post(
                _BODY.encode(), {"Content-Type": "application/graphql-response+json"}
            ),
        },
        (200, 415),
        BAD,
    ),
    Case(
        "64 megabytes in a gzipped body of 64 kilobytes",
        post(_BOMB, {"Content-Encoding": "gzip"}),
        (413, 415),
        BAD + TOO_LARGE,
    ),
    *promised(
        {
            "an encoding that nobody knows": post(_BODY.encode(), {"Content-Encoding": "zstd"}),
            "a charset that nobody knows": post(_BODY.encode(), {"Content-Type": f"{JSON}; charset=klingon"}),
            "a charset of UTF-16": post(_BODY.encode("utf-16"), {"Content-Type": f"{JSON}; charset=utf-16"}),
            "a type that is not ASCII": post(_BODY.encode(), {"Content-Type": b"application/j\xc3\xb6son"}),
            "a body as GraphQL": post(GOOD.encode(), {"Content-Type": "application/graphql"}),
        },
        415,
        BAD,
    ),
    Case("a charset of UTF-8", post(_BODY.encode(), {"Content-Type": f'{JSON}; charset="UTF-8"'}), 200),
]

CASES = [*SCALARS, *DEPTHS, *TEXTS, *TYPES, *VARIABLES, *BATCHES, *ENCODINGS]
