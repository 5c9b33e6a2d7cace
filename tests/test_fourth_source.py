"""What it takes to add a source: one module, one value of the enum, its ranks, and one line of registration."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

MODULE = '''
"""A source that knows one balance of every EVM address."""

from datetime import UTC, datetime
from decimal import Decimal

from loaders.caip import AccountId, AssetId, ChainId, Namespace
from loaders.records import HoldingSource, Observation, Report, SourceStatus
from loaders.books import Book
from loaders.source import Answer, Source

CHAIN = ChainId("eip155:100")
ASSET = AssetId("eip155:100/slip44:700")


class GnosisAnswer(Answer):
    def __init__(self, address):
        super().__init__([Report(HoldingSource.GNOSIS, CHAIN, (address,), SourceStatus.OK)])
        self.address = address

    def observations(self, scope):
        if not scope.allows_asset(ASSET):
            return []
        account = AccountId.of(CHAIN, self.address)
        seen = Observation(
            HoldingSource.GNOSIS, account, ASSET, "xDAI", None, 15, 1, Decimal("1.5"), datetime.now(UTC)
        )
        return [seen]


class GnosisSource(Source):
    name = HoldingSource.GNOSIS
    namespaces = frozenset({Namespace.EIP155})
    values_holdings = True
    configured = True

    def parts(self, namespace):
        return [CHAIN] if namespace is Namespace.EIP155 else []

    def needed_parts(self, namespace, scope):
        return frozenset(chain for chain in self.parts(namespace) if scope.allows_chain(chain))

    async def ask(self, questions, reading):
        return {question.address: GnosisAnswer(question.address) for question in questions}

    async def read_book(self, asset_ids, wants, reading):
        return Book()

    async def chains(self, reading):
        return frozenset({CHAIN})
'''

ASK = '''
import asyncio, json

from loaders import Sources
from loaders.upstream import Upstreams, UpstreamSettings
from resolvers.context import RequestContext
from schema import schema

QUERY = """{ wallet(address: "0x00000000000000000000000000000000000000ab") {
  total { valueUsd complete }
  holdings(filter: {sources: [GNOSIS]}) { nodes { id amount valueUsd amountSource } }
  sources { source status }
} chains { chainId sources } }"""

async def main():
    async with Upstreams(UpstreamSettings()) as upstreams:
        result = await schema.execute(QUERY, context_value=RequestContext(Sources(upstreams)))
        print(json.dumps({"data": result.data, "errors": [str(error) for error in result.errors or ()]}, default=str))

asyncio.run(main())
'''


def insert(file: Path, after: str, line: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(after) == 1
    file.write_text(text.replace(after, f"{after}{line}"), encoding="utf-8")


def test_a_fourth_source_changes_nothing_but_its_module_its_name_its_ranks_and_its_registration(
    tmp_path: Path,
) -> None:
    for name in ("schema", "resolvers", "loaders"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "loaders" / "gnosis.py").write_text(MODULE, encoding="utf-8")
    insert(tmp_path / "loaders" / "records.py", '    SOLANA_SPL = "SOLANA_SPL"\n', '    GNOSIS = "GNOSIS"\n')
    insert(tmp_path / "loaders" / "__init__.py", "from loaders.errors import LoadError\n", "import loaders.gnosis\n")
    registered = "    lambda upstreams, caches: SolanaSource(upstreams.thegraph, caches),\n"
    insert(tmp_path / "loaders" / "__init__.py", registered, "    lambda *_: loaders.gnosis.GnosisSource(),\n")
    ranks = tmp_path / "resolvers" / "reconcile.py"
    text = ranks.read_text(encoding="utf-8")
    ranks.write_text(text.replace("_RANK = (", "_RANK = (HoldingSource.GNOSIS, "), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["errors"] == []
    assert answer["data"]["wallet"] == {
        "total": {"valueUsd": "1.5", "complete": True},
        "holdings": {
            "nodes": [
                {
                    "id": "Holding:eip155:100:0x00000000000000000000000000000000000000ab/slip44:700",
                    "amount": "1.5",
                    "valueUsd": "1.5",
                    "amountSource": "GNOSIS",
                }
            ]
        },
        "sources": [
            {"source": "ONDO_GM", "status": "NOT_CONFIGURED"},
            {"source": "ONDO_GM", "status": "NOT_CONFIGURED"},
            {"source": "ONEBALANCE", "status": "NOT_CONFIGURED"},
            {"source": "SOLANA_SPL", "status": "NOT_APPLICABLE"},
            {"source": "GNOSIS", "status": "OK"},
        ],
    }
    assert {"chainId": "eip155:100", "sources": ["GNOSIS"]} in answer["data"]["chains"]
