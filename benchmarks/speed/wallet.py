"""What one EVM and one Solana address hold: a few holdings for each rule there is, and as many plain ones as wanted.

Amounts have digits in the middle, ``EVM_DIGITS`` or ``SOLANA_DIGITS``, that the upstream replaces by those of the
address that it is asked about: so an answer that mixes addresses up is seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice

from loaders.upstream.simulator.ondo import OndoAsset, OndoDataset
from loaders.upstream.simulator.onebalance import OneBalanceAsset, OneBalanceDataset, OneBalanceEntity
from loaders.upstream.simulator.thegraph import TheGraphDataset
from loaders.upstream.simulator.thegraph_dataset import DEFAULT_BLOCK, TOKEN_2022_PROGRAM, TOKEN_PROGRAM

EVM_OWNER = "0x" + "7e3f" * 10
SOLANA_OWNER = "Zw" + "Qx" * 20 + "u"
OWNER_TAIL = SOLANA_OWNER[-22:]
"""The end of each of the Solana address's token accounts, as no two owners have the same."""

EVM_DIGITS = "27182818"
SOLANA_DIGITS = "31415926"

HOLDINGS = 189
SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ETHEREUM, _BSC = "eip155:1", "eip155:56"
_EVM_CHAINS = [_ETHEREUM, _BSC, *(f"eip155:{number}" for number in (10, 137, 8453, 42161, 43114, 59144))]
_COINS = {
    "eip155:1/slip44:60": "ETH",
    "eip155:10/slip44:60": "ETH",
    "eip155:8453/slip44:60": "ETH",
    "eip155:42161/slip44:60": "ETH",
    "eip155:59144/slip44:60": "ETH",
    "eip155:56/slip44:714": "BNB",
    "eip155:137/erc20:0x0000000000000000000000000000000000001010": "POL",
    "eip155:43114/slip44:9005": "AVAX",
}
_WRAPPED_SOL = "So11111111111111111111111111111111111111112"
_ONDO_CHAINS = {"ethereum-1": _ETHEREUM, "bsc-56": _BSC, "solana-900": SOLANA}
_ONDO_SYMBOLS = 444
_ONDO_ON_SOLANA = 260
_START = datetime(2026, 3, 1, tzinfo=UTC)

# What the holdings divide among themselves that stand for no rule. A larger wallet has more of each up to the most
# that registers of the usual size give; the rest is mints, as in life.
_PLAIN = {"onebalance": 57, "ethereum-1": 12, "bsc-56": 11, "solana-900": 13, "spl": 67}
_MOST = {"onebalance": 300, "ethereum-1": 240, "bsc-56": 240, "solana-900": 240}


@dataclass(frozen=True, slots=True)
class _Amount:
    """One amount, in whole tokens and in smallest units."""

    whole: str
    raw: str


