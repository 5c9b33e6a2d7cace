"""What can go wrong at an upstream, and how it is told."""

from __future__ import annotations

import gzip
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from loaders.upstream.connections import MAX_BODY_BYTES
from loaders.upstream.simulator.base import Fault
from tests.chaos.helpers import ATTEMPTS
from tests.failures.household import ONDO_GM


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, the code that it is told by, how many requests a question costs, and when to come back."""

    fault: Fault
    code: str
    attempts: int = 1
    retry_after: Collection[int | None] = (None,)
    code_of_ondo: str | None = None

    @property
    def slow(self) -> bool:
        """Whether it takes the whole deadline."""
        return self.fault.kind in ("hang", "drip")

    def code_of(self, source: str) -> str:
        """How a source's failure is told."""
        return self.code_of_ondo or self.code if source == ONDO_GM else self.code


def _says(status: int, body: bytes = b"", **headers: str) -> Fault:
    return Fault(status=status, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


_IN_TWO_HOURS = str(int(time.time()) + 7_200)

CASES: Mapping[str, Case] = {
    "400": Case(_says(400), "UPSTREAM_REJECTED_INPUT"),
    "401": Case(_says(401), "UNAUTHORIZED"),
    "403": Case(_says(403, b'{"message": "Forbidden"}'), "FORBIDDEN", code_of_ondo="UNAUTHORIZED"),
    "403 with a code": Case(_says(403, b'{"code": "NOT_YOURS"}'), "FORBIDDEN"),
    "404": Case(_says(404), "UNREACHABLE"),
    "410": Case(_says(410), "UNREACHABLE"),
    "418": Case(_says(418), "UPSTREAM_REJECTED_INPUT"),
    "429": Case(_says(429), "RATE_LIMITED", ATTEMPTS),
    "429 with Retry-After": Case(_says(429, Retry_After="40"), "RATE_LIMITED", retry_after=range(35, 41)),
    "429 with a reset": Case(_says(429, x_ratelimit_reset=_IN_TWO_HOURS), "RATE_LIMITED", 1, range(5_000, 7_202)),
    "500": Case(_says(500), "UPSTREAM_ERROR", ATTEMPTS),
    "501": Case(_says(501), "UPSTREAM_ERROR"),
    "502": Case(_says(502), "UPSTREAM_ERROR", ATTEMPTS),
    "503": Case(_says(503), "UPSTREAM_ERROR", ATTEMPTS),
    "503 with Retry-After": Case(_says(503, Retry_After="40"), "UPSTREAM_ERROR", retry_after=range(35, 41)),
    "504": Case(_says(504), "UPSTREAM_ERROR", ATTEMPTS),
    "redirect": Case(_says(302, Location="/v1/elsewhere"), "BAD_RESPONSE"),
    "reset": Case(Fault("reset"), "UNREACHABLE", ATTEMPTS),
    "truncated": Case(Fault("truncate", status=200, body=b"{" + b" " * 99 + b"}"), "BAD_RESPONSE", ATTEMPTS),
    "html": Case(_says(200, b"<html><body>Back soon</body></html>", Content_Type="text/html"), "BAD_RESPONSE"),
    "empty": Case(_says(200), "BAD_RESPONSE"),
    "not utf-8": Case(_says(200, b'{"tokens": "\xff\xfe"}'), "BAD_RESPONSE"),
    "null": Case(_says(200, b"null"), "BAD_RESPONSE"),
    "another shape": Case(_says(200, b'{"result": {"tokens": [], "data": []}}'), "BAD_RESPONSE"),
    "NaN": Case(_says(200, b'{"tokens": [NaN], "data": [NaN]}'), "BAD_RESPONSE"),
    "Infinity": Case(_says(200, b'{"tokens": [-Infinity], "data": [Infinity]}'), "BAD_RESPONSE"),
    "deep": Case(_says(200, b"[" * 100_000 + b"]" * 100_000), "BAD_RESPONSE"),
    "hang": Case(Fault("hang"), "TIMEOUT"),
    "drip": Case(Fault("drip", status=200, body=b'{"tokens": [], "data": []}', seconds=0.3), "TIMEOUT"),
}


def too_large() -> Fault:
    """One byte more than is read, packed into few. Meeting it takes its time."""
    return _says(200, gzip.compress(b" " * (MAX_BODY_BYTES + 1), 1), Content_Encoding="gzip")
