from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    DirectiveNode,
    GraphQLSchema,
    OperationDefinitionNode,
    Visitor,
    build_schema,
    parse,
    validate,
    visit,
)
from graphql.execution.values import get_variable_values

from loaders.caip import AccountAddress, AssetId
from loaders.upstream.simulator.demo import DATA
from schema.playground import EXAMPLES, Example, Playground

SDL = Path(__file__).parent.parent / "schema.graphql"
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


@pytest.fixture(scope="module")
def graph() -> GraphQLSchema:
    """The printed graph; the federation directives on it are used without being defined."""
    return build_schema(SDL.read_text(encoding="utf-8"), assume_valid=True, assume_valid_sdl=True)


class Page(HTMLParser):
    """The elements of a page as a browser would find them, and the text of its scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Mapping[str, str | None]]] = []
        self.texts: list[tuple[Mapping[str, str | None], str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.elements[-1][1], data))

    @property
    def config(self) -> dict[str, Any]:
        (text,) = (text for attributes, text in self.texts if attributes.get("id") == "config")
        config: dict[str, Any] = json.loads(text)
        return config

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    @property
    def ids(self) -> list[str]:
        return [id for _, attributes in self.elements if (id := attributes.get("id"))]


def page(endpoint: str = "/graphql", *, demo: bool = False) -> Page:
    return Page(Playground().html(endpoint, demo=demo, nonce="n0nce"))


def operation_of(example: Example) -> OperationDefinitionNode:
    (operation,) = parse(example.query).definitions
    assert isinstance(operation, OperationDefinitionNode)
    return operation


def test_the_portfolio_query_comes_first_and_four_more_follow() -> None:
    assert [example.name for example in EXAMPLES] == ["Portfolio", "Holdings", "Totals", "Token", "Sources"]


@each_example
def test_every_example_is_one_named_operation_with_a_comment_that_says_what_it_is_for(example: Example) -> None:
    name = operation_of(example).name
    assert name is not None
    assert name.value == example.name
    assert example.query.startswith("# ")


@each_example
def test_every_example_is_valid_against_the_graph(example: Example, graph: GraphQLSchema) -> None:
    assert validate(graph, parse(example.query)) == []


@each_example
def test_the_variables_of_every_example_have_their_declared_types(example: Example, graph: GraphQLSchema) -> None:
    definitions = operation_of(example).variable_definitions or ()
    assert set(example.variables) <= {definition.variable.name.value for definition in definitions}
    assert not isinstance(get_variable_values(graph, definitions, dict(example.variables)), list)


@each_example
def test_no_example_is_answered_in_parts(example: Example) -> None:
    used = set()

    class Directives(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: object) -> None:
            used.add(node.name.value)

    visit(parse(example.query), Directives())
    assert not used & {"defer", "stream"}


@each_example
def test_every_example_asks_for_what_the_demo_has_in_canonical_form(example: Example) -> None:
    demo = DATA.read_text(encoding="utf-8").lower()
    values = [value if isinstance(value, list) else [value] for value in example.variables.values()]
    texts = [text for value in values for text in value if isinstance(text, str)]
    assert texts
    for text in texts:
        parsed = AssetId.parse(text) if "/" in text else AccountAddress.parse(text)
        assert str(parsed) == text
        assert text.rpartition(":")[2].lower() in demo


def test_the_page_offers_every_example_with_its_variables() -> None:
    assert page().config["examples"] == [
        {"name": example.name, "query": example.query, "variables": dict(example.variables)} for example in EXAMPLES
    ]


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("/graphql", "/graphql"),
        ("/api/graphql/", "/api/graphql/"),
        ("graphql", "/graphql"),
        ("", "/"),
        ("/größe/a%20b", "/gr%C3%B6%C3%9Fe/a%20b"),
        ('/"><img src=x onerror=alert(1)>', "/%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E"),
        ("/'</script><script>alert(1)</script>", "/%27%3C/script%3E%3Cscript%3Ealert%281%29%3C/script%3E"),
        ("/<!--<script>", "/%3C%21--%3Cscript%3E"),
        ("/{{config}}\\g<0>", "/%7B%7Bconfig%7D%7D%5Cg%3C0%3E"),
        ("//other.example/graphql", "/other.example/graphql"),
        ("/\\other.example/graphql", "/other.example/graphql"),
        ("/\t/other.example/graphql", "/%09/other.example/graphql"),
        ("javascript:alert(1)", "/javascript:alert%281%29"),
    ],
)
def test_no_endpoint_breaks_out_of_the_page_or_leads_to_another_host(endpoint: str, path: str) -> None:
    shown = page(endpoint=endpoint)
    assert shown.config["endpoint"] == path
    assert shown.tags == page().tags


def test_the_nonce_cannot_break_out_of_the_page() -> None:
    html = Playground().html("/graphql", demo=False, nonce='"><script>alert(1)</script>')
    assert Page(html).tags == page().tags


def test_data_in_the_page_cannot_close_the_element_it_stands_in() -> None:
    html = Playground().html("/graphql", demo=False, nonce="n0nce")
    (data,) = re.findall(r'type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    assert not set(data) & set("<>&")


def test_every_script_and_style_carries_the_nonce() -> None:
    found = [attributes.get("nonce") for tag, attributes in page(demo=True).elements if tag in ("script", "style")]
    assert len(found) > 2
    assert set(found) == {"n0nce"}


@pytest.mark.parametrize("demo", [False, True])
def test_the_page_keeps_its_own_policy(demo: bool) -> None:
    for _, attributes in page(demo=demo).elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "data:,") == "data:,"
        assert "src" not in attributes
    scripts = [text for _, text in page().texts]
    assert not [
        word for word in ("innerHTML", "insertAdjacent", "document.write", "eval(") if word in "".join(scripts)
    ]


def test_the_page_names_no_other_host_than_that_of_graphiql() -> None:
    html = Playground().html("/graphql", demo=True, nonce="n0nce")
    for asset in page().config["graphiql"]:
        html = html.replace(asset["url"], "")
    assert not re.findall(r"""\b(?:https?|wss?):|["'(]//|@import|url\(""", html)


