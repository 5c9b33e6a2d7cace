"""The three upstreams as one cheap process: what the simulators answer about one wallet, for whatever address.

    python -m benchmarks.speed.upstream --port 9100

prints the base URLs as a line of JSON and serves until SIGTERM. It reads nothing of a request but its first line.
``/counts`` gives the requests by kind, ``/reset`` forgets them, and ``/delay?ms=50`` lets all further answers wait.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast
from urllib.parse import unquote

import aiohttp
import orjson
import uvloop

from benchmarks.speed.wallet import (
    EVM_DIGITS,
    EVM_OWNER,
    HOLDINGS,
    OWNER_TAIL,
    SOLANA_DIGITS,
    SOLANA_OWNER,
    Wallet,
)
from loaders.upstream.simulator.ondo import OndoSimulator
from loaders.upstream.simulator.onebalance import OneBalanceSimulator
from loaders.upstream.simulator.thegraph import TheGraphSimulator

_REGISTERS = {
    "/ondo/v1/assets/all/metadata": "ondo metadata",
    "/ondo/v1/assets/all/prices/latest": "ondo prices",
    "/ondo/v1/assets/all/prices/latest/enhanced": "ondo changes",
    "/ondo/v1/assets/all/market": "ondo market",
    "/onebalance/api/assets/list": "onebalance assets",
    "/onebalance/api/chains/supported-list": "onebalance chains",
    "/thegraph/v1/networks": "thegraph networks",
}
_BALANCES = "/onebalance/api/v3/balances/aggregated-balance"
_SPL = "/thegraph/v1/svm/balances"
_NATIVE = "/thegraph/v1/svm/balances/native"
_ROW_END = b"\x00"

Parameters = Mapping[str, str]


class _EvmTemplate:
    """What is said of one EVM address."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __call__(self, owner: str) -> bytes:
        return self._body.replace(EVM_OWNER.encode(), owner.encode()).replace(EVM_DIGITS.encode(), _digits(owner))


class _SolanaTemplate:
    """What is said of one Solana address."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __call__(self, owner: str) -> bytes:
        body = self._body.replace(SOLANA_OWNER.encode(), owner.encode())
        tail = owner[-len(OWNER_TAIL) :].encode()
        return body.replace(OWNER_TAIL.encode(), tail).replace(SOLANA_DIGITS.encode(), _digits(owner))


def _digits(owner: str) -> bytes:
    """Eight digits that hardly any other address has."""
    return b"%08d" % (zlib.crc32(owner.encode()) % 10**8)


class _Rows:
    """The Graph's rows of one owner or of several, in its order, and the envelope around them."""

    def __init__(self, body: bytes) -> None:
        answer = json.loads(body)
        self._rows = [orjson.dumps(row) for row in answer["data"]]
        place = orjson.Fragment(_ROW_END)
        envelope = orjson.dumps({**answer, "data": place, "results": place})
        self._head, self._middle, self._foot = envelope.split(_ROW_END)
        self._parts: dict[tuple[int, int], _SolanaTemplate] = {}

    def __call__(self, owners: Sequence[str], limit: int, page: int) -> bytes:
        start, end, count = limit * (page - 1), limit * page, len(owners)
        first, last = start // count, min(-(-end // count), len(self._rows))
        if first >= last:
            return self._around(b"", 0)
        template = self._part(first, last)
        if count == 1:
            return self._around(template(owners[0]).replace(_ROW_END, b","), last - first)
        # Rows of one time are by account, which ends as its owner does.
        ordered = sorted(owners, key=lambda owner: owner[-len(OWNER_TAIL) :])
        columns = [template(owner).split(_ROW_END) for owner in ordered]
        rows = [row for same in zip(*columns, strict=True) for row in same]
        rows = rows[start - first * count : end - first * count]
        return self._around(b",".join(rows), len(rows))

    def _part(self, first: int, last: int) -> _SolanaTemplate:
        """Some of an owner's rows, told apart."""
        part = self._parts.get((first, last))
        if part is None:
            part = self._parts[first, last] = _SolanaTemplate(_ROW_END.join(self._rows[first:last]))
        return part

    def _around(self, rows: bytes, count: int) -> bytes:
        return b"%b[%b]%b%d%b" % (self._head, rows, self._middle, count, self._foot)


class Answers:
    """Every answer, by the target of its request."""

    def __init__(self, bodies: Mapping[str, bytes]) -> None:
        self.counts: Counter[str] = Counter()
        self._bodies = {path: _response(bodies[path]) for path in _REGISTERS}
        self._ondo: dict[str, tuple[str, Callable[[str], bytes]]] = {}
        for chain in ("ethereum-1", "bsc-56", "solana-900"):
            template = _SolanaTemplate if chain == "solana-900" else _EvmTemplate
            self._ondo[f"/ondo/v1/chains/{chain}/balances"] = f"ondo {chain}", template(bodies[chain])
        self._evm, self._solana = _EvmTemplate(bodies["evm"]), _SolanaTemplate(bodies["solana"])
        self._evm_of_pair = _EvmTemplate(bodies["pair"])
        self._solana_of_pair = _SolanaTemplate(bodies["pair"])
        self._spl, self._native = _Rows(bodies["spl"]), _Rows(bodies["native"])

    def __call__(self, target: str) -> bytes:
        """The whole response."""
        path, _, query = target.partition("?")
        if path in self._bodies:
            self.counts[_REGISTERS[path]] += 1
            return self._bodies[path]
        parameters = dict(part.partition("=")[::2] for part in (unquote(query) if "%" in query else query).split("&"))
        try:
            return _response(self._balances(path, parameters))
        except (KeyError, ValueError):
            self.counts["refused"] += 1
            return _response(b'{"message":"not in this upstream"}', b"400 Bad Request")

    def _balances(self, path: str, parameters: Parameters) -> bytes:
        if path in self._ondo:
            kind, template = self._ondo[path]
            body = template(parameters["userAddress"])
        elif path == _BALANCES:
            kind, body = "onebalance balances", self._of_accounts(parameters["account"].split(","))
        else:
            named = {_SPL: "owner", _NATIVE: "address"}[path]
            kind, rows = ("thegraph balances", self._spl) if path == _SPL else ("thegraph native", self._native)
            limit, page = int(parameters.get("limit", "10")), int(parameters.get("page", "1"))
            body = rows(parameters[named].split(","), limit, page)
        self.counts[kind] += 1
        return body

    def _of_accounts(self, accounts: Sequence[str]) -> bytes:
        evm = next((one.rpartition(":")[2] for one in accounts if one.startswith("eip155:")), None)
        solana = next((one.rpartition(":")[2] for one in accounts if one.startswith("solana:")), None)
        if evm is not None and solana is not None:
            # One template after the other: neither finds the other's places.
            return _SolanaTemplate(self._evm_of_pair(evm))(solana)
        if solana is not None:
            return self._solana(solana)
        if evm is None:
            raise ValueError("no account")
        return self._evm(evm)


