"""Builds the wheel: the flat source tree as one package, whose imports name that package.

In the checkout imports are flat (``from loaders import Loaders``). In the wheel everything lies in ``walletgraph``
(``from walletgraph.loaders import Loaders``), so that it takes no name which another distribution may use.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "walletgraph"
SOURCES = ("schema", "resolvers", "loaders", "server.py")

_ROOTS = frozenset(Path(source).stem for source in SOURCES)
_NAME = re.compile(rf"(?:from[\s\\]+)?({'|'.join(sorted(_ROOTS))})\b".encode())


class ImportRenameError(Exception):
    """An import that cannot be moved into the package; the message begins with its file and line."""


def rename_imports(source: bytes, name: str) -> bytes:
    """The source with the imports of our modules moved into the package, and every other byte as it was.

    ``name`` is the file's name for messages. Raises ImportRenameError, and SyntaxError for what is not Python.
    """
    for at, text in sorted(_inserts(source, name), reverse=True):
        source = source[:at] + text + source[at:]
    return source


def _inserts(source: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """What to insert, and where."""
    line_starts = [0, *accumulate(len(line) for line in source.splitlines(keepends=True))]
    for statement in ast.walk(ast.parse(source, name)):
        imports: list[tuple[ast.ImportFrom | ast.alias, str, bool]] = []
        if isinstance(statement, ast.ImportFrom) and statement.level == 0:
            imports = [(statement, statement.module or "", False)]
        elif isinstance(statement, ast.Import):
            imports = [(alias, alias.name, alias.asname is None) for alias in statement.names]
        for node, module, binds_root in imports:
            root = module.partition(".")[0]
            if root not in _ROOTS:
                continue
            if binds_root and module != root:
                raise ImportRenameError(
                    f"{name}:{node.lineno}: `import {module}` binds `{root}`, which the wheel does not have: "
                    f"write `from {module} import …` or `import {module} as …`"
                )
            found = _NAME.match(source, line_starts[node.lineno - 1] + node.col_offset)
            # The parser counts bytes of UTF-8 without a byte order mark: in any other text its columns are off.
            if found is None:
                raise ImportRenameError(f"{name}:{node.lineno}: `{module}` is not found: is the file plain UTF-8?")
            yield found.start(1), f"{PACKAGE}.".encode()
            if binds_root:
                yield found.end(1), f" as {root}".encode()


class PackageBuildHook(BuildHookInterface[BuilderConfig]):
    """Puts the package into the wheel; the editable install stays the plain checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self._folder = TemporaryDirectory()
        try:
            self._write_package(Path(self.root), Path(self._folder.name))
        except (ImportRenameError, SyntaxError, FileNotFoundError) as error:
            self._folder.cleanup()
            self.app.abort(f"{PACKAGE} cannot be packaged: {error}")
        build_data["force_include"][self._folder.name] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._folder.cleanup()

    def _write_package(self, checkout: Path, package: Path) -> None:
        def copy(source: str, target: str) -> None:
            content = Path(source).read_bytes()
            if source.endswith(".py"):
                content = rename_imports(content, Path(source).relative_to(checkout).as_posix())
            Path(target).write_bytes(content)

        for name in SOURCES:
            if (checkout / name).is_dir():
                ignore = shutil.ignore_patterns("__pycache__", ".*")
                shutil.copytree(checkout / name, package / name, ignore=ignore, copy_function=copy)
            else:
                copy(str(checkout / name), str(package / name))
        (package / "__init__.py").write_text(f'"""{self.metadata.core.description}"""\n', encoding="utf-8")
        (package / "py.typed").touch()
