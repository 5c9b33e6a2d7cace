"""Schemathesis, which reads the schema from the running server, finds no server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.graphql import nodes

from schema import schema
from tests.hostile.fuzzing import CODES, fuzzing
from tests.hostile.service import Service, running_service
from tests.service import EVM, SOLANA

_WORTH_ASKING = {
    "AccountAddress": st.sampled_from([EVM, SOLANA]) | st.text(),
    "AssetId": st.sampled_from(["eip155:1/slip44:60"]) | st.text(),
    "ChainId": st.sampled_from(["eip155:1", "solana"]) | st.text(),
    "Decimal": st.sampled_from(["0", "1.5"]) | st.text(),
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        yield service


@pytest.fixture(scope="module", autouse=True)
def _scalars() -> None:
    for name, texts in _WORTH_ASKING.items():
        schemathesis.graphql.scalar(name, texts.map(nodes.String))
    schemathesis.graphql.scalar("_Any", st.text().map(nodes.String))


@pytest.mark.parametrize("name", sorted(schema._schema.query_type.fields))  # type: ignore[union-attr]  # there is one
def test_no_field_of_the_query_has_a_server_error(service: Service, name: str) -> None:
    service.errors()
    operation = schemathesis.graphql.from_url(f"{service.url}/graphql")["Query"][name]

    @fuzzing(15)
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case[Any]) -> None:
        response = case.call()
        case.validate_response(response, checks=[schemathesis.checks.not_a_server_error])
        assert {error["extensions"]["code"] for error in response.json().get("errors", ())} <= CODES

    ask()
    assert service.errors() == []
