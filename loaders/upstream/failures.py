"""What an upstream's refusals mean, by status, headers and body."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from loaders.errors import (
    LoadError,
    UpstreamFailedError,
    UpstreamForbiddenError,
    UpstreamRateLimitedError,
    UpstreamRejectedError,
    UpstreamResponseError,
    UpstreamUnauthorizedError,
    UpstreamUnreachableError,
)


def failure_of(status: int, headers: Mapping[str, str], body: Any, codeless_403_is_unauthorized: bool) -> LoadError:
    """The failure that a status other than 200 is; ``body`` is its JSON, None when it has none."""
    if status == 429:
        return UpstreamRateLimitedError(retry_after_seconds=_retry_after(headers, limited=True))
    if status == 401:
        return UpstreamUnauthorizedError()
    if status in (402, 403):
        has_code = isinstance(body, dict) and isinstance(body.get("code"), str)
        if status == 403 and codeless_403_is_unauthorized and not has_code:
            return UpstreamUnauthorizedError()
        return UpstreamForbiddenError()
    if status in (404, 410):
        return UpstreamUnreachableError()
    if 400 <= status < 500:
        return UpstreamRejectedError()
    if status >= 500:
        return UpstreamFailedError(retry_after_seconds=_retry_after(headers, limited=False))
    return UpstreamResponseError()  # a redirect, or a 2xx that carries no records


def _retry_after(headers: Mapping[str, str], *, limited: bool) -> int | None:
    """Seconds to wait by ``Retry-After`` (RFC 9110, section 10.2.3), or by ``x-ratelimit-reset`` (Unix seconds).

    The latter comes with every answer, and means a wait only when the limit was met.
    """
    now = time.time()
    if (text := headers.get("Retry-After")) is not None:
        try:
            seconds = float(text) if _is_number(text) else parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    elif limited and (text := headers.get("x-ratelimit-reset")) is not None and _is_number(text):
        seconds = float(text) - now
    else:
        return None
    return math.ceil(min(max(0.0, seconds), 86_400.0))


def _is_number(text: str) -> bool:
    return text.isascii() and text.strip().isdigit()
