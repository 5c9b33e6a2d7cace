"""OneBalance played on loopback: balances of one EVM and one Solana account, aggregated over chains."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

import orjson
from aiohttp import web

from loaders.upstream.simulator.base import Handler, Simulator

ACCOUNT_KINDS = {"eip155": "evm", "solana": "solana"}
ACCOUNT = re.compile(r"eip155:[0-9]+:(0x[0-9a-fA-F]{40})|solana:(?:[^:]+:)?([1-9A-HJ-NP-Za-km-z]{32,44})")
ASSET_TYPE = re.compile(r"[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}/[-a-z0-9]{3,8}:[-.%a-zA-Z0-9]{1,128}")
INTEGER = re.compile(r"[0-9]+")
JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
NO_FILTER = "At least one of assetId or aggregatedAssetId must be provided and non-empty"
NOTHING = ("0", "0")

PARALLEL = web.RequestKey("parallel", bool)


@dataclass(frozen=True, slots=True)
class OneBalanceEntity:
    """An asset on one chain, ``asset_type`` (CAIP-19) in the case it is sent in."""

    asset_type: str
    decimals: int
    name: str
    symbol: str


@dataclass(frozen=True, slots=True)
class OneBalanceAsset:
    """An aggregated asset; several may share the id ``ob:single``, with one entity each."""

    aggregated_asset_id: str
    symbol: str
    name: str
    decimals: int
    entities: Sequence[OneBalanceEntity]
    logo_url: str | None = None


@dataclass(slots=True)
class OneBalanceDataset:
    """The register, the chains (CAIP-2), and the balances of accounts.

    Accounts are bare addresses, asset types CAIP-19, both in any case where EVM. A fiat value is a Decimal or
    the text of a JSON number, and is sent as it is.
    """

    assets: dict[str, list[OneBalanceAsset]] = field(default_factory=lambda: defaultdict(list))
    chains: list[str] = field(default_factory=list)
    _balances: dict[str, dict[str, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    _reported: dict[tuple[frozenset[str], str], tuple[str, str]] = field(default_factory=dict)
    _canned: dict[tuple[frozenset[str], ...], bytes] = field(default_factory=dict)

    def add_asset(self, asset: OneBalanceAsset) -> None:
        """Put an aggregated asset on the register."""
        self.assets[asset.aggregated_asset_id].append(asset)

    def add_balance(
        self, *, account: str, asset_type: str, balance: str | int, fiat_value: str | Decimal = "0"
    ) -> None:
        """Set what an account holds, in smallest units, whether or not the asset is on the register."""
        row = _integer(balance), _number(fiat_value)
        self._balances[canonical_address(account)][canonical_asset(asset_type)] = row

    def report(
        self,
        *,
        accounts: Iterable[str],
        aggregated_asset_id: str,
        balance: str | int,
        fiat_value: str | Decimal,
    ) -> None:
        """Set what an aggregate says, in place of its rows' sum, when asked about exactly these accounts."""
        row = _integer(balance), _number(fiat_value)
        self._reported[_addresses(accounts), aggregated_asset_id] = row

    def can(
        self,
        body: bytes,
        *,
        accounts: Iterable[str],
        aggregated_asset_ids: Iterable[str] = (),
        asset_types: Iterable[str] = (),
    ) -> None:
        """Answer with this body when asked about exactly these accounts, aggregates and asset types."""
        assets = frozenset(map(canonical_asset, asset_types))
        self._canned[_addresses(accounts), frozenset(aggregated_asset_ids), assets] = body

    def balance(self, account: str | None, asset_type: str) -> tuple[str, str]:
        """The balance and the fiat value of an account's asset; zeros when there is none."""
        if account is None or account not in self._balances:
            return NOTHING
        return self._balances[account].get(canonical_asset(asset_type), NOTHING)

    def reported(self, accounts: frozenset[str], aggregated_asset_id: str) -> tuple[str, str] | None:
        """The balance and the fiat value that were set by ``report``."""
        return self._reported.get((accounts, aggregated_asset_id))

    def canned(self, accounts: frozenset[str], aggregates: Iterable[str], assets: Iterable[str]) -> bytes | None:
        """The body that was set by ``can``."""
        key = accounts, frozenset(aggregates), frozenset(map(canonical_asset, assets))
        return self._canned.get(key)


