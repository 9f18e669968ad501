"""Which private parts of other packages parleyd relies on: each is listed here, with what holds it."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Of packages: setup.cfg has an upper bound, and the test tries what is expected of them.
PACKAGES = {
    "numpy.fft._pocketfft_umath": "tests/audio/test_spectra.py",
    "websocket._abnf": "tests/conversation/test_websocket_contract.py",
    "websocket._socket": "tests/conversation/test_websocket_contract.py",
}
REQUIREMENTS = {"numpy": "numpy", "websocket": "websocket-client"}
# Of the standard library, whose versions scripts/test-matrix tries: modules beneath the public ones, which load sooner
# or need no lock, and what argparse has no public name for. (Attributes of its objects are not looked for.)
STANDARD = {
    "_socket": "tests/tools/test_tool_processes.py",
    "_thread": "tests/host/test_resolving.py",
    "argparse._MutuallyExclusiveGroup": "tests/chat",
    "argparse._SubParsersAction": "tests/cli",
    "ctypes._Pointer": "tests/audio",
    "os._exit": "tests/host",
}


def private(tree: ast.Module) -> Iterator[str]:
    """Names below a module that begin with an underscore, as `module.name`."""
    modules = {
        (alias.asname or alias.name).partition(".")[0]: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if "._" in f".{one.name}")
            case ast.ImportFrom(module=str(module), names=names, level=0) if not module.startswith("__"):
                found = [module] if "._" in f".{module}" else [f"{module}.{one.name}" for one in names]
                yield from (name for name in found if re.search(r"(^|[.])_(?!_)", name))
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if re.match(r"_(?!_)", name):
                if owner in modules:
                    yield f"{modules[owner]}.{name}"


def relied_on() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "daemon" / "parleyd").rglob("*.py")):
        for name in private(ast.parse(path.read_text())):
            found.setdefault(name, set()).add(path.name)
    return found


def test_private_parts_are_those_that_are_listed() -> None:
    found = {name: files for name, files in relied_on().items() if not name.startswith("parleyd.")}
    assert set(found) == {*PACKAGES, *STANDARD}, found


def test_packages_whose_private_parts_are_used_have_an_upper_bound_and_a_test() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    requirements = setup["options"]["install_requires"]
    for name, test in PACKAGES.items():
        assert re.search(rf"^{REQUIREMENTS[name.partition('.')[0]]}\b.*<", requirements, re.MULTILINE), name
        assert (ROOT / test).is_file()


def test_of_the_standard_library_each_is_there() -> None:
    for name, held in STANDARD.items():
        module, _, attribute = name.partition(".")
        assert module in sys.stdlib_module_names
        assert not attribute or hasattr(__import__(module), attribute)
        assert (ROOT / held).exists()
