"""Documents with odd texts, names, numbers and operations, and questions about the schema itself."""

from __future__ import annotations

from tests.hostile.cases import (
    BAD,
    EVM,
    GOOD,
    INVALID,
    REFUSED,
    TOO_LARGE,
    UNREADABLE,
    Case,
    ask,
    promised,
    wallet,
)


def _introspection(levels: int) -> str:
    inside = "fields { type { " * levels + "name" + " } }" * levels
    return f"{{ __schema {{ types {{ {inside} }} }} }}"


TEXTS = [
    *promised(
        {
            "a string of a megabyte": ask(f'{{ wallet(address: "{"x" * (1 << 20)}") {{ id }} }}'),
            "a comment of a megabyte": ask(f"#{'x' * (1 << 20)}\n{GOOD}"),
            "a block string of a megabyte": ask(f'{{ wallet(address: """{"x " * (1 << 19)}""") {{ id }} }}'),
        },
        400,
        TOO_LARGE,
    ),
    *promised(
        {
            "a string of thirty kilobytes": ask(f'{{ wallet(address: "{"x" * 30_000}") {{ id }} }}'),
            "a block string of a thousand lines": ask(
                f'{{ wallet(address: """{" x" + chr(10)}{("  x" + chr(10)) * 1_000}""") {{ id }} }}'
            ),
            "five thousand escapes": ask('{ wallet(address: "' + "\\u0041" * 5_000 + '") { id } }'),
            "an escape of a pair of surrogates": ask('{ wallet(address: "\\uD83D\\uDE00") { id } }'),
        },
        400,
        BAD,
    ),
    *promised(
        {
            "a string that is not closed": ask('{ wallet(address: "' + "x" * 10_000),
            "a block string that is not closed": ask('{ wallet(address: """' + "x" * 10_000),
            "an escape beyond Unicode": ask('{ wallet(address: "\\u{110000}") { id } }'),
            "an escape of a huge number": ask('{ wallet(address: "\\u{' + "F" * 5_000 + '}") { id } }'),
            "an escape of a lone surrogate": ask('{ wallet(address: "\\uD800") { id } }'),
            "an escape that is none": ask('{ wallet(address: "\\x41") { id } }'),
            "a query of an emoji": ask("{ 💥 }"),
            "a query with a mark of direction": ask("{ \u202e chains { chainId } }"),
            "zero bytes between tokens": ask("{\0chains\0{ chainId } }"),
        },
        400,
        UNREADABLE,
    ),
    *promised(
        {
            "thirty thousand quotation marks": ask('"' * 30_000),
            "fifty thousand tokens that make no sense": ask("! " * 30_000),
            "fifty thousand ampersands": ask("&" * 50_000),
            "fifty thousand points": ask("{ " + "." * 50_000),
        },
        400,
        UNREADABLE + TOO_LARGE,
    ),
    Case(
        "thirty thousand backslashes",
        ask('{ wallet(address: "' + "\\" * 30_000 + '") { id } }'),
        400,
        BAD + UNREADABLE,
    ),
    Case("fifty thousand commas", ask("{ chains" + "," * 50_000 + "{ chainId } }"), (200, 400), TOO_LARGE),
    Case(
        "fifty thousand line ends",
        ask("{ chains" + "\n" * 50_000 + "{ chainId } nothing }"),
        400,
        INVALID + TOO_LARGE,
    ),
    Case("twenty thousand comments", ask("#\n" * 20_000 + GOOD), (200, 400), UNREADABLE + TOO_LARGE),
    *promised(
        {
            "a field of ten thousand letters": ask("{ " + "n" * 10_000 + " }"),
            "an alias of ten thousand letters": ask("{ " + "n" * 10_000 + ": chains { nothing } }"),
            "an argument of ten thousand letters": ask("{ chain(" + "n" * 10_000 + ": 1) { name } }"),
            "a type of ten thousand letters": ask("{ ... on " + "N" * 10_000 + " { name } }"),
            "a variable of ten thousand letters": ask("{ chain(chainId: $" + "n" * 10_000 + ") { name } }"),
            "a directive of ten thousand letters": ask("{ chains @" + "n" * 10_000 + " { name } }"),
            "a fragment of ten thousand letters": ask("{ chains { ..." + "n" * 10_000 + " } }"),
            "names almost like one that is there": ask(
                "{" + " ".join(f"walle{chr(97 + n % 26)}{n}" for n in range(30)) + "}"
            ),
        },
        400,
        INVALID,
    ),
    *promised(
        {
            "an operation of ten thousand letters that is not there": ask(
                f"query q {GOOD}", operationName="n" * 10_000
            ),
            "a value of an enum of ten thousand letters": ask(
                wallet("holdings(filter: {kinds: [" + "N" * 10_000 + "]}) { totalCount }")
            ),
        },
        400,
        BAD + INVALID,
    ),
]

