"""A chain's balances as one run of bytes, made from Ondo's answer.

The bytes are: a seal over all the others; how many holders and tokens there are; the holders' keys in ascending
order, all of one size; where each text begins and ends; the texts. A holder's text is ``token amount token amount …``
with tokens by number, and a ``?`` before it if some of it could not be read; a token's is ``address symbol``. The
tokens' texts follow those of the holders.

A child process runs ``main`` for answers so large that to read them here would hold up everything else. It imports
this module without its package, hence nothing but the standard library, identifiers and amounts.
"""

from __future__ import annotations

import gc
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from struct import Struct, pack
from typing import Any

import base58

from loaders.amounts import is_sane, parse_plain
from loaders.caip import AccountAddress, AssetId, ChainId, Namespace
from loaders.errors import InvalidIdError

_FORMAT = b"chain\0\0\1"
_DIGEST_BYTES = 16
SEAL_BYTES = len(_FORMAT) + _DIGEST_BYTES
HEAD = Struct("<?II")
"""Whether rows of nobody knows whom are missing, how many holders, how many tokens."""
DOUBT = "?"
BOUNDS = Struct("<II")
"""Two neighbours of the numbers that say where texts begin and end."""
BOUND_BYTES = BOUNDS.size // 2

# The package itself would import every source and the HTTP client: ten times the rest of a child's start.
_START = """
import sys
package, folder, module, chain_id, *sys.path = sys.argv[1:]
from importlib import import_module
from types import ModuleType
bare = sys.modules[package] = ModuleType(package)
bare.__path__ = [folder]
import_module(module).main(chain_id)
"""


def command(chain_id: ChainId) -> Sequence[str]:
    """The child process that reads an answer and writes the bytes; it fails with 1 for an unreadable answer."""
    package, folder = __name__.rpartition(".")[0], str(Path(__file__).parent)
    return [sys.executable, "-S", "-c", _START, package, folder, __name__, chain_id, *sys.path]


def main(chain_id: str) -> None:
    """What the child process does."""
    gc.disable()  # all that is made here is needed to the end
    try:
        blob = build(ChainId(chain_id), sys.stdin.buffer.read())
    except ValueError:
        sys.exit(1)
    sys.stdout.buffer.write(blob)


def build(chain_id: ChainId, body: bytes) -> bytes:
    """The answer's rows by holder; ValueError for an answer of another shape."""
    index = _Index(chain_id)
    for token in _tokens(body):
        index.add(token)
    return index.sealed()


def seal(chain_id: ChainId, content: bytes | memoryview) -> bytes:
    """What only our bytes begin with: the format and a checksum that is another on every chain."""
    return _FORMAT + blake2b(content, digest_size=_DIGEST_BYTES, key=chain_id.encode()).digest()


def key_bytes(chain_id: ChainId) -> int:
    """The size of a holder's key on a chain."""
    return 20 if chain_id.namespace is Namespace.EIP155 else 32


def key_of(holder: AccountAddress) -> bytes:
    """The bytes that an address spells."""
    return bytes.fromhex(holder[2:]) if holder.namespace is Namespace.EIP155 else base58.b58decode(holder)


def holder_on(chain_id: ChainId, account: str) -> AccountAddress:
    """The address that an answer means on a chain; InvalidIdError for one that cannot hold anything there."""
    # Upstream answers are folded to lower case without a checksum test.
    folded = account.lower() if chain_id.namespace is Namespace.EIP155 else account
    address = AccountAddress.parse(folded)
    if address.namespace is not chain_id.namespace:
        raise InvalidIdError(account, "is an account of another namespace")
    return address


class _Index:
    def __init__(self, chain_id: ChainId) -> None:
        self._chain_id = chain_id
        self._unreadable = False
        self._tokens: list[str] = []
        self._balances: dict[bytes, dict[AssetId, tuple[int, Decimal]]] = defaultdict(dict)
        self._doubtful: set[bytes] = set()
        self._keys: dict[str, bytes] = {}

    def add(self, token: Any) -> None:
        """Adds what can be read of a token and its balances."""
        match token:
            case {"tokenAddress": str(address), "tokenSymbol": str(symbol), "balances": list(rows)}:
                pass
            case _:
                self._unreadable = True
                return
        try:
            asset_id = AssetId.of_token(self._chain_id, address)
        except InvalidIdError:
            asset_id = None
        for row in rows:
            self._add_row(asset_id, row)
        self._tokens.append(f"{address} {symbol}")

    def _add_row(self, asset_id: AssetId | None, row: Any) -> None:
        try:
            match row:
                case {"holderAddress": {"account": str(account)}}:
                    key = self._key(account)
                case _:
                    raise ValueError("expected an object with holderAddress")
        except ValueError:
            self._unreadable = True
            return
        balances = self._balances[key]
        try:
            amount = _amount(row.get("balance"))
        except ValueError:
            asset_id = None
        if asset_id is None:
            self._doubtful.add(key)
            return
        _, first = balances.setdefault(asset_id, (len(self._tokens), amount))
        if first != amount:  # one row per token: two unlike ones cannot both be true
            self._doubtful.add(key)

    def _key(self, account: str) -> bytes:
        key = self._keys.get(account)
        if key is None:
            key = self._keys[account] = key_of(holder_on(self._chain_id, account))
        return key

    def _text(self, key: bytes) -> str:
        words = [f"{token} {amount}" for token, amount in self._balances[key].values()]
        return " ".join([DOUBT, *words] if key in self._doubtful else words)

    def sealed(self) -> bytes:
        """The index as bytes."""
        keys = sorted(self._balances)
        texts = [self._text(key) for key in keys]
        # JSON can escape half a surrogate pair, and a symbol is kept as it was sent.
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts + self._tokens]
        bounds = list(accumulate(map(len, encoded), initial=0))
        head = HEAD.pack(self._unreadable, len(keys), len(self._tokens))
        content = b"".join([head, *keys, pack(f"<{len(bounds)}I", *bounds), *encoded])
        return seal(self._chain_id, content) + content


def _tokens(body: bytes) -> list[Any]:
    try:
        answer = json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=_unsupported_constant)
    except (ArithmeticError, RecursionError) as error:
        raise ValueError("a number or a nesting past all bounds") from error
    match answer:
        case {"tokens": list(tokens)}:
            return tokens
        case _:
            raise ValueError("expected an object with a list of tokens")


def _unsupported_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _amount(value: Any) -> Decimal:
    """As an upstream's record reads it."""
    match value:
        case str():
            number = parse_plain(value)
        case int() | Decimal() if not isinstance(value, bool):
            number = Decimal(value)
        case _:
            raise ValueError("expected a base-10 number")
    if not is_sane(number) or number < 0:
        raise ValueError("expected a number of at least 0")
    return number
