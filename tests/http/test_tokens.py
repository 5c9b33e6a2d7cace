"""Tokens: only what one of the published keys has signed, for us, and for now."""

from __future__ import annotations

import hmac
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm
from jwt.utils import base64url_encode

from schema.http.authentication import Authenticator, Tokens, UnauthenticatedError
from tests.http.issuer import EC_KEY, ED_KEY, RSA_KEY, Issuer, public


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.in_folder(tmp_path)


def name_of(tokens: Tokens, token: str) -> str | None:
    """Who is let in by a token, if anybody is."""
    try:
        return Authenticator(tokens=tokens).identify({"Authorization": f"bEaReR {token}"}).name
    except UnauthenticatedError:
        return None


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA_KEY, "RS256", "rsa"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed")]
)
def test_a_token_says_who_asks_without_saying_it_aloud(issuer: Issuer, key: Any, algorithm: str, kid: str) -> None:
    tokens = Tokens(issuer.file)
    names = {name_of(tokens, issuer.token(key, algorithm, named)) for named in (kid, None)}
    (name,) = names  # one key for each algorithm: its own name may be left out
    assert name is not None
    assert name.startswith("token:")
    assert "example" not in name
    others: list[dict[str, Any]] = [
        {"sub": "bob"},
        {"sub": "bob", "iss": "a"},
        {"sub": "bob", "iss": "b"},
        {"sub": "\ud800"},
        {"sub": "x" * 5_000},
    ]
    names |= {name_of(tokens, issuer.token(key, algorithm, kid, **claims)) for claims in others}
    assert len(names) == 6
    assert {len(each or "") for each in names} == {len(name)}


def forged(header: dict[str, Any], signature: str = "") -> str:
    claims = {"sub": "ada", "exp": int(time.time()) + 60}
    parts = [base64url_encode(json.dumps(part).encode()).decode() for part in (header, claims)]
    return ".".join([*parts, signature])


def by_public_key(issuer: Issuer) -> str:
    """Signed with what everybody knows, as if it were a shared secret."""
    secret = json.dumps(public(RSA_KEY, "rsa")).encode()
    signed = forged({"alg": "HS256", "kid": "rsa"}).rpartition(".")[0]
    signature = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64url_encode(signature).decode()}"


def tampered(issuer: Issuer) -> str:
    header, _, signature = issuer.token().split(".")
    return ".".join([header, issuer.token(sub="root").split(".")[1], signature])


INVALID: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 60),
    "not yet": lambda issuer: issuer.token(nbf=int(time.time()) + 90),
    "issued tomorrow": lambda issuer: issuer.token(iat=int(time.time()) + 90_000),
    "without an end": lambda issuer: issuer.token(without="exp"),
    "without a subject": lambda issuer: issuer.token(without="sub"),
    "for somebody else": lambda issuer: issuer.token(aud="another service"),
    "by an unknown key": lambda issuer: issuer.token(kid="new"),
    "by a key of the same name": lambda issuer: issuer.token(rsa.generate_private_key(65537, 2048)),
    "by another key's name": lambda issuer: issuer.token(kid="ec"),
    "by an algorithm that is not allowed": lambda issuer: issuer.token(algorithm="RS512"),
    "by no algorithm": lambda issuer: forged({"alg": "none", "kid": "rsa"}),
    "by No algorithm": lambda issuer: forged({"alg": "NONE", "kid": "rsa"}, "AAAA"),
    "without a word on its algorithm": lambda issuer: forged({"kid": "rsa"}, "AAAA"),
    "by the public key as a secret": by_public_key,
    "by a key that it brings along": lambda issuer: forged({"alg": "RS256", "jwk": public(RSA_KEY)}, "AAAA"),
    "with a name that is none": lambda issuer: forged({"alg": "RS256", "kid": {"a": 1}}, "AAAA"),
    "with an algorithm that is none": lambda issuer: forged({"alg": ["RS256"], "kid": "rsa"}, "AAAA"),
    "changed": tampered,
    "unsigned": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "of 10,000 characters": lambda issuer: issuer.token(note="x" * 10_000),
    "10,000 brackets": lambda issuer: base64url_encode(b"[" * 4_000).decode() + ".e30.AAAA",
    "dots": lambda issuer: "." * 100,
    "rubbish": lambda issuer: "rubbish",
    "its end no number": lambda issuer: issuer.token(exp="soon"),
    "its end at infinity": lambda issuer: issuer.token(nbf=float("inf")),
}