NUMBERS = [
    Case(f"a page of {name}", ask(wallet(f"holdings(first: {value}) {{ totalCount }}")), 400, codes)
    for name, value, codes in [
        ("2³¹", 1 << 31, BAD + INVALID),
        ("2⁶⁴", 1 << 64, BAD + INVALID),
        ("-2⁶³ - 1", -(1 << 63) - 1, BAD + INVALID),
        ("five thousand digits", "9" * 5_000, BAD + INVALID),
        ("1e400", "1e400", BAD + INVALID),
        ("-0.0", "-0.0", BAD + INVALID),
        ("a number beginning with 0", "007", UNREADABLE),
        ("a number without end", "1.", UNREADABLE),
        ("a hexadecimal number", "0xFF", UNREADABLE),
        ("an object", "{a: 1}", BAD + INVALID),
        ("itself", "$first", INVALID),
    ]
] + [
    *promised(
        {
            "a least value of 1e400": ask(wallet("holdings(filter: {minValueUsd: 1e400}) { totalCount }")),
            "a least value with a huge exponent in the query": ask(
                wallet("holdings(filter: {minValueUsd: 1e999999999}) { totalCount }")
            ),
        },
        400,
        BAD + INVALID,
    ),
    Case(
        "a least value of ten thousand digits",
        ask(wallet(f"holdings(filter: {{minValueUsd: {'9' * 10_000}}}) {{ totalCount }}")),
        (200, 400),
        BAD + INVALID,
    ),
    Case("a page of -2³¹", ask(wallet(f"holdings(first: {-(1 << 31)}) {{ totalCount }}")), 200, BAD),
]

OPERATIONS = [
    *promised(
        {
            "two operations and no name": ask(f"query a {GOOD} query b {GOOD}"),
            "two operations and an empty name": ask(f"query a {GOOD} query b {GOOD}", operationName=""),
            "an operation that is not there": ask(f"query a {GOOD}", operationName="b"),
            "a mutation": ask("mutation { drop }"),
            "a type definition": ask("type Query { wallets: Int }"),
        },
        400,
        BAD + INVALID,
    ),
    *promised(
        {
            "two operations without names": ask(GOOD + GOOD),
            "a type definition beside an operation": ask(GOOD + " extend type Query { a: Int }"),
            "a selection below a scalar": ask("{ chains { chainId { id } } }"),
            "no selection below an object": ask("{ chains }"),
            "@stream on what is no list": ask('{ wallet(address: "' + EVM + '") @stream { id } }'),
            "@defer with a variable for a label": ask(
                "query ($l: String) { ... @defer(label: $l) { chains { chainId } } }", {"l": "x"}
            ),
        },
        400,
        INVALID,
    ),
    Case(
        "a schema with a hundred types",
        ask("".join(f"type T{n} {{ a: Int }} " for n in range(100)) + GOOD),
        400,
        REFUSED,
    ),
    Case(
        "a type that implements five hundred",
        ask(f"type T implements {'&'.join(f'I{n}' for n in range(500))} {{ a: Int }}"),
        400,
        BAD + REFUSED,
    ),
    Case("a document of white space", ask(" \n\t"), 400, BAD + UNREADABLE),
    Case("a document of a comment", ask("# nothing"), 400, UNREADABLE),
    Case("an empty selection", ask("{ }"), (200, 400), UNREADABLE),
    Case(
        "@stream from below zero", ask("{ chains @stream(initialCount: -1) { chainId } }"), (200, 400), BAD + INVALID
    ),
    Case(
        "@defer five hundred deep",
        ask("{" + "... @defer {" * 500 + "chains { chainId }" + "}" * 501),
        400,
        UNREADABLE + REFUSED,
    ),
]

_FULL_TYPE = "kind name ofType { " * 60 + "name" + " }" * 60

_WHERE_NULL_CANNOT_BE = {
    "@include": "query ($v: Boolean = true) { chains @include(if: $v) { name } }",
    "@skip": "query ($v: Boolean = true) { chains @skip(if: $v) { name } }",
    "@defer": "query ($v: Boolean = true) { ... @defer(if: $v) { chains { name } } }",
    "an argument": f'query ($v: SourceFailurePolicy) {{ wallet(address: "{EVM}", onSourceFailure: $v) {{ id }} }}',
    "an item": "query ($v: ID = null) { nodes(ids: [$v]) { id } }",
    "an address": 'query ($v: AccountAddress = "solana:x") { wallet(address: $v) { id } }',
    "a field of a filter": "query ($v: Boolean) " + wallet("holdings(filter: {includeZero: $v}) { totalCount }"),
    "a field of an order": (
        "query ($v: OrderDirection) " + wallet("holdings(orderBy: {field: AMOUNT, direction: $v}) { totalCount }")
    ),
    "an order": "query ($v: HoldingOrder) " + wallet("holdings(orderBy: $v) { totalCount }"),
}

NULLS = [
    Case(f"null by a variable for {name}", ask(text, {"v": None}), (200, 400), BAD + INVALID)
    for name, text in _WHERE_NULL_CANNOT_BE.items()
] + [
    Case(f"null by a variable that is not given for {name}", ask(text), (200, 400), BAD + INVALID)
    for name, text in _WHERE_NULL_CANNOT_BE.items()
]

INTROSPECTION = [
    *promised(
        {
            "introspection of fields of types of fields": ask(_introspection(3)),
            "introspection thirty levels deep": ask(_introspection(30)),
            "introspection of sixty levels of ofType": ask(
                f'{{ __type(name: "Query") {{ fields {{ type {{ {_FULL_TYPE} }} }} }} }}'
            ),
        },
        400,
        REFUSED,
    ),
    Case(
        "introspection of a type of ten thousand letters",
        ask(f'{{ __type(name: "{"N" * 10_000}") {{ name }} }}'),
        200,
    ),
    Case(
        "introspection by a hundred aliases",
        ask("{" + " ".join(f"a{n}: __schema {{ types {{ name }} }}" for n in range(100)) + "}"),
        400,
        TOO_LARGE,
    ),
    Case(
        "introspection in a fragment in a ring",
        ask("{ __schema { types { ...t } } } fragment t on __Type { ofType { ...t } }"),
        400,
        INVALID,
    ),
]

CASES = [*TEXTS, *NUMBERS, *NULLS, *OPERATIONS, *INTROSPECTION]
