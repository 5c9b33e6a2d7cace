"""Methods, headers and framing of HTTP, and operations by GET."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from tests.hostile.cases import (
    BAD,
    EVM,
    GOOD,
    GRAPHQL_RESPONSE,
    INVALID,
    JSON,
    TOO_LARGE,
    UNKNOWN_HASH,
    UNREADABLE,
    Case,
    ask,
    get,
    get_operation,
    post,
    promised,
    request,
)

_BODY = json.dumps({"query": GOOD}).encode()
_PNG = {"Accept": "image/png"}
_SUBSCRIPTION = f'subscription {{ walletChanged(address: "{EVM}") {{ at }} }}'

METHODS = [
    Case(f"the method {method}", request(method, "/graphql", {"Content-Type": JSON}, _BODY), 405, BAD)
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "QUERY")
] + [
    Case("the method HEAD", request("HEAD", f"/graphql?query={quote(GOOD)}", {"Accept": JSON}), (200, 405)),
    Case("the method OPTIONS", request("OPTIONS", "/graphql"), (200, 204, 405), BAD),
    *promised(
        {
            "a method that was invented": request("INVENTED", "/graphql"),
            "a method in lower case": request("post", "/graphql", {"Content-Type": JSON}, _BODY),
        },
        (400, 405),
        BAD,
    ),
    Case("a method that is no token", request("GR<PH", "/graphql"), 400),
    Case("CONNECT to elsewhere", request("CONNECT", "example.org:443"), (400, 404, 405), BAD),
    Case("POST to what only reads", request("POST", "/healthz"), 405),
    *promised(
        {
            "a path that is not there": request("GET", "/graphql/../../etc/passwd"),
            "a path that climbs": request("GET", "/%2e%2e/%2e%2e/server.py"),
            "a path that is not UTF-8": request("GET", "/%ff%fe"),
        },
        404,
    ),
    Case(
        "a whole URL as the target",
        request("GET", f"http://example.org/graphql?query={quote(GOOD)}"),
        (200, 400, 404),
        BAD,
    ),
]

GETS = [
    *promised(
        {
            "GET with nothing": request("GET", "/graphql"),
            "GET with an empty query": get("query="),
            "GET with a body in the place of a query": request("GET", "/graphql", {"Content-Type": JSON}, _BODY),
            "variables that are not JSON": get_operation(GOOD, variables="{"),
            "variables that are a list": get_operation(GOOD, variables="[]"),
            "variables ten thousand deep": get_operation(GOOD, variables="[" * 10_000),
            "extensions that are a number": get_operation(GOOD, extensions="7"),
            "two queries": get(f"query={quote(GOOD)}&query={quote('{ nothing }')}"),
            "two sets of variables": get(f"query={quote(GOOD)}&variables={{}}&variables={{}}"),
            "the query in a fragment": request("GET", "/graphql#query=%7Bchains%7BchainId%7D%7D"),
        },
        400,
        BAD,
    ),
    Case("a mutation by GET", get_operation("mutation { drop }"), (400, 405), BAD + INVALID),
    Case("a subscription by GET", get_operation(_SUBSCRIPTION), (400, 405, 406), BAD + INVALID),
    *promised(
        {
            "a query that is not UTF-8": get("query=%ff%fe%7B"),
            "half a percent escape": get("query=%7"),
        },
        400,
        BAD + UNREADABLE,
    ),
    Case("zero bytes in a query", get("query=%00%00"), 400, UNREADABLE),
    *promised(
        {
            "a hundred thousand ampersands": get("&" * 100_000),
            "ten thousand parameters": get("&".join(f"p{n}=" for n in range(10_000))),
        },
        (400, 414, 431),
        BAD,
    ),
    Case("a query string of a megabyte", get("query=" + "%20" * 350_000), (400, 413, 414, 431), BAD + TOO_LARGE),
]


def _accepting(accept: str | bytes) -> bytes:
    return post(_BODY, {"Accept": accept})


ACCEPTS = [
    *promised(
        {
            "Accept that is not there": post(_BODY, {"Accept": ""}),
            "Accept of anything": _accepting("*/*"),
            "Accept of semicolons": _accepting(JSON + ";" * 10_000),
            "Accept that says the same often": _accepting(", ".join([JSON] * 200)),
            "Accept of a charset that nobody knows": _accepting(f"{JSON};charset=klingon"),
            "Accept that wants parts with an odd boundary": _accepting(
                'multipart/mixed;boundary="\\";deferSpec=x, ' + JSON
            ),
        },
        200,
    ),
    *promised(
        {
            "Accept of pictures alone": post(_BODY, _PNG),
            "Accept of nothing at all": _accepting("*/*;q=0"),
            "Accept that refuses each": _accepting(f"{JSON};q=0, {GRAPHQL_RESPONSE};q=0.0"),
        },
        406,
        BAD,
    ),
    Case("Accept of pictures alone, for what cannot be", ask("{", headers=_PNG), (400, 406), BAD + UNREADABLE),
    *promised(
        {
            "Accept with weights that are none": _accepting(f"{JSON};q=much, {GRAPHQL_RESPONSE};q=-1"),
            "Accept with a weight of a megadigit": _accepting(f"{JSON};q=0." + "9" * 10_000),
            "Accept of ten kilobytes": _accepting("a/b," * 2_500 + JSON),
            "Accept of commas": _accepting("," * 10_000),
            "Accept that is not ASCII": _accepting(b"\xff\xfe/\xfd"),
        },
        (200, 406),
        BAD,
    ),
    Case(
        "a subscription for who takes only JSON",
        ask(_SUBSCRIPTION, headers={"Accept": JSON}),
        (400, 406),
        BAD + INVALID,
    ),
]

_TRACES: Mapping[str, str | bytes] = {
    "garbage": "garbage",
    "zeros": "00-00000000000000000000000000000000-0000000000000000-00",
    "not ASCII": b"00-\xff-\xfe-01",
    "ten kilobytes": "00-" + "f" * 10_000,
    "another version": "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}

HEADERS = [
    *[Case(f"traceparent of {name}", post(_BODY, {"traceparent": value}), 200) for name, value in _TRACES.items()],
    *promised(
        {
            "tracestate of a thousand members": post(
                _BODY, {"tracestate": ",".join(f"k{n}=v" for n in range(1_000))}
            ),
            "a trace asked for oddly": post(_BODY, {"x-walletgraph-trace": "1, 1; drop"}),
            "a method override": post(_BODY, {"X-HTTP-Method-Override": "DELETE"}),
            "hosts that claim to be others": post(
                _BODY, {"X-Forwarded-Host": "example.org", "X-Original-URL": "/metrics"}
            ),
            "a request for parts of the answer": post(_BODY, {"Range": "bytes=0-1,2-3,5-4"}),
            "conditions that cannot be": get_operation(GOOD)[:-2]
            + b'If-None-Match: W/"'
            + b'",,"' * 1_000
            + b"\r\n\r\n",
            "cookies without end": post(_BODY, {"Cookie": "a=b; " * 2_000}),
        },
        200,
    ),
    *promised(
        {
            "a header of 60 kilobytes": post(_BODY, {"X-Long": "x" * 60_000}),
            "five hundred headers": post(_BODY, {f"X-{n}": "x" for n in range(500)}),
        },
        (200, 400, 431),
    ),
    *promised(
        {
            "a header with an empty name": post(_BODY, {"": "x"}),
            "a header with a space in its name": post(_BODY, {"X Y": "x"}),
            "a bare carriage return in a header": post(_BODY, {"X": b"a\rSet-Cookie: b"}),
        },
        400,
    ),
    *promised(
        {
            "a header with a zero byte": post(_BODY, {"X": b"a\0b"}),
            "no Host": request("POST", "/graphql", {"Host": "", "Content-Type": JSON}, _BODY),
            "a Host that is a script": post(_BODY, {"Host": "<script>alert(1)</script>"}),
        },
        (200, 400),
    ),
    Case("credentials that are no base64", post(_BODY, {"Authorization": "Basic \x7f\x7f"}), (200, 400, 401)),
    Case(
        "credentials of ten kilobytes",
        post(_BODY, {"Authorization": "Bearer " + "a.b." * 2_500}),
        (200, 401),
        ("UNAUTHENTICATED",),
    ),
    Case("an expectation that nobody knows", post(_BODY, {"Expect": "the-unexpected"}), (200, 417)),
    Case(
        "an upgrade to what is not spoken",
        request("GET", "/graphql", {"Connection": "Upgrade, close", "Upgrade": "h2c"}),
        (400, 426),
        BAD,
    ),
]

_HEAD = b"POST /graphql HTTP/1.1\r\nHost: walletgraph\r\nConnection: close\r\nContent-Type: application/json\r\n"
_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)
_SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: walletgraph\r\n\r\n"

FRAMING = [
    *promised(
        {
            "chunks": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + _CHUNK,
            "chunks of a byte": _HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"".join(b"1\r\n%c\r\n" % byte for byte in _BODY)
            + b"0\r\n\r\n",
            "a request behind the end of another": _HEAD
            + b"Content-Length: %d\r\n\r\n" % len(_BODY)
            + _BODY
            + _SMUGGLED,
        },
        200,
    ),
    *promised(
        {
            "a chunk with an endless extension": _HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n%x;" % len(_BODY)
            + b"x" * 10_000
            + _CHUNK[2:],
            "headers folded over lines": _HEAD
            + b"X-Folded: a\r\n b\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
            + _BODY,
        },
        (200, 400),
    ),
    *promised(
        {
            "a chunk whose size is no number": _HEAD + b"Transfer-Encoding: chunked\r\n\r\nsize\r\nx\r\n0\r\n\r\n",
            "a chunk whose size is negative": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
            "a chunk of 2⁶⁴ bytes": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\nx\r\n0\r\n\r\n",
            "a length and chunks": _HEAD
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            + _CHUNK
            + _SMUGGLED,
            "chunks and a length": _HEAD
            + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
            + _CHUNK
            + _SMUGGLED,
            "chunks by another spelling": _HEAD
            + b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
            + _BODY
            + _SMUGGLED,
            "two lengths": _HEAD + b"Content-Length: 5\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY,
            "a length that is no number": _HEAD + b"Content-Length: many\r\n\r\n" + _BODY,
            "a negative length": _HEAD + b"Content-Length: -1\r\n\r\n" + _BODY,
            "a length with a plus": _HEAD + b"Content-Length: +%d\r\n\r\n" % len(_BODY) + _BODY,
            "a greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        },
        400,
    ),
    Case("a length of 2⁶⁴", _HEAD + b"Content-Length: 18446744073709551616\r\n\r\n" + _BODY, (400, 413)),
    *promised(
        {
            "a version that never was": b"GET /graphql HTTP/9.9\r\nHost: walletgraph\r\n\r\n",
            "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
        },
        (400, 505),
    ),
    Case("a version that is gone", b"GET /graphql\r\n\r\n", 400, BAD),
]

_HASH = "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38"


def _persisted(version: object = 1, digest: object = _HASH, query: str | None = None) -> bytes:
    return ask(query, extensions={"persistedQuery": {"version": version, "sha256Hash": digest}})


PERSISTED = [
    *promised(
        {
            "a hash that is not that of the query": _persisted(query=GOOD),
            "a hash of ten kilobytes with a query": _persisted(digest="a" * 10_000, query=GOOD),
            "a hash that is a list": _persisted(digest=[_HASH]),
            "a hash that is null": _persisted(digest=None),
            "a second version of persisted queries": _persisted(version=2),
            "a version that is true": _persisted(version="1"),
            "persisted queries that are a text": ask(GOOD, extensions={"persistedQuery": "yes"}),
            "a hash by GET that is not that of the query": get_operation(
                GOOD, extensions=json.dumps({"persistedQuery": {"version": 1, "sha256Hash": _HASH}})
            ),
        },
        400,
        BAD,
    ),
    Case("a hash that nobody registered", _persisted(), (200, 404), UNKNOWN_HASH),
    *promised(
        {
            "a hash of ten kilobytes": _persisted(digest="a" * 10_000),
            "a hash that is a path": _persisted(digest="../../../etc/passwd"),
            "a document by a number for its name": post(b'{"documentId":"sha256:"}'),
        },
        (200, 400, 404),
        BAD + UNKNOWN_HASH,
    ),
]

CASES = [*METHODS, *GETS, *ACCEPTS, *HEADERS, *FRAMING, *PERSISTED]
