"""Answers in parts that are asked for by who means no good: subscriptions, ``@defer`` and ``@stream``."""

from __future__ import annotations

from tests.hostile.cases import BAD, EVM, GOOD, INVALID, REFUSED, TOO_LARGE, UNREADABLE, Case, ask, promised, wallet
from tests.hostile.cases_documents import bomb

_EVENTS = {"Accept": "text/event-stream"}
_PARTS = {"Accept": "multipart/mixed;deferSpec=20220824, application/json"}
_CURRENT = {"Accept": "multipart/mixed, application/json;q=0.5"}
_MESSAGES = {"Accept": "multipart/mixed;subscriptionSpec=1.0, application/json"}


def _watch(address: str = EVM, every: str = "60", below: str = "at") -> str:
    return f'subscription {{ walletChanged(address: "{address}", everySeconds: {every}) {{ {below} }} }}'


_WATCHES = {
    "no address": (_watch("vitalik"), BAD),
    "an address of ten thousand letters": (_watch("0x" + "1" * 10_000), BAD),
    "every 0 seconds": (_watch(every="0"), BAD),
    "every 14 seconds": (_watch(every="14"), BAD),
    "every -2³¹ seconds": (_watch(every=str(-(1 << 31))), BAD),
    "every 2³¹ - 1 seconds": (_watch(every=str((1 << 31) - 1)), BAD),
    "every 2³¹ seconds": (_watch(every=str(1 << 31)), BAD + INVALID),
    "every half second": (_watch(every="0.5"), BAD + INVALID),
    "every null seconds": (_watch(every="null"), BAD + INVALID),
    "two fields": (_watch().replace("}", f'}} b: walletChanged(address: "{EVM}") {{ at }}', 1), INVALID),
    "two fields in a fragment": (
        "subscription { ...f } fragment f on Subscription { "
        f'a: walletChanged(address: "{EVM}") {{ at }} b: walletChanged(address: "{EVM}") {{ at }} }}',
        INVALID,
    ),
    "a field of the schema": ("subscription { __typename }", INVALID),
    "a field that may be skipped": (_watch().replace(" { at", " @skip(if: true) { at"), INVALID),
    "what is not there": ("subscription { nothing }", INVALID),
    "nothing": ("subscription { }", BAD + INVALID + UNREADABLE),
    "nothing in a fragment": ("subscription { ...f } fragment f on Subscription { }", BAD + INVALID + UNREADABLE),
    "a fragment that is skipped": (
        'subscription { ... @skip(if: true) { walletChanged(address: "") { at } } }',
        BAD + INVALID,
    ),
    "nothing by a variable": (
        'subscription ($b: Boolean = true) { ... @skip(if: $b) { walletChanged(address: "") { at } } }',
        BAD + INVALID,
    ),
    "streamed changes": (_watch(below="changed @stream { id }"), INVALID),
    "a hundred levels": (_watch(below="wallet { holdings { nodes { " * 33 + "id" + " } } }" * 33), REFUSED),
    "deferred fields": ('subscription { ... @defer { walletChanged(address: "' + EVM + '") { at } } }', INVALID),
}

SUBSCRIPTIONS = [
    Case(f"a subscription to {name} as {kind}", ask(text, headers=headers), (200, 400), codes)
    for kind, headers in {"events": _EVENTS, "parts": _MESSAGES}.items()
    for name, (text, codes) in _WATCHES.items()
]

EVENTS = [
    *promised(
        {
            "events of a document that cannot be read": ask("{", headers=_EVENTS),
            "events of a comment with the word subscription": ask("# subscription\n{", headers=_EVENTS),
        },
        (200, 400),
        UNREADABLE,
    ),
    Case("events of what is not there", ask("{ nothing }", headers=_EVENTS), (200, 400), INVALID),
    Case("events of a fragment bomb", ask(bomb(30, width=10), headers=_EVENTS), (200, 400), REFUSED),
    Case("events of a query", ask(GOOD, headers=_EVENTS), 200),
    Case("events of a number", ask(7, headers=_EVENTS), 400, BAD),
    Case(
        "events with line ends in a name",
        ask(GOOD, operationName="a\n\ndata: b\n\n", headers=_EVENTS),
        (200, 400),
        BAD,
    ),
]

PARTS = [
    *promised(
        {
            "parts of a hundred deferred fragments": ask(
                "{ " + "... @defer { chains { chainId } } " * 100 + "}", headers=_CURRENT
            ),
            "parts of ten thousand streamed fields": ask(
                "{ " + " ".join(f"a{n}: chains @stream {{ chainId }}" for n in range(10_000)) + "}", headers=_PARTS
            ),
        },
        (200, 400),
        TOO_LARGE,
    ),
    *promised(
        {
            "parts of two fragments of one label": ask(
                '{ ... @defer(label: "x") { chains { name } } ... @defer(label: "x") { chains { chainId } } }',
                headers=_CURRENT,
            ),
            "parts of a label that is a number": ask("{ ... @defer(label: 7) { chains { name } } }", headers=_PARTS),
        },
        (200, 400),
        BAD + INVALID,
    ),
    *promised(
        {
            "parts from below zero": ask("{ chains @stream(initialCount: -1) { chainId } }", headers=_CURRENT),
            "parts from below zero in the older form": ask(
                "{ chains @stream(initialCount: -1) { chainId } }", headers=_PARTS
            ),
            "parts from a variable below zero": ask(
                "query ($n: Int) { chains @stream(initialCount: $n) { chainId } }", {"n": -1}, headers=_CURRENT
            ),
            "parts from null": ask("{ chains @stream(initialCount: null) { chainId } }", headers=_CURRENT),
        },
        (200, 400),
        BAD + INVALID,
    ),
    *promised(
        {
            "parts from beyond the end": ask(
                "{ chains @stream(initialCount: 2147483647) { chainId } }", headers=_CURRENT
            ),
            "parts in parts in parts": ask(
                "{ ... @defer { ... @defer { ... @defer { chains @stream { ... @defer { chainId } } } } } }",
                headers=_CURRENT,
            ),
            "parts in parts in parts in the older form": ask(
                "{ ... @defer { ... @defer { ... @defer { chains @stream { ... @defer { chainId } } } } } }",
                headers=_PARTS,
            ),
            "parts of one fragment under fifty names": ask(
                wallet(" ".join(f"a{n}: holdings(first: 1) {{ ...f @defer }}" for n in range(25)))
                + "fragment f on HoldingConnection { totalCount }",
                headers=_CURRENT,
            ),
            "parts by a specification that nobody knows": ask(
                "{ chains @stream { chainId } }", headers={"Accept": "multipart/mixed;deferSpec=99999999"}
            ),
        },
        200,
    ),
]

CASES = [*SUBSCRIPTIONS, *EVENTS, *PARTS]
