"""Who may ask: nobody whose key or token is not known, whatever it looks like."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from schema.http.authentication import (
    ApiKeys,
    Authentication,
    Authenticator,
    Client,
    Tokens,
    UnauthenticatedError,
    client_of,
)
from server import ConfigurationError, Settings, main
from tests.http.issuer import EC_KEY, Issuer
from tests.service import serve

QUERY = "?query={__typename}"
REFUSED = "walletgraph_requests_refused_total"


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.in_folder(tmp_path)


@pytest.fixture
def key() -> str:
    return ApiKeys.new("mobile")[0]


def keys_of(**clients: str) -> ApiKeys:
    return ApiKeys([(name, hashlib.sha256(key.encode()).hexdigest()) for name, key in clients.items()])


def refused() -> float:
    return REGISTRY.get_sample_value(REFUSED, {"reason": "UNAUTHENTICATED"}) or 0


@dataclass(slots=True)
class Answer:
    status: int
    headers: Any
    body: Any


class Service:
    """An application that says who asks, over HTTP and over WebSocket."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.authenticator = authenticator
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        if scope["type"] == "http":
            client = client_of(scope)
            await JSONResponse({"client": client and client.name})(scope, receive, send)
            return
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        try:
            await self.authenticator.authenticate(socket, await socket.receive_json())
            found = client_of(scope)
            assert found is not None
            await socket.send_json(found.name)
        except UnauthenticatedError as error:
            await socket.send_json(error.code)
        await socket.close()


@dataclass(slots=True)
class Door:
    """The way to a service that wants to know who asks."""

    url: str
    session: aiohttp.ClientSession
    service: Service

    async def ask(self, *headers: tuple[str, str], method: str = "POST", query: str = "") -> Answer:
        async with self.session.request(method, self.url + query, headers=headers) as response:
            text = await response.text()
            return Answer(response.status, response.headers, json.loads(text) if text else None)

    async def say(self, payload: Any, **headers: str) -> Any:
        async with self.session.ws_connect(self.url, headers=headers) as socket:
            await socket.send_json(payload)
            return await socket.receive_json()


@asynccontextmanager
async def door(api_keys: ApiKeys | None = None, tokens: Tokens | None = None) -> AsyncIterator[Door]:
    authenticator = Authenticator(api_keys, tokens)
    service = Service(authenticator)
    async with serve(Authentication(service, authenticator)) as url, aiohttp.ClientSession() as session:
        yield Door(url, session, service)


# API keys


async def test_who_has_a_key_is_let_in_by_name_and_nobody_else(key: str) -> None:
    async with door(keys_of(mobile=key, partner="another")) as found:
        assert (await found.ask(("X-API-Key", key))).body == {"client": "key:mobile"}
        assert (await found.ask(("x-api-key", "another"))).body == {"client": "key:partner"}
        before, asked = refused(), found.service.asked
        for wrong in ("", " ", key[:-1], key + "x", key.upper(), "mobile", "*"):
            assert (await found.ask(("x-api-key", wrong))).status == 401
        assert (found.service.asked, refused()) == (asked, before + 7)


async def test_a_refusal_is_a_graphql_error_that_nobody_keeps_and_that_tells_nothing(key: str) -> None:
    async with door(keys_of(mobile=key)) as found:
        missing = await found.ask()
        wrong = await found.ask(("x-api-key", "a-guess"))
    for answer in (missing, wrong):
        assert answer.status == 401
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["WWW-Authenticate"] == 'ApiKey realm="walletgraph"'
        assert answer.headers["Content-Type"] == "application/json"
        (error,) = answer.body["errors"]
        assert error["extensions"] == {"code": "UNAUTHENTICATED"}
        assert "data" not in answer.body
    assert "x-api-key" in missing.body["errors"][0]["message"]
    assert "a-guess" not in json.dumps(wrong.body)


async def test_a_client_changes_its_key_without_a_gap() -> None:
    setting = ",".join(ApiKeys.new("mobile")[1] for _ in range(2))
    first, second = ApiKeys.new("mobile"), ApiKeys.new("mobile")
    async with door(ApiKeys.parse(f"{setting}, {first[1]},{second[1].upper().replace('MOBILE', 'mobile')}")) as found:
        for key in (first[0], second[0]):
            assert (await found.ask(("x-api-key", key))).body == {"client": "key:mobile"}


