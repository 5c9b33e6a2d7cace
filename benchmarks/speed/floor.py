"""The same answers without GraphQL: what plain Python costs, written by hand for three questions and nothing else.

An aiohttp server, an aiohttp client and orjson under uvloop. It knows the operations by their names, and does what
contract and sources ask of everybody: balances from all sources at once, one holding for each account and asset, the
amount by rank, values in exact decimals, order, first page. A source that fails fails the request.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import zip_longest
from operator import attrgetter
from typing import Any, Generic, TypeVar

import aiohttp
import orjson
import uvloop
from aiohttp import web

T = TypeVar("T")

_Pair = tuple[str | None, str | None]
"""An EVM and a Solana address that OneBalance is asked about at once; one of them may be missing."""

_SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
_SOL = f"{_SOLANA}/slip44:501"
_CHAINS = {"ethereum-1": "eip155:1", "bsc-56": "eip155:56", "solana-900": _SOLANA}
_NATIVE_ALIASES = {
    "eip155:137/erc20:0x0000000000000000000000000000000000001010": "eip155:137/slip44:966",
    "eip155:42220/erc20:0x471ece3750da237f93b8e339c536989b8978a438": "eip155:42220/slip44:52752",
}
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_EXACT = Context(prec=1_000)
_PLACES = Decimal(1).scaleb(-18)
_MOST_ROWS, _MOST_OWNERS, _FIRST = 500, 50, 200


@dataclass(slots=True)
class _Token:
    """What a register knows of one token."""

    symbol: str | None
    decimals: int
    price: Decimal | None = None


@dataclass(slots=True)
class _Registers:
    """Ondo's tokens by chain and address with their prices, and OneBalance's by asset and as it spells them."""

    ondo: Mapping[str, _Token]
    listed: Mapping[str, _Token]
    spelled: Mapping[str, str]
    aggregates: str


@dataclass(slots=True)
class _Holding:
    """An amount and its source; what OneBalance says is kept beside it, and prices the one that is shown."""

    id: str
    account_id: str
    asset_id: str
    source: str
    amount: Decimal | None
    raw: int | None
    symbol: str | None
    decimals: int | None
    said_raw: int | None = None
    said_value: Decimal | None = None
    value: Decimal | None = None
    status: str = "UNPRICED"


@lru_cache(maxsize=16_384)
def _clean(symbol: str | None) -> str | None:
    return None if symbol is None else _UNSAFE.sub("", symbol).strip()[:64] or None


@lru_cache(maxsize=16_384)
def _canonical(asset: str) -> str:
    if asset.startswith("eip155:"):
        asset = asset.lower()
    return _NATIVE_ALIASES.get(asset, asset)


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class _Kept(Generic[T]):
    """Something that is fetched again after some seconds, once for all who wait for it."""

    def __init__(self, seconds: float, fetch: Callable[[], Awaitable[T]]) -> None:
        self._seconds = seconds
        self._fetch = fetch
        self._until = 0.0
        self._value: T | None = None
        self._fetching: asyncio.Future[T] | None = None

    async def get(self) -> T:
        """The value, no older than that."""
        if self._value is not None and time.monotonic() < self._until:
            return self._value
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._fetch())
        fetching = self._fetching
        try:
            self._value = value = await asyncio.shield(fetching)
        finally:
            if self._fetching is fetching:
                self._fetching, self._until = None, time.monotonic() + self._seconds
        return value


class Floor:
    """Answers the three operations."""

    def __init__(self, session: aiohttp.ClientSession, ondo: str, onebalance: str, thegraph: str) -> None:
        self._session = session
        self._ondo, self._onebalance, self._thegraph = ondo, onebalance, thegraph
        self._metadata = _Kept(300, self._fetch_metadata)
        self._assets = _Kept(600, self._fetch_assets)
        self._registers = _Kept(1, self._fetch_registers)

    async def handle(self, request: web.Request) -> web.Response:
        """One POST."""
        asked = orjson.loads(await request.read())
        addresses = list(dict.fromkeys(asked["variables"]["addresses"]))
        held = await self._holdings(addresses)
        if asked["operationName"] == "Ten":
            wallets = [{"holdings": {"nodes": _page([held[address]], _wide)}} for address in addresses]
            data: dict[str, Any] = {"wallets": wallets}
        else:
            node = _narrow if asked["operationName"] == "Narrow" else _wide
            data = {"portfolio": {"holdings": {"nodes": _page(held.values(), node)}}}
        return web.Response(body=orjson.dumps({"data": data}), content_type="application/json")

    async def _holdings(self, addresses: Sequence[str]) -> Mapping[str, Sequence[_Holding]]:
        evm = [address for address in addresses if address.startswith("0x")]
        solana = [address for address in addresses if not address.startswith("0x")]
        registers, *answers = await asyncio.gather(
            self._registers.get(),
            self._spl(solana),
            self._sol(solana),
            self._balances(evm, solana),
            *[self._held("ethereum-1", address) for address in evm],
            *[self._held("bsc-56", address) for address in evm],
            *[self._held("solana-900", address) for address in solana],
        )
        rows, lamports, balances, *held = answers
        by_address: dict[str, dict[str, _Holding]] = {address: {} for address in addresses}
        for address in solana:
            _add_solana(by_address[address], address, rows.get(address, ()), lamports.get(address), registers)
        for chain, address, tokens in held:
            _add_ondo(by_address[address], chain, address, tokens, registers)
        for owners, answer in balances:
            _add_listed(by_address, owners, answer, registers)
        return {address: _valued(holdings.values(), registers) for address, holdings in by_address.items()}

    # Balances

    async def _get(self, url: str) -> bytes:
        async with self._session.get(url) as response:
            response.raise_for_status()
            return await response.read()

    async def _held(self, chain: str, address: str) -> tuple[str, str, list[Any]]:
        body = await self._get(f"{self._ondo}/v1/chains/{chain}/balances?userAddress={address}")
        return chain, address, orjson.loads(body)["tokens"]

    async def _balances(self, evm: Sequence[str], solana: Sequence[str]) -> list[tuple[_Pair, Any]]:
        """EVM and Solana addresses two by two."""
        aggregates = (await self._assets.get())[2]

        async def ask(pair: _Pair) -> tuple[_Pair, Any]:
            named = zip(("eip155:1", "solana"), pair, strict=True)
            accounts = ",".join(f"{name}:{address}" for name, address in named if address)
            query = f"account={accounts}&aggregatedAssetId={aggregates}"
            body = await self._get(f"{self._onebalance}/v3/balances/aggregated-balance?{query}")
            return pair, json.loads(body, parse_float=Decimal)

        return await asyncio.gather(*[ask(pair) for pair in zip_longest(evm, solana)])

    async def _spl(self, owners: Sequence[str]) -> dict[str, list[Any]]:
        """The rows of each owner, all pages."""
        by_owner: dict[str, list[Any]] = {owner: [] for owner in owners}
        for start in range(0, len(owners), _MOST_OWNERS):
            some, page, rows = ",".join(owners[start : start + _MOST_OWNERS]), 0, [None] * _MOST_ROWS
            while len(rows) >= _MOST_ROWS:
                page += 1
                query = f"network=solana&owner={some}&limit={_MOST_ROWS}&page={page}"
                rows = orjson.loads(await self._get(f"{self._thegraph}/v1/svm/balances?{query}"))["data"]
                for row in rows:
                    if row["owner"] in by_owner:
                        by_owner[row["owner"]].append(row)
        return by_owner

    async def _sol(self, owners: Sequence[str]) -> dict[str, int]:
        lamports = {}
        for start in range(0, len(owners), _MOST_OWNERS):
            some = ",".join(owners[start : start + _MOST_OWNERS])
            query = f"network=solana&address={some}&limit={_MOST_ROWS}&page=1"
            for row in orjson.loads(await self._get(f"{self._thegraph}/v1/svm/balances/native?{query}"))["data"]:
                lamports[row["address"]] = int(row["amount"])
        return lamports

    # Registers

    async def _fetch_metadata(self) -> dict[str, _Token]:
        tokens = {}
        for asset in orjson.loads(await self._get(f"{self._ondo}/v1/assets/all/metadata")):
            for place in asset.get("addresses", ()):
                if (chain := _CHAINS.get(place["networkChainId"])) is not None:
                    tokens[_token_id(chain, place["address"])] = _Token(_clean(asset["symbol"]), place["decimals"])
        return tokens

    async def _fetch_assets(self) -> tuple[dict[str, _Token], dict[str, str], str]:
        listed: dict[str, _Token] = {}
        spelled: dict[str, str] = {}
        aggregates: set[str] = set()
        for asset in orjson.loads(await self._get(f"{self._onebalance}/assets/list")):
            aggregates.add(asset["aggregatedAssetId"])
            for entity in asset["aggregatedEntities"]:
                asset_id = spelled[entity["assetType"]] = _canonical(entity["assetType"])
                symbol = _clean(entity.get("symbol") or asset.get("symbol"))
                listed.setdefault(asset_id, _Token(symbol, entity["decimals"]))
        return listed, spelled, ",".join(sorted(aggregates))

    async def _fetch_registers(self) -> _Registers:
        metadata, (listed, spelled, aggregates), body = await asyncio.gather(
            self._metadata.get(), self._assets.get(), self._get(f"{self._ondo}/v1/assets/all/prices/latest")
        )
        rows = [row["primaryMarket"] for row in orjson.loads(body)]
        prices = {row["symbol"]: Decimal(row["price"]) for row in rows}
        for token in metadata.values():
            token.price = prices.get(token.symbol or "") or None
        return _Registers(metadata, listed, spelled, aggregates)


def _token_id(chain: str, address: str) -> str:
    return _canonical(f"{chain}/{'token' if chain == _SOLANA else 'erc20'}:{address}")


def _holding(address: str, asset_id: str, source: str) -> _Holding:
    chain, _, rest = asset_id.partition("/")
    account_id = f"{chain}:{address}"
    return _Holding(f"Holding:{account_id}/{rest}", account_id, asset_id, source, None, None, None, None)


def _add_solana(
    holdings: dict[str, _Holding], owner: str, rows: Iterable[Any], lamports: int | None, registers: _Registers
) -> None:
    """Token accounts, of two rows of one the newer, summed by mint; and SOL."""
    newest: dict[tuple[str, str, str], Any] = {}
    for row in rows:
        key = row.get("account") or row["token_account"], row["mint"], row["program_id"]
        seen = newest.get(key)
        if seen is None or row["last_update_block_num"] > seen["last_update_block_num"]:
            newest[key] = row
    last: dict[str, int] = {}
    for row in newest.values():
        raw = int(row["amount"])
        if not raw:
            continue
        asset_id = f"{_SOLANA}/token:{row['mint']}"
        holding = holdings.get(asset_id)
        if holding is None:
            holding = holdings[asset_id] = _holding(owner, asset_id, "SOLANA_SPL")
            holding.raw = 0
        holding.raw = (holding.raw or 0) + raw
        block = row["last_update_block_num"]
        if block > last.get(asset_id, -1):
            last[asset_id] = block
            holding.symbol = _clean(row["symbol"])
            # An unknown mint has 0 decimals and no text.
            holding.decimals = row["decimals"] if row["decimals"] or row["symbol"] or row["name"] else None
    if lamports:
        sol = holdings[_SOL] = _holding(owner, _SOL, "SOLANA_SPL")
        sol.raw, sol.symbol, sol.decimals = lamports, "SOL", 9
    for holding in holdings.values():
        if holding.decimals is None:
            known = registers.listed.get(holding.asset_id) or registers.ondo.get(holding.asset_id)
            holding.decimals = None if known is None else known.decimals
        if holding.decimals is not None and holding.raw is not None:
            holding.amount = Decimal(holding.raw).scaleb(-holding.decimals, _EXACT)


def _add_ondo(
    holdings: dict[str, _Holding], chain: str, address: str, tokens: Iterable[Any], registers: _Registers
) -> None:
    """Amounts in whole tokens, unless the chain itself was read."""
    for token in tokens:
        asset_id = _token_id(_CHAINS[chain], token["tokenAddress"])
        known = registers.ondo.get(asset_id)
        for row in token["balances"]:
            if row["holderAddress"]["account"] != address:
                continue
            holding = holdings.get(asset_id)
            if holding is None:
                holding = holdings[asset_id] = _holding(address, asset_id, "ONDO_GM")
                holding.amount = amount = Decimal(row["balance"])
                if known is not None:
                    scaled = amount.scaleb(known.decimals, _EXACT)
                    holding.raw = int(scaled) if scaled == int(scaled) else None
            if known is None:
                holding.symbol = _clean(token["tokenSymbol"])


def _add_listed(
    by_address: Mapping[str, dict[str, _Holding]],
    owners: _Pair,
    answer: Any,
    registers: _Registers,
) -> None:
    """OneBalance's word, whose decimals are those of its register."""
    evm, solana = owners
    accounts = answer["accounts"]
    if (evm and accounts["evm"].lower() != evm) or (solana and accounts["solana"] != solana):
        raise ValueError("an answer about others")
    seen: set[str] = set()
    for part in (*answer["balanceByAggregatedAsset"], {"individualAssetBalances": answer["balanceBySpecificAsset"]}):
        for row in part["individualAssetBalances"]:
            asset_type = row["assetType"]
            asset_id = registers.spelled.get(asset_type) or _canonical(asset_type)
            address = solana if asset_id.startswith("solana:") else evm
            if address is None or asset_id in seen:
                continue
            seen.add(asset_id)
            raw = int(row["balance"])
            holding = by_address[address].get(asset_id)
            if holding is None:
                if not raw:
                    continue
                holding = by_address[address][asset_id] = _holding(address, asset_id, "ONEBALANCE")
                holding.raw = raw
                token = registers.listed.get(asset_id)
                holding.amount = None if token is None else Decimal(raw).scaleb(-token.decimals, _EXACT)
            value = row["fiatValue"]
            holding.said_raw, holding.said_value = raw, value if isinstance(value, Decimal) else Decimal(value)


