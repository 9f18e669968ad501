"""Who may know whom, as docs/architecture.md tells it; read from the imports, without running anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import parleyd

ROOT = Path(parleyd.__file__).parent
REPOSITORY = Path(__file__).parent.parent

# What a module that calls itself pure does without: threads, sockets, clocks, processes, devices, systemd.
IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "pyaudio", "queue", "select", "selectors", "signal", "socket"),
    *("subprocess", "systemd", "threading", "time", "urllib.request", "websocket", "websockets"),
}

# A file that is longer stands in docs/architecture.md, with its reason.
MOST_LINES = 600


@cache
def modules() -> dict[str, ast.Module]:
    """Name without the package's → its text."""
    found = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        found[name] = ast.parse(path.read_text())
    return found


def imports(tree: ast.AST, *, with_types: bool = False) -> Iterator[str]:
    """Names in full; those under TYPE_CHECKING, which do not exist when the program runs, only with_types."""
    for node in ast.iter_child_nodes(tree):
        is_for_types = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if is_for_types and not with_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who knows whom"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports(node, with_types=with_types)


@cache
def known(*, with_types: bool = False) -> dict[str, frozenset[str]]:
    """Of each module, which others of the package it imports."""
    names = modules().keys() - {""}
    found = {}
    for name, tree in modules().items():
        ours = {
            one.removeprefix("parleyd.") for one in imports(tree, with_types=with_types) if one.startswith("parleyd.")
        }
        # Either a module, or something in one.
        found[name] = frozenset(one if one in names else one.rpartition(".")[0] for one in ours) & names
    return found


