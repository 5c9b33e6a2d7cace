"""Chain snapshots: the rows of the answer, whole or refused, and nobody waits while one is made."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from subprocess import Popen
from typing import Any

import base58
import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hatch_build import rename_imports
from loaders import snapshots
from loaders.caip import SOLANA_MAINNET, AccountAddress, AssetId, ChainId, Namespace, eip55
from loaders.errors import InvalidIdError, UpstreamResponseError
from loaders.snapshot_blob import DOUBT, build, command
from loaders.snapshots import INLINE_BYTES, ChainSnapshot, index_chain
from loaders.upstream.ondo import _BALANCES, BalanceRecord

ROOT = Path(__file__).parent.parent.parent
ETHEREUM, BNB_CHAIN = ChainId("eip155:1"), ChainId("eip155:56")
CHAINS = (ETHEREUM, BNB_CHAIN, SOLANA_MAINNET)

EVM_ADDRESSES = ["0x" + bytes(19).hex() + f"{n:02x}" for n in range(3)] + ["0x" + f"{n:x}" * 40 for n in (10, 11)]
MINTS = [base58.b58encode(bytes([n]) * 32).decode() for n in (1, 2, 255)]
# The last two name Solana's own coin where a token is meant.
ADDRESSES = [*EVM_ADDRESSES, *MINTS, "1" * 32, "So" + "1" * 41]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def spellings(address: str) -> list[str]:
    """An address in ways that are read as it, and in some that are not."""
    forms = [address, f" {address}", address.upper(), address[:-1], f"solana:{address}", f"eip155:1:{address}"]
    return [*forms, eip55(address), "0x" + address[2:].upper()] if address.startswith("0x") else forms


SHAPES: list[Any] = [None, True, 1, "", "x", [], [None], [[]], {}, {"account": None}]
ODD_ADDRESSES = [*SHAPES, *(form for address in ADDRESSES for form in spellings(address)), "0x" + "aB" * 20]
ODD: dict[str, list[Any]] = {
    "tokens": SHAPES,
    "tokenAddress": ODD_ADDRESSES,
    "tokenSymbol": [*SHAPES, "A B", "é\0", "\ud800"],
    "balances": SHAPES,
    "holderAddress": SHAPES,
    "account": ODD_ADDRESSES,
    "balance": [
        *SHAPES,
        *("1.0", "1e3", "-1", "-0", "0." + "0" * 17 + "1", "0." + "0" * 130, "9" * 130, " 1", "1_0", "NaN"),
        *(0, False, -1, 1.5, 1e-7, 1e22, 1e121, 10**125, float("nan"), float("inf")),
    ],
}


@st.composite
def answers(draw: st.DrawFn) -> tuple[ChainId, bytes]:
    """A chain and an answer, whole or spoilt in a few places."""
    chain_id = draw(st.sampled_from(CHAINS))
    own = MINTS if chain_id is SOLANA_MAINNET else [*EVM_ADDRESSES[2:], *map(eip55, EVM_ADDRESSES[3:])]
    row = st.fixed_dictionaries(
        {
            "holderAddress": st.fixed_dictionaries({"account": st.sampled_from(own)}),
            "balance": draw(st.sampled_from([st.just("1.50"), st.sampled_from(["1", "1.0"]), st.sampled_from("12")])),
        }
    )
    token = st.fixed_dictionaries(
        {
            "tokenAddress": st.sampled_from(own),
            "tokenSymbol": st.sampled_from(["AAPLon", "TSLAon"]),
            "balances": st.lists(row, max_size=5),
        }
    )
    answer = {"tokens": draw(st.lists(token, max_size=5))}
    for _ in range(draw(st.integers(0, 3))):
        spoil(draw, answer)
    body = json.dumps(answer).encode()
    return chain_id, draw(st.just(body) | damaged(body)) if draw(st.booleans()) else body


def spoil(draw: st.DrawFn, node: Any) -> None:
    """Removes a part of an answer, or puts something else in its place."""
    while node:
        name = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        if isinstance(node[name], dict | list) and draw(st.integers(0, 7)):
            node = node[name]
        elif draw(st.integers(0, 3)):
            node[name] = deepcopy(draw(st.sampled_from(ODD[name]) | anything if name in ODD else anything))
            return
        else:
            del node[name]
            return


def damaged(body: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with one of them replaced."""
    others = st.binary(max_size=2) | st.sampled_from([b'"', b",", b"NaN", b"1e9999999999999999999", b"9" * 5000])
    return st.builds(
        lambda place, other: body[:place] + other + body[place + 1 :], st.integers(0, len(body) - 1), others
    )