def _valued(holdings: Iterable[_Holding], registers: _Registers) -> list[_Holding]:
    """What is more than nothing, with its value and with the registers' word on its token."""
    valued = []
    for holding in holdings:
        if not (holding.raw if holding.amount is None else holding.amount):
            continue
        ondo, listed = registers.ondo.get(holding.asset_id), registers.listed.get(holding.asset_id)
        if listed is not None:
            holding.symbol, holding.decimals = listed.symbol or holding.symbol, listed.decimals
        if ondo is not None:
            holding.symbol, holding.decimals = ondo.symbol or holding.symbol, ondo.decimals
        amount = holding.amount
        if ondo is not None and ondo.price is not None and amount is not None:
            product = _EXACT.multiply(amount, ondo.price)
            holding.value, holding.status = product.quantize(_PLACES, ROUND_HALF_EVEN, _EXACT), "DERIVED"
        elif holding.said_value is not None and holding.said_value > 0:
            _value_by_onebalance(holding, listed)
        valued.append(holding)
    return valued


def _value_by_onebalance(holding: _Holding, listed: _Token | None) -> None:
    assert holding.said_raw is not None
    assert holding.said_value is not None
    said = None if listed is None else Decimal(holding.said_raw).scaleb(-listed.decimals, _EXACT)
    amount = holding.amount
    same = holding.said_raw == holding.raw if said is None or amount is None else said == amount
    if same:
        holding.value, holding.status = holding.said_value, "REPORTED"
    elif said and amount is not None:
        scaled = Fraction(holding.said_value) * Fraction(amount) / Fraction(said)
        holding.value = Decimal(round(scaled * 10**18)).scaleb(-18, _EXACT)
        holding.status = "DERIVED"