def _response(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + body


class Upstream:
    """The answers over HTTP, after a delay if wanted."""

    def __init__(self, answers: Answers, delay_seconds: float = 0.0) -> None:
        self.answers = answers
        self.delay_seconds = delay_seconds

    def __call__(self, target: str) -> tuple[bytes, float]:
        """The whole response to the target of a request, and the seconds that it takes."""
        if target.startswith(("/ondo/", "/onebalance/", "/thegraph/")):
            return self.answers(target), self.delay_seconds
        return _response(self._control(target)), 0.0

    def _control(self, target: str) -> bytes:
        if target == "/reset":
            self.answers.counts.clear()
        elif target.startswith("/delay?ms="):
            self.delay_seconds = float(target.partition("=")[2]) / 1_000
        return json.dumps(self.answers.counts).encode()


class _Protocol(asyncio.Protocol):
    """GET requests one after the other, and nothing read of them but where they go."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._unread + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            response, seconds = self._upstream(data[: data.index(b"\r")].split(b" ")[1].decode("ascii"))
            data = data[end + 4 :]
            if seconds:
                asyncio.get_running_loop().call_later(seconds, self._write, response)
            else:
                self._transport.write(response)
        self._unread = data

    def _write(self, response: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(response)


async def _bodies(holdings: int) -> dict[str, bytes]:
    """What the simulators say of the wallet: the shapes are theirs."""
    wallet = Wallet(holdings)
    bodies: dict[str, bytes] = {}
    async with (
        OndoSimulator(wallet.ondo) as ondo,
        OneBalanceSimulator(wallet.onebalance) as onebalance,
        TheGraphSimulator(wallet.thegraph, plan="0/0") as thegraph,
        aiohttp.ClientSession(headers={"x-api-key": "demo-key", "Authorization": "Bearer demo-token"}) as session,
    ):
        urls = {"/ondo": ondo.url, "/onebalance": onebalance.url, "/thegraph": thegraph.url}

        async def ask(path: str, **parameters: str) -> bytes:
            prefix = next(prefix for prefix in urls if path.startswith(f"{prefix}/"))
            async with session.get(urls[prefix] + path.removeprefix(prefix), params=parameters) as response:
                response.raise_for_status()
                return await response.read()

        for path in _REGISTERS:
            bodies[path] = await ask(path)
        for chain in ("ethereum-1", "bsc-56", "solana-900"):
            owner = SOLANA_OWNER if chain == "solana-900" else EVM_OWNER
            bodies[chain] = await ask(f"/ondo/v1/chains/{chain}/balances", userAddress=owner)
        aggregates = ",".join(wallet.onebalance.assets)
        accounts = {"evm": f"eip155:1:{EVM_OWNER}", "solana": f"solana:{SOLANA_OWNER}"}
        accounts["pair"] = ",".join(accounts.values())
        for name, account in accounts.items():
            bodies[name] = await ask(_BALANCES, account=account, aggregatedAssetId=aggregates)
        solana = {"network": "solana", "limit": "1000"}
        bodies["native"] = await ask(_NATIVE, address=SOLANA_OWNER, **solana)
        bodies["spl"] = await _all_rows(partial(ask, _SPL, owner=SOLANA_OWNER, **solana))
    return bodies


async def _all_rows(ask: Callable[..., Any]) -> bytes:
    """The pages of a list as one answer."""
    first = json.loads(await ask(page="1"))
    rows, page = first["data"], 1
    while len(rows) == 1_000 * page:
        page += 1
        rows += json.loads(await ask(page=str(page)))["data"]
    return json.dumps(first).encode()


async def serve(port: int, delay_seconds: float, holdings: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    upstream = Upstream(Answers(await _bodies(holdings)), delay_seconds)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(upstream), "127.0.0.1", port, backlog=4_096)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    urls = {
        "ONDO_BASE_URL": f"{base}/ondo",
        "ONEBALANCE_BASE_URL": f"{base}/onebalance/api",
        "THEGRAPH_BASE_URL": f"{base}/thegraph",
        "control": base,
    }
    print(json.dumps(urls), flush=True)
    await stopped.wait()
    server.close()


def main() -> None:
    """Reads the command line, and serves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long each answer waits")
    parser.add_argument("--holdings", type=int, default=HOLDINGS, help="what a pair of addresses holds")
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.delay_ms / 1_000, given.holdings))


if __name__ == "__main__":
    main()