Naive = tuple[dict[AccountAddress, dict[AssetId, BalanceRecord]], bool]


def naive_index(chain_id: ChainId, body: bytes) -> Naive | None:
    """The rows by holder and asset, and whether some are missing; None for an answer that cannot be read."""
    try:
        answer = _BALANCES(body)
    except UpstreamResponseError:
        return None
    by_holder: dict[AccountAddress, dict[AssetId, BalanceRecord]] = {}
    unreadable = answer.dropped > 0
    for row in answer.rows:
        evm = chain_id.namespace is Namespace.EIP155
        try:
            asset_id = AssetId.of_token(chain_id, row.token_address)
            holder = AccountAddress.parse(row.account.lower() if evm else row.account)
        except InvalidIdError:
            unreadable = True
            continue
        if holder.namespace is not chain_id.namespace:
            unreadable = True
            continue
        record = BalanceRecord(row.token_address, row.symbol, holder, row.balance)
        first = by_holder.setdefault(holder, {}).setdefault(asset_id, record)
        unreadable |= first.balance != row.balance
    return by_holder, unreadable


def index(chain_id: ChainId, body: bytes) -> ChainSnapshot | None:
    """The snapshot; None for an answer that cannot be read."""
    try:
        return asyncio.run(index_chain(chain_id, body))
    except UpstreamResponseError:
        return None


def exact(rows: Sequence[BalanceRecord]) -> list[tuple[str, str, str, str]]:
    """Rows with the digits of their amounts, so that 1.0 is not 1."""
    return [(row.token_address, row.symbol, row.account, str(row.balance)) for row in rows]


def assert_equal(expected: Naive | None, snapshot: ChainSnapshot | None) -> None:
    """Both know the same rows by the same holders, and both say so when some are missing."""
    if expected is None or snapshot is None:
        assert (expected is None) == (snapshot is None)
        return
    by_holder, unreadable = expected
    doubts = [snapshot._text(place) for place in range(len(snapshot)) if snapshot._text(place)[:1] == DOUBT]
    assert (snapshot.unreadable or bool(doubts)) is unreadable
    assert len(by_holder) <= len(snapshot) <= len(by_holder) + len(doubts)
    for address in {*by_holder, *map(AccountAddress, ADDRESSES)}:
        assert exact(snapshot.of(address)[0]) == exact(list(by_holder.get(address, {}).values()))


def answer_of(holders: int, chain_id: ChainId = ETHEREUM) -> bytes:
    """An answer with one token, held by so many accounts."""
    evm = chain_id.namespace is Namespace.EIP155
    numbered = [number.to_bytes(20 if evm else 32, "big") for number in range(1, holders + 1)]
    names = ["0x" + raw.hex() if evm else base58.b58encode(raw).decode() for raw in numbered]
    held = [{"holderAddress": {"account": name}, "balance": f"{number}.50"} for number, name in enumerate(names, 1)]
    return json.dumps({"tokens": [{"tokenAddress": names[0], "tokenSymbol": "AAPLon", "balances": held}]}).encode()


SMALL, LARGE = answer_of(100), answer_of(4_000)


# What a snapshot says


@settings(max_examples=200)
@given(answers())
@example((ETHEREUM, b"[" * 100_000))
@example((ETHEREUM, b"\xef\xbb\xbf{}"))
@example((ETHEREUM, b'{"tokens": [], "more": NaN}'))
@example((SOLANA_MAINNET, b'{"tokens": [1e9999999999999999999]}'))
def test_a_snapshot_has_the_rows_of_the_answer_and_says_when_some_are_missing(asked: tuple[ChainId, bytes]) -> None:
    chain_id, body = asked
    assert_equal(naive_index(chain_id, body), index(chain_id, body))


@pytest.mark.parametrize("chain_id", CHAINS)
@pytest.mark.parametrize("name", ODD)
def test_each_odd_value_is_read_or_missed_as_it_is_in_an_answer_for_one_holder(chain_id: ChainId, name: str) -> None:
    own = MINTS if chain_id is SOLANA_MAINNET else EVM_ADDRESSES
    rows = [{"holderAddress": {"account": account}, "balance": "1.50"} for account in own]

    def replaced(node: Any, value: Any) -> Any:
        if isinstance(node, list):
            return [replaced(inner, value) for inner in node]
        if isinstance(node, dict):
            return {key: value if key == name else replaced(inner, value) for key, inner in node.items()}
        return node

    for count, value in itertools.product((0, 1, 2), ODD[name]):
        token = {"tokenAddress": own[0], "tokenSymbol": "AAPLon", "balances": rows[:count]}
        spoilt, sound = replaced({"tokens": [token]}, value), {"tokens": [token]}
        if isinstance(spoilt["tokens"], list):
            spoilt["tokens"] = spoilt["tokens"] + sound["tokens"]
        body = json.dumps(spoilt).encode()
        assert_equal(naive_index(chain_id, body), index(chain_id, body))


