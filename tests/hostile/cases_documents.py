"""Documents that are too large, too deep, too many in few words, or no documents at all."""

from __future__ import annotations

from tests.hostile.cases import (
    BAD,
    EVM,
    GOOD,
    INVALID,
    REFUSED,
    TOO_LARGE,
    UNREADABLE,
    WALLET,
    Case,
    ask,
    promised,
    wallet,
)


def _deep(levels: int) -> str:
    """Holdings of the wallet of a holding of the wallet …, so many levels of each."""
    return wallet("holdings { nodes { wallet { " * levels + "id" + " } } }" * levels)


def bomb(levels: int, *, width: int = 2, inline: bool = False) -> str:
    """A chain of fragments each of which spreads the next one so many times: width to the power of levels fields."""
    spread = "... on Wallet {{ ...f{0} }}" if inline else "...f{0}"
    chain = "".join(
        f"fragment f{level} on Wallet {{ {' '.join([spread.format(level + 1)] * width)} }}\n"
        for level in range(levels)
    )
    return wallet("...f0") + chain + f"fragment f{levels} on Wallet {{ id }}"


def _nested_bomb(levels: int) -> str:
    """The same, a field deeper at each level, under two names."""
    chain = "".join(
        f"fragment f{level} on Wallet {{ "
        f"a: holdings {{ nodes {{ wallet {{ ...f{level + 1} }} }} }} "
        f"b: holdings {{ nodes {{ wallet {{ ...f{level + 1} }} }} }} }}\n"
        for level in range(levels)
    )
    return wallet("...f0") + chain + f"fragment f{levels} on Wallet {{ id }}"


DEPTHS = [
    *promised(
        {
            "five levels too deep": ask(_deep(10)),
            "a thousand levels of fields": ask(_deep(330)),
        },
        400,
        REFUSED,
    ),
    *promised(
        {
            "ten thousand levels of braces": ask("{ a " * 10_000),
            "thirty thousand closing braces": ask("}" * 30_000),
            "ten thousand levels of lists": ask(f"{{ wallets(addresses: {'[' * 10_000}{']' * 10_000}) {{ id }} }}"),
            "ten thousand levels of objects": ask(wallet(f"holdings(filter: {'{a:' * 10_000}")),
            "ten thousand levels of a variable's type": ask(f"query ($a: {'[' * 10_000}Int{']' * 10_000}) {GOOD}"),
        },
        400,
        UNREADABLE + TOO_LARGE,
    ),
    *promised(
        {
            "a hundred levels of lists": ask(f"{{ wallets(addresses: {'[' * 100}{']' * 100}) {{ id }} }}"),
            "a hundred levels of objects": ask(
                wallet(f"holdings(filter: {'{a: ' * 100}1{'}' * 100}) {{ totalCount }}")
            ),
        },
        400,
        BAD + UNREADABLE + REFUSED,
    ),
    *promised(
        {
            "ninety levels of a variable's type": ask(f"query ($a: {'[' * 90}Int{']' * 90}) {GOOD}"),
            "five hundred levels of inline fragments": ask(wallet("... on Wallet { " * 500 + "id" + " }" * 500)),
        },
        400,
        UNREADABLE + REFUSED,
    ),
    Case("ninety levels of inline fragments", ask(wallet("... { " * 90 + "id" + " }" * 90)), (200, 400), REFUSED),
]