_by_id = attrgetter("id")
_by_value = attrgetter("value")


def _page(wallets: Iterable[Iterable[_Holding]], node: Callable[[_Holding], dict[str, Any]]) -> list[dict[str, Any]]:
    """The first page, by value; the unknown ones last, and equal ones by id."""
    holdings = sorted((holding for wallet in wallets for holding in wallet), key=_by_id)
    known = [holding for holding in holdings if holding.value is not None]
    known.sort(key=_by_value, reverse=True)
    known += [holding for holding in holdings if holding.value is None]
    return [node(holding) for holding in known[:_FIRST]]


def _wide(holding: _Holding) -> dict[str, Any]:
    return {
        "accountId": holding.account_id,
        "amount": None if holding.amount is None else _plain(holding.amount),
        "rawAmount": None if holding.raw is None else str(holding.raw),
        "valueUsd": None if holding.value is None else _plain(holding.value),
        "valueStatus": holding.status,
        "amountSource": holding.source,
        "token": {"symbol": holding.symbol, "decimals": holding.decimals},
    }


def _narrow(holding: _Holding) -> dict[str, Any]:
    amount = None if holding.amount is None else _plain(holding.amount)
    return {"amount": amount, "token": {"symbol": holding.symbol}}


async def serve() -> None:
    """Serves until SIGTERM or SIGINT; says where in a line of JSON."""
    bases = [os.environ[name] for name in ("ONDO_BASE_URL", "ONEBALANCE_BASE_URL", "THEGRAPH_BASE_URL")]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"x-api-key": "any"}) as session:
        app = web.Application()
        app.router.add_post("/graphql", Floor(session, *bases).handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(os.environ.get("PORT", "0"))).start()
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        host, port = runner.addresses[0][:2]
        print(json.dumps({"url": f"http://{host}:{port}/graphql"}), flush=True)
        await stopped.wait()
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve())
