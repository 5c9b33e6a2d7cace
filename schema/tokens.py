"""Documents as a row of tokens: what bounds a text before it is parsed (GraphQL, section 2.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from schema.limits import Limits, TooLargeError

_TOKEN = re.compile(
    r"""
    "{3} (?: [^"\\]++ | \\"{3} | \\ | "(?!"") )*+ (?: "{3} )?  # a block string
    | " (?: [^"\\\r\n]++ | \\[^\r\n] )*+ "?                    # a string
    | [A-Za-z_][A-Za-z0-9_]*+
    | -?[0-9]++ (?: \.[0-9]++ )? (?: [eE][+-]?[0-9]++ )?
    | \.{3}
    | \#[^\r\n]*+                                              # a comment
    | [^ \t\r\n,\ufeff]                                        # any one character that is not ignored
    """,
    re.VERBOSE,
)
_MAX_NAME = 40
_MAX_STRING = 100
_NESTING = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def tokens_of(text: str) -> Sequence[str]:
    """The tokens of a document, comments among them; of one that cannot be parsed, about as many as it has.

    Takes time in proportion to the text: no alternative gives back what it has taken.
    """
    return _TOKEN.findall(text)


def nesting_of(tokens: Sequence[str]) -> int:
    """How many brackets of any kind are inside each other."""
    deepest = depth = 0
    for token in tokens:
        depth += _NESTING.get(token, 0)
        deepest = max(deepest, depth)
    return deepest


def check_text(text: str, limits: Limits) -> Sequence[str]:
    """The tokens of a text that may be parsed; raises ``TooLargeError``."""
    characters = len(text)
    if characters <= limits.max_document_bytes:  # else there are as many bytes at least
        characters = len(text.encode(errors="surrogatepass"))
    limits.check("max_document_bytes", characters)
    lines = 1 + text.count("\n") + text.count("\r") - text.count("\r\n")
    if lines > limits.max_tokens:  # they are counted for each place that an error names
        raise TooLargeError("lines", lines, limits.max_tokens)
    tokens = tokens_of(text)
    limits.check("max_tokens", len(tokens))
    limits.check("max_nesting", nesting_of(tokens))
    return tokens


def have_short_names(tokens: Sequence[str]) -> bool:
    """Whether names, and strings in their place, are short enough to be compared with others for likeness."""
    return all(len(token) <= (_MAX_STRING if token[0] == '"' else _MAX_NAME) for token in tokens if token[0] != "#")
