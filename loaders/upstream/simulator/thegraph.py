"""The Graph Token API as far as Solana wallets go: balances, tokens, account owners, and what is indexed.

Messages, status codes, order and paging are those of the open-source server. What its gateway adds is a guess
where no document says it: the body of 429, and that a missing token is noticed before an unknown path.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic
from typing import Any, Literal
from urllib.parse import urlencode

import orjson
from aiohttp import web

from loaders.upstream.simulator.base import Simulator
from loaders.upstream.simulator.thegraph_dataset import (
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
    Position,
    Release,
    Supply,
    TheGraphDataset,
    as_text,
)
from loaders.upstream.simulator.thegraph_query import Query, RefusalError

__all__ = ["AccountKey", "Release", "TheGraphDataset", "TheGraphSimulator", "js_number"]

AccountKey = Literal["account", "token_account", "both"]

PLANS = {"free": (10, 1), "scale": (100, 25), "pro": (500, 50)}
NATIVE_MINT = "So" + "1" * 41
NATIVE_MINT_ALIASES = {SYSTEM_PROGRAM, NATIVE_MINT.lower(), "sol" + "1" * 32}
PUBLIC_PATHS = {"/v1/networks", "/v1/health", "/v1/version"}
CACHE_CONTROL = "public, max-age=60, s-maxage=600, stale-while-revalidate=30"
VERSIONS: dict[Release, dict[str, str]] = {
    "3.16.6": {
        "version": "3.16.6",
        "commit": "81ab0c8",
        "date": "2026-04-28",
        "repo": "pinax-network/token-api",
    },
    "post-556": {
        "version": "3.19.0",
        "commit": "65ad8c6",
        "date": "2026-05-26",
        "repo": "pinax-network/pinax-api",
    },
}

Row = dict[str, Any]


class TheGraphSimulator(Simulator):
    """The Token API over the rows of a dataset.

    ``plan`` is ``free``, ``scale``, ``pro`` or ``<limit>/<batch>`` such as ``200/20``, where 0 stands for no
    limit; ``release`` and ``account_key`` choose between the behaviours that a client may meet. They, and the
    dataset, may be changed while the simulator runs.
    """

    def __init__(
        self,
        dataset: TheGraphDataset,
        *,
        token: str = "demo-token",
        plan: str = "free",
        release: Release = "post-556",
        account_key: AccountKey = "account",
        requests_per_minute: int | None = None,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.token = token
        self.plan = plan
        self.release: Release = release
        self.account_key: AccountKey = account_key
        self.requests_per_minute = requests_per_minute
        self._admitted: deque[float] = deque()
        self._endpoints: Mapping[str, Callable[[web.Request], web.Response]] = {
            "/v1/svm/balances": self._balances,
            "/v1/svm/balances/native": self._native_balances,
            "/v1/svm/tokens": self._tokens,
            "/v1/svm/tokens/native": self._native_token,
            "/v1/svm/owner": self._owner,
            "/v1/networks": self._networks,
            "/v1/health": lambda _: _json({"status": "OK"}),
            "/v1/version": lambda _: _json(VERSIONS[self.release]),
        }

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.route("*", "/{path:.*}", self._answer)]

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            if request.path not in PUBLIC_PATHS:
                self._authenticate(request)
                self._admit()
            endpoint = self._endpoints.get(request.path)
            if endpoint is None or request.method not in ("GET", "HEAD"):
                raise RefusalError(404, "route_not_found", f"Path not found: {request.method} {request.path}")
            return endpoint(request)
        except RefusalError as refusal:
            body = {"status": refusal.status, "code": refusal.code, "message": refusal.message}
            return _json(body, status=refusal.status, headers=refusal.headers)

    # The gateway

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        bearer = credentials.strip() if scheme.lower() == "bearer" else None
        if self.token not in (bearer, request.headers.get("X-Api-Key")):
            raise RefusalError(401, "unauthorized", "Authentication required")

    def _admit(self) -> None:
        """Refuse a request when as many as the rate allows were admitted within the last minute."""
        if self.requests_per_minute is None:
            return
        now = monotonic()
        while self._admitted and self._admitted[0] <= now - 60:
            self._admitted.popleft()
        if len(self._admitted) >= self.requests_per_minute:
            wait = math.ceil(self._admitted[0] + 60 - now) if self._admitted else 60
            raise RefusalError(429, "too_many_requests", "Rate limit exceeded", {"Retry-After": str(wait)})
        self._admitted.append(now)

    def _check(self, query: Query) -> None:
        """Refuse a query for its syntax, then for what the plan does not include."""
        if query.issues:
            raise RefusalError(400, "bad_query_input", " | ".join(query.issues))
        caps = _caps(self.plan)
        if caps is None:
            raise RefusalError(400, "bad_header", "'X-Plan' header has invalid value.")
        max_limit, max_batch = caps
        if max_limit and query.limit > max_limit:
            raise RefusalError(403, "forbidden", f"Parameter 'limit' exceeds maximum of {max_limit} items.")
        exceeding = [
            f"'{name}' ({len(values)} values)"
            for name, values in query.lists.items()
            if max_batch and len(values) > max_batch
        ]
        if exceeding:
            message = f"Parameters {', '.join(exceeding)} exceed maximum batch limit of {max_batch}."
            raise RefusalError(403, "forbidden", message)

    # The endpoints

    def _balances(self, request: web.Request) -> web.Response:
        minted = request.query.getall("mint", [])
        if len(minted) == 1 and minted[0].lower() in NATIVE_MINT_ALIASES:
            rest = urlencode([(name, value) for name, value in request.query.items() if name != "mint"])
            location = f"{request.path}/native?{rest}" if rest else f"{request.path}/native"
            return web.Response(status=302, headers={"Location": location})
        query = Query(request)
        query.network()
        owners = set(query.addresses("owner", required=True))
        accounts = set(query.addresses("token_account"))
        mints = set(query.addresses("mint"))
        program_id = query.choice("program_id", (SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM))
        with_zeros = query.flag("include_null_balances")
        query.paging()
        self._check(query)
        page = query.cut(
            position
            for position in self.dataset.positions(owners, self.release)
            if (with_zeros or position.amount > 0)
            and (not accounts or position.account in accounts)
            and (not mints or position.mint in mints)
            and (program_id is None or position.program_id == program_id)
        )
        # Owners are joined to the page once it is cut: with several of them it grows beyond the limit.
        rows = [
            self._balance(position, owner)
            for position in page
            for owner in self.dataset.owners_of(position.account, self.release)
            if owner in owners
        ]
        return _envelope(query, rows)

    def _balance(self, position: Position, owner: str) -> Row:
        metadata = self.dataset.metadata.get(position.mint)
        row = _updated(position.block_num, position.timestamp)
        row |= {"program_id": position.program_id, "owner": owner}
        if self.account_key != "token_account":
            row["account"] = position.account
        if self.account_key != "account":
            row["token_account"] = position.account
        return row | {
            "mint": position.mint,
            "amount": str(position.amount),
            "value": _value(position.amount, position.decimals),
            "decimals": position.decimals,
            "name": (metadata and metadata.name) or None,
            "symbol": (metadata and metadata.symbol) or None,
            "uri": (metadata and metadata.uri) or None,
            "network": "solana",
        }

    def _native_balances(self, request: web.Request) -> web.Response:
        query = Query(request)
        query.network()
        addresses = query.addresses("address", required=True)
        with_zeros = query.flag("include_null_balances")
        query.paging()
        self._check(query)
        page = query.cut(balance for balance in self.dataset.native(addresses) if with_zeros or balance.amount > 0)
        rows = [
            _updated(balance.block_num, balance.timestamp)
            | {
                "program_id": SYSTEM_PROGRAM,
                "address": balance.account,
                "mint": NATIVE_MINT,
                "amount": str(balance.amount),
                "value": _value(balance.amount, 9),
                "decimals": 9,
                "name": "SOL",
                "symbol": "SOL",
                "network": "solana",
            }
            for balance in page
        ]
        return _envelope(query, rows)

    def _tokens(self, request: web.Request) -> web.Response:
        query = Query(request)
        query.network()
        mints = query.addresses("mint")
        self._check(query)
        supplies = self.dataset.supplies
        rows = [self._token(supplies[mint]) for mint in sorted(set(mints)) if mint in supplies]
        return _envelope(query, rows, headers=_cacheable(request))

    def _token(self, supply: Supply) -> Row:
        decimals = self.dataset.decimals.get(supply.mint, 0)
        metadata = self.dataset.metadata.get(supply.mint)
        return _updated(supply.block_num, supply.timestamp) | {
            "program_id": supply.program_id,
            "mint": supply.mint,
            "circulating_supply": _value(supply.amount, decimals),
            "holders": supply.holders,
            "decimals": decimals,
            "name": metadata.name if metadata else "",
            "symbol": metadata.symbol if metadata else "",
            "uri": metadata.uri if metadata else "",
            "network": "solana",
        }

    def _native_token(self, request: web.Request) -> web.Response:
        query = Query(request)
        query.network()
        self._check(query)
        supply = self.dataset.native_supply
        rows = []
        if supply is not None:
            row = _updated(supply.block_num, supply.timestamp)
            row |= {"program_id": SYSTEM_PROGRAM, "mint": NATIVE_MINT, "decimals": 9}
            row |= {"circulating_supply": _value(supply.amount, 9), "holders": supply.holders}
            rows.append(row | {"name": "Native", "symbol": "SOL", "network": "solana"})
        return _envelope(query, rows, headers=_cacheable(request))

    def _owner(self, request: web.Request) -> web.Response:
        query = Query(request)
        query.network()
        accounts = query.addresses("account", required=True)
        query.paging()
        self._check(query)
        rows = [
            _updated(state.block_num, state.timestamp)
            | {"account": state.account, "owner": state.owner, "network": "solana"}
            for state in query.cut(self.dataset.owner_history(accounts))
        ]
        return _envelope(query, rows)

    def _networks(self, request: web.Request) -> web.Response:
        networks = self.dataset.networks
        query = Query(request)
        chosen = query.values("network", networks.__contains__, "Invalid network ID")
        if query.issues:
            raise RefusalError(400, "bad_query_input", " | ".join(query.issues))
        ids = sorted(id for id in networks if not chosen or id in chosen)
        return _json({"networks": [networks[id] for id in ids]})


def js_number(value: float) -> str:
    """A double that is not negative, as JavaScript prints it: 5 for 5.0, 1e-7 for 1e-07."""
    digits = Decimal(repr(value)).normalize()
    if value == 0 or 1e-6 <= value < 1e21:
        return format(digits, "f")
    mantissa, _, exponent = format(digits, "e").partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def _value(amount: int, decimals: int) -> orjson.Fragment:
    return orjson.Fragment(js_number(amount / 10.0**decimals))


def _updated(block_num: int, timestamp: int) -> Row:
    return {
        "last_update": as_text(timestamp),
        "last_update_block_num": block_num,
        "last_update_timestamp": timestamp,
    }


def _caps(plan: str) -> tuple[int, int] | None:
    """The highest limit and the longest list of a plan, or None for an unknown one; 0 means no limit."""
    if custom := re.fullmatch(r"(\d+)/(\d+)", plan):
        return int(custom[1]), int(custom[2])
    return PLANS.get(plan)


def _cacheable(request: web.Request) -> Mapping[str, str]:
    refused = request.headers.get("Cache-Control") == "no-cache"
    return {} if refused else {"Cache-Control": CACHE_CONTROL}


def _envelope(query: Query, rows: list[Row], headers: Mapping[str, str] | None = None) -> web.Response:
    elapsed = (datetime.now(UTC) - query.started).total_seconds()
    body = {
        "data": rows,
        "statistics": {"elapsed": elapsed, "rows_read": len(rows), "bytes_read": 0},
        "pagination": {"previous_page": max(query.page - 1, 1), "current_page": query.page},
        "results": len(rows),
        "request_time": query.started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration_ms": round(elapsed * 1000),
    }
    return _json(body, headers=headers)


def _json(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")
