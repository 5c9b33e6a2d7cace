"""Ondo GM played on loopback: its registers of tokenised stocks, and who holds how much of them."""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any, Literal

import orjson
from aiohttp import web

from loaders.upstream.simulator.base import Handler, Simulator

DECIMALS = {"ethereum-1": 18, "bsc-56": 18, "solana-900": 9}
"""The chains that Ondo GM knows, and the decimals of its tokens there."""

ERRORS = {
    "INVALID_API_KEY": (401, "invalid API key"),
    "INVALID_GM_CHAIN": (400, "invalid chain; supported chains: ethereum-1, bsc-56, solana-900"),
    "PAUSED_GM_CHAIN": (400, "chain is paused"),
    "INVALID_SORT": (400, "invalid sort order; must be 'asc' or 'desc'"),
    "ASSET_NOT_FOUND": (404, "asset not found"),
    "RESOURCE_NOT_FOUND": (404, "resource not found"),
    "RATE_LIMITED": (429, "rate limit exceeded"),
}
DOCUMENTATION = "https://docs.ondo.finance/api-reference/error-codes#"
PLAIN_DECIMAL = re.compile(r"[0-9]+(\.[0-9]{1,18})?")

EmptyStyle = Literal["no-tokens", "empty-balances", "zero-rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OndoAsset:
    """A tokenised stock as the registers describe it.

    ``addresses`` is by chain (``ethereum-1``). Without ``price`` the asset is in no price list and in no
    market list; without ``underlying_name`` its ``underlyingMarket`` is null, as for a basket. Every other
    None is a member that replies leave out. ``supplies``, by chain, defaults to the sum of the balances.
    """

    symbol: str
    ticker: str
    name: str
    addresses: Mapping[str, str]
    asset_class: str = "Equities"
    instrument_type: str = "Stock"
    coingecko_id: str | None = None
    coinmarketcap_id: str | None = None
    price: str | None = None
    underlying_price: str | None = None
    change_24h: str = "0"
    change_percent_24h: str = "0"
    history_24h: Sequence[tuple[int, str]] = ()
    shares_multiplier: str = "1"
    underlying_name: str | None = None
    underlying_figures: Mapping[str, str] = field(default_factory=dict)
    constituents: Sequence[str] = ()
    tradable_sessions: Sequence[str] | None = None
    supplies: Mapping[str, str] = field(default_factory=dict)
    timestamp: int = 1_755_890_061_815


@dataclass(slots=True)
class _Chain:
    tokens: dict[str, OndoAsset] = field(default_factory=dict)
    by_token: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    by_holder: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))


@dataclass(slots=True)
class OndoDataset:
    """Assets and balances, indexed so that a holder's rows cost no more than they are many."""

    assets: dict[str, OndoAsset] = field(default_factory=dict)
    revision: int = 0
    _chains: dict[str, _Chain] = field(default_factory=lambda: {chain: _Chain() for chain in DECIMALS})

    def add_asset(self, asset: OndoAsset) -> None:
        """Register an asset, in place of an earlier one of the same symbol and addresses."""
        self.assets[asset.symbol] = asset
        for chain, address in asset.addresses.items():
            self._chains[chain].tokens[canonical(chain, address)] = asset
        self.revision += 1

    def add_balance(self, *, chain: str, symbol: str, account: str, balance: str) -> None:
        """Set what an account holds, in whole tokens; the text is sent as it is, trailing zeros and all."""
        if PLAIN_DECIMAL.fullmatch(balance) is None:
            raise ValueError(f"not a plain decimal of at most 18 fraction digits: {balance!r}")
        token = canonical(chain, self.assets[symbol].addresses[chain])
        holder = canonical(chain, account)
        self._chains[chain].by_token[token][holder] = balance
        self._chains[chain].by_holder[holder][token] = balance
        self.revision += 1

    def tokens(self, chain: str) -> Mapping[str, OndoAsset]:
        """The assets of a chain by token address."""
        return self._chains[chain].tokens

    def held(self, chain: str, token: str | None, holder: str | None) -> Mapping[str, Mapping[str, str]]:
        """Balances by token and holder; of one token, of one holder, or of all."""
        if holder is not None:
            own = self._chains[chain].by_holder.get(holder, {})
            return {held: {holder: balance} for held, balance in own.items() if token in (None, held)}
        by_token = self._chains[chain].by_token
        if token is None:
            return by_token
        return {token: by_token[token]} if token in by_token else {}

    def supply(self, chain: str, asset: OndoAsset) -> str:
        """How much of an asset there is on a chain, in whole tokens."""
        with localcontext(prec=80):
            held = sum(map(Decimal, self._holders(chain, asset).values()), Decimal(0))
        return asset.supplies.get(chain, format(held, "f"))

    def holder_count(self, asset: OndoAsset) -> int:
        """How many accounts hold an asset, over all chains."""
        return sum(len(self._holders(chain, asset)) for chain in asset.addresses)

    def _holders(self, chain: str, asset: OndoAsset) -> Mapping[str, str]:
        return self._chains[chain].by_token.get(canonical(chain, asset.addresses[chain]), {})


