"""How large an operation may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large an operation may be; each is the largest number that is let through."""

    max_document_bytes: int = 64 * 1024
    max_tokens: int = 4_000
    max_depth: int = 20
    max_fields: int = 1_500
    max_aliases: int = 60
    max_root_fields: int = 30
    max_directives: int = 60
    max_fragments: int = 100
    max_cost: int = 100_000
