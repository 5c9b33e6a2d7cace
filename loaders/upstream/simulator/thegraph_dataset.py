"""The tables behind the simulated Token API, and the look-ups that its endpoints make in them.

Rows are held as the real database holds them: an account has a row for every owner it has had and for every
balance, and what is current is decided when a query is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal

Release = Literal["3.16.6", "post-556"]

TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
TOKEN_2022_PROGRAM = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
SYSTEM_PROGRAM = "1" * 32

DEFAULT_BLOCK = 372_000_000
DEFAULT_TIME = datetime(2025, 10, 8, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OwnerState:
    """Who owned a token account as of a version; an empty owner means that the account was closed."""

    account: str
    owner: str
    version: int
    program_id: str
    block_num: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """What a token account held as of a block; with ``decimals`` None the mint's own apply."""

    account: str
    mint: str
    amount: int
    decimals: int | None
    program_id: str
    block_num: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class NativeBalance:
    """How many lamports an address held as of a block."""

    account: str
    amount: int
    block_num: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a mint says of itself; an unknown text is empty."""

    name: str
    symbol: str
    uri: str


@dataclass(frozen=True, slots=True)
class Supply:
    """How much of a mint there is, in smallest units, and in how many accounts."""

    mint: str
    program_id: str
    amount: int
    holders: int
    block_num: int
    timestamp: int


@dataclass(slots=True, eq=False)
class Position:
    """The latest balance of one account in one mint at one scale: an answered row without its owner."""

    account: str
    mint: str
    decimals: int
    program_id: str
    amount: int
    block_num: int
    timestamp: int


@dataclass(slots=True)
class TheGraphDataset:
    """The rows that a simulated Token API answers from.

    Change it through the ``add_…`` methods, at any time: rows put into the tables directly are not seen once
    a query has been made.

        dataset = TheGraphDataset()
        dataset.add_mint(mint=USDC, decimals=6, name="USD Coin", symbol="USDC")
        dataset.add_token_account(owner=WALLET, account=ACCOUNT, mint=USDC, amount=1_500_000)
        dataset.add_native(address=WALLET, lamports=2_000_000_000)
    """

    owner_state: list[OwnerState] = field(default_factory=list)
    balances_by_account: list[AccountBalance] = field(default_factory=list)
    native_balances: list[NativeBalance] = field(default_factory=list)
    decimals: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    supplies: dict[str, Supply] = field(default_factory=dict)
    native_supply: Supply | None = None
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    _version: int = field(init=False, repr=False, compare=False)
    _index: _Index | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._version = max((state.version for state in self.owner_state), default=0)

    @classmethod
    def from_fixture(cls, fixture: Mapping[str, Any]) -> TheGraphDataset:
        """The rows of a recorded database, a list for each table under ``svm``."""
        tables = fixture["svm"]
        return cls(
            owner_state=[OwnerState(**_seconds(row)) for row in tables["owner_state"]],
            balances_by_account=[
                AccountBalance(**_seconds(row) | {"amount": int(row["amount"])})
                for row in tables["balances_by_account"]
            ],
            native_balances=[
                NativeBalance(**_seconds(row) | {"amount": int(row["amount"])}) for row in tables["native_balances"]
            ],
            decimals={row["mint"]: row["decimals"] for row in tables["decimals_state"]},
            metadata={row["mint"]: Metadata(row["name"], row["symbol"], row["uri"]) for row in tables["metadata"]},
            supplies={row["mint"]: _supply(row) for row in tables["balances_metadata"]},
        )

    def add_token_account(
        self,
        *,
        owner: str,
        account: str,
        mint: str,
        amount: int,
        program_id: str = TOKEN_PROGRAM,
        block: int = DEFAULT_BLOCK,
        time: datetime = DEFAULT_TIME,
    ) -> None:
        """Let an owner hold ``amount`` smallest units of a mint in an account that is new to the database."""
        self.add_owner(account=account, owner=owner, program_id=program_id, block=block, time=time)
        self.add_balance(account=account, mint=mint, amount=amount, program_id=program_id, block=block, time=time)

    def add_owner(
        self,
        *,
        account: str,
        owner: str,
        program_id: str = TOKEN_PROGRAM,
        block: int = DEFAULT_BLOCK,
        time: datetime = DEFAULT_TIME,
    ) -> None:
        """Give an account another owner from now on; the empty owner closes it."""
        self._version += 1
        self.owner_state.append(OwnerState(account, owner, self._version, program_id, block, _unix(time)))
        self._index = None

    def add_balance(
        self,
        *,
        account: str,
        mint: str,
        amount: int,
        decimals: int | None = None,
        program_id: str = TOKEN_PROGRAM,
        block: int = DEFAULT_BLOCK,
        time: datetime = DEFAULT_TIME,
    ) -> None:
        """Let an account hold ``amount`` as of ``block``; the amount of the highest block counts."""
        self.balances_by_account.append(
            AccountBalance(account, mint, amount, decimals, program_id, block, _unix(time))
        )
        self._index = None

    def add_mint(
        self,
        *,
        mint: str,
        decimals: int | None,
        name: str = "",
        symbol: str = "",
        uri: str = "",
        program_id: str = TOKEN_PROGRAM,
        supply: int = 0,
        holders: int = 0,
        block: int = DEFAULT_BLOCK,
        time: datetime = DEFAULT_TIME,
    ) -> None:
        """Describe a mint; with ``decimals`` None its scale stays unknown to the database."""
        if decimals is not None:
            self.decimals[mint] = decimals
        self.metadata[mint] = Metadata(name, symbol, uri)
        self.supplies[mint] = Supply(mint, program_id, supply, holders, block, _unix(time))
        self._index = None

    def add_native(
        self, *, address: str, lamports: int, block: int = DEFAULT_BLOCK, time: datetime = DEFAULT_TIME
    ) -> None:
        """Let an address hold ``lamports`` as of ``block``."""
        self.native_balances.append(NativeBalance(address, lamports, block, _unix(time)))
        self._index = None

    def add_native_supply(
        self, *, lamports: int, holders: int, block: int = DEFAULT_BLOCK, time: datetime = DEFAULT_TIME
    ) -> None:
        """Let there be ``lamports`` in all, in the hands of so many holders."""
        self.native_supply = Supply("", SYSTEM_PROGRAM, lamports, holders, block, _unix(time))

    def add_network(
        self,
        *,
        id: str = "solana",
        full_name: str = "Solana Mainnet",
        short_name: str = "Solana",
        network_type: str = "mainnet",
        native_token: str = "SOL",
        caip2_id: str = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
        icon: str = "solana",
        aliases: Sequence[str] = ("sol",),
        version: str = "0.3.4",
        categories: Sequence[str] = ("transfers", "balances", "dexes"),
        block: int = DEFAULT_BLOCK,
        time: datetime = DEFAULT_TIME,
    ) -> None:
        """List a network as indexed up to ``block`` in each category; adding it again moves it on."""
        timestamp = _unix(time)
        self.networks[id] = {
            "id": id,
            "fullName": full_name,
            "shortName": short_name,
            "networkType": network_type,
            "nativeToken": native_token,
            "caip2Id": caip2_id,
            "icon": {"web3Icons": {"name": icon}},
            "aliases": list(aliases),
            "indexed_to": [
                {
                    "category": category,
                    "version": version,
                    "block_num": block,
                    "datetime": as_text(timestamp),
                    "timestamp": timestamp,
                }
                for category in categories
            ],
        }

    def positions(self, owners: Iterable[str], release: Release) -> Sequence[Position]:
        """All positions of these owners, zero ones too, in the order of the answer.

        Release 3.16.6 counts every account that ever belonged to one of them, the later one those that do.
        """
        by_owner = self._indexed().positions[release]
        parts = [by_owner[owner] for owner in dict.fromkeys(owners) if owner in by_owner]
        if len(parts) == 1:
            return parts[0]
        return sorted(dict.fromkeys(chain.from_iterable(parts)), key=_order)

    def owners_of(self, account: str, release: Release) -> Sequence[str]:
        """The owners that an account is joined with, one for each row this makes."""
        states = self._indexed().owner_states.get(account, ())
        if release == "3.16.6":
            return [state.owner for state in states]
        return [_latest(states).owner] if states else []

    def owner_history(self, accounts: Iterable[str]) -> list[OwnerState]:
        """The last row of every owner that each account has had, the latest first."""
        owner_states = self._indexed().owner_states
        latest: dict[tuple[str, str], OwnerState] = {}
        for state in chain.from_iterable(owner_states.get(account, ()) for account in dict.fromkeys(accounts)):
            key = state.account, state.owner
            if state.owner and (key not in latest or latest[key].block_num <= state.block_num):
                latest[key] = state
        return sorted(latest.values(), key=lambda state: (-state.timestamp, state.account))

    def native(self, addresses: Iterable[str]) -> list[NativeBalance]:
        """The latest native balance of each address that has one, the latest first."""
        latest = self._indexed().native
        found = [latest[address] for address in dict.fromkeys(addresses) if address in latest]
        return sorted(found, key=lambda balance: (-balance.timestamp, balance.account))

    def _indexed(self) -> _Index:
        if self._index is None:
            self._index = _Index(self)
        return self._index


class _Index:
    """The tables of a dataset, arranged for look-ups."""

    def __init__(self, dataset: TheGraphDataset) -> None:
        self.owner_states: dict[str, list[OwnerState]] = {}
        for state in dataset.owner_state:
            self.owner_states.setdefault(state.account, []).append(state)

        self.native: dict[str, NativeBalance] = {}
        for native in dataset.native_balances:
            known = self.native.get(native.account)
            if known is None or known.block_num <= native.block_num:
                self.native[native.account] = native

        # Balances are told apart by their decimals too, so an account may have several positions in one mint.
        grouped: dict[tuple[str, str, str, int], Position] = {}
        for row in dataset.balances_by_account:
            decimals = dataset.decimals.get(row.mint, 0) if row.decimals is None else row.decimals
            key = row.account, row.program_id, row.mint, decimals
            position = grouped.get(key)
            if position is None:
                grouped[key] = Position(
                    row.account, row.mint, decimals, row.program_id, row.amount, row.block_num, row.timestamp
                )
                continue
            if row.block_num >= position.block_num:
                position.amount, position.block_num = row.amount, row.block_num
            position.timestamp = max(position.timestamp, row.timestamp)

        ever: dict[str, list[Position]] = {}
        now: dict[str, list[Position]] = {}
        for position in sorted(grouped.values(), key=_order):
            states = self.owner_states.get(position.account)
            if states is None:
                continue
            now.setdefault(_latest(states).owner, []).append(position)
            for owner in dict.fromkeys(state.owner for state in states):
                ever.setdefault(owner, []).append(position)
        self.positions: dict[Release, dict[str, list[Position]]] = {"3.16.6": ever, "post-556": now}


def as_text(timestamp: int) -> str:
    """Unix seconds as the database writes a time: UTC, without a zone."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _order(position: Position) -> tuple[int, str, str]:
    return -position.timestamp, position.account, position.mint


def _latest(states: Sequence[OwnerState]) -> OwnerState:
    return max(states, key=lambda state: state.version)


def _unix(time: datetime) -> int:
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _seconds(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "timestamp": _unix(datetime.fromisoformat(row["timestamp"]))}


def _supply(row: Mapping[str, Any]) -> Supply:
    return Supply(
        row["mint"],
        row["program_id"],
        int(row["circulating_supply"]),
        row["holders"],
        row["block_num"],
        _unix(datetime.fromisoformat(row["timestamp"])),
    )