def test_graphiql_is_loaded_only_as_the_very_files_that_strawberry_knows() -> None:
    assets = page().config["graphiql"]
    assert [asset["tag"] for asset in assets] == ["script", "script", "link", "script"]
    names = ["react.", "react-dom.", "graphiql.", "graphiql."]
    assert all(name in asset["url"] for name, asset in zip(names, assets, strict=True))
    for asset in assets:
        assert asset["url"].startswith("https://")
        assert re.fullmatch(r"sha384-[A-Za-z0-9+/]{64}", asset["integrity"])


def test_the_policy_lets_in_the_nonce_and_nothing_inline() -> None:
    policy = Playground.content_security_policy("n0nce")
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'nonce-n0nce'",
        "style-src": "'nonce-n0nce'",
        "img-src": "data:",
        "font-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert "unsafe" not in policy


def test_the_demo_and_only_the_demo_says_that_its_data_is_simulated() -> None:
    playground = Playground()
    assert "Simulated data:" in playground.html("/graphql", demo=True, nonce="n0nce")
    assert "Simulated" not in playground.html("/graphql", demo=False, nonce="n0nce")


def test_every_input_has_a_label_and_no_id_is_given_twice() -> None:
    elements = page().elements
    inputs = {attributes["id"] for tag, attributes in elements if tag in ("textarea", "input")}
    assert inputs == {"query", "variables", "headers", "search"}
    assert inputs == {attributes["for"] for tag, attributes in elements if tag == "label"}
    assert len(page().ids) == len(set(page().ids))


def test_nothing_of_the_template_is_left_over() -> None:
    assert not re.findall(r"\{\{\w+\}\}", Playground().html("/graphql", demo=True, nonce="n0nce"))


def test_the_built_in_editor_stands_until_graphiql_has_started() -> None:
    (editor,) = (attributes for _, attributes in page().elements if attributes.get("id") == "editor")
    (graphiql,) = (attributes for _, attributes in page().elements if attributes.get("id") == "graphiql")
    assert "hidden" not in editor
    assert "hidden" in graphiql