@pytest.mark.parametrize("make", INVALID.values(), ids=INVALID)
def test_an_invalid_token_lets_nobody_in(issuer: Issuer, make: Callable[[Issuer], str]) -> None:
    tokens = Tokens(issuer.file)
    assert name_of(tokens, make(issuer)) is None
    assert name_of(tokens, issuer.token()) is not None


def test_a_token_that_may_mean_two_keys_means_none(issuer: Issuer) -> None:
    issuer.publish(public(RSA_KEY, "rsa"), public(rsa.generate_private_key(65537, 2048), "other"))
    tokens = Tokens(issuer.file)
    assert name_of(tokens, issuer.token(kid=None)) is None
    assert name_of(tokens, issuer.token(kid="rsa")) is not None


def test_clocks_may_differ_a_little(issuer: Issuer) -> None:
    now, tokens = int(time.time()), Tokens(issuer.file)
    near: list[dict[str, Any]] = [{"exp": now - 10}, {"nbf": now + 10}, {"iat": now + 10}]
    for claims in near:
        assert name_of(tokens, issuer.token(**claims)) is not None


def test_issuer_and_audience_must_be_ours_where_we_have_one(issuer: Issuer) -> None:
    ours: dict[str, Any] = {"iss": "https://login.example", "aud": "walletgraph"}
    tokens = Tokens(issuer.file, issuer=ours["iss"], audience=ours["aud"])
    for claims in (ours, {**ours, "aud": ["other", "walletgraph"]}):
        assert name_of(tokens, issuer.token(**claims)) is not None
    for claims in (
        {**ours, "aud": "other"},
        {**ours, "aud": []},
        {**ours, "iss": "https://login.example.evil"},
        {"aud": "walletgraph"},
        {"iss": ours["iss"]},
    ):
        assert name_of(tokens, issuer.token(**claims)) is None, claims


# The file of keys


def test_keys_change_without_a_restart(issuer: Issuer) -> None:
    tokens = Tokens(issuer.file, reread_seconds=0)
    new = ec.generate_private_key(ec.SECP256R1())
    old_token, new_token = issuer.token(), issuer.token(new, "ES256", "new")
    assert name_of(tokens, new_token) is None
    issuer.publish(public(RSA_KEY, "rsa"), public(new, "new"))
    assert name_of(tokens, new_token) is not None
    assert name_of(tokens, old_token) is not None
    issuer.publish(public(new, "new"))
    assert name_of(tokens, old_token) is None


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"keys": []}',
        '{"keys": {}}',
        '{"keys": [1, null, {}, {"kty": "RSA"}]}',
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}]}',
        "[" * 100_000,
        "x" * (2 << 20),
        None,
    ],
)
def test_a_broken_file_leaves_the_earlier_keys_and_is_reported_once(
    issuer: Issuer, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens(issuer.file, reread_seconds=0)
    issuer.file.unlink() if broken is None else issuer.publish_text(broken)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert name_of(tokens, issuer.token()) is not None
    assert [record.getMessage() for record in caplog.records] == ["JWT keys not read: the earlier ones stay"]
    with pytest.raises(ValueError, match="file"):
        Tokens(issuer.file)
    issuer.publish(public(ED_KEY, "ed"))
    assert name_of(tokens, issuer.token()) is None


def test_the_file_is_looked_at_now_and_then_only(issuer: Issuer) -> None:
    tokens = Tokens(issuer.file, reread_seconds=3_600)
    issuer.publish(public(ED_KEY, "ed"))
    assert name_of(tokens, issuer.token()) is not None


def test_keys_that_are_weak_or_for_something_else_verify_nothing(issuer: Issuer) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    issuer.publish(public(weak, "weak"), public(RSA_KEY, "rsa", use="enc"), public(ED_KEY, "ed"))
    tokens = Tokens(issuer.file)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.token(weak, kid="weak")
    assert name_of(tokens, token) is None
    assert name_of(tokens, issuer.token()) is None
    assert name_of(tokens, issuer.token(ED_KEY, "EdDSA", "ed")) is not None


def test_a_private_key_does_not_belong_into_the_file(issuer: Issuer) -> None:
    issuer.publish(ECAlgorithm.to_jwk(EC_KEY, as_dict=True))
    with pytest.raises(ValueError, match="private key"):
        Tokens(issuer.file)