async def test_of_two_credentials_none_counts(key: str, issuer: Issuer) -> None:
    ours, wrong, bearer = ("x-api-key", key), ("x-api-key", "wrong"), ("authorization", f"Bearer {issuer.token()}")
    two_in_one = ("authorization", f"{bearer[1]}, {bearer[1]}")
    basic = ("authorization", "Basic eDp5")
    async with door(keys_of(mobile=key), Tokens(issuer.file)) as found:
        for headers in ([ours, ours], [wrong, ours], [ours, bearer], [bearer, bearer], [two_in_one], [ours, basic]):
            assert (await found.ask(*headers)).status == 401, headers
        assert found.service.asked == 0
        assert [(await found.ask(one)).status for one in (ours, bearer)] == [200, 200]


async def test_a_header_that_is_no_credential_here_is_left_alone(key: str) -> None:
    async with door(keys_of(mobile=key)) as found:
        answer = await found.ask(("x-api-key", key), ("authorization", "Basic a-proxy-s-own"))
    assert answer.body == {"client": "key:mobile"}


async def test_hostile_headers_are_refused_and_nothing_breaks(
    key: str, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    long = "x" * 30_000
    async with door(keys_of(mobile=key), Tokens(issuer.file)) as found:
        for name in ("x-api-key", "authorization"):
            for value in (
                "é" * 10,
                long,
                "Bearer",
                "Bearer ",
                "Bearer é",
                f"Bearer {long}",
                f"Bearer {'a.' * 5_000}",
            ):
                assert (await found.ask((name, value))).status == 401, (name, value[:20])
        assert found.service.asked == 0
        assert (await found.ask(("x-api-key", key))).status == 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_challenge_says_how_to_be_known_and_that_a_token_is_not_valid(key: str, issuer: Issuer) -> None:
    challenge = 'ApiKey realm="walletgraph", Bearer realm="walletgraph"'
    async with door(keys_of(mobile=key), Tokens(issuer.file)) as found:
        missing = await found.ask()
        expired = await found.ask(("Authorization", f"Bearer {issuer.token(exp=1)}"))
        valid = await found.ask(("Authorization", f"Bearer {issuer.token()}"))
    assert (missing.status, missing.headers["WWW-Authenticate"]) == (401, challenge)
    assert (expired.status, expired.headers["WWW-Authenticate"]) == (401, f'{challenge}, error="invalid_token"')
    assert expired.body["errors"][0]["message"] == "The credential is not valid."
    assert valid.body["client"].startswith("token:")


# What needs no credential


async def test_what_asks_nothing_needs_no_credential(key: str) -> None:
    async with door(keys_of(mobile=key)) as found:
        assert (await found.ask(method="GET")).body == {"client": None}
        assert (await found.ask(method="OPTIONS", query=QUERY)).status == 200
        assert (await found.ask(method="HEAD")).status == 200
        for method, query in (
            ("GET", QUERY),
            ("GET", "?x"),
            ("HEAD", QUERY),
            ("POST", ""),
            ("PUT", ""),
            ("DELETE", ""),
        ):
            assert (await found.ask(method=method, query=query)).status == 401, method


# WebSockets


async def test_a_websocket_brings_its_credential_in_its_first_message(key: str, issuer: Issuer) -> None:
    async with door(keys_of(mobile=key), Tokens(issuer.file)) as found:
        assert await found.say({"X-Api-Key": key}) == "key:mobile"
        assert (await found.say({"authorization": f"Bearer {issuer.token()}"})).startswith("token:")
        for payload in (
            {},
            {"x-api-key": "wrong"},
            {"x-api-key": None},
            {"x-api-key": [key]},
            {"x-api-key": {"key": key}},
            {"x-api-key": 1},
            {"x-api-key": "\ud800"},
            {"authorization": f"Bearer \udcff{issuer.token()}"},
            {"x-api-key": key, "X-API-KEY": key},
            {"x-api-key": key, "authorization": f"Bearer {issuer.token()}"},
            {"headers": {"x-api-key": key}},
        ):
            assert await found.say(payload) == "UNAUTHENTICATED", payload


async def test_a_websocket_may_bring_it_in_its_handshake_and_change_its_mind(key: str) -> None:
    async with door(keys_of(mobile=key, partner="other")) as found:
        assert await found.say({}, **{"x-api-key": key}) == "key:mobile"
        assert await found.say({"x-api-key": "other"}, **{"x-api-key": key}) == "key:partner"
        assert await found.say({"x-api-key": "wrong"}, **{"x-api-key": key}) == "UNAUTHENTICATED"


async def test_a_handshake_with_a_wrong_credential_is_not_accepted(key: str) -> None:
    async with door(keys_of(mobile=key)) as found:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await found.say({"x-api-key": key}, **{"x-api-key": "wrong"})
        assert refusal.value.status == 401
        assert found.service.asked == 0


def test_a_token_that_ends_while_its_client_is_connected_is_of_no_more_use(issuer: Issuer) -> None:
    authenticator = Authenticator(tokens=Tokens(issuer.file))
    ending = authenticator.identify({"authorization": f"Bearer {issuer.token(exp=int(time.time()) - 29)}"})
    assert ending.expires_at is not None
    scope: Scope = {"type": "websocket", "walletgraph.client": ending}
    authenticator.check_still(scope)
    for gone in (Client("token:x", int(time.time()) - 1), None):
        with pytest.raises(UnauthenticatedError):
            authenticator.check_still({"type": "websocket", "walletgraph.client": gone})
    authenticator.check_still({"type": "websocket", "walletgraph.client": Client("key:x")})


def test_a_client_cannot_name_itself_by_what_a_host_keeps_in_the_scope() -> None:
    assert client_of({"type": "http", "walletgraph.client": "key:mobile"}) is None
    assert client_of(HTTPConnection({"type": "http", "headers": [(b"walletgraph.client", b"x")]}).scope) is None


# Settings


def settings(**given: Any) -> Settings:
    return Settings(demo=True, _env_file=None, **given)


def test_without_keys_and_tokens_all_may_ask() -> None:
    assert settings().authenticator is None
    assert settings(api_key_hashes="").authenticator is None


def test_the_settings_know_keys_and_tokens(issuer: Issuer) -> None:
    key, hashed = ApiKeys.new("mobile")
    both = settings(api_key_hashes=hashed, jwt_jwks_file=issuer.file, jwt_algorithms="ES256").authenticator
    assert both is not None
    assert both.headers == ("x-api-key", "authorization")
    assert both.identify({"X-Api-Key": key}) == Client("key:mobile")
    assert both.identify({"Authorization": f"Bearer {issuer.token(EC_KEY, 'ES256', 'ec')}"})
    with pytest.raises(UnauthenticatedError):
        both.identify({"Authorization": f"Bearer {issuer.token()}"})


@pytest.mark.parametrize(
    "given",
    [
        {"api_key_hashes": "mobile"},
        {"api_key_hashes": ","},
        {"api_key_hashes": "mobile=abc"},
        {"api_key_hashes": "=" + "a" * 64},
        {"api_key_hashes": "a b=" + "a" * 64},
        {"api_key_hashes": f"a={'a' * 64},b={'a' * 64}"},
        {"jwt_algorithms": "none"},
        {"jwt_algorithms": "RS256,HS256"},
        {"jwt_algorithms": " "},
    ],
)
def test_settings_that_would_let_the_wrong_ones_in_make_no_server(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"expected|twice"):
        settings(**given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"jwt_jwks_file": "/nowhere/jwks.json"}, "JWT_JWKS_FILE"),
        ({"jwt_jwks_file": "/"}, "JWT_JWKS_FILE"),
        ({"jwt_issuer": "https://login.example"}, "JWT_JWKS_FILE"),
        ({"jwt_audience": "walletgraph"}, "JWT_JWKS_FILE"),
    ],
)
def test_half_a_setting_makes_no_server(given: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        settings(**given).check()


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    for name in set(os.environ) & {field.upper() for field in Settings.model_fields}:
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_bad_setting_ends_the_process_with_status_2(
    no_settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("API_KEY_HASHES", "mobile=secret-by-mistake"), ("JWT_JWKS_FILE", "nowhere.json")):
        with no_settings.context() as environment:
            environment.setenv(name, value)
            assert main(["--demo"]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"{name}: ")
        assert "secret-by-mistake" not in told


def test_the_command_makes_a_key_that_its_setting_lets_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--new-api-key", "mobile"]) == 0
    told = dict(
        line.replace(": ", "=", 1).split("=", 1)
        for line in capsys.readouterr().out.splitlines()
        if "wg_" in line or "HASHES" in line
    )
    authenticator = settings(api_key_hashes=told["API_KEY_HASHES"]).authenticator
    assert authenticator is not None
    assert authenticator.identify({"x-api-key": told["x-api-key"]}) == Client("key:mobile")
    assert main(["--new-api-key", "no name"]) == 2
    assert main(["--new-api-key", ""]) == 2
