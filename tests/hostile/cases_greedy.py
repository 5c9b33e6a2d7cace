"""Operations that are valid, and ask for as much as few words can."""

from __future__ import annotations

from graphql import get_introspection_query

from tests.hostile.cases import REFUSED, Case, ask, wallet

_MANY = 1_000
_WALLETS = [f"0x{n:040x}" for n in range(_MANY)]
_MEMBERS = "chain { nativeToken { group { members { "
_NODES = "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on "
_ENTITIES = "query ($r: [_Any!]!) { _entities(representations: $r) { ... on "


def _often(field: str, times: int = 30) -> str:
    return "{ " + " ".join(f"a{n}: {field}" for n in range(times)) + " }"


_REQUESTS = {
    "the usual introspection": ask(get_introspection_query(input_value_deprecation=True)),
    "all types thirty times": ask(_often("__schema { types { name fields { name type { name } } } }")),
    "the subgraph's schema thirty times": ask(_often("_service { sdl }")),
    "the subgraph's schema ninety times": ask(_often("_service { a: sdl b: sdl c: sdl }")),
    "members of groups of members": ask(
        f"{{ chains {{ nativeToken {{ group {{ members {{ {_MEMBERS * 2} id {'}' * 13}"
    ),
    "holdings of the wallet of each holding": ask(
        wallet("holdings(first: 200) { nodes { wallet { holdings(first: 200) { nodes { id amount } } } } }")
    ),
    "totals of the wallet of each holding": ask(
        wallet("holdings(first: 200) { nodes { wallet { byChain { total { valueUsd } } total { complete } } } }")
    ),
    "a thousand chains": ask(_NODES + "Chain { nativeToken { symbol } } } }", {"ids": ["Chain:eip155:1"] * _MANY}),
    "a thousand groups": ask(_NODES + "AssetGroup { members { id } } } }", {"ids": ["AssetGroup:ob:usdc"] * _MANY}),
    "a thousand wallets": ask(_NODES + "Wallet { address } } }", {"ids": [f"Wallet:{one}" for one in _WALLETS]}),
    "totals of a thousand wallets": ask(
        _NODES + "Wallet { total { valueUsd } } } }", {"ids": [f"Wallet:{one}" for one in _WALLETS]}
    ),
    "totals of a thousand references": ask(
        _ENTITIES + "Wallet { total { valueUsd } holdings { totalCount } } } }",
        {"r": [{"__typename": "Wallet", "address": one} for one in _WALLETS]},
    ),
}

CASES = [Case(name, request, (200, 400), REFUSED) for name, request in _REQUESTS.items()]
