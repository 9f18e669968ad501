"""Who may know whom, as docs/how-it-works.md tells it; read from the imports, without running anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import parleyd

ROOT = Path(parleyd.__file__).parent

# What a module that calls itself pure does without: threads, sockets, clocks, processes, devices, systemd.
IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "pyaudio", "queue", "select", "selectors", "signal", "socket"),
    *("subprocess", "systemd", "threading", "time", "urllib.request", "websocket", "websockets"),
}


@cache
def modules() -> dict[str, ast.Module]:
    """Name without the package's → its text."""
    found = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        found[name] = ast.parse(path.read_text())
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """Names in full, of what exists when the program runs: what stands under TYPE_CHECKING does not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who knows whom"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node)


@cache
def known() -> dict[str, frozenset[str]]:
    """Of each module, which others of the package it imports."""
    names = modules().keys() - {""}
    found = {}
    for name, tree in modules().items():
        ours = {one.removeprefix("parleyd.") for one in imports(tree) if one.startswith("parleyd.")}
        # Either a module, or something in one.
        found[name] = frozenset(one if one in names else one.rpartition(".")[0] for one in ours) & names
    return found


def below(name: str, *rooms: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_there_is_something_to_look_at():
    assert below("agents.elevenlabs.codec", "agents")
    assert "agents.elevenlabs.codec" in known()["agents.elevenlabs.agent"]


def test_no_module_knows_itself_by_way_of_others():
    try:
        list(TopologicalSorter(known()).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_commands_are_on_top_and_the_service_is_below_them_only():
    for name, others in known().items():
        for other in others:
            assert not below(other, "cli") or below(name, "cli", "__main__"), f"{name} imports {other}"
            assert other != "service" or below(name, "cli", "control", "chat"), f"{name} imports {other}"


def test_the_conversation_knows_no_provider_and_no_device():
    forbidden = ("agents.elevenlabs", "agents.local", "audio.devices", "sound", "control")
    for name, others in known().items():
        if below(name, "conversation"):
            assert not [other for other in others if below(other, *forbidden)], name


def test_one_provider_imports_nothing_from_another():
    providers = {path.name for path in (ROOT / "agents").iterdir() if (path / "__init__.py").exists()}
    assert providers == {"elevenlabs", "local"}
    for name, others in known().items():
        for provider in providers:
            if below(name, f"agents.{provider}"):
                rest = [f"agents.{other}" for other in providers - {provider}]
                assert not [other for other in others if below(other, *rest)], name


def test_what_is_called_pure_is_pure():
    pure = [name for name, tree in modules().items() if re.search(r"\bPure[.;]", ast.get_docstring(tree) or "")]
    assert {"conversation.turns", "conversation.uplink", "audio.gate", "agents.elevenlabs.codec"} <= set(pure)
    for name in pure:
        used = [one for one in imports(modules()[name]) if below(one, *IMPURE)]
        assert not used, f"{name} calls itself pure and imports {used}"
