from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import logging
from loaders.upstream.logs import configure_logs, log
from loaders.upstream.tracing import operation_span

configure_logs({format!r}, "info")
log.debug("not told")
log.info("told", source="ONDO_GM", name="any name will do")
logging.getLogger("uvicorn.error").warning("of %s", "others")
with operation_span("operation", {{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}):
    try:
        raise KeyError("0x0bba18a59b4afb57cb8c8a2d9f6d4ae52ddeeb6b, 6xkW7gfUpgi9LJkPrfDYEKKBw6kWribfSDVdL1ySEufy")
    except KeyError as error:
        log.error("failed", exc_info=error)
"""


def told(format: str) -> str:
    """What a process without a terminal writes to stderr."""
    program = PROGRAM.format(format=format)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in told("auto").splitlines()]


def test_every_line_is_json_with_its_level_and_its_time(lines: list[dict[str, Any]]) -> None:
    ours, others, failed = lines
    assert (ours["event"], ours["level"], ours["source"]) == ("told", "info", "ONDO_GM")
    assert ours["name"] == "any name will do"
    assert (others["event"], others["level"]) == ("of others", "warning")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(failed["timestamp"])).total_seconds() < 600


def test_a_line_of_an_operation_has_its_trace(lines: list[dict[str, Any]]) -> None:
    assert [line.get("trace_id") for line in lines] == [None, None, "0af7651916cd43dd8448eb211c80319c"]


def test_a_traceback_shows_no_address(lines: list[dict[str, Any]]) -> None:
    assert lines[2]["exception"].endswith("KeyError: '[address], [address]'")


def test_for_people_a_traceback_shows_no_address_either() -> None:
    text = told("console")
    assert "KeyError: '[address], [address]'" in text
    assert "\x1b" not in text


def test_without_being_asked_it_leaves_the_host_s_logging_alone() -> None:
    program = """
import logging
from loaders.upstream.logs import log
assert not logging.getLogger().handlers and not logging.getLogger("walletgraph").handlers
logging.basicConfig(level="INFO", format="%(name)s %(levelname)s %(message)s %(fields)s")
log.warning("told", source="ONDO_GM")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "walletgraph WARNING told {'source': 'ONDO_GM'}\n")
