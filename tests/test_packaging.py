from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from hatch_build import SOURCES, ImportRenameError, rename_imports

ROOT = Path(__file__).parent.parent
needs_uv = pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not on the path")

IMPORT_EVERYTHING = """
import importlib, importlib.metadata, importlib.util, json, sys

for name in sys.argv[1:]:
    importlib.import_module(name)
import schema

providers = importlib.metadata.packages_distributions()
print(json.dumps({
    "schema is of": providers["schema"],
    "schema has": hasattr(schema, "SchemaError"),
    "walletgraph is of": providers["walletgraph"],
    "others": [name for name in ("server", "loaders", "resolvers") if importlib.util.find_spec(name)],
}))
"""

HOST = """
import asyncio
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from walletgraph.loaders.upstream import Upstreams, UpstreamSettings
from walletgraph.server import GraphQLApp

upstreams = Upstreams(UpstreamSettings(ondo_api_key="k"))
graphql = GraphQLApp(upstreams)


@asynccontextmanager
async def lifespan(app):
    async with upstreams:
        yield
        await graphql.close()


app = Starlette(routes=[Mount("/graphql", app=graphql)], lifespan=lifespan)


async def main():
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session:
        async with session.post(f"http://127.0.0.1:{port}/graphql/", json={"query": "{ __typename }"}) as response:
            print(await response.text())
    server.should_exit = True
    await serving


asyncio.run(main())
"""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """What the command printed; a failure fails the test with everything it said."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{command[0]} gave {done.returncode}:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


def build(folder: Path, *options: str) -> Path:
    """The wheel, built without a network by the environment's own hatchling."""
    run("uv", "build", *options, "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made from the sdist, as a publisher makes it."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def files(wheel: Path) -> list[str]:
    """The wheel's files without its metadata."""
    return [name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name]


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The wheel's metadata."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def host_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel and a distribution whose module is called `schema` too."""
    folder = tmp_path_factory.mktemp("host") / "venv"
    run("uv", "venv", "--quiet", "--python", sys.executable, folder)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    # From the checkout, so that the dependencies are the versions it is tested with.
    run("uv", "pip", "install", "--quiet", "--python", python, wheel, "schema==0.7.8")
    return python


@pytest.mark.parametrize(
    "flat",
    [
        "from @loaders import Loaders\n",
        "from @loaders.caip import AssetId as A\n",
        "from  \\\n  @schema import (\n    schema,  # ours\n)\n",
        "import @server{ as server}\n",
        "import @loaders.caip as caip\n",
        "é = 'é'; import os, @server{ as server}, @loaders as l\r\n",
        "def f():\n\tfrom @schema import schema; return schema",
        "'''\x0c\nfrom loaders import a\n'''\nimport @schema{ as schema}\n",
    ],
)
def test_imports_of_our_modules_are_renamed_and_every_other_byte_is_kept(flat: str) -> None:
    """``@`` marks where the package's name goes, braces what is added."""
    source = re.sub("@|{.*?}", "", flat)
    packaged = re.sub("[{}]", "", flat.replace("@", "walletgraph."))
    assert rename_imports(source.encode(), "m.py").decode() == packaged


@pytest.mark.parametrize(
    "source",
    [
        "from . import caip\nfrom .loaders import caip\nfrom .. import schema\n",
        "from schemas import schema\nimport serverless, loaders_too.loaders\nfrom other.loaders import x\n",
        "x = 'from loaders import Loaders'\n# import server\n",
        "import os.path\n\r\n\x0c\nfrom typing import Any",
        "",
    ],
)
def test_what_is_not_an_import_of_ours_is_untouched(source: str) -> None:
    assert rename_imports(source.encode(), "m.py") == source.encode()


def test_an_import_that_cannot_be_renamed_stops_the_build_with_its_file_and_line() -> None:
    with pytest.raises(ImportRenameError, match=r"^resolvers/plan\.py:3: `import loaders\.caip` binds `loaders`"):
        rename_imports(b"import os\n\nimport os, loaders.caip\n", "resolvers/plan.py")


@pytest.mark.parametrize(
    "source", ["\ufeffimport server\n".encode(), b"# coding: latin-1\nx = '\xe9'; import server\n"]
)
def test_a_text_whose_columns_are_not_those_of_utf_8_stops_the_build(source: bytes) -> None:
    with pytest.raises(ImportRenameError, match=r"^m\.py:\d: `server` is not found"):
        rename_imports(source, "m.py")


@needs_uv
def test_the_wheel_holds_the_source_tree_below_one_package(files: list[str]) -> None:
    found = (path for name in SOURCES for path in [ROOT / name, *(ROOT / name).rglob("*")] if path.is_file())
    sources = {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}
    assert sorted(files) == sorted(f"walletgraph/{name}" for name in {"__init__.py", "py.typed", *sources})
    assert "walletgraph/loaders/upstream/simulator/demo.json" in files


@needs_uv
def test_the_wheel_from_the_sdist_is_the_wheel_from_the_checkout_byte_for_byte(wheel: Path, tmp_path: Path) -> None:
    assert build(tmp_path, "--wheel").read_bytes() == wheel.read_bytes()


def test_the_editable_install_is_the_plain_checkout(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel:editable", "--directory", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        (path_file,) = (name for name in archive.namelist() if ".dist-info/" not in name)
        assert archive.read(path_file).decode().splitlines() == [str(ROOT)]


@needs_uv
def test_the_metadata_says_what_it_is_and_leaves_versions_to_the_host(metadata: Message) -> None:
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Summary"]
    assert metadata.get_payload()
    requirements = [requirement.partition(";")[0] for requirement in metadata.get_all("Requires-Dist", [])]
    assert requirements
    assert not [requirement for requirement in requirements if re.search("[<=~]=|<", requirement.replace(">=", ""))]


@needs_uv
def test_no_string_names_a_module_that_the_wheel_renames(wheel: Path, files: list[str]) -> None:
    ours = {name.removeprefix("walletgraph/").removesuffix(".py").removesuffix("/__init__") for name in files}
    with ZipFile(wheel) as archive:
        trees = {name: ast.parse(archive.read(name)) for name in files if name.endswith(".py")}
    strings = [
        (name, node.value)
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search("[.:]", node.value)
    ]
    assert not [found for found in strings if found[1].partition(":")[0].replace(".", "/") in ours]


@needs_uv
def test_the_wheel_takes_no_name_that_others_use(host_python: Path, files: list[str], tmp_path: Path) -> None:
    sources = [name for name in files if name.endswith(".py")]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in sources]
    assert json.loads(run(host_python, "-I", "-c", IMPORT_EVERYTHING, *modules, cwd=tmp_path)) == {
        "schema is of": ["schema"],
        "schema has": True,
        "walletgraph is of": ["walletgraph"],
        "others": [],
    }


@needs_uv
def test_a_host_mounts_the_graph_beside_its_own_modules(host_python: Path, tmp_path: Path) -> None:
    assert json.loads(run(host_python, "-I", "-c", HOST, cwd=tmp_path)) == {"data": {"__typename": "Query"}}
