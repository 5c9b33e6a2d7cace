"""Who asks: clients have an API key (``x-api-key``), or a JWT (``authorization: Bearer``, RFC 6750).

No name or key of a client is logged, and no answer says what was wrong with a credential. A GET without a query
string is let through: it has no operation, and browsers, which have no key yet, load the playground by it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jwt
from prometheus_client import Counter
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from loaders.upstream.logs import log
from schema.http.refusal import REFUSED, RequestError, turn_away

API_KEY_HEADER = "x-api-key"
TOKEN_HEADER = "authorization"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those that verify with a public key; ``none`` and the ones with a shared secret are not among them."""
DEFAULT_ALGORITHMS = ("RS256", "ES256", "EdDSA")

_SCOPE_KEY = "walletgraph.client"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_CREDENTIAL_LENGTH = 8_192
_MAX_FILE_BYTES = 1024 * 1024
_LEEWAY_SECONDS = 30
_REREAD_SECONDS = 5.0
_REREADS = Counter("walletgraph_jwks_reads", "Times the file of JWT keys was read after a change.", ["outcome"])


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks. ``name`` tells clients apart and holds nothing personal.

    ``expires_at`` is the Unix time at which its token ends; None: it has a key, which does not.
    """

    name: str
    expires_at: int | None = None


class UnauthenticatedError(RequestError):
    """Nobody that is known asks."""

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(401, message, "UNAUTHENTICATED", headers={"WWW-Authenticate": challenge})


class ApiKeys:
    """The keys that clients have, by their SHA-256: 32 random bytes are not guessed, so no slow hash is needed."""

    def __init__(self, hashes: Sequence[tuple[str, str]]) -> None:
        """Takes names of clients with SHA-256 in hex; a client may have several. Raises ValueError."""
        for name, digest in hashes:
            if not _NAME.fullmatch(name):
                raise ValueError("expected names of at most 64 letters, digits, dots, underscores and hyphens")
            if not _SHA256.fullmatch(digest):
                raise ValueError(f"expected 64 hex digits, a SHA-256, after {name}=")
        if not hashes:
            raise ValueError("expected <client>=<SHA-256 in hex>")
        if len({digest for _, digest in hashes}) < len(hashes):
            raise ValueError("a hash is there twice")
        self._hashes = [(name, bytes.fromhex(digest)) for name, digest in hashes]

    @classmethod
    def parse(cls, setting: str) -> ApiKeys:
        """Keys as the settings have them, ``name=hash,name=hash``; raises ValueError."""
        parts = [part.strip().partition("=") for part in setting.split(",") if part.strip()]
        return cls([(name.strip(), digest.strip().lower()) for name, _, digest in parts])

    @staticmethod
    def new(name: str) -> tuple[str, str]:
        """A new key, and what the settings are to know of it; raises ValueError for a name that cannot be."""
        key = f"wg_{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        ApiKeys([(name, digest)])
        return key, f"{name}={digest}"

    def client_of(self, key: str) -> Client | None:
        """Who has this key; every hash is compared, so that time tells nothing."""
        digest = hashlib.sha256(key.encode()).digest()
        found = [name for name, known in self._hashes if hmac.compare_digest(known, digest)]
        return Client(f"key:{found[0]}") if found else None


class Tokens:
    """JWTs (RFC 7519) that one of the public keys in a JWKS file (RFC 7517) verifies.

    The file is looked at again once in ``reread_seconds`` when somebody asks. One that cannot be read, or has no key
    of use, leaves the earlier keys where they are.

    A token needs ``exp`` and ``sub``; ``nbf`` and ``iat`` are obeyed. One with an audience is refused where none is
    configured, as RFC 7519, section 4.1.3 demands. A key without ``alg`` is for RS256, EdDSA, or the ES of its curve.
    """

    def __init__(
        self,
        jwks_file: Path,
        *,
        issuer: str | None = None,
        audience: str | None = None,
        algorithms: Sequence[str] = DEFAULT_ALGORITHMS,
        reread_seconds: float = _REREAD_SECONDS,
    ) -> None:
        """Raises ValueError for a file without a key of use."""
        if unfit := sorted(set(algorithms) - set(ALGORITHMS)):
            raise ValueError(f"{', '.join(unfit)} cannot be used; expected some of {', '.join(ALGORITHMS)}")
        self._file = jwks_file
        self._issuer = issuer
        self._audience = audience
        self._algorithms = tuple(algorithms)
        self._reread_seconds = reread_seconds
        self._looked_at = time.monotonic()
        self._version = self._file_version()
        self._keys = self._read_keys()

    def client_of_bearer(self, credential: str) -> Client | None:
        """Who shows ``Bearer <token>``, None for a token that is not valid now."""
        scheme, _, token = credential.partition(" ")
        if scheme.lower() != "bearer":
            return None
        self._reread()
        try:
            claims = jwt.decode(
                token,
                self._key_of(jwt.get_unverified_header(token)),
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "sub"]},
            )
        except jwt.PyJWTError:
            return None
        # A subject may be a mail address. It is unique for its issuer only.
        subject = hashlib.sha256(json.dumps([claims.get("iss"), claims["sub"]]).encode()).hexdigest()[:32]
        return Client(f"token:{subject}", int(claims["exp"]) + _LEEWAY_SECONDS)

    def _key_of(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        """The one key that a token can mean: by its ``kid``, or without one the only key for its algorithm."""
        kid, algorithm = header.get("kid"), header.get("alg")
        fitting = [
            key for key in self._keys if key.algorithm_name == algorithm and (kid is None or key.key_id == kid)
        ]
        if len(fitting) != 1:
            raise jwt.InvalidKeyError("no key, or several")
        return fitting[0]

    def _reread(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < self._reread_seconds:
            return
        self._looked_at = now
        version = self._file_version()
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = self._read_keys()
        except ValueError as error:
            _REREADS.labels("failed").inc()
            log.error("JWT keys not read: the earlier ones stay", error=str(error))
        else:
            _REREADS.labels("ok").inc()
            log.info("JWT keys read", keys=len(self._keys))

    def _file_version(self) -> tuple[int, ...]:
        try:
            status = self._file.stat()
        except OSError:
            return ()
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _read_keys(self) -> list[jwt.PyJWK]:
        """The keys of the file that verify signatures and are strong enough; raises ValueError if there is none."""
        try:
            with self._file.open("rb") as file:
                content = file.read(_MAX_FILE_BYTES + 1)
        except OSError as error:
            raise ValueError(f"the file cannot be read: {error.strerror}") from None
        if len(content) > _MAX_FILE_BYTES:
            raise ValueError("the file is too large")
        try:
            jwks = json.loads(content)
        except (ValueError, RecursionError):
            raise ValueError("the file is not JSON") from None
        members = jwks.get("keys") if isinstance(jwks, dict) else None
        if not isinstance(members, list):
            raise ValueError('the file has no list of "keys"')
        if any(isinstance(member, dict) and "d" in member for member in members):
            raise ValueError("the file has a private key, which belongs to the issuer alone")
        keys = [key for member in members if (key := self._usable(member)) is not None]
        if not keys:
            raise ValueError(f"the file has no public key for {', '.join(self._algorithms)}")
        return keys

    def _usable(self, member: object) -> jwt.PyJWK | None:
        if not isinstance(member, dict) or member.get("use", "sig") != "sig":
            return None
        try:
            key = jwt.PyJWK(member)
        except Exception:  # whatever a library raises for what is no key
            return None
        weak = key.Algorithm.check_key_length(key.key)
        return None if weak or key.algorithm_name not in self._algorithms else key


class Authenticator:
    """Says who asks, by the one credential that a client shows."""

    def __init__(self, api_keys: ApiKeys | None = None, tokens: Tokens | None = None) -> None:
        """Raises ValueError without a way to know anybody."""
        if api_keys is None and tokens is None:
            raise ValueError("expected API keys, tokens or both")
        self._ways: dict[str, Callable[[str], Client | None]] = {}
        challenges = []
        if api_keys is not None:
            self._ways[API_KEY_HEADER] = api_keys.client_of
            challenges.append('ApiKey realm="walletgraph"')
        if tokens is not None:
            self._ways[TOKEN_HEADER] = tokens.client_of_bearer
            challenges.append('Bearer realm="walletgraph"')
        self._challenge = ", ".join(challenges)
        self._invalid = f'{self._challenge}, error="invalid_token"' if tokens is not None else self._challenge

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the headers that carry credentials, in lower case; no other is looked at."""
        return tuple(self._ways)

    def identify(self, headers: Mapping[str, Any]) -> Client:
        """Whose credential the headers hold, or a message with such names in any case.

        Raises ``UnauthenticatedError``, also for more than one credential.
        """
        given = [(name.lower(), value) for name, value in headers.items() if name.lower() in self._ways]
        if not given:
            self._refuse(f"This needs a credential: send {' or '.join(self._ways)}.", self._challenge)
        client = self._client_of(*given[0]) if len(given) == 1 else None
        if client is None:
            self._refuse("The credential is not valid.", self._invalid)
        return client

    async def authenticate(self, connection: HTTPConnection, payload: Mapping[str, Any]) -> None:
        """Lets the client of a WebSocket in by the payload of its ``connection_init``, or else by its handshake.

        Raises ``UnauthenticatedError``.
        """
        in_payload = any(name.lower() in self._ways for name in payload)
        if in_payload or client_of(connection.scope) is None:
            connection.scope[_SCOPE_KEY] = self.identify(payload if in_payload else connection.headers)

    def check_still(self, scope: Scope) -> None:
        """Raises ``UnauthenticatedError`` for a client whose token has ended while it was connected."""
        client = client_of(scope)
        if client is None or (client.expires_at is not None and client.expires_at <= time.time()):
            self._refuse("The credential is not valid any more.", self._invalid)

    def _client_of(self, name: str, credential: object) -> Client | None:
        if not isinstance(credential, str) or not credential.isascii() or len(credential) > _MAX_CREDENTIAL_LENGTH:
            return None
        return self._ways[name](credential)

    def _refuse(self, message: str, challenge: str) -> NoReturn:
        REFUSED.labels("UNAUTHENTICATED").inc()
        raise UnauthenticatedError(message, challenge)


class Authentication:
    """Lets those requests and WebSockets into an application whose client is known; the others get a 401.

    A WebSocket without a credential in its handshake is let in, for its ``connection_init`` to bring one.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._must_be_known(scope):
            try:
                scope[_SCOPE_KEY] = self._authenticator.identify(HTTPConnection(scope).headers)
            except UnauthenticatedError as error:
                await turn_away(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _must_be_known(self, scope: Scope) -> bool:
        if scope["type"] == "websocket":
            return any(name in self._authenticator.headers for name in HTTPConnection(scope).headers)
        read_only = scope["method"] in ("GET", "HEAD")
        asks_nothing = scope["method"] == "OPTIONS" or (read_only and not scope["query_string"])
        return not asks_nothing


def client_of(scope: Scope) -> Client | None:
    """Who sent a request or opened a WebSocket, None where nobody is asked."""
    client = scope.get(_SCOPE_KEY)
    return client if isinstance(client, Client) else None
