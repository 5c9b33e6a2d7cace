"""For how long an answer may be kept, and whether it is still the same (RFC 9111; RFC 9110, section 8.8.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

NO_STORE = "no-store"


def cache_control(lifetimes: Sequence[float | None], *, private: bool) -> str:
    """The header's value for operations that stay fresh for so many seconds; 0: something in it failed, or is old.

    None is an operation that no upstream's answer went into: it may be kept, and asked for again each time.
    """
    seconds = [lifetime for lifetime in lifetimes if lifetime is not None]
    if not lifetimes or 0 in seconds:
        return NO_STORE
    kept = f"max-age={int(min(seconds))}" if seconds else "no-cache"
    return f"private, {kept}" if private else kept


def entity_tag(body: bytes) -> str:
    """A weak tag: compressed or not, it is the same answer."""
    return f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'


def matches(if_none_match: str, tag: str) -> bool:
    """Whether a client has the answer of this tag."""
    return if_none_match.strip() == "*" or _opaque(tag) in map(_opaque, _tags(if_none_match))


def _tags(header: str) -> Iterable[str]:
    return (tag.strip() for tag in header.split(","))


def _opaque(tag: str) -> str:
    return tag.removeprefix("W/")
