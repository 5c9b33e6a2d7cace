"""Whether an answer is true: compared with the data that it was made of, whatever the upstreams did meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from benchmarks.world import BSC, ETHEREUM, ONDO_GM, ONEBALANCE, SOLANA, SOLANA_SPL, World

VIEW = """
    holdings(first: $first) {
      totalCount
      nodes { accountId token { assetId symbol } amount valueUsd amountSource observations { source amount } }
    }
    total { valueUsd complete }
    sources { source chain { chainId } accounts status code cacheAgeSeconds upstreamCalls }
"""
"""What must be selected of a wallet or portfolio for it to be checked."""

_EVM_PARTS = ((ONDO_GM, ETHEREUM), (ONDO_GM, BSC), (ONEBALANCE, None))
_SOLANA_PARTS = ((ONDO_GM, SOLANA), (ONEBALANCE, None), (SOLANA_SPL, SOLANA))
_ANSWERED = ("OK", "STALE")


def parts_of(address: str) -> Sequence[tuple[str, str | None]]:
    """The sources and chains that must report on an address."""
    return _EVM_PARTS if address.startswith("0x") else _SOLANA_PARTS


class Witness:
    """Judges one wallet or portfolio; ``faults`` are in words, none where all is true."""

    def __init__(self, world: World, addresses: Sequence[str], view: dict[str, Any]) -> None:
        self.faults: list[str] = []
        self._world = world
        self._addresses = addresses
        self._view = view
        self._status: dict[tuple[str, str, str | None], str] = {}
        for report in view["sources"]:
            chain = report["chain"] and report["chain"]["chainId"]
            for address in report["accounts"]:
                self._status[report["source"], address, chain] = report["status"]
        self._check_reports()
        for node in view["holdings"]["nodes"]:
            self._check_holding(node)
        self._check_list()
        self._check_total()

    def _status_of(self, source: str, address: str, asset: str) -> str | None:
        chain = None if source == ONEBALANCE else asset.partition("/")[0]
        return self._status.get((source, address, chain))

    def _check_reports(self) -> None:
        for address in self._addresses:
            for source, chain in parts_of(address):
                status = self._status.get((source, address, chain))
                if status not in ("OK", "STALE", "PARTIAL", "FAILED"):
                    self.faults.append(f"{source} reports {status}")

    def _check_holding(self, node: dict[str, Any]) -> None:
        world, asset, address = self._world, node["token"]["assetId"], node["accountId"].rpartition(":")[2]
        words = {one["source"]: one["amount"] for one in node["observations"]}
        for source, amount in words.items():
            status, true = self._status_of(source, address, asset), world.word(source, address, asset)
            if status in (None, "FAILED"):
                self.faults.append(f"{source} is {status} and yet says {amount}")
            elif amount is None or not _fits(source, status, Decimal(amount), true):
                self.faults.append(f"{source} ({status}) says {amount} instead of {true}")
        for source in world.words[address].get(asset, ()):
            if self._status_of(source, address, asset) in _ANSWERED and source not in words:
                self.faults.append(f"{source} is not heard")
        if node["amount"] != words.get(node["amountSource"]):
            self.faults.append("the amount is not that of its source")
        value, price = node["valueUsd"], world.prices.get(asset)
        if value is not None and (price is None or Decimal(value) != price * Decimal(node["amount"])):
            self.faults.append(f"a value of {value} for {node['amount']} at {price}")
        if node["token"]["symbol"] not in (None, world.symbols.get(asset)):
            self.faults.append("a token has another's symbol")

    def _check_list(self) -> None:
        """No holding of a source that answered is missing, and nothing else is there."""
        must: set[tuple[str, str]] = set()
        may: set[tuple[str, str]] = set()
        for address in self._addresses:
            for source in dict.fromkeys(source for source, _ in parts_of(address)):
                for asset in self._world.held(source, address):
                    status = self._status_of(source, address, asset)
                    if status in _ANSWERED:
                        must.add((address, asset))
                    elif status == "PARTIAL":
                        may.add((address, asset))
        holdings = self._view["holdings"]
        count, nodes = holdings["totalCount"], holdings["nodes"]
        if not len(must) <= count <= len(must | may):
            self.faults.append(f"{count} holdings instead of {len(must)} to {len(must | may)}")
        shown = {(node["accountId"].rpartition(":")[2], node["token"]["assetId"]) for node in nodes}
        if len(shown) != len(nodes) or not shown <= must | may or (len(nodes) == count and not must <= shown):
            self.faults.append("other holdings than there are")

    def _check_total(self) -> None:
        total, nodes = self._view["total"], self._view["holdings"]["nodes"]
        value = None if total["valueUsd"] is None else Decimal(total["valueUsd"])
        if total["complete"]:
            if {report["status"] for report in self._view["sources"]} - {"OK", "NOT_APPLICABLE"}:
                self.faults.append("complete, although a source is not OK")
            if value is None or value != self._world.total(self._addresses):
                self.faults.append(f"a complete total of {value}, which is another")
        if len(nodes) == self._view["holdings"]["totalCount"] and value is not None:
            shown = sum((Decimal(node["valueUsd"]) for node in nodes if node["valueUsd"] is not None), Decimal(0))
            if shown != value:
                self.faults.append(f"a total of {value} over holdings of {shown}")


def _fits(source: str, status: str | None, amount: Decimal, true: Decimal | None) -> bool:
    if true is None or amount == true:
        return true is not None
    return status == "PARTIAL" and source == SOLANA_SPL and amount < true  # some token accounts of a mint


def check_tokens(world: World, assets: Sequence[str], tokens: Sequence[dict[str, Any] | None]) -> list[str]:
    """What is false in an answer to a token lookup; what is unknown is not false."""
    faults = []
    if len(tokens) != len(assets):
        faults.append(f"{len(tokens)} tokens for {len(assets)} assets")
    for asset, token in zip(assets, tokens, strict=False):
        if token is None:
            continue
        if token["assetId"] != asset or token["symbol"] not in (None, world.symbols[asset]):
            faults.append("a token is another")
        if token["decimals"] not in (None, world.decimals[asset]):
            faults.append(f"{token['decimals']} decimals instead of {world.decimals[asset]}")
        price = token["price"]
        if price is not None and Decimal(price["usd"]) != world.prices.get(asset):
            faults.append(f"a price of {price['usd']} instead of {world.prices.get(asset)}")
    return faults
