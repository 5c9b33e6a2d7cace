"""The page that a browser gets at the endpoint: an editor with five saved queries."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

_FOLDER = Path(__file__).parent

_EVM_ADDRESS = "0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b"
_SOLANA_ADDRESS = "6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy"
_AAPLON_ON_ETHEREUM = "eip155:1/erc20:0x14c3abf95cb9c93a8b82c1cdcb76d72cb87b2d4c"

_VARIABLES: Mapping[str, Mapping[str, object]] = {
    "Portfolio": {"evm": _EVM_ADDRESS, "sol": _SOLANA_ADDRESS},
    "Holdings": {"address": _EVM_ADDRESS, "first": 20},
    "Totals": {"addresses": [_EVM_ADDRESS, _SOLANA_ADDRESS]},
    "Token": {"assetId": _AAPLON_ON_ETHEREUM, "first": 20},
    "Sources": {"address": _SOLANA_ADDRESS},
}

_SCRIPTS = ("react.production.min.js", "react-dom.production.min.js", "graphiql.min.js")
"""In the order of loading: each needs the one before."""
_MEDIA_TYPES: Mapping[str, str] = {
    **dict.fromkeys(_SCRIPTS, "text/javascript; charset=utf-8"),
    "graphiql.min.css": "text/css; charset=utf-8",
}

_BANNER = (
    '<p class="demo"><strong>Simulated data:</strong> balances and prices come from simulated upstreams, '
    "not from any chain or market.</p>"
)

_log = logging.getLogger(__name__)


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
    """The page and what it loads.

    The page needs nothing but itself. If ``assets`` is a folder with GraphiQL 3 or 4 and React 18 as scripts that set
    globals (``graphiql.min.js``, ``graphiql.min.css``, ``react.production.min.js``, ``react-dom.production.min.js``),
    GraphiQL takes the place of the page's own editor.
    """

    def __init__(self, assets: Path | None = None) -> None:
        self._assets = {} if assets is None else _read_assets(assets)
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
            "scripts": [_asset_path(path, name) for name in _SCRIPTS] if self._assets else [],
            "style": _asset_path(path, "graphiql.min.css"),
        }
        return _fill(
            self._template,
            nonce=escape(nonce),
            endpoint=escape(path),
            config=_json_in_html(config),
            banner=_BANNER if demo else "",
        )

    def asset(self, name: str) -> tuple[bytes, str] | None:
        """Content and media type of one of the files that the page loads; None for any other name."""
        content = self._assets.get(name)
        return None if content is None else (content, _MEDIA_TYPES[name])

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


def _read_assets(folder: Path) -> dict[str, bytes]:
    """The files by name, or none at all if one is missing: GraphiQL does not run without every one."""
    missing = [name for name in _MEDIA_TYPES if not (folder / name).is_file()]
    if missing:
        _log.warning("The playground goes without GraphiQL: %s has no %s", folder, ", ".join(missing))
        return {}
    return {name: (folder / name).read_bytes() for name in _MEDIA_TYPES}


def _path(endpoint: str) -> str:
    """A path on this host whatever was asked for: a second slash or a backslash at its start would name another."""
    return "/" + quote(endpoint.lstrip("/\\"), safe="/%:@-._~")


def _asset_path(endpoint: str, name: str) -> str:
    return f"{endpoint.rstrip('/')}/assets/{name}"


def _json_in_html(value: object) -> str:
    """JSON that can close no element it stands in."""
    return json.dumps(value).replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _fill(template: str, **values: str) -> str:
    """The template with its ``{{name}}`` replaced once: what a value brings along is not replaced again."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values.get(found[1], found[0]), template)