FLOODS = [
    *promised(
        {
            "two thousand times the same field": ask(wallet("id " * 2_000)),
            "ten thousand times the same field": ask(wallet("id " * 10_000)),
            "ten thousand fields that are not there": ask("{" + " ".join(f"f{n}" for n in range(10_000)) + "}"),
            "ten thousand aliases": ask(wallet(" ".join(f"a{n}: id" for n in range(10_000)))),
            "a hundred and one aliases": ask("{" + " ".join(f"a{n}: __typename" for n in range(101)) + "}"),
            "two hundred wallets by alias": ask("{" + " ".join(f"a{n}: {WALLET} {{ id }}" for n in range(200)) + "}"),
            "ten thousand directives on a field": ask("{ chains " + "@include(if: true) " * 10_000 + "{ chainId } }"),
            "a thousand operations": ask(" ".join(f"query q{n} {GOOD}" for n in range(900)), operationName="q0"),
            "fifty thousand variables": ask("query (" + "".join(f"$v{n}:Int" for n in range(50_000)) + ")" + GOOD),
            "fifty thousand addresses in the query": ask(
                "{ wallets(addresses: [" + f'"{EVM}" ' * 40_000 + "]) { id } }"
            ),
        },
        400,
        TOO_LARGE,
    ),
    *promised(
        {
            "a thousand fields that are not there": ask("{" + " ".join(f"f{n}" for n in range(1_000)) + "}"),
            "a hundred unknown directives": ask(
                "{ chains " + "".join(f"@d{n} " for n in range(100)) + "{ chainId } }"
            ),
            "a thousand arguments": ask("{ chain(" + " ".join(f"a{n}: 1" for n in range(1_000)) + ") { name } }"),
            "one argument a thousand times": ask("{ chain(" + "chainId: 1 " * 1_000 + ") { name } }"),
            "five hundred fields of one name with other arguments": ask(
                wallet(" ".join(f"h: holdings(first: {n}) {{ totalCount }}" for n in range(500)))
            ),
            "sixty fields of one name with other arguments": ask(
                wallet(" ".join(f"h: holdings(first: {n}) {{ totalCount }}" for n in range(55)))
            ),
            "a thousand operations of one name": ask(f"query q {GOOD} " * 900),
            "a thousand fragments that nobody spreads": ask(
                GOOD + "".join(f"fragment f{n} on Chain {{ id }} " for n in range(700))
            ),
            "six hundred variables": ask("query (" + "".join(f"$v{n}:Int " for n in range(600)) + ")" + GOOD),
        },
        400,
        REFUSED,
    ),
    Case("the same directive twice", ask("{ chains @skip(if: false) @skip(if: false) { chainId } }"), 400, INVALID),
    Case(
        "overlapping fields under overlapping fields",
        ask("{" + f" {WALLET} {{ holdings {{ nodes {{ token {{ id }} }} }} }}" * 150 + "}"),
        (200, 400),
        REFUSED,
    ),
    Case(
        "nine hundred addresses in the query",
        ask("{ wallets(addresses: [" + f'"{EVM}" ' * 900 + "]) { id } }"),
        400,
        BAD + TOO_LARGE,
    ),
]

FRAGMENTS = [
    *promised(
        {
            "a fragment bomb of 30 levels": ask(bomb(30)),
            "a fragment bomb in inline fragments": ask(bomb(20, inline=True)),
        },
        (200, 400),
        REFUSED,
    ),
    *promised(
        {
            "a fragment bomb of 60 levels": ask(bomb(60)),
            "a fragment bomb of 10 levels, ten wide": ask(bomb(10, width=10)),
            "a fragment bomb that goes deeper": ask(_nested_bomb(30)),
            "a small fragment bomb that goes deeper": ask(_nested_bomb(5)),
            "fragments in a ring": ask(
                wallet("...f0") + "".join(f"fragment f{n} on Wallet {{ ...f{(n + 1) % 50} }}" for n in range(50))
            ),
            "fragments that each spread all": ask(
                wallet("...f0")
                + "".join(
                    f"fragment f{n} on Wallet {{ {' '.join(f'...f{m}' for m in range(30))} }}" for n in range(30)
                )
            ),
        },
        400,
        REFUSED,
    ),
    Case(
        "two bombs that overlap",
        ask(wallet("...f0 ...g0") + bomb(25).partition("}\n")[2] + bomb(25).replace("f", "g").partition("}\n")[2]),
        400,
        REFUSED + UNREADABLE,
    ),
    *promised(
        {
            "a fragment that spreads itself": ask(wallet("...f") + "fragment f on Wallet { ...f }"),
            "a ring through a list": ask(
                wallet("...f") + "fragment f on Wallet { holdings { nodes { wallet { ...f } } } }"
            ),
            "a fragment that is not there": ask(wallet("...nowhere")),
            "a fragment on what is not there": ask(wallet("... on Nothing { id }")),
            "a fragment on a scalar": ask(wallet("... on Decimal { id }")),
            "two fragments of one name": ask(
                wallet("...f") + "fragment f on Wallet { id } fragment f on Wallet { address }"
            ),
        },
        400,
        INVALID,
    ),
    Case("a fragment called on", ask("fragment on on Wallet { id }" + GOOD), 400, UNREADABLE),
    Case("nothing but a fragment", ask("fragment f on Wallet { id }"), 400, BAD + INVALID),
]

CASES = [*DEPTHS, *FLOODS, *FRAGMENTS]
