"""Content negotiation: which of the media types that an answer can have a client takes (RFC 9110, section 12.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"
HTML = "text/html"

_MAX_LENGTH = 4_096
_SHORT = 256
_REMEMBERED = 64
_WEIGHT = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One element of an ``Accept`` header."""

    media_type: str
    parameters: Mapping[str, str]
    weight: float

    def specificity(self, media_type: str) -> int:
        """How closely it means a media type: 3 by its name, 2 by its kind, 1 as any, 0 not at all."""
        if self.media_type == media_type:
            return 3
        if self.media_type == media_type.partition("/")[0] + "/*":
            return 2
        return 1 if self.media_type == "*/*" else 0


class Accept:
    """What an ``Accept`` header says; no header, or an empty one, takes anything."""

    def __init__(self, header: str) -> None:
        self.ranges = _parse(header) if header.strip() else (MediaRange("*/*", {}, 1.0),)

    @classmethod
    def of(cls, header: str) -> Accept:
        """The same, read once where many requests can have it."""
        return _read(header) if len(header) <= _SHORT else cls(header)

    @cached_property
    def one_result(self) -> str | None:
        """The media type of one result; None where the client takes none."""
        best = self.best(JSON, GRAPHQL_RESPONSE)
        if best is None and self.named(MULTIPART):
            return JSON  # what it wanted cannot be had: it is told why all the same (RFC 9110, section 12.4.1)
        return best

    @cached_property
    def prefers_events(self) -> bool:
        """Whether one result is wanted as an event stream: many clients list that beside what they want first."""
        return bool(self.named(EVENT_STREAM)) and self.best(EVENT_STREAM, JSON, GRAPHQL_RESPONSE) == EVENT_STREAM

    def weight(self, media_type: str) -> float:
        """How much a client wants a media type, by the range that means it most closely; 0: it does not take it."""
        found = max(self.ranges, key=lambda one: one.specificity(media_type), default=None)
        return found.weight if found is not None and found.specificity(media_type) else 0.0

    def best(self, *media_types: str) -> str | None:
        """The media type that is wanted most; of equals the one named first, then the first here. None: not one."""
        wanted = [(-self.weight(one), self._place(one), index, one) for index, one in enumerate(media_types)]
        weight, _, _, best = min(wanted)
        return best if weight else None

    def named(self, media_type: str) -> Sequence[MediaRange]:
        """The ranges that name this very media type, and take it."""
        return [one for one in self.ranges if one.media_type == media_type and one.weight]

    def _place(self, media_type: str) -> int:
        named = (index for index, one in enumerate(self.ranges) if one.media_type == media_type)
        return next(named, len(self.ranges))


@lru_cache(_REMEMBERED)
def _read(header: str) -> Accept:
    return Accept(header)


def accepts_gzip(header: str) -> bool:
    """Whether an ``Accept-Encoding`` header takes gzip."""
    if not header:
        return False
    weights = {one.media_type: one.weight for one in Accept.of(header).ranges}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _parse(header: str) -> tuple[MediaRange, ...]:
    """The elements of a weighted list; what cannot be read is not there."""
    ranges = []
    for element in header[:_MAX_LENGTH].split(","):
        name, *rest = (part.strip() for part in element.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
        weight = parameters.pop("q", "1")
        if name and _WEIGHT.fullmatch(weight):
            ranges.append(MediaRange(name.lower(), parameters, float(weight)))
    return tuple(ranges)
