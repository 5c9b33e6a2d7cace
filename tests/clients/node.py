"""Clients written in JavaScript: each is a script in this folder that makes its checks and reports on every one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_SECONDS = 60.0
_CHECK = re.compile(r'^await check\(\s*"([^"]+)"', re.MULTILINE)
_SHARED = ("node_modules", "check.mjs")

Reports = Mapping[str, str | None]
"""What is wrong by check, None for nothing."""


def skip_without_node(*packages: str) -> pytest.MarkDecorator:
    """Skips where there is no node, or no package of these: ``npm ci`` in this folder installs them."""
    if shutil.which("node") is None:
        return pytest.mark.skip("node is not installed")
    missing = [package for package in packages if not (HERE / "node_modules" / package).is_dir()]
    return pytest.mark.skipif(bool(missing), reason=f"run npm ci in tests/clients: no {', '.join(missing)}")


def checks_of(script: str) -> list[str]:
    """The names of a script's checks, in their order."""
    names = _CHECK.findall((HERE / script).read_text(encoding="utf-8"))
    assert names, script
    assert len(set(names)) == len(names), script
    return names


def workshop(folder: str, parent: Path) -> Path:
    """A copy of a folder where tools may write, with all that this one has for scripts beside it."""
    for name in _SHARED:
        (parent / name).symlink_to(HERE / name)
    return Path(shutil.copytree(HERE / folder, parent / folder))


async def run(script: str | Path, *arguments: str) -> Reports:
    """Runs a script to its end."""
    output = await execute("node", HERE / script, *arguments)
    reports = [json.loads(line) for line in output.splitlines() if line.startswith('{"check":')]
    return {report["check"]: report["wrong"] for report in reports}


async def execute(*command: str | Path, cwd: Path = HERE, **environment: str) -> str:
    """What a command prints; raises ``AssertionError`` with all that it said where it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env={**os.environ, **environment}, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, f"{output.decode()}\n{errors.decode()}"
    return output.decode()


def holds(reports: Reports, check: str) -> None:
    """Fails in the check's own words."""
    assert check in reports, "the script did not come to this check"
    if (wrong := reports[check]) is not None:
        pytest.fail(wrong, pytrace=False)