@pytest.mark.parametrize("chain_id", CHAINS)
def test_every_holder_of_many_is_found_and_nobody_else(chain_id: ChainId) -> None:
    body = answer_of(300, chain_id)
    expected, snapshot = naive_index(chain_id, body), index(chain_id, body)
    assert expected is not None
    assert snapshot is not None
    assert len(snapshot) == len(expected[0]) == 300
    for holder, balances in expected[0].items():
        assert snapshot.of(holder) == (tuple(balances.values()), False)
    for stranger in (EVM_ADDRESSES[0], *EVM_ADDRESSES[3:], *MINTS):
        assert snapshot.of(AccountAddress(stranger)) == ((), False)


def test_amounts_keep_their_digits_and_tokens_their_spelling() -> None:
    token, holder = eip55(EVM_ADDRESSES[3]), eip55(EVM_ADDRESSES[4])
    row = {"holderAddress": {"account": holder}, "balance": "1.500"}
    body = {"tokens": [{"tokenAddress": token, "tokenSymbol": "A on", "balances": [row]}]}
    snapshot = index(ETHEREUM, json.dumps(body).encode())
    assert snapshot is not None
    assert exact(snapshot.of(AccountAddress(holder.lower()))[0]) == [(token, "A on", holder.lower(), "1.500")]


@pytest.mark.parametrize("balance", [None, "x", "-1", ["1"]])
def test_what_cannot_be_read_of_one_holder_is_no_doubt_of_another(balance: object) -> None:
    token, one, other = EVM_ADDRESSES[:3]
    rows = [
        {"holderAddress": {"account": account}, "balance": said} for account, said in ((one, balance), (other, "2"))
    ]
    body = {"tokens": [{"tokenAddress": token, "tokenSymbol": "Aon", "balances": rows}]}
    snapshot = index(ETHEREUM, json.dumps(body).encode())
    assert snapshot is not None
    assert not snapshot.unreadable
    assert snapshot.of(AccountAddress(one)) == ((), True)
    rows_of_other, doubtful = snapshot.of(AccountAddress(other))
    assert exact(rows_of_other) == [(token, "Aon", other, "2")]
    assert not doubtful


# Snapshots that were kept

KEPT = ChainSnapshot(ETHEREUM, build(ETHEREUM, SMALL))

changes = st.tuples(st.integers(0, 1 << 20), st.integers(0, 3), st.binary(max_size=3))


def changed(data: bytes, change: tuple[int, int, bytes]) -> bytes:
    """The data with some of its bytes, or all to the end, replaced by others."""
    place, gone, new = change
    place %= len(data) + 1
    return data[:place] + new + (b"" if gone == 3 else data[place + gone :])


@given(changes)
def test_changed_bytes_are_no_snapshot(change: tuple[int, int, bytes]) -> None:
    data = changed(KEPT.blob, change)
    if data != KEPT.blob:
        with pytest.raises(ValueError, match="not a snapshot"):
            ChainSnapshot(ETHEREUM, data)


@given(st.binary())
def test_bytes_of_others_are_no_snapshot(data: bytes) -> None:
    for foreign in (data, zlib.compress(data)):
        with pytest.raises(ValueError, match="not a"):
            ChainSnapshot(ETHEREUM, foreign)


@pytest.mark.parametrize("other", [BNB_CHAIN, SOLANA_MAINNET])
def test_a_snapshot_of_one_chain_is_none_of_another(other: ChainId) -> None:
    with pytest.raises(ValueError, match="not a snapshot"):
        ChainSnapshot(other, KEPT.blob)


# The child process

