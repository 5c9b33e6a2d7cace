"""The page that a browser gets at the endpoint: an editor with five saved queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

from strawberry.http.ides import get_graphql_ide_html

_FOLDER = Path(__file__).parent

_EVM_ADDRESS = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
_SOLANA_ADDRESS = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"
_AAPLON_ON_ETHEREUM = "eip155:1/erc20:0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c"

_VARIABLES: Mapping[str, Mapping[str, object]] = {
    "Portfolio": {"evm": _EVM_ADDRESS, "sol": _SOLANA_ADDRESS},
    "Holdings": {"address": _SOLANA_ADDRESS, "first": 20},
    "Totals": {"addresses": [_EVM_ADDRESS, _SOLANA_ADDRESS]},
    "Token": {"assetId": _AAPLON_ON_ETHEREUM, "first": 20},
    "Sources": {"address": _SOLANA_ADDRESS},
}

_BANNER = (
    '<p class="demo"><strong>Simulated data:</strong> balances and prices come from simulated upstreams, '
    "not from any chain or market.</p>"
)


@dataclass(frozen=True, slots=True)
class Example:
    """A query saved as a tab; its name is that of its operation."""

    name: str
    query: str
    variables: Mapping[str, object]


def _read_examples() -> Iterator[Example]:
    for query in re.split(r"\n\n(?=#)", (_FOLDER / "examples.graphql").read_text(encoding="utf-8")):
        name = re.findall(r"^query (\w+)", query, re.MULTILINE)[0]
        yield Example(name, query.strip() + "\n", _VARIABLES[name])


EXAMPLES: Sequence[Example] = tuple(_read_examples())


class Playground:
    """The page, which needs nothing but itself.

    A browser that reaches the files of GraphiQL that Strawberry's own page names, and finds them to be those very
    files by their hashes, shows GraphiQL with the same examples in place of the page's editor.
    """

    def __init__(self) -> None:
        self._graphiql = _find_graphiql()
        self._template = _fill(
            (_FOLDER / "page.html").read_text(encoding="utf-8"),
            style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
            script=(_FOLDER / "page.js").read_text(encoding="utf-8"),
        )

    def html(self, endpoint: str, *, demo: bool, nonce: str) -> str:
        """The page for the graph at this path, to be sent with the policy of the same nonce."""
        path = _path(endpoint)
        config = {
            "endpoint": path,
            "examples": [asdict(example) for example in EXAMPLES],
            "graphiql": self._graphiql,
        }
        return _fill(
            self._template,
            nonce=escape(nonce),
            endpoint=escape(path),
            config=_json_in_html(config),
            banner=_BANNER if demo else "",
        )

    @staticmethod
    def content_security_policy(nonce: str) -> str:
        """The value of the header: only what carries the nonce runs, and only this host is asked."""
        return "; ".join(
            [
                "default-src 'none'",
                f"script-src 'nonce-{nonce}'",
                f"style-src 'nonce-{nonce}'",
                "img-src data:",
                "font-src data:",  # GraphiQL's are in its style sheet
                "connect-src 'self'",  # the same host by WebSocket too
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        )


class _Assets(HTMLParser):
    """The scripts and style sheets of a page that come with a hash."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        url = attributes.get("src") or attributes.get("href")
        if tag in ("script", "link") and url and (integrity := attributes.get("integrity")):
            self.found.append({"tag": tag, "url": url, "integrity": integrity})


def _find_graphiql() -> Sequence[Mapping[str, str]]:
    """React and GraphiQL in the order of loading; none if Strawberry's page does not name all of them."""
    assets = _Assets(get_graphql_ide_html(graphql_ide="graphiql")).found
    wanted = [("script", "/react@"), ("script", "/react-dom@"), ("link", "/graphiql@"), ("script", "/graphiql@")]
    chosen = [next((a for a in assets if a["tag"] == tag and name in a["url"]), None) for tag, name in wanted]
    return [] if None in chosen else [asset for asset in chosen if asset is not None]


def _path(endpoint: str) -> str:
    """A path on this host whatever was asked for: a second slash or a backslash at its start would name another."""
    return "/" + quote(endpoint.lstrip("/\\"), safe="/%:@-._~")


def _json_in_html(value: object) -> str:
    """JSON that can close no element it stands in."""
    return json.dumps(value).replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _fill(template: str, **values: str) -> str:
    """The template with its ``{{name}}`` replaced once: what a value brings along is not replaced again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values.get(found[1], found[0]), template)
