"""What ``python -m schema`` prints."""

from __future__ import annotations

import pytest

from schema import Schema
from schema.__main__ import main
from tests.graph import Simulators, open_graph
from tests.schema.test_schema import PRINTED


def test_the_graph_that_stands_alone_is_the_one_that_was_reviewed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--graph"])
    assert capsys.readouterr().out == PRINTED.read_text(encoding="utf-8")


async def test_what_is_printed_is_what_gateways_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    async with open_graph(Simulators.empty(), schema=Schema(subgraph=True)) as graph:
        data = await graph.ask("{ _service { sdl } }")
    assert data["_service"]["sdl"] + "\n" == capsys.readouterr().out


def test_what_it_does_not_know_is_said_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["--subgraph"])
    assert exit.value.code == 2
    assert "unrecognized arguments: --subgraph" in capsys.readouterr().err