GATED = """
import os, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """A loop of either kind."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Popen[bytes]]:
    """The child processes in the order of their start."""
    started: list[Popen[bytes]] = []

    def start(*args: Any, **options: Any) -> Popen[bytes]:
        started.append(Popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(snapshots, "Popen", start)
    return started


@pytest.fixture
def open_gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Lets the children begin their work, which they do not before."""
    gate = tmp_path / "gate"
    monkeypatch.setattr(
        snapshots, "command", lambda chain_id: [sys.executable, "-c", GATED, str(gate), *command(chain_id)]
    )
    return gate.touch


async def go_on() -> None:
    """A hundred turns of the loop."""
    for _ in range(100):
        await asyncio.sleep(0)


def test_a_large_answer_is_read_in_a_child_while_the_loop_goes_on(
    runner: asyncio.Runner, children: list[Popen[bytes]], open_gate: Callable[[], None]
) -> None:
    async def ask() -> None:
        asking = asyncio.create_task(index_chain(ETHEREUM, LARGE))
        await go_on()
        assert len(children) == 1
        assert not asking.done()
        open_gate()
        assert (await asking).blob == build(ETHEREUM, LARGE)

    assert len(LARGE) > INLINE_BYTES
    runner.run(ask())
    assert [child.returncode for child in children] == [0]


def test_a_small_answer_needs_no_child(runner: asyncio.Runner, children: list[Popen[bytes]]) -> None:
    assert len(SMALL) <= INLINE_BYTES
    assert runner.run(index_chain(ETHEREUM, SMALL)).blob == build(ETHEREUM, SMALL)
    assert children == []


def test_no_more_than_two_children_live_at_once(
    runner: asyncio.Runner, children: list[Popen[bytes]], open_gate: Callable[[], None]
) -> None:
    chain_ids = [ETHEREUM, BNB_CHAIN, ETHEREUM, BNB_CHAIN]

    async def ask() -> None:
        asking = [asyncio.create_task(index_chain(chain_id, LARGE)) for chain_id in chain_ids]
        await go_on()
        assert len(children) == 2
        open_gate()
        assert [snapshot.chain_id for snapshot in await asyncio.gather(*asking)] == chain_ids

    runner.run(ask())
    assert [child.returncode for child in children] == [0] * 4


@pytest.mark.parametrize("body", [LARGE[:-1], b"[" * (INLINE_BYTES + 1)], ids=["cut", "deep"])
def test_a_large_answer_that_cannot_be_read_is_a_bad_response(
    runner: asyncio.Runner, children: list[Popen[bytes]], body: bytes
) -> None:
    with pytest.raises(UpstreamResponseError):
        runner.run(index_chain(ETHEREUM, body))
    assert [child.returncode for child in children] == [1]


@pytest.mark.parametrize(
    "deed",
    [
        "import os; os.abort()",
        "import sys; sys.stdin.buffer.read(); sys.exit(3)",
        "import sys; sys.stdin.buffer.read(); print({})",
        "pass",
    ],
)
def test_a_child_that_dies_or_writes_something_else_is_a_bad_response(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    monkeypatch.setattr(snapshots, "command", lambda _: [sys.executable, "-S", "-c", deed])
    with pytest.raises(UpstreamResponseError):
        runner.run(index_chain(ETHEREUM, LARGE))


def test_a_child_that_cannot_be_started_is_a_bad_response(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(snapshots, "command", lambda _: [str(tmp_path / "none")])
    with pytest.raises(UpstreamResponseError):
        runner.run(index_chain(ETHEREUM, LARGE))


def test_who_no_longer_waits_leaves_no_child_behind(
    runner: asyncio.Runner, children: list[Popen[bytes]], open_gate: Callable[[], None]
) -> None:
    async def give_up() -> None:
        asking = [asyncio.create_task(index_chain(ETHEREUM, LARGE)) for _ in range(3)]
        await go_on()
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        assert [task.cancelled() for task in asking] == [True] * 3
        assert [child.returncode for child in children] == [-signal.SIGKILL] * 2  # the third was never started

    runner.run(give_up())
    open_gate()
    assert len(runner.run(index_chain(ETHEREUM, LARGE))) == 4_000


HOST = """
import asyncio, sys
from walletgraph.loaders.caip import ChainId
from walletgraph.loaders.snapshots import index_chain

print(len(asyncio.run(index_chain(ChainId("eip155:1"), sys.stdin.buffer.read()))))
"""


def test_the_child_starts_from_the_wheel_too(tmp_path: Path) -> None:
    def copy(source: str, target: str) -> None:
        content = Path(source).read_bytes()
        Path(target).write_bytes(rename_imports(content, source) if source.endswith(".py") else content)

    package = tmp_path / "walletgraph"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "loaders", package / "loaders", ignore=ignored, copy_function=copy)
    (package / "__init__.py").touch()
    done = subprocess.run([sys.executable, "-c", HOST], input=LARGE, cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    assert done.stdout.split() == [b"4000"]
