"""Documents by their hash: registered by clients, or trusted by operators."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from schema.http.app import GraphQLApp
from schema.http.parameters import Parameters
from schema.http.persisted import PersistedDocuments, TrustedDocuments, TrustedMode
from schema.http.refusal import RequestError
from server import ConfigurationError, Settings, create_app
from tests.graph import Graph
from tests.http.client import GRAPHQL, JSON, Client, client_of
from tests.service import serve

QUERY = "query Kind { __typename }"
OTHER = "{ other: __typename }"
DATA = {"data": {"__typename": "Query"}}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def persisted(digest: str = sha256(QUERY), **more: Any) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}, **more}


async def test_a_hash_is_unknown_until_a_client_sends_its_document(client: Client) -> None:
    for accept, status in ((JSON, 200), (GRAPHQL, 404)):
        missed = await client.post(persisted(), accept=accept)
        assert (missed.status, missed.codes) == (status, ["PERSISTED_QUERY_NOT_FOUND"])
        assert missed.json["errors"][0]["message"] == "PersistedQueryNotFound"
        assert missed.header("cache-control") == "no-store"
    assert (await client.post(persisted(query=QUERY))).json == DATA
    assert (await client.post(persisted())).json == DATA
    by_get = await client.get(extensions=json.dumps(persisted()["extensions"]))
    assert by_get.json == DATA


async def test_a_batch_misses_one_document_and_answers_the_others(client: Client) -> None:
    missed, answered = (await client.post([persisted(), {"query": QUERY}])).json
    assert missed["errors"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"
    assert answered == DATA


@pytest.mark.parametrize(
    "request_body",
    [
        persisted(sha256(OTHER), query=QUERY),
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": sha256(QUERY)}}, "query": QUERY},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": 1}}},
        {"extensions": {"persistedQuery": "x"}},
    ],
)
async def test_a_hash_that_is_not_the_documents_registers_nothing(
    client: Client, request_body: Mapping[str, Any]
) -> None:
    answer = await client.post(request_body)
    assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])
    assert (await client.post(persisted())).codes == ["PERSISTED_QUERY_NOT_FOUND"]


async def test_a_document_that_is_not_valid_is_not_remembered(client: Client) -> None:
    invalid = "{ nothing }"
    await client.post(persisted(sha256(invalid), query=invalid))
    assert (await client.post(persisted(sha256(invalid)))).codes == ["PERSISTED_QUERY_NOT_FOUND"]


def test_what_clients_register_never_takes_more_than_its_share() -> None:
    documents = PersistedDocuments(max_bytes=10_000)
    texts = [f"{{ a{number}: __typename }} #" + "x" * 100 for number in range(200)]
    for text in texts:
        documents.keep(Parameters.of(persisted(sha256(text), query=text)))
    found = []
    for text in texts:
        try:
            found.append(documents.text_of(Parameters.of(persisted(sha256(text)))))
        except RequestError as error:
            assert error.code == "PERSISTED_QUERY_NOT_FOUND"  # noqa: PT017
    assert 0 < len(found) < 50
    assert found[-1] == texts[-1]


def manifest(folder: Path, documents: Mapping[str, object], name: str = "persisted-documents.json") -> Path:
    (folder / name).write_text(json.dumps(documents))
    return folder


async def asked(graph: Graph, trusted: TrustedDocuments, body: Any) -> Any:
    async with client_of(GraphQLApp(graph.upstreams, trusted_documents=trusted)) as client:
        return await client.post(body)


@pytest.mark.parametrize("prefix", ["", "sha256:"])
@pytest.mark.parametrize("mode", TrustedMode)
async def test_a_trusted_document_runs_by_its_hash_in_every_mode(
    demo: Graph, tmp_path: Path, mode: TrustedMode, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    trusted = TrustedDocuments.load(manifest(tmp_path, {prefix + sha256(QUERY): QUERY}), mode)
    async with client_of(GraphQLApp(demo.upstreams, trusted_documents=trusted)) as client:
        for body in (
            {"documentId": f"sha256:{sha256(QUERY)}"},
            {"documentId": sha256(QUERY)},
            persisted(),
            {"query": QUERY},
        ):
            assert (await client.post(body)).json == DATA
        by_get = await client.get(documentId=f"sha256:{sha256(QUERY)}")
        assert by_get.json == DATA
    assert "not trusted" not in caplog.text


async def test_where_trust_is_required_nothing_else_runs(demo: Graph, tmp_path: Path) -> None:
    trusted = TrustedDocuments.load(manifest(tmp_path, {sha256(QUERY): QUERY}), TrustedMode.REQUIRE)
    async with client_of(GraphQLApp(demo.upstreams, trusted_documents=trusted)) as client:
        for body in ({"query": OTHER}, persisted(sha256(OTHER), query=OTHER)):
            answer = await client.post(body)
            assert (answer.status, answer.codes) == (400, ["BAD_USER_INPUT"])
        for body in ({"documentId": sha256(OTHER)}, persisted(sha256(OTHER))):
            assert (await client.post(body)).codes == ["PERSISTED_QUERY_NOT_FOUND"]
        (answer,) = (await client.post([{"query": OTHER}])).json
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        async with client.socket() as socket:
            await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": OTHER}})
            assert (await socket.receive_json())["type"] == "error"
            payload = {"documentId": sha256(QUERY)}
            await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
            assert (await socket.receive_json())["payload"] == DATA


async def test_before_trust_is_required_others_are_told_of_by_hash_alone(
    demo: Graph, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trusted = TrustedDocuments.load(manifest(tmp_path, {sha256(QUERY): QUERY}), TrustedMode.LOG)
    answer = await asked(demo, trusted, {"query": OTHER})
    assert answer.status == 200
    (line,) = [vars(record) for record in caplog.records if record.msg == "document is not trusted"]
    assert line["fields"]["sha256"] == sha256(OTHER)
    assert OTHER not in str(line)


@pytest.mark.parametrize(
    "documents",
    [{}, {sha256(OTHER): QUERY}, {"abc": QUERY}, {sha256(QUERY): 1}, [QUERY]],
)
def test_a_manifest_that_is_not_right_keeps_the_server_from_starting(tmp_path: Path, documents: Any) -> None:
    manifest(tmp_path, documents)
    with pytest.raises(ConfigurationError, match="TRUSTED_DOCUMENTS"):
        create_app(Settings(demo=True, trusted_documents=tmp_path, _env_file=None))


async def test_operators_require_trust_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_DOCUMENTS", str(manifest(tmp_path, {sha256(QUERY): QUERY})))
    monkeypatch.setenv("TRUSTED_DOCUMENTS_MODE", "Require")
    async with serve(create_app(Settings(demo=True, _env_file=None))) as url, aiohttp.ClientSession() as session:
        statuses = []
        for body in ({"documentId": f"sha256:{sha256(QUERY)}"}, {"query": OTHER}):
            async with session.post(f"{url}/graphql", json=body) as response:
                statuses.append(response.status)
    assert statuses == [200, 400]


def test_a_mode_without_documents_keeps_the_server_from_starting() -> None:
    with pytest.raises(ConfigurationError, match="TRUSTED_DOCUMENTS"):
        create_app(Settings(demo=True, trusted_documents_mode=TrustedMode.REQUIRE, _env_file=None))
