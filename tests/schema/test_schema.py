from __future__ import annotations

from pathlib import Path

from graphql import build_schema

from schema import Schema, schema

PRINTED = Path(__file__).with_name("schema.graphql")


def test_the_printed_schema_is_the_one_that_was_reviewed() -> None:
    assert schema.as_str() + "\n" == PRINTED.read_text(encoding="utf-8")


def test_the_printed_schema_is_a_schema() -> None:
    assert build_schema(PRINTED.read_text(encoding="utf-8"), assume_valid_sdl=True).query_type is not None


def test_a_subgraph_leaves_out_the_fields_by_which_two_subgraphs_would_not_compose() -> None:
    query = Schema(subgraph=True)._schema.query_type
    assert query is not None
    assert {"node", "nodes"}.isdisjoint(query.fields)
    assert {"wallet", "wallets", "portfolio", "token", "tokens", "chain", "chains"} <= set(query.fields)