class OndoSimulator(Simulator):
    """Ondo GM as its clients meet it.

    ``empty_style`` picks how tokens without a balance look, which no document settles: left out, with empty
    ``balances``, or with a "0" for the account asked about. ``paused_chains`` answer 400 PAUSED_GM_CHAIN.
    ``clock`` is in seconds and only feeds the rate limit.
    """

    def __init__(
        self,
        dataset: OndoDataset,
        *,
        key: str = "demo-key",
        requests_per_minute: int | None = None,
        wrong_key_answers_403: bool = True,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.key = key
        self.requests_per_minute = requests_per_minute
        self.wrong_key_answers_403 = wrong_key_answers_403
        self.empty_style: EmptyStyle = "no-tokens"
        self.paused_chains: set[str] = set()
        self.clock: Callable[[], float] = time.monotonic
        self._counted: deque[float] = deque()
        self._bodies: dict[str, bytes] = {}
        self._bodies_of = (dataset, dataset.revision)

    def routes(self) -> Iterable[web.RouteDef]:
        answers = {
            "/v1/chains/{chain}/balances": self._balances,
            "/v1/chains/{chain}/tokens/{token}/info": self._token_info,
            "/v1/assets/all/metadata": self._register(_metadata_row, priced=False),
            "/v1/assets/all/addresses": self._register(_addresses_row, priced=False),
            "/v1/assets/all/prices/latest": self._register(_price_row, sortable=True),
            "/v1/assets/all/prices/latest/enhanced": self._register(_enhanced_price_row, sortable=True),
            "/v1/assets/all/market": self._register(self._market_row),
        }
        yield from (web.get(path, self._guarded(answer)) for path, answer in answers.items())
        yield web.route("*", "/{rest:.*}", self._guarded(lambda _: _error("RESOURCE_NOT_FOUND")))

    def _guarded(self, answer: Callable[[web.Request], web.Response]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            key = request.headers.get("x-api-key")
            if not request.path.startswith("/v1/"):
                return _forbidden("MissingAuthenticationTokenException")
            if key is None or (key != self.key and self.wrong_key_answers_403):
                return _forbidden("ForbiddenException")
            if key != self.key:
                return _error("INVALID_API_KEY")
            if self._over_limit():
                return _error("RATE_LIMITED")
            return answer(request)

        return handle

    def _over_limit(self) -> bool:
        if self.requests_per_minute is None:
            return False
        now = self.clock()
        while self._counted and self._counted[0] <= now - 60:
            self._counted.popleft()
        if len(self._counted) >= self.requests_per_minute:
            return True
        self._counted.append(now)
        return False

    def _balances(self, request: web.Request) -> web.Response:
        chain = request.match_info["chain"]
        if (problem := self._chain_problem(chain)) is not None:
            return problem
        token = canonical(chain, request.query.get("tokenAddress", "")) or None
        holder = canonical(chain, request.query.get("userAddress", "")) or None
        if token is None and holder is None:
            return self._kept(f"{request.path} {self.empty_style}", lambda: self._tokens_held(chain))
        return _json(self._tokens_held(chain, token, holder))

    def _tokens_held(self, chain: str, token: str | None = None, holder: str | None = None) -> dict[str, Any]:
        assets = self.dataset.tokens(chain)
        held = self.dataset.held(chain, token, holder)
        if self.empty_style != "no-tokens":
            nothing = {holder: "0"} if self.empty_style == "zero-rows" and holder is not None else {}
            asked = assets if token is None else {token} & assets.keys()
            held = {address: held.get(address, nothing) for address in asked}
        return {
            "tokens": [
                {
                    "tokenAddress": address,
                    "tokenSymbol": assets[address].symbol,
                    "balances": [
                        {"holderAddress": {"account": account}, "balance": balance}
                        for account, balance in balances.items()
                    ],
                }
                for address, balances in held.items()
            ]
        }

    def _token_info(self, request: web.Request) -> web.Response:
        chain = request.match_info["chain"]
        if (problem := self._chain_problem(chain)) is not None:
            return problem
        token = canonical(chain, request.match_info["token"])
        asset = self.dataset.tokens(chain).get(token)
        if asset is None:
            return _error("ASSET_NOT_FOUND")
        info = {
            "tokenAddress": token,
            "tokenName": asset.name,
            "tokenSymbol": asset.symbol,
            "tokenDecimals": DECIMALS[chain],
            "tokenSupply": {"value": self.dataset.supply(chain, asset)},
        }
        return _json({"token": info})

    def _chain_problem(self, chain: str) -> web.Response | None:
        if chain not in DECIMALS:
            return _error("INVALID_GM_CHAIN")
        return _error("PAUSED_GM_CHAIN") if chain in self.paused_chains else None

    def _register(
        self, row: Callable[[OndoAsset], dict[str, Any]], *, priced: bool = True, sortable: bool = False
    ) -> Callable[[web.Request], web.Response]:
        def answer(request: web.Request) -> web.Response:
            sort = request.query.get("sort") if sortable else None
            if sort not in (None, "asc", "desc"):
                return _error("INVALID_SORT")
            return self._kept(f"{request.path} {sort}", lambda: list(map(row, self._assets(priced, sort))))

        return answer

    def _assets(self, priced: bool, sort: str | None) -> list[OndoAsset]:
        assets = [asset for asset in self.dataset.assets.values() if asset.price is not None or not priced]
        if sort is not None:
            assets.sort(key=lambda asset: asset.symbol, reverse=sort == "desc")
        return assets

    def _market_row(self, asset: OndoAsset) -> dict[str, Any]:
        return _market_row(asset, self.dataset.holder_count(asset))

    def _kept(self, name: str, build: Callable[[], object]) -> web.Response:
        """The reply of this name, made once for every revision of the dataset."""
        dataset, revision = self._bodies_of
        if dataset is not self.dataset or revision != dataset.revision:
            self._bodies.clear()
            self._bodies_of = (self.dataset, self.dataset.revision)
        if name not in self._bodies:
            self._bodies[name] = orjson.dumps(build())
        return web.Response(body=self._bodies[name], content_type="application/json")


def canonical(chain: str, address: str) -> str:
    """An address as Ondo GM spells it: base58 as it is, everything else in lower case."""
    return address if chain == "solana-900" else address.lower()


def _addresses_row(asset: OndoAsset) -> dict[str, Any]:
    addresses = [
        {"networkChainId": chain, "address": canonical(chain, address), "decimals": DECIMALS[chain]}
        for chain, address in sorted(asset.addresses.items())
    ]
    return {"symbol": asset.symbol, "addresses": addresses}


def _metadata_row(asset: OndoAsset) -> dict[str, Any]:
    return _without_none(
        symbol=asset.symbol,
        ticker=asset.ticker,
        coingeckoId=asset.coingecko_id,
        coinmarketCapId=asset.coinmarketcap_id,
        addresses=_addresses_row(asset)["addresses"],
        tags={"assetClass": asset.asset_class, "instrumentType": asset.instrument_type},
    )


def _price_row(asset: OndoAsset) -> dict[str, Any]:
    return {
        "primaryMarket": {"symbol": asset.symbol, "price": asset.price},
        "underlyingMarket": _without_none(ticker=asset.ticker, price=asset.underlying_price),
        "timestamp": asset.timestamp,
    }


def _enhanced_price_row(asset: OndoAsset) -> dict[str, Any]:
    return {
        "symbol": asset.symbol,
        "price": asset.price,
        "priceChange24h": asset.change_24h,
        "priceChangePct24h": asset.change_percent_24h,
        "timestamp": asset.timestamp,
    }


def _market_row(asset: OndoAsset, holders: int) -> dict[str, Any]:
    underlying = None
    if asset.underlying_name is not None:
        underlying = _without_none(ticker=asset.ticker, name=asset.underlying_name, price=asset.underlying_price)
        underlying.update(asset.underlying_figures)
    sessions = asset.tradable_sessions
    return {
        "primaryMarket": _without_none(
            symbol=asset.symbol,
            price=asset.price,
            priceChange24h=asset.change_24h,
            priceChangePct24h=asset.change_percent_24h,
            priceHistory24h=[{"timestamp": at, "price": price} for at, price in asset.history_24h],
            totalHolders=holders,
            sharesMultiplier=asset.shares_multiplier,
            tradableSessions=None if sessions is None else list(sessions),
        ),
        "underlyingMarket": underlying,
        "constituentTokens": list(asset.constituents),
        "timestamp": asset.timestamp,
    }


def _without_none(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def _error(code: str) -> web.Response:
    status, message = ERRORS[code]
    body = {"code": code, "message": message}
    if status != 404:
        body["documentation"] = DOCUMENTATION + code.lower()
    return _json(body, status)


def _forbidden(kind: str) -> web.Response:
    """What the gateway in front of the API says; it has no ``code``."""
    response = _json({"message": "Forbidden"}, 403)
    response.headers.update({"x-amzn-errortype": kind, "x-cache": "Error from cloudfront"})
    return response
