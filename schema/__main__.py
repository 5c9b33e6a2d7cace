"""``python -m schema`` prints the schema as gateways compose it, ``--graph`` as clients see it without one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from schema import Schema


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the schema definition language; exits with status 2 for arguments that it does not know."""
    parser = argparse.ArgumentParser(prog="python -m schema", description="Prints the schema of the subgraph.")
    parser.add_argument(
        "--graph", action="store_true", help="of the graph that stands alone: with the fields node and nodes"
    )
    print(Schema(subgraph=not parser.parse_args(arguments).graph).as_str())


if __name__ == "__main__":
    main()
