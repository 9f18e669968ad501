"""`parleyd platform`: compares the agent on the ElevenLabs platform with what this device needs, and writes the
difference."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from parleyd.checks.configuration import load_without_agent
from parleyd.cli.config_option import add_config
from parleyd.cli.configured import config_of
from parleyd.cli.terminal import rows, show, terminal_width
from parleyd.config.base import Secret
from parleyd.config.edit import edited
from parleyd.config.schema import Config
from parleyd.config.secrets import SecretError, resolve_key
from parleyd.core.text import printable
from parleyd.host.files import replace_file
from parleyd.host.interruptible import interruptible
from parleyd.platform.carry_out import Done
from parleyd.platform.case import Case, create, desired_of, state_of
from parleyd.platform.desired import PROMPT, TOOL_IDS
from parleyd.platform.failures import EX_CONFIGURATION, EX_LEFT, PlatformError, without_a_key
from parleyd.platform.fit import Change, Plan, RemoteTool
from parleyd.platform.folder import Folder
from parleyd.platform.place import Place
from parleyd.platform.rest import Rest, client_tools
from parleyd.platform.tree import MISSING, dotted

# Values that are longer are shown in part; a prompt is shown as a comparison of its lines.
_MOST_SHOWN_CHARS = 120
_KEY_PLACES = "{env: NAME}, {file: PATH} or {credential: NAME} below elevenlabs.api_key, or --key-file FILE"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "platform",
        description="Compares the agent on the ElevenLabs platform with what the configuration needs and wants of it. "
        "No audio and no daemon are needed: it runs on a laptop with the device's file as well. See docs/platform.md. "
        "Exit codes: 0 in step, or applied; 1 a difference or a conflict is left; 69 unreachable; 70 written, and the "
        "server did not keep it; 77 the key may not; 78 configuration.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    plan = actions.add_parser(
        "plan",
        help="show what would be changed, and change nothing",
        description="Shows what `parleyd platform apply` would change, and changes nothing.",
    )
    _common(plan)
    plan.set_defaults(run=_plan)
    apply = actions.add_parser(
        "apply",
        help="change the agent, after a question",
        description="Shows what does not fit, and changes the agent on the platform after a question.",
    )
    _common(apply)
    apply.add_argument("--yes", action="store_true", help="do not ask")
    apply.set_defaults(run=_apply)
    create = actions.add_parser(
        "create",
        help="make a new agent that fits this device, and print its id",
        description="Makes a new agent on the platform that fits this device, and prints its id.",
    )
    create.add_argument("name", metavar="NAME", help="the agent's name on the platform")
    _file_and_key(create)
    create.add_argument("--write", action="store_true", help="write the id into the configuration file")
    create.set_defaults(run=_create)


def _file_and_key(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="the key is the first line of this file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _common(parser: argparse.ArgumentParser) -> None:
    _file_and_key(parser)
    parser.add_argument("--agent", metavar="ID", help="another agent than elevenlabs.agent_id")
    parser.add_argument("--branch", metavar="ID", help="a branch of the agent; default: elevenlabs.branch_id")
    parser.add_argument(
        "--take",
        action="append",
        default=[],
        metavar="PATH",
        help="decide a conflict for the configuration; `all` decides every one; may be given several times",
    )
    parser.add_argument(
        "--prune", action="store_true", help="remove what earlier runs added and nothing asks for any more"
    )
    parser.add_argument(
        "--project", type=Path, metavar="DIR", help="a folder of the official command-line tool instead of the platform"
    )


# ---------------------------------------------------------------- actions


def _plan(args: argparse.Namespace) -> int:
    case = _case(args)
    plan = case.plan()
    if args.json:
        _print_json(_facts(case, plan))
    else:
        _print_plan(case, plan)
        if plan.doubt is not None and plan.doubt.forbids:
            show("\nNothing was changed, and `parleyd platform apply` refuses to write it as long as that is so.")
        elif plan.has_work:
            show("\nNothing was changed. `parleyd platform apply` writes it.")
    return os.EX_OK if plan.is_in_step else EX_LEFT


def _apply(args: argparse.Namespace) -> int:
    case = _case(args)
    with case.locked():
        plan = case.plan()
        if not args.json:
            _print_plan(case, plan)
        if not plan.has_work:
            if args.json:
                _print_json({**_facts(case, plan), "applied": False})
            return os.EX_OK if plan.is_in_step else EX_LEFT
        case.check(plan)
        if not args.yes and not _agrees(is_json=args.json):
            if args.json:
                _print_json({**_facts(case, plan), "applied": False})
            return EX_LEFT
        done = case.carry_out(plan)
    if args.json:
        _print_json({**_facts(case, plan), "applied": True, "version_id": done.version_id})
    else:
        _print_done(done, is_folder=args.project is not None)
    return EX_LEFT if plan.conflicts else os.EX_OK


def _create(args: argparse.Namespace) -> int:
    config = config_of(args.config, load_without_agent)
    if config.elevenlabs.agent_id is not None and args.write:
        text = f"{args.config} already names the agent {config.elevenlabs.agent_id}"
        raise PlatformError(text, "remove elevenlabs.agent_id first, or leave out --write", EX_CONFIGURATION)
    agent_id = create(config, _key(config, args.key_file), args.name)
    is_written = args.write and _write_id(args.config, agent_id)
    if args.json:
        _print_json({"agent": agent_id, "name": args.name, "written_to": str(args.config) if is_written else None})
        return os.EX_OK
    show(f"The agent {agent_id} was made, and fits this device.")
    if is_written:
        show(f"Its id stands in {args.config} now. Next: parleyd doctor")
    else:
        print(f"Write into {args.config}:\n\nelevenlabs:\n  agent_id: {agent_id}\n\nThen: parleyd doctor")
    return os.EX_OK


# ---------------------------------------------------------------- what it works with


def _case(args: argparse.Namespace) -> Case:
    config = config_of(args.config, load_without_agent)
    agent_id = args.agent or config.elevenlabs.agent_id
    # The branch of the configuration is one of the configured agent's.
    branch = args.branch or (None if args.agent else config.elevenlabs.branch_id)
    desired = desired_of(config)
    place: Place
    if args.project is not None:
        names = [str(tool["tool_config"]["name"]) for tool in desired.tools]
        folder = Folder(args.project, agent_id, names, _asking(config, args.key_file))
        place, agent_id = folder, folder.agent_id
    else:
        if agent_id is None:
            hint = f"set elevenlabs.agent_id in {args.config}, or make an agent: parleyd platform create NAME"
            raise PlatformError("no agent is named", hint, EX_CONFIGURATION)
        place = Rest(config.elevenlabs.base_url, _key(config, args.key_file), agent_id, branch)
    state = state_of(args.project)
    return Case(agent_id, branch, place, desired, state, tuple(args.take), args.prune)


def _asking(config: Config, key_file: Path | None) -> Callable[[], Sequence[RemoteTool]] | None:
    """Asks the platform for its tools; None: there is no key here. A folder can do without one."""
    try:
        key = resolve_key(config.elevenlabs.api_key if key_file is None else Secret(file=str(key_file)))
    except SecretError:
        # The key is the device's, and this may be another machine. A file that was named for this run has to be there.
        if key_file is not None:
            raise
        return None
    return None if key is None else (lambda: client_tools(config.elevenlabs.base_url, key))


def _key(config: Config, file: Path | None) -> str:
    key = resolve_key(config.elevenlabs.api_key if file is None else Secret(file=str(file)))
    if key is None:
        raise without_a_key(config.provider, f"name the key: {_KEY_PLACES}")
    return key


def _write_id(path: Path, agent_id: str) -> bool:
    """Adds the id to the file, and keeps all its other lines."""
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        content = ""
    except OSError as error:
        raise PlatformError(
            f"{path} cannot be read: {error.strerror}", "write the id by hand", EX_CONFIGURATION
        ) from None
    new = edited(content, {("elevenlabs", "agent_id"): agent_id})
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        replace_file(path, new.encode(), mode)
    except OSError as error:
        text = f"{path} cannot be written: {error.strerror}"
        raise PlatformError(text, f"write it by hand: elevenlabs.agent_id: {agent_id}", EX_CONFIGURATION) from None
    return True


def _agrees(*, is_json: bool) -> bool:
    if is_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        show("parleyd: nothing was written, because nobody could be asked; --yes writes it", sys.stderr)
        return False
    try:
        with interruptible():
            return input("\nWrite this to the agent? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


# ---------------------------------------------------------------- what people and programs see


def _print_plan(case: Case, plan: Plan) -> None:
    branch = f", branch {case.branch}" if case.branch else ""
    if plan.is_in_step:
        show(f"The agent {case.agent_id}{branch} is in step with the configuration.")
    else:
        show(f"The agent {case.agent_id}{branch}:")
    for change in plan.changes:
        _print_change(change)
    for tool in plan.tools:
        if tool.tool_id is None:
            _row(f"tools.{tool.name}: is made ({tool.body['description']})", "+ ")
        for change in tool.changes if tool.tool_id is not None else ():
            _print_change(change)
    if plan.attach:
        _row(f"{dotted(TOOL_IDS)}: gets {', '.join(plan.attach)} (tools)", "+ ")
    if plan.detach:
        _row(f"{dotted(TOOL_IDS)}: loses {', '.join(plan.detach)} (--prune)", "- ")
    for conflict in plan.conflicts:
        last = "" if conflict.written is MISSING else f"; parleyd wrote {_shown(conflict.written)}"
        _row(
            f"{dotted(conflict.path)}: is {_shown(conflict.there)} on the platform, and {conflict.why} wants "
            f"{_shown(conflict.wanted)}{last}; it stays as it is; --take {dotted(conflict.path)} writes it.",
            "! ",
        )
    if plan.doubt is not None:
        _row(f"{plan.doubt.text}. Hint: {plan.doubt.hint}", "! " if plan.doubt.forbids else "note: ")
    for note in plan.notes:
        _row(f"{note.text}. Hint: {note.hint}", "note: ")


def _print_change(change: Change) -> None:
    if change.path == PROMPT and isinstance(change.old, str) and isinstance(change.new, str):
        _row(f"{dotted(change.path)} ({change.why}):", "~ ")
        compared = difflib.unified_diff(change.old.splitlines(), change.new.splitlines(), "now", "then", lineterm="")
        for line in compared:
            print(printable(f"    {line}"))
        return
    if isinstance(change.new, list):
        old = change.old if isinstance(change.old, list) else []
        more = [value for value in change.new if value not in old]
        less = [value for value in old if value not in change.new]
        parts = [
            f"{word} {', '.join(map(_shown, values))}" for word, values in (("gets", more), ("loses", less)) if values
        ]
        _row(f"{dotted(change.path)}: {' and '.join(parts)} ({change.why})", "~ ")
        return
    _row(f"{dotted(change.path)}: {_shown(change.old)} → {_shown(change.new)} ({change.why})", "~ ")


def _row(text: str, lead: str) -> None:
    for row in rows(printable(text), terminal_width(), lead=lead, indent=" " * len(lead)):
        print(row)


def _shown(value: object) -> str:
    if value is MISSING:
        return "nothing"
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN_CHARS else f"{text[:_MOST_SHOWN_CHARS]}…"


def _print_done(done: Done, *, is_folder: bool) -> None:
    where = "written into the folder" if is_folder else "written, and read back as it was written"
    show(f"\nAll of it was {where}.")
    if done.waiting:
        show(
            f"Push the folder with `elevenlabs tools push`, then run this again: {', '.join(done.waiting)} can be "
            "attached to the agent only then."
        )


def _facts(case: Case, plan: Plan) -> dict[str, Any]:
    return {
        "agent": case.agent_id,
        "branch": case.branch,
        "in_step": plan.is_in_step,
        "changes": [
            *(_change_facts(change) for change in plan.changes),
            *(_change_facts(change) for tool in plan.tools for change in tool.changes),
        ],
        "attach": list(plan.attach),
        "detach": list(plan.detach),
        "conflicts": [
            {
                "path": dotted(conflict.path),
                "wanted": conflict.wanted,
                "there": _plain(conflict.there),
                "written": _plain(conflict.written),
                "why": conflict.why,
            }
            for conflict in plan.conflicts
        ],
        "doubt": None if plan.doubt is None else dataclasses.asdict(plan.doubt),
        "notes": [{"text": note.text, "hint": note.hint} for note in plan.notes],
    }


def _change_facts(change: Change) -> dict[str, Any]:
    return {"path": dotted(change.path), "old": _plain(change.old), "new": change.new, "why": change.why}


def _plain(value: object) -> object:
    return None if value is MISSING else value


def _print_json(facts: Mapping[str, Any]) -> None:
    print(json.dumps(facts, indent=2, ensure_ascii=False))