class Wallet:
    """The data of the three upstreams; ``holdings`` are listed of the two addresses together."""

    def __init__(self, holdings: int = HOLDINGS) -> None:
        self._random = random.Random("one wallet")
        self._plain = _divided(holdings - (HOLDINGS - sum(_PLAIN.values())))
        self.ondo, self.onebalance, self.thegraph = OndoDataset(), OneBalanceDataset(), TheGraphDataset()
        self._rows = 0
        self._symbols: dict[str, list[str]] = {chain: [] for chain in _ONDO_CHAINS}
        self._solana_members: list[tuple[str, str, int]] = []
        self._add_ondo_register()
        self._add_solana()
        self._add_ondo_holdings()
        self._add_evm_coins()
        self._add_evm_tokens()
        self.thegraph.add_network()
        self.onebalance.chains = [*_EVM_CHAINS, SOLANA]

    # Ondo

    def _add_ondo_register(self) -> None:
        for number in range(_ONDO_SYMBOLS):
            ticker = _letters(number)
            addresses = {"ethereum-1": self._evm_address(), "bsc-56": self._evm_address()}
            if number < _ONDO_ON_SOLANA:
                addresses["solana-900"] = self._mint(ending="ondo")
            # Neither list of prices has one for these: what OneBalance says of them is all there is.
            unpriced = number in (2, 3)
            share = f"{self._random.randint(3, 900)}.{self._random.randint(1, 99_999):05}"
            self.ondo.add_asset(
                OndoAsset(
                    symbol=f"{ticker}on",
                    ticker=ticker,
                    name=f"{ticker} (Ondo Tokenized)",
                    addresses=addresses,
                    price=None if unpriced else f"{share}{self._random.randint(1, 9_999):04}",
                    underlying_price=share,
                    underlying_name=f"{ticker} Inc.",
                )
            )
            for chain in addresses:
                self._symbols[chain].append(f"{ticker}on")

    def _add_ondo_holdings(self) -> None:
        """On EVM chains by rule first: known to OneBalance too, or without a price; then plain ones."""
        on_ethereum, on_bsc = self._symbols["ethereum-1"], self._symbols["bsc-56"]
        self._hold_ondo("ethereum-1", on_ethereum[0], said=self._evm_amount(18))
        self._hold_ondo("ethereum-1", on_ethereum[1], said=_zero())
        self._hold_ondo("ethereum-1", on_ethereum[2], same=True, value=f"812.{EVM_DIGITS}")
        self._hold_ondo("bsc-56", on_bsc[1], same=True)
        self._hold_ondo("bsc-56", on_bsc[2], said=self._evm_amount(18), value=f"77.{EVM_DIGITS}")
        self._hold_ondo("bsc-56", on_bsc[3])
        self._hold_ondo("bsc-56", on_bsc[4], amount=_zero())
        self._hold_ondo("bsc-56", on_bsc[5], amount=_zero(), said=self._evm_amount(18))
        self._hold_ondo("bsc-56", on_bsc[6])
        for chain in ("ethereum-1", "bsc-56"):
            for symbol in islice(self._symbols[chain], 8, 8 + self._plain[chain]):
                self._hold_ondo(chain, symbol)

    def _hold_ondo(
        self,
        chain: str,
        symbol: str,
        *,
        amount: _Amount | None = None,
        said: _Amount | None = None,
        same: bool = False,
        value: str | None = None,
    ) -> None:
        """An Ondo token on an EVM chain, and what OneBalance says of it if anything."""
        amount = amount or self._evm_amount(18)
        self.ondo.add_balance(chain=chain, symbol=symbol, account=EVM_OWNER, balance=amount.whole)
        said = amount if same else said
        if said is not None:
            asset = f"{_ONDO_CHAINS[chain]}/erc20:{self.ondo.assets[symbol].addresses[chain]}"
            self._list("ob:single", symbol, [(asset, symbol, 18)])
            self._hold_listed(EVM_OWNER, asset, said, value or f"{self._random.randint(1, 5_000)}.{EVM_DIGITS}")

    # OneBalance on EVM chains

    def _add_evm_coins(self) -> None:
        for symbol in dict.fromkeys(_COINS.values()):
            members = [(asset, symbol, 18) for asset, of in _COINS.items() if of == symbol]
            self._list(f"ob:{symbol.lower()}", symbol, members)
            for asset, _, decimals in members:
                self._hold_listed(EVM_OWNER, asset, self._evm_amount(decimals), self._value())

    def _add_evm_tokens(self) -> None:
        """Tokens with a member on each of five chains, of which three hold something: the others are rows of zero."""
        wanted = self._plain["onebalance"] - len(_COINS)
        solana = iter(self._solana_members)
        held = 0
        for number in range(_ceiling(wanted, 3)):
            symbol = f"T{number:02}"
            decimals = (6, 8, 18, 18)[number % 4]
            chains = list(islice(cycle(_EVM_CHAINS), number, number + 5))
            members = [
                (f"{chain}/erc20:{self._mixed_case_address()}", symbol, 18 if chain == _BSC else decimals)
                for chain in chains
            ]
            self._list(f"ob:{symbol.lower()}", symbol, [*members, *islice(solana, 1)], decimals=decimals)
            for place, (asset, _, own_decimals) in enumerate(members):
                if place < 3 and held < wanted:
                    held += 1
                    self._hold_listed(EVM_OWNER, asset, self._evm_amount(own_decimals), self._token_value(held))
        for member in solana:
            self._list(f"ob:{member[1].lower()}", member[1], [member])

    def _token_value(self, number: int) -> str:
        """Some without a price, some worth the same as others, some worth next to nothing."""
        if number % 12 == 5:
            return "0"
        if number % 12 in (7, 8):
            return f"500.{EVM_DIGITS}"
        return "4.2e-7" if number % 24 == 11 else self._value()

    # Solana

    def _add_solana(self) -> None:
        """First what is there for a rule, then plain Ondo tokens and plain mints."""
        self._add_sol()
        for number in range(7):  # OneBalance agrees
            self._hold_mint(f"S{number}", (6, 9, 8)[number % 3], agrees=True)
        self._hold_mint("DIFFER", 6, said=self._solana_amount(6))
        self._hold_mint("GONE", 9, said=_zero())
        self._only_listed("ONLY", self._solana_amount(6))
        for number in range(3):
            self._only_listed(f"NONE{number}", _zero())
        self._hold_mint("WSOL", 9, mint=_WRAPPED_SOL)
        self._hold_in_two_accounts()
        self._hold_at_two_scales()
        for number in range(2):
            self._hold_mint("", 0, name="")  # decimals unknown
            self._hold_mint(f"NFT{number}", 0, amount=_Amount("1", "1"))
        self._hold_mint(" \u202eCDSU\u200b ", 6)
        self._hold_mint("x" * 70, 6)
        symbols = self._symbols["solana-900"]
        plain = self._plain["solana-900"]
        for number, symbol in enumerate(islice(symbols, 8, 8 + plain + 2)):
            self._hold_ondo_mint(symbol, agrees=number != 1, alone=number >= 2 and number % 5 in (0, 3))
        for number in range(self._plain["spl"]):
            self._hold_mint(f"M{number:02}", (6, 9, 5, 6)[number % 4])

    def _add_sol(self) -> None:
        amount = self._solana_amount(9)
        self.thegraph.add_native(address=SOLANA_OWNER, lamports=int(amount.raw))
        asset = f"{SOLANA}/slip44:501"
        self._list("ob:sol", "SOL", [(asset, "SOL", 9)])
        self._hold_listed(SOLANA_OWNER, asset, amount, f"1904.{SOLANA_DIGITS}")

    def _hold_mint(
        self,
        symbol: str,
        decimals: int,
        *,
        name: str | None = None,
        mint: str | None = None,
        amount: _Amount | None = None,
        agrees: bool = False,
        said: _Amount | None = None,
    ) -> str:
        """A mint in one token account, and what OneBalance says of it if anything."""
        mint, amount = mint or self._mint(), amount or self._solana_amount(decimals)
        self._add_mint(mint, symbol, decimals, f"{symbol} Token" if name is None else name)
        self._add_account(mint, amount.raw)
        said = amount if agrees else said
        if said is not None:
            self._know_mint(mint, symbol, decimals, said, f"{self._random.randint(1, 3_000)}.{SOLANA_DIGITS}")
        return mint

    def _only_listed(self, symbol: str, amount: _Amount) -> None:
        """A mint of OneBalance's, of which The Graph knows nothing."""
        self._know_mint(self._mint(), symbol, 6, amount, f"33.{SOLANA_DIGITS}")

    def _know_mint(self, mint: str, symbol: str, decimals: int, amount: _Amount, value: str) -> None:
        asset = f"{SOLANA}/token:{mint}"
        self._solana_members.append((asset, symbol, decimals))
        self._hold_listed(SOLANA_OWNER, asset, amount, value)

    def _hold_in_two_accounts(self) -> None:
        """OneBalance gives the sum."""
        mint = self._hold_mint("TWICE", 6)
        first = next(row.amount for row in self.thegraph.balances_by_account if row.mint == mint)
        self._add_account(mint, "500000000")
        total = _Amount("", str(first + 500_000_000))
        self._know_mint(mint, "TWICE", 6, total, f"210.{SOLANA_DIGITS}")

    def _hold_at_two_scales(self) -> None:
        """One token account in two rows, the older of them with a stale amount: the service groups by scale."""
        mint = self._hold_mint("SCALED", 6)
        account = next(row.account for row in self.thegraph.balances_by_account if row.mint == mint)
        older = _START - timedelta(days=30)
        self.thegraph.add_balance(
            account=account, mint=mint, amount=7_000_000, decimals=9, block=DEFAULT_BLOCK - 1, time=older
        )

    def _hold_ondo_mint(self, symbol: str, *, agrees: bool, alone: bool) -> None:
        """An Ondo token on Solana, in a token account as well if not ``alone``."""
        amount = self._solana_amount(9)
        self.ondo.add_balance(chain="solana-900", symbol=symbol, account=SOLANA_OWNER, balance=amount.whole)
        if not alone:
            mint = self.ondo.assets[symbol].addresses["solana-900"]
            self._add_mint(mint, symbol, 9, f"{symbol} (Ondo Tokenized)", TOKEN_2022_PROGRAM)
            raw = amount.raw if agrees else self._solana_amount(9).raw
            self._add_account(mint, raw, TOKEN_2022_PROGRAM)

    def _add_mint(self, mint: str, symbol: str, decimals: int, name: str, program: str = TOKEN_PROGRAM) -> None:
        uri = f"https://arweave.net/{self._mint()}" if symbol and self._random.random() < 0.7 else ""
        self.thegraph.add_mint(mint=mint, decimals=decimals, name=name, symbol=symbol, uri=uri, program_id=program)

    def _add_account(self, mint: str, raw: str, program: str = TOKEN_PROGRAM) -> None:
        self._rows += 1
        self.thegraph.add_token_account(
            owner=SOLANA_OWNER,
            account=self._mint(length=43 - len(OWNER_TAIL)) + OWNER_TAIL,
            mint=mint,
            amount=int(raw),
            program_id=program,
            block=DEFAULT_BLOCK + 211 * self._rows,
            time=_START + timedelta(seconds=97 * self._rows),
        )

    # Registers and numbers

    def _list(
        self, aggregate: str, symbol: str, members: Sequence[tuple[str, str, int]], decimals: int | None = None
    ) -> None:
        entities = [
            OneBalanceEntity(asset, own_decimals, f"{own_symbol} Coin", own_symbol)
            for asset, own_symbol, own_decimals in members
        ]
        scale = members[0][2] if decimals is None else decimals
        logo = f"https://storage.example/{symbol}.svg"
        self.onebalance.add_asset(OneBalanceAsset(aggregate, symbol, f"{symbol} Coin", scale, entities, logo))

    def _hold_listed(self, owner: str, asset: str, amount: _Amount, value: str) -> None:
        fiat_value = value if int(amount.raw) else "0"
        self.onebalance.add_balance(account=owner, asset_type=asset, balance=amount.raw, fiat_value=fiat_value)

    def _value(self) -> str:
        return f"{self._random.randint(1, 20_000)}.{EVM_DIGITS}"

    def _evm_amount(self, decimals: int) -> _Amount:
        return self._amount(decimals, EVM_DIGITS)

    def _solana_amount(self, decimals: int) -> _Amount:
        return self._amount(decimals, SOLANA_DIGITS)

    def _amount(self, decimals: int, marked: str) -> _Amount:
        """More than zero, with the marked digits next to the point."""
        lead, fill = str(self._random.randint(1, 4_000)), max(0, decimals - len(marked))
        digits = f"{lead}{marked}" + "".join(self._random.choices("123456789", k=fill))
        whole = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
        return _Amount(whole, digits)

    def _mint(self, ending: str = "", length: int = 43) -> str:
        """Base58 of 32 bytes, as all texts of 43 characters are that begin so; or the beginning of one."""
        return (
            self._random.choice(_BASE58[5:])
            + "".join(self._random.choices(_BASE58, k=length - 1 - len(ending)))
            + ending
        )

    def _evm_address(self) -> str:
        return f"0x{self._random.getrandbits(160):040x}"

    def _mixed_case_address(self) -> str:
        """As OneBalance sends them; what upstreams send is not held to a checksum."""
        digits = self._evm_address()[2:]
        return "0x" + "".join(self._random.choice((digit, digit.upper())) for digit in digits)


def _divided(plain: int) -> dict[str, int]:
    """So many plain holdings, divided as those of the usual wallet are."""
    if plain < 0:
        raise ValueError(f"expected at least {HOLDINGS - sum(_PLAIN.values())} holdings")
    whole = sum(_PLAIN.values())
    parts = {name: min(count * plain // whole, _MOST.get(name, plain)) for name, count in _PLAIN.items()}
    parts["onebalance"] = max(parts["onebalance"], len(_COINS))
    parts["spl"] += plain - sum(parts.values())
    return parts


def _zero() -> _Amount:
    return _Amount("0", "0")


def _ceiling(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _letters(number: int) -> str:
    """A ticker for each number: AAA, AAB and so on."""
    return "".join(_digits(number))


def _digits(number: int) -> Iterator[str]:
    for place in (26 * 26, 26, 1):
        yield chr(ord("A") + number // place % 26)
