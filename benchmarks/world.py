"""Generated wallets, of which every source's word is known exactly."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import base58

from loaders.upstream.simulator.ondo import OndoAsset, OndoDataset
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceDataset, OneBalanceEntity
from loaders.upstream.simulator.thegraph import TheGraphDataset
from loaders.upstream.simulator.thegraph_dataset import TOKEN_2022_PROGRAM, TOKEN_PROGRAM

ONDO_GM, ONEBALANCE, SOLANA_SPL = SOURCES = ("ONDO_GM", "ONEBALANCE", "SOLANA_SPL")
PAGE = 100
"""Token accounts on a page of The Graph's plan ``scale``."""

ETHEREUM, BSC, BASE = "eip155:1", "eip155:56", "eip155:8453"
SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
SOL = f"{SOLANA}/slip44:501"

_ONDO_NAMES = {ETHEREUM: "ethereum-1", BSC: "bsc-56", SOLANA: "solana-900"}
_EVM_WALLETS, _SOLANA_WALLETS, _STRANGERS = 300, 200, 2_000
_WHALE_EVERY = 40
_STOCKS, _COINS, _MINTS = 40, 12, 150
_AMOUNT_RANK = (SOLANA_SPL, ONDO_GM, ONEBALANCE)


class World:
    """The data of the three upstreams, and what is true of each wallet.

    ``words`` are by address, asset and source, in whole tokens; where two sources know an asset, their amounts
    differ, so that one cannot pass for the other. Every priced asset has one price, whoever says it.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"world {seed}")
        self.words: dict[str, dict[str, dict[str, Decimal]]] = defaultdict(lambda: defaultdict(dict))
        self.prices: dict[str, Decimal] = {}
        self.symbols: dict[str, str] = {}
        self.decimals: dict[str, int] = {}
        self.ondo, self.onebalance, self.thegraph = OndoDataset(), OneBalanceDataset(), TheGraphDataset()
        self._token_accounts: dict[str, int] = defaultdict(int)
        self._listed: set[str] = set()
        self._stocks: dict[str, list[str]] = {chain: [] for chain in _ONDO_NAMES}
        self._coins: list[str] = []
        self._mints: list[str] = []
        self._add_stocks()
        self._add_coins()
        self._add_mints()
        self.evm = [self._evm_address() for _ in range(_EVM_WALLETS)]
        self.solana = [self._solana_address() for _ in range(_SOLANA_WALLETS)]
        for number, address in enumerate(self.evm):
            self._fill_evm(address, whale=number % _WHALE_EVERY == 3)
        for number, address in enumerate(self.solana):
            self._fill_solana(address, whale=number % _WHALE_EVERY == 3, priced=number % 2 == 0)
        self._add_strangers()

    @property
    def assets(self) -> Sequence[str]:
        """Every asset that there is."""
        return list(self.symbols)

    def word(self, source: str, address: str, asset: str) -> Decimal | None:
        """What a source says of an asset; OneBalance says 0 of what it lists and an account does not hold."""
        said = self.words[address].get(asset, {}).get(source)
        return Decimal(0) if said is None and source == ONEBALANCE and asset in self._listed else said

    def held(self, source: str, address: str) -> set[str]:
        """The assets of which a source knows that an address holds them."""
        return {asset for asset, words in self.words[address].items() if source in words}

    def total(self, addresses: Sequence[str]) -> Decimal | None:
        """What the addresses hold is worth when all sources answer; None when something has no price."""
        worth = Decimal(0)
        for address in addresses:
            for asset, words in self.words[address].items():
                if asset not in self.prices:
                    return None
                worth += self.prices[asset] * next(words[source] for source in _AMOUNT_RANK if source in words)
        return worth

    def cost(self, source: str, address: str) -> int:
        """The requests that one report of a source on an address costs, when nothing is known and nothing shared."""
        if source != SOLANA_SPL:
            return 1
        return self._token_accounts[address] // PAGE + 1 + 1  # a full page is followed by another; SOL is beside them

    def _add_stocks(self) -> None:
        for number in range(_STOCKS):
            symbol, price = f"S{number}on", self._price()
            chains = [chain for chain in _ONDO_NAMES if number % 3 or chain != BSC]
            places = {chain: self._token_on(chain) for chain in chains}
            addresses = {_ONDO_NAMES[chain]: place for chain, place in places.items()}
            self.ondo.add_asset(
                OndoAsset(
                    symbol=symbol, ticker=f"S{number}", name=f"Stock {number}", addresses=addresses, price=str(price)
                )
            )
            assets = [_token(chain, place) for chain, place in places.items()]
            for chain, asset in zip(chains, assets, strict=True):
                self._describe(asset, symbol, 9 if chain == SOLANA else 18, price)
                self._stocks[chain].append(asset)
                if chain == SOLANA:
                    self._add_mint(asset, program=TOKEN_2022_PROGRAM)
            if number % 5 == 0:
                self._list(f"ob:s{number}", symbol, assets)

    def _add_coins(self) -> None:
        self.onebalance.chains = [ETHEREUM, BSC, BASE, SOLANA]
        self._describe(SOL, "SOL", 9, self._price())
        self._list("ob:sol", "SOL", [SOL])
        for number in range(_COINS):
            symbol, price = f"C{number}", self._price()
            assets = [_token(chain, self._token_on(chain)) for chain in (ETHEREUM, BASE, SOLANA)]
            for asset in assets:
                self._describe(asset, symbol, 6, price)
            self._add_mint(assets[-1])
            self._coins += assets
            self._list(f"ob:c{number}", symbol, assets)

    def _add_mints(self) -> None:
        for number in range(_MINTS):
            mint = _token(SOLANA, self._solana_address())
            self._describe(mint, f"M{number}", 6, None)
            self._add_mint(mint)
            self._mints.append(mint)
        self.thegraph.add_network()

    def _describe(self, asset: str, symbol: str, decimals: int, price: Decimal | None) -> None:
        self.symbols[asset], self.decimals[asset] = symbol, decimals
        if price is not None:
            self.prices[asset] = price

    def _list(self, aggregate: str, symbol: str, assets: Sequence[str]) -> None:
        entities = [OneBalanceEntity(asset, self.decimals[asset], symbol, symbol) for asset in assets]
        self.onebalance.add_asset(OneBalanceAsset(aggregate, symbol, symbol, self.decimals[assets[0]], entities))
        self._listed |= set(assets)

    def _add_mint(self, asset: str, program: str = TOKEN_PROGRAM) -> None:
        symbol = self.symbols[asset]
        mint, decimals = _reference(asset), self.decimals[asset]
        self.thegraph.add_mint(mint=mint, decimals=decimals, name=symbol, symbol=symbol, program_id=program)

    def _fill_evm(self, address: str, *, whale: bool) -> None:
        for chain in (ETHEREUM, BSC):
            for asset in self._some(self._stocks[chain], 25 if whale else 4):
                self._put_in_ondo(address, asset, self._amount())
                self._put_in_onebalance(address, asset)
        for asset in self._some([coin for coin in self._coins if not coin.startswith(SOLANA)], 12 if whale else 4):
            self._put_in_onebalance(address, asset)

    def _fill_solana(self, address: str, *, whale: bool, priced: bool) -> None:
        for asset in self._some(self._stocks[SOLANA], 30 if whale else 3):
            self._put_in_ondo(address, asset, self._amount())
            self._put_in_token_accounts(address, asset, 1, TOKEN_2022_PROGRAM)
            self._put_in_onebalance(address, asset)
        for asset in self._some([coin for coin in self._coins if coin.startswith(SOLANA)], 4):
            self._put_in_token_accounts(address, asset, 2)
            self._put_in_onebalance(address, asset)
        if whale or not priced:
            for asset in self._some(self._mints, 120 if whale else 6):
                self._put_in_token_accounts(address, asset, 3 if whale else 1)
        lamports = self._random.randint(1, 10**12)
        self.thegraph.add_native(address=address, lamports=lamports)
        self.words[address][SOL][SOLANA_SPL] = Decimal(lamports).scaleb(-9)
        self._put_in_onebalance(address, SOL)

    def _put_in_ondo(self, address: str, asset: str, amount: Decimal) -> None:
        chain = _ONDO_NAMES[asset.partition("/")[0]]
        self.ondo.add_balance(chain=chain, symbol=self.symbols[asset], account=address, balance=format(amount, "f"))
        self.words[address][asset][ONDO_GM] = amount

    def _put_in_onebalance(self, address: str, asset: str) -> None:
        if asset not in self._listed:
            return
        amount = self._amount()
        raw, value = int(amount.scaleb(self.decimals[asset])), format(self.prices[asset] * amount, "f")
        self.onebalance.add_balance(account=address, asset_type=asset, balance=raw, fiat_value=value)
        self.words[address][asset][ONEBALANCE] = amount

    def _put_in_token_accounts(self, address: str, asset: str, count: int, program: str = TOKEN_PROGRAM) -> None:
        parts = [self._amount() for _ in range(count)]
        for part in parts:
            self.thegraph.add_token_account(
                owner=address,
                account=self._solana_address(),
                mint=_reference(asset),
                amount=int(part.scaleb(self.decimals[asset])),
                program_id=program,
            )
        self._token_accounts[address] += count
        self.words[address][asset][SOLANA_SPL] = sum(parts, Decimal(0))

    def _add_strangers(self) -> None:
        """Others who hold Ondo's tokens: what a request for a whole chain gives, and nobody asks for."""
        for chain, assets in self._stocks.items():
            for _ in range(_STRANGERS):
                account = self._solana_address() if chain == SOLANA else self._evm_address()
                for asset in self._some(assets, 3):
                    balance = format(self._amount(), "f")
                    self.ondo.add_balance(
                        chain=_ONDO_NAMES[chain], symbol=self.symbols[asset], account=account, balance=balance
                    )

    def _some(self, assets: Sequence[str], count: int) -> list[str]:
        return self._random.sample(assets, count)

    def _amount(self) -> Decimal:
        """More than zero, no finer than six places, and hardly twice the same."""
        return Decimal(self._random.randint(1, 10**9)).scaleb(-6)

    def _price(self) -> Decimal:
        return Decimal(self._random.randint(1, 10**6)).scaleb(-3)

    def _token_on(self, chain: str) -> str:
        return self._solana_address() if chain == SOLANA else self._evm_address()

    def _evm_address(self) -> str:
        return f"0x{self._random.getrandbits(160):040x}"

    def _solana_address(self) -> str:
        return base58.b58encode(self._random.randbytes(32)).decode()


def _token(chain: str, reference: str) -> str:
    return f"{chain}/{'token' if chain == SOLANA else 'erc20'}:{reference}"


def _reference(asset: str) -> str:
    return asset.rpartition(":")[2]