def below(name: str, *rooms: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def test_there_is_something_to_look_at() -> None:
    assert below("agents.elevenlabs.codec", "agents")
    assert "agents.elevenlabs.codec" in known()["agents.elevenlabs.agent"]


def test_no_module_knows_itself_by_way_of_others() -> None:
    try:
        list(TopologicalSorter(known()).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of a table in docs/architecture.md, by the first cell of its heading."""
    text = (REPOSITORY / "docs/architecture.md").read_text()
    rows = re.split(rf"^\| {heading} \|.*\n\|[-| ]*\n", text, maxsplit=1, flags=re.MULTILINE)[1].split("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", cell)


def test_a_package_imports_from_lower_floors_only() -> None:
    floors = {name: int(row[0]) for row in table("floor") for name in names_in(row[1])}
    assert floors.keys() == {name.split(".")[0] for name in modules()} - {"", "__main__"}
    for name, others in known(with_types=True).items():
        room = name.split(".")[0]
        for other in others if name not in ("", "__main__") else ():
            below_it = other.split(".")[0]
            assert below_it == room or floors[below_it] < floors[room], f"{name} imports {other}"


def test_the_rooms_of_a_package_have_an_order() -> None:
    allowed: dict[str, set[str]] = {}
    for first, second in table("room"):
        rooms = names_in(first)
        before = set(allowed)
        match second:
            case "everything above":
                may = before
            case _:
                may = set(names_in(second))
        assert may <= before | set(rooms), f"{first} may import rooms that stand further down"
        allowed |= dict.fromkeys(rooms, may)
    for package in ("audio", "conversation"):
        here = {".".join(name.split(".")[:2]) for name in modules() if name.startswith(f"{package}.")}
        assert here == {room for room in allowed if room.startswith(f"{package}.")}
        for name, others in known(with_types=True).items():
            room = ".".join(name.split(".")[:2])
            for other in others if room in here else ():
                inner = ".".join(other.split(".")[:2])
                if other.startswith(f"{package}.") and inner != room:
                    assert inner in allowed[room], f"{name} imports {other}"


def test_the_conversation_knows_no_provider_and_no_device() -> None:
    forbidden = ("agents.elevenlabs", "agents.openai", "audio.devices")
    for name, others in known().items():
        if below(name, "conversation"):
            assert not [other for other in others if below(other, *forbidden)], name


# Which packages do without the names of providers, also in their texts: what they say is true with each provider.
WITHOUT_PROVIDERS = ("announce", "audio", "control", "conversation", "core", "tools", "usage")
PROVIDER_WORDS = re.compile(r"elevenlabs|openai|convai", re.IGNORECASE)


def literals(tree: ast.AST) -> Iterator[str]:
    """The texts of a module that are no docstrings."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield from literals(node)


def test_what_is_common_to_all_providers_names_none() -> None:
    looked_at = [name for name in modules() if below(name, *WITHOUT_PROVIDERS)]
    assert {name.split(".")[0] for name in looked_at} == set(WITHOUT_PROVIDERS)
    found = [(name, text) for name in looked_at for text in literals(modules()[name]) if PROVIDER_WORDS.search(text)]
    assert not found


def test_one_provider_imports_nothing_from_another() -> None:
    providers = {path.name for path in (ROOT / "agents").iterdir() if (path / "__init__.py").exists()}
    assert providers == {"elevenlabs", "openai"}
    for name, others in known().items():
        for provider in providers:
            if below(name, f"agents.{provider}"):
                rest = [f"agents.{other}" for other in providers - {provider}]
                assert not [other for other in others if below(other, *rest)], name


def test_what_is_called_pure_is_pure() -> None:
    pure = [name for name, tree in modules().items() if re.search(r"\bPure[.;]", ast.get_docstring(tree) or "")]
    assert {
        "conversation.dialogue.turns",
        "agents.elevenlabs.answers",
        "agents.elevenlabs.reader",
        "conversation.session.uplink",
        "audio.gate.gate",
        "agents.elevenlabs.codec",
    } <= set(pure)
    for name in pure:
        used = [one for one in imports(modules()[name]) if below(one, *IMPURE)]
        assert not used, f"{name} calls itself pure and imports {used}"


def importers(package: str) -> set[str]:
    """The packages that import it; of its own package, the rooms."""
    top = package.split(".")[0]
    return {
        name.split(".")[1] if below(name, top) and name != top else name.split(".")[0]
        for name, others in known(with_types=True).items()
        if not below(name, package) and any(below(other, package) for other in others)
    }


def test_a_package_says_what_it_is_for_and_who_imports_it() -> None:
    """In three sentences: what lives there, what may be called from outside, and who may know it."""
    packages = {name for name in modules() if (ROOT / name.replace(".", "/") / "__init__.py").exists()} - {""}
    for package in sorted(packages):
        face = " ".join((ast.get_docstring(modules()[package]) or "").split())
        assert len(re.findall(r"[a-z)`]\. (?=[A-Z`a-z])|\.$", face)) >= 3, f"{package}: three sentences"
        if "Every higher package may import it" in face:
            continue
        only = re.search(r"Only ([\w, ]+?) imports? it\.$", face)
        assert only is not None, f"{package} says as its last sentence: Only x, y and z import it."
        assert set(re.split(r", | and ", only[1])) == importers(package), package


def defines(reference: str) -> bool:
    """reference: a module, or a module with a name at its top level."""
    module, _, name = reference.rpartition(".")
    top = modules()[module].body if module in modules() else []
    return reference in modules() or name in {
        target.id if isinstance(target, ast.Name) else getattr(node, "name", "")
        for node in top
        for target in getattr(node, "targets", [node])
    }


def test_what_a_package_names_in_its_face_exists() -> None:
    seen = 0
    for package, tree in modules().items():
        if package == "" or not (ROOT / package.replace(".", "/") / "__init__.py").exists():
            continue
        for reference in re.findall(r"\b[a-z_]+(?:\.\w+)+", ast.get_docstring(tree) or ""):
            if not reference.endswith((".py", ".md")):
                seen += 1
                assert defines(f"{package}.{reference}") or defines(reference), f"{package}: {reference}"
    assert seen > 20


def test_every_file_that_the_page_sends_a_reader_to_exists() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", page))
    assert len(named) > 40
    roots = (ROOT, REPOSITORY)
    assert [name for name in sorted(named) if not any((root / name).is_file() for root in roots)] == []
    # Of `folder/file.py` (`other.py`), the other one stands in the same folder.
    beside = re.findall(r"`((?:[a-z_]+/)+)[a-z_]+\.py` \(((?:`[a-z_]+\.py`(?:, )?)+)\)", page)
    files = [folder + name for folder, names in beside for name in re.findall(r"`([a-z_]+\.py)`", names)]
    assert len(files) > 5
    assert [name for name in files if not (ROOT / name).is_file()] == []


# Who may start a process, and with which names. All others ask host/subprocesses.py, which bounds time and output.
STARTERS = {
    "host.subprocesses": "the runner itself",
    "host.runner": "stands between the daemon and a program of the user's; it imports nothing of parleyd",
    "tools.picture_file": "runs apart from the daemon, where the program runs, and imports nothing of parleyd",
    "embedded.child": "an agent that stays for as long as the daemon",
    "cli.bench": "a daemon that stays for a measurement",
    "setup.try_step": "a daemon that stays for a trial",
}
STARTING = re.compile(
    r"(subprocess|multiprocessing|pty|asyncio\.subprocess)\b|"
    r"os\.(fork\w*|exec\w+|spawn\w+|posix_spawnp?|system|popen)|_posixsubprocess"
)


def dotted(tree: ast.AST) -> Iterator[str]:
    """The names with a dot that a module uses, such as os.fork, and those that it imports."""
    yield from imports(tree, with_types=True)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def test_programs_are_run_in_one_place() -> None:
    found = {name: {one for one in dotted(tree) if STARTING.match(one)} for name, tree in modules().items()}
    assert {name for name, used in found.items() if used} == set(STARTERS)
    for name in ("embedded.child", "cli.bench", "setup.try_step"):
        calls = {one for one in found[name] if one.startswith("subprocess.")}
        assert calls <= {"subprocess.Popen", "subprocess.PIPE", "subprocess.DEVNULL"}, name


def test_requests_over_http_begin_in_one_place() -> None:
    """host/requests.py makes the connection, with one deadline and the one reader of proxies."""
    stacks = re.compile(r"(urllib\.request|urllib3|httpx|httpcore|requests|aiohttp|openai)\b")
    ours = {name for name, tree in modules().items() if any(stacks.match(one) for one in imports(tree))}
    # The library of language models brings a stack of its own along; only the agent's process loads it.
    assert ours == {"embedded.mind.language_model", "embedded.parts_by_address"}
    made = {
        name
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and re.search(r"\bHTTPS?Connection$", ast.unparse(node.func))
    }
    assert made == {"host.requests"}


def test_long_files_are_listed_with_a_reason() -> None:
    long = {
        str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if len(path.read_text().splitlines()) > MOST_LINES
    }
    assert {row[0].strip("`") for row in table("file")} == long


# Programs of their own, whose threads are no part of the daemon: the chat, the demo, commands, the embedded agent.
OTHER_PROGRAMS = ("chat", "cli", "demo", "doctor", "embedded.server", "embedded.workers")


def names_of_threads(tree: ast.AST) -> Iterator[str]:
    """The names that threads are started with; of a name with a number in it, the part before the number."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match ast.unparse(node.func):
            case "threading.Thread":
                names = [one.value for one in node.keywords if one.arg == "name"]
                assert names, f"line {node.lineno}: a thread without a name"
            case "follower.Follower":
                names = node.args[-1:]
            case "threading.Timer":
                yield "threading.Timer"
                continue
            case _:
                continue
        for name in names:
            if isinstance(name, ast.JoinedStr):
                name = name.values[0]
            if isinstance(name, ast.Constant):
                yield str(name.value)


def test_the_table_of_threads_has_each_thread_once() -> None:
    rows = [name for row in table("thread") for name in re.findall(r"`([^`]+)`", row[0])]
    started = {
        name
        for module, tree in modules().items()
        if not below(module, *OTHER_PROGRAMS)
        for name in names_of_threads(tree)
    }
    assert len(started) > 30
    # `tool-` in the program, where a number follows, is `tool-N` in the table.
    assert sorted(name for name in started if name not in rows and f"{name}N" not in rows) == []
    assert [name for name in rows if rows.count(name) > 1] == []
