"""Which private parts of other packages parleyd relies on: each is listed here, with what holds it."""

from __future__ import annotations

import argparse
import ast
import configparser
import dis
import functools
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType

import parleyd

ROOT = Path(__file__).parent.parent
# Of packages: setup.cfg has an upper bound, and the test tries what is expected of them.
PACKAGES = {
    "_webrtcvad": "tests/audio/test_vad.py",
    "numpy.fft._pocketfft_umath": "tests/audio/test_spectra.py",
    "websocket._abnf": "tests/conversation/test_websocket_contract.py",
    "websocket._socket": "tests/conversation/test_websocket_contract.py",
}
REQUIREMENTS = {"_webrtcvad": "webrtcvad-wheels", "numpy": "numpy", "websocket": "websocket-client"}
# Of the standard library, whose versions scripts/test-matrix tries: modules beneath the public ones, which load sooner
# or need no lock, and what argparse has no public name for.
STANDARD = {
    "_socket": "tests/tools/test_tool_processes.py",
    "_thread": "tests/host/test_resolving.py",
    "argparse._MutuallyExclusiveGroup": "tests/chat",
    "argparse._SubParsersAction": "tests/cli",
    "ctypes._Pointer": "tests/audio",
    "os._exit": "tests/host",
}
# Private attributes of objects that are not parleyd's own: of which class, and the test.
ATTRIBUTES = {
    "_actions": (argparse.ArgumentParser, "tests/cli/test_completion.py"),
    "_expand_help": (argparse.HelpFormatter, "tests/cli/test_manual.py"),
    "_format_action_invocation": (argparse.HelpFormatter, "tests/cli/test_manual.py"),
    "_get_subactions": (argparse._SubParsersAction, "tests/cli/test_widths.py"),
}
# Private names that a class of parleyd's shares with a class of somebody else's that it is derived from. A name that is
# the same by accident would replace a part of that class without a word.
SHARED = {
    "BoundedWebSocket._recv": "tests/conversation/test_websocket_contract.py",
    "_Formatter._fill_text": "tests/cli/test_widths.py",
    "_Formatter._format_usage": "tests/cli/test_widths.py",
    "_Formatter._split_lines": "tests/cli/test_widths.py",
    "_Formatter._width": "tests/cli/test_widths.py",
    "_Whole._actions": "tests/cli/test_widths.py",
    "_Whole._get_formatter": "tests/cli/test_widths.py",
    "_Whole._mutually_exclusive_groups": "tests/cli/test_widths.py",
}
# The libraries that are called by ctypes, which checks neither names nor parameters: who does so, and the tests that
# try the functions with the real library.
NATIVE = {
    ("allocator.py", None): "tests/host/test_allocator.py",
    ("alsa.py", "libasound.so.2"): "tests/audio/test_native_libraries.py",
    ("native_output.py", None): "tests/audio/test_native_libraries.py",
    ("native_output.py", "libasound.so.2"): "tests/audio/test_native_libraries.py",
    ("native_output.py", "libjack.so.0"): "tests/audio/test_native_libraries.py",
    ("sound_server.py", "libasound.so.2"): "tests/audio/test_channels.py",
    ("sound_server.py", "libpulse.so.0"): "tests/audio/test_channels.py",
    ("clock.py", None): "tests/doctor/test_doctor_judges.py",
    ("reaching.py", None): "tests/host/test_reaching.py",
    ("runner.py", None): "tests/host/test_apart.py",
}
# Public, in spite of the underscore: the methods of named tuples.
PUBLIC = {"_asdict", "_fields", "_make", "_replace"}


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


@functools.cache
def modules() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text())) for path in sorted((ROOT / "daemon" / "parleyd").rglob("*.py"))]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined(tree: ast.Module) -> Iterator[str]:
    """The private names to which the module itself gives a meaning."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def attributes_of_others() -> set[str]:
    """The private attributes of other objects than self, to which the module that uses them gives no meaning."""
    used: set[str] = set()
    for _, tree in modules():
        known = PUBLIC | set(defined(tree)) | {name.rpartition(".")[2] for name in private(tree)}
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id="self" | "cls")):
                    pass
                case ast.Attribute(attr=name) if is_private(name) and name not in known:
                    used.add(name)
    return used


def classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(parleyd.__path__, "parleyd."):
        if not module.name.endswith("__main__"):
            for one in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(one) and one.__module__ == module.name:
                    yield one


def private_names(foreign: type) -> Iterator[str]:
    """Of its class, and of its objects as far as its functions of Python give them any."""
    for name, value in vars(foreign).items():
        if is_private(name):
            yield name
        function = inspect.unwrap(value) if callable(value) else getattr(value, "fget", None)
        codes = [function.__code__] if isinstance(function, FunctionType) else []
        while codes:
            code = codes.pop()
            yield from (
                one.argval
                for one in dis.get_instructions(code)
                if one.opname == "STORE_ATTR" and is_private(one.argval)
            )
            codes += [one for one in code.co_consts if isinstance(one, CodeType)]


def used_of_itself(one: type) -> set[str]:
    """The private names that a class uses of itself and of its objects, or defines."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
    used = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                used.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                used.add(name)
    return {name for name in used if is_private(name)}


def shared() -> set[str]:
    found: set[str] = set()
    for one in classes():
        # The rest of them are written in C, or make classes rather than objects.
        foreign = [base for base in one.__mro__ if base.__module__.partition(".")[0] not in ("parleyd", "builtins")]
        names = {name for base in foreign for name in private_names(base)}
        if names:
            found |= {f"{one.__name__}.{name}" for name in used_of_itself(one) & names}
    return found


def native() -> set[tuple[str, str | None]]:
    """Which file loads which library; None: what the process has loaded anyhow, that is, the C library."""
    found: set[tuple[str, str | None]] = set()
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ctypes.CDLL", "ctypes.PyDLL"):
                name = ast.literal_eval(node.args[0])
                assert name is None or isinstance(name, str)
                found.add((path.name, name))
    return found


def relied_on() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path, tree in modules():
        for name in private(tree):
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


def test_private_attributes_of_others_are_those_that_are_listed() -> None:
    assert attributes_of_others() == set(ATTRIBUTES)
    for name, (owner, held) in ATTRIBUTES.items():
        assert name in {one for base in owner.__mro__ for one in private_names(base)}
        assert (ROOT / held).is_file()


def test_no_class_shares_a_private_name_with_one_it_is_derived_from_unless_it_is_listed() -> None:
    assert shared() == set(SHARED)
    assert all((ROOT / held).is_file() for held in SHARED.values())


def test_each_library_that_is_called_by_ctypes_has_a_test() -> None:
    assert native() == set(NATIVE)
    assert all((ROOT / held).is_file() for held in NATIVE.values())
