"""Content negotiation: which of the media types that an answer can have a client takes (RFC 9110, section 12.5)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

JSON = "application/json"
GRAPHQL_RESPONSE = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
MULTIPART = "multipart/mixed"
HTML = "text/html"

_MAX_LENGTH = 4_096
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


def accepts_gzip(header: str) -> bool:
    """Whether an ``Accept-Encoding`` header takes gzip."""
    weights = {one.media_type: one.weight for one in _parse(header)}
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
