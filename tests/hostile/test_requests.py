"""No request makes the server fault, stall or tell what it must not, and none hurts those that come after it."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from email.message import Message
from typing import Any

import pytest

from tests.hostile import (
    cases_bodies,
    cases_documents,
    cases_entities,
    cases_greedy,
    cases_http,
    cases_streams,
    cases_texts,
)
from tests.hostile.cases import Case
from tests.hostile.service import Answer, Service, running_service
from tests.service import ROOT

CASES = [
    case
    for table in (cases_bodies, cases_http, cases_documents, cases_texts, cases_entities, cases_streams)
    for case in table.CASES
]

BUSY_SECONDS = 0.1
"""For how long one request may keep the server from others."""

GREEDY_SECONDS = 1.0
"""The same for one that is as large as is let in."""

_LONGEST_ECHO = 200
_INTERNALS = re.compile(
    r"""Traceback|File\ \"|\.py\b|site-packages
    | \b(?!PersistedQueryNotFound)[A-Z]\w*(?:Error|Exception|Warning)\b
    | <[\w.]+\ (?:object\ )?at\ 0x | <class\  | \bNoneType\b | \bUndefined\b
    | \b(?:graphql|strawberry|starlette|uvicorn|orjson|resolvers|loaders|schema)\.[a-z_]+""",
    re.VERBOSE,
)
_PYTHON = re.compile(r"\b(?:None|True|False|nan|inf)\b|\{'\w+':|\['")
"""Values as Python writes them, which no message for a client has."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as service:
        assert service.is_well()
        yield service


def test_the_table_is_long_and_each_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_hostile_request_is_answered_safely_and_hurts_nobody_after_it(service: Service, case: Case) -> None:
    service.busy_seconds()
    service.errors()
    answer, *rest = service.exchange(case.request)
    assert rest == [], "something behind the request was taken for another one"
    assert case.allows(answer.status), (answer.status, answer.body[:500])
    assert_keeps_its_promise(case, answer)
    assert_tells_nothing(service, case, answer)
    assert service.is_well()
    assert service.errors() == []
    assert service.is_soon_done(case.request, BUSY_SECONDS)


@pytest.mark.parametrize("case", cases_greedy.CASES, ids=lambda case: case.name)
def test_a_greedy_request_is_refused_or_soon_done(service: Service, case: Case) -> None:
    service.busy_seconds()
    (answer,) = service.exchange(case.request)
    assert case.allows(answer.status), (answer.status, answer.body[:500])
    assert_keeps_its_promise(case, answer)
    assert service.is_soon_done(case.request, GREEDY_SECONDS)


def test_a_server_that_is_busy_or_logs_an_error_is_noticed(service: Service) -> None:
    service.busy_seconds()
    service.errors()
    logging.getLogger("walletgraph").error("internal error")
    assert service.errors() == ["walletgraph: internal error"]
    service.is_well()
    assert 0 < service.busy_seconds() < BUSY_SECONDS
    assert service.busy_seconds() == 0


@pytest.mark.parametrize(
    "told",
    [
        "a-key-of-ondo",
        "Traceback (most recent call last):",
        "KeyError: 'Nothing'",
        "in /app/server.py",
        "<schema.wallet.Wallet object at 0x7f0000000000>",
        "loaders.upstream.http has no attribute",
        "not to be None",
        "found: {'a': 1}",
        "x" * 250,
        "y" * 401,
    ],
)
def test_an_answer_that_tells_too_much_is_noticed(service: Service, told: str) -> None:
    body = json.dumps({"errors": [{"message": f"Bad {told}"}]}).encode()
    headers = Message()
    headers["Content-Type"] = "application/json"
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        assert_tells_nothing(service, Case("one", b"x" * 300), Answer(400, headers, body))


def assert_keeps_its_promise(case: Case, answer: Answer) -> None:
    """Each error has one of the promised codes; without one the answer has no error."""
    found = errors_in(answer)
    if answer.status >= 400 and is_json(answer):
        assert found, "refused without a word"
    assert {error["extensions"]["code"] for error in found} <= set(case.codes), found[:2]
    assert found or case.allows(200) or not case.codes or not is_json(answer)
    assert len(found) <= 1_000


def assert_tells_nothing(service: Service, case: Case, answer: Answer) -> None:
    """No secret, nothing of how it is made, and no long echo of what came."""
    for secret in (*service.secrets, str(ROOT), sys.prefix):
        assert secret not in answer.text
    if (told := _INTERNALS.search(answer.text)) is not None:
        pytest.fail(f"the answer tells {told[0]!r}: {answer.text[:2_000]}")
    sent = case.request.decode(errors="replace")
    for text in texts_in(errors_in(answer)):
        assert len(text) <= 2 * _LONGEST_ECHO, (len(text), text[:500])
        assert not any(text[at : at + _LONGEST_ECHO + 1] in sent for at in range(len(text) - _LONGEST_ECHO)), text
        assert _PYTHON.search(text) is None, text[:500]


def errors_in(answer: Answer) -> list[dict[str, Any]]:
    """The errors of a GraphQL response, of a batch of them or of each part of one; none in anything else."""
    found: list[dict[str, Any]] = []
    unread: list[Any] = bodies_in(answer)
    while unread:
        value = unread.pop()
        if isinstance(value, dict):
            found += value.get("errors") or ()
            unread += (value[name] for name in ("incremental", "completed", "payload") if name in value)
        elif isinstance(value, list):
            unread += value
    return found


def bodies_in(answer: Answer) -> list[Any]:
    """What an answer has of JSON: one value, or one for each event or part of a stream."""
    content_type, text = answer.headers.get("Content-Type", ""), answer.body.decode(errors="replace")
    if content_type.startswith("text/event-stream"):
        return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    if content_type.startswith("multipart/mixed"):
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [json.loads(text)] if is_json(answer) else []


def is_json(answer: Answer) -> bool:
    return "json" in answer.headers.get("Content-Type", "") and answer.body != b""


def texts_in(value: object) -> Iterator[str]:
    """Every text in a value of JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inside in value.items():
            yield key
            yield from texts_in(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from texts_in(inside)
