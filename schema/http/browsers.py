"""What pages of other sites may do with a visitor's browser: nothing, unless their origin is allowed.

There are no cookies, and nothing is changed by asking. What is left to guard: servers that only the visitor's network
reaches, budgets that a page would spend in the visitor's name, and how long an answer takes, which tells what others
asked for. CORS keeps answers from being read; the guard keeps questions from being asked.

A browser says where a page is from by ``Origin`` (all but plain GETs) and ``Sec-Fetch-Site`` (HTTPS and loopback),
and a page can change neither. A plain GET over HTTP to another host has neither; then the browser is known by its
``User-Agent``, which a page cannot change without asking first, and has to show that it did ask: by a header that
needs a preflight. ``Accept`` shows nothing, since any page may set it. Whoever is no browser is let in.

Two things are not told apart here: a page over HTTP from one over HTTPS of the same host (that is for HSTS), and a
name that an attacker lets point to this server (DNS rebinding) from its own, unless its own names are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schema.http.headers import first, values
from schema.http.refusal import REFUSED, RequestError, turn_away

ANY = "*"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_OWN_SITES = {"same-origin", "none"}  # none: the visitor's own doing
_ASKED_FOR = (
    "apollo-require-preflight",
    "apollographql-client-name",
    "apollographql-client-version",
    "authorization",
    "baggage",
    "content-type",
    "graphql-require-preflight",
    "sentry-trace",
    "traceparent",
    "tracestate",
    "x-api-key",
    "x-apollo-operation-name",
    "x-walletgraph-trace",
)
_EXPOSED = ("ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate")
_MAX_AGE_SECONDS = 7_200
_NEED_NO_PREFLIGHT = ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
_PREFLIGHTED = frozenset(name.encode() for name in _ASKED_FOR if name != "content-type")

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),  # says nothing to requests that CORS allows
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Origins:
    """The origins whose pages may ask, besides our own."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """Takes ``scheme://host[:port]``, or ``*`` for all; raises ValueError."""
        self.allowed = frozenset(origin if origin == ANY else _canonical(origin) for origin in allowed)

    @classmethod
    def parse(cls, setting: str) -> Origins:
        """Origins as the settings have them, between commas; raises ValueError."""
        return cls(part.strip() for part in setting.split(",") if part.strip())

    def is_allowed_origin(self, scope: Scope) -> bool:
        """Whether a request or the handshake of a WebSocket is from an allowed page, one of ours, or from no page."""
        if ANY in self.allowed:
            return True
        origins, sites = values(scope, b"origin"), values(scope, b"sec-fetch-site")
        if len(origins) == 1 and origins[0].lower() in self.allowed:
            return True
        if sites:
            return _OWN_SITES.issuperset(sites)
        return not origins or (len(origins) == 1 and _is_same_origin(origins[0], values(scope, b"host")))

    def may_be_unasked(self, scope: Scope) -> bool:
        """Whether a request that names no origin may be from a page of another site, which did not ask first."""
        if ANY in self.allowed or not first(scope, b"user-agent").lower().startswith("mozilla/"):
            return False
        names = {name for name, _ in scope["headers"]}
        if b"origin" in names or b"sec-fetch-site" in names:
            return False
        content_type = first(scope, b"content-type").partition(";")[0].strip().lower()
        return content_type in _NEED_NO_PREFLIGHT and _PREFLIGHTED.isdisjoint(names)


def _canonical(origin: str) -> str:
    origin = origin.lower()
    if not _ORIGIN.fullmatch(origin):
        raise ValueError("expected origins such as https://app.example or http://localhost:3000, without a path")
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(":")[0], "\0"))


def _is_same_origin(origin: str, hosts: list[str]) -> bool:
    """Whether the one host that was asked is the page's; behind a proxy we do not know our own scheme."""
    scheme, _, authority = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    if port is None or len(hosts) != 1:
        return False
    return authority.removesuffix(port) == hosts[0].lower().removesuffix(port)


class CrossSiteGuard:
    """Turns away what a page of another site sends: HTTP requests that ask something, and WebSockets, by a 403."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = None
        if _asks_something(scope):
            if not self._origins.is_allowed_origin(scope):
                message = "Pages of other sites may not ask this server."
            elif scope["type"] == "http" and self._origins.may_be_unasked(scope):
                message = "Send the header apollo-require-preflight: 1, which pages of other sites cannot send."
        if message is None:
            await self._app(scope, receive, send)
            return
        REFUSED.labels("CROSS_SITE").inc()
        await turn_away(RequestError(403, message), scope, receive, send)


def _asks_something(scope: Scope) -> bool:
    """Without a query string a GET has no operation: it is how the playground is loaded, also by a link."""
    if scope["type"] == "websocket":
        return True
    return scope["method"] != "OPTIONS" and (scope["method"] not in ("GET", "HEAD") or bool(scope["query_string"]))


def with_cors(app: ASGIApp, origins: Origins) -> ASGIApp:
    """The application whose answers pages of these origins may read; never with cookies or the like."""
    if not origins.allowed:
        return app
    return CORSMiddleware(
        app,
        allow_origins=tuple(origins.allowed),
        allow_methods=("GET", "POST"),
        allow_headers=_ASKED_FOR,
        expose_headers=_EXPOSED,
        max_age=_MAX_AGE_SECONDS,
    )


class SecurityHeaders:
    """Gives each answer of an application the headers that keep browsers strict, where it has not set them itself.

    Not among them is HSTS: whoever terminates TLS knows whether all of the host has it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_strictly(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = list(message.get("headers", ()))
                own = dict(headers)
                message["headers"] = headers + [header for header in _SECURITY_HEADERS if header[0] not in own]
            await send(message)

        await self._app(scope, receive, send_strictly)