class OneBalanceSimulator(Simulator):
    """OneBalance as its clients meet it, under the root and under ``/api``.

    ``requests_per_minute`` is 60 with a public key, and then a request that arrives while another one runs is
    refused as well. ``price_specific_assets`` off: rows asked for by ``assetId`` are worth 0. ``gone``: the
    host answers 404 to everything. ``clock`` gives Unix seconds.
    """

    def __init__(self, dataset: OneBalanceDataset, *, key: str = "demo-key", public_key: bool = False) -> None:
        super().__init__()
        self.dataset = dataset
        self.key = key
        self.public_key = public_key
        self.requests_per_minute = 60 if public_key else 1_000_000
        self.price_specific_assets = True
        self.gone = False
        self.clock: Callable[[], float] = time.time
        self._counted: deque[float] = deque()
        self._running: list[web.BaseRequest] = []

    def routes(self) -> Iterable[web.RouteDef]:
        answers = {
            "/v3/balances/aggregated-balance": self._aggregated_balance,
            "/assets/list": self._assets_list,
            "/chains/supported-list": self._supported_list,
        }
        for path, answer in answers.items():
            yield web.get(path, self._guarded(answer))
            yield web.get(f"/api{path}", self._guarded(answer))
        yield web.route("*", "/{rest:.*}", self._guarded(self._not_found))

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # One that its client gave up has no transport any more.
        request[PARALLEL] = any(other.transport is not None for other in self._running)
        self._running.append(request)
        try:
            return await super()._middleware(request, handler)
        finally:
            self._running.remove(request)

    def _guarded(self, answer: Callable[[web.Request], web.Response]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            if self.gone:
                return web.Response(status=404, text="404 page not found")
            now = self.clock()
            while self._counted and self._counted[0] <= now - 60:
                self._counted.popleft()
            full = len(self._counted) >= self.requests_per_minute
            if request.headers.get("x-api-key") != self.key:
                response = _failure(request, 401, "UnauthorizedException", "Invalid or missing API key")
            elif full or (self.public_key and request[PARALLEL]):
                response = _failure(request, 429, "TooManyRequests", "Too Many Requests")
            else:
                self._counted.append(now)
                response = answer(request)
            frees_at = self._counted[0] + 60 if self._counted else now
            response.headers["x-ratelimit-limit"] = str(self.requests_per_minute)
            response.headers["x-ratelimit-remaining"] = str(self.requests_per_minute - len(self._counted))
            response.headers["x-ratelimit-reset"] = str(math.ceil(frees_at))
            return response

        return handle

    def _not_found(self, request: web.Request) -> web.Response:
        return _failure(request, 404, "NotFoundException", f"Cannot {request.method} {request.path}")

    def _assets_list(self, _: web.Request) -> web.Response:
        return _json([_asset_row(asset) for assets in self.dataset.assets.values() for asset in assets])

    def _supported_list(self, _: web.Request) -> web.Response:
        return _json([{"chain": _chain_row(chain), "isTestnet": False} for chain in self.dataset.chains])

    def _aggregated_balance(self, request: web.Request) -> web.Response:
        aggregates, asset_types = _items(request, "aggregatedAssetId"), _items(request, "assetId")
        if not aggregates and not asset_types:
            return _invalid(NO_FILTER, "assetId.aggregatedAssetId")
        if not all(map(ASSET_TYPE.fullmatch, asset_types)):
            return _invalid("Must be a valid CAIP-19 asset type", "assetId")
        try:
            accounts = _accounts(_items(request, "account"))
        except ValueError as error:
            return _invalid(str(error), "account")
        canned = self.dataset.canned(_addresses(accounts.values()), aggregates, asset_types)
        if canned is not None:
            return web.Response(body=canned, content_type="application/json")

        wallet = {kind: canonical_address(address) for kind, address in accounts.items()}
        assets = [asset for name in aggregates for asset in self.dataset.assets.get(name, ())]
        entries = [self._aggregate(asset, wallet) for asset in assets]
        # What these accounts cannot hold at all is left out.
        entries = [entry for entry in entries if entry["individualAssetBalances"]]
        specific = [self._row(asset_type, wallet) for asset_type in asset_types]
        if not self.price_specific_assets:
            specific = [{**row, "fiatValue": "0"} for row in specific]
        total = _sum(row["fiatValue"] for row in [*entries, *specific])
        return _json(
            {
                "accounts": accounts,
                "balanceByAggregatedAsset": [_emitted(entry) for entry in entries],
                "balanceBySpecificAsset": [_emitted(row) for row in specific],
                "totalBalance": _emitted({"fiatValue": total}),
            }
        )

    def _row(self, asset_type: str, wallet: Mapping[str, str]) -> dict[str, Any]:
        balance, fiat_value = self.dataset.balance(wallet.get(_kind(asset_type)), asset_type)
        return {"assetType": asset_type, "balance": balance, "fiatValue": fiat_value}

    def _aggregate(self, asset: OneBalanceAsset, wallet: Mapping[str, str]) -> dict[str, Any]:
        """An aggregate with a row for every entity that the accounts can hold, zero or not."""
        entities = [entity for entity in asset.entities if _kind(entity.asset_type) in wallet]
        rows = [self._row(entity.asset_type, wallet) for entity in entities]
        reported = self.dataset.reported(frozenset(wallet.values()), asset.aggregated_asset_id)
        if reported is None:
            amounts = zip((int(row["balance"]) for row in rows), entities, strict=True)
            # One scale for all, so that nothing is cut off before the sum.
            scale = max([asset.decimals, *(entity.decimals for entity in entities)])
            units = sum(amount * 10 ** (scale - entity.decimals) for amount, entity in amounts)
            balance = units // 10 ** (scale - asset.decimals)
            reported = str(balance), _sum(row["fiatValue"] for row in rows)
        return {
            "aggregatedAssetId": asset.aggregated_asset_id,
            "balance": reported[0],
            "individualAssetBalances": rows,
            "fiatValue": reported[1],
        }


def canonical_address(address: str) -> str:
    """An address as balances are kept by: base58 as it is, hex in lower case."""
    return address.lower() if address.startswith(("0x", "0X")) else address


def canonical_asset(asset_type: str) -> str:
    """An asset type as balances are kept by: those of EVM chains in lower case."""
    return asset_type.lower() if asset_type.startswith("eip155:") else asset_type


def _addresses(accounts: Iterable[str]) -> frozenset[str]:
    return frozenset(map(canonical_address, accounts))


def _kind(asset_type: str) -> str:
    return ACCOUNT_KINDS.get(asset_type.partition(":")[0], "")


def _items(request: web.Request, name: str) -> list[str]:
    """The items of a comma list, each once."""
    items = (item.strip() for item in request.query.get(name, "").split(","))
    return list(dict.fromkeys(item for item in items if item))


def _accounts(items: Iterable[str]) -> dict[str, str]:
    """Addresses by kind, in the case they were sent in."""
    accounts: dict[str, str] = {}
    for item in items:
        match = ACCOUNT.fullmatch(item)
        if match is None:
            raise ValueError("Must be a valid CAIP-10 account")
        kind = ACCOUNT_KINDS[item.partition(":")[0]]
        if kind in accounts:
            raise ValueError("Account types must be unique")
        accounts[kind] = match[1] or match[2]
    if not accounts:
        raise ValueError("Required")
    return accounts


def _integer(value: str | int) -> str:
    if INTEGER.fullmatch(str(value)) is None:
        raise ValueError(f"not a number of smallest units: {value!r}")
    return str(value)


def _number(value: str | Decimal) -> str:
    if JSON_NUMBER.fullmatch(str(value)) is None:
        raise ValueError(f"not the text of a JSON number: {value!r}")
    return str(value)


def _sum(numbers: Iterable[str]) -> str:
    with localcontext(prec=80):
        text = format(sum(map(Decimal, numbers), Decimal(0)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _emitted(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose fiat values are written as they are, not by way of a float."""
    emitted = {**row, "fiatValue": orjson.Fragment(row["fiatValue"])}
    if "individualAssetBalances" in row:
        emitted["individualAssetBalances"] = [_emitted(part) for part in row["individualAssetBalances"]]
    return emitted


def _chain_row(chain: str) -> dict[str, str]:
    namespace, reference = chain.split(":")
    return {"chain": chain, "namespace": namespace, "reference": reference}


def _asset_row(asset: OneBalanceAsset) -> dict[str, Any]:
    row: dict[str, Any] = {
        "aggregatedAssetId": asset.aggregated_asset_id,
        "symbol": asset.symbol,
        "name": asset.name,
        "decimals": asset.decimals,
    }
    if asset.logo_url is not None:
        row["logoUrl"] = asset.logo_url
    row["aggregatedEntities"] = [
        {
            "assetType": entity.asset_type,
            "decimals": entity.decimals,
            "name": entity.name,
            "symbol": entity.symbol,
        }
        for entity in asset.entities
    ]
    return row


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def _invalid(fault: str, where: str) -> web.Response:
    message = f'Validation error: {fault} at "{where}"'
    return _json({"error": "Validation failed", "message": message, "statusCode": 400}, 400)


def _failure(request: web.Request, status: int, error: str, message: str) -> web.Response:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"error": error, "message": message, "statusCode": status, "timestamp": at, "path": request.path}
    return _json(body, status)
