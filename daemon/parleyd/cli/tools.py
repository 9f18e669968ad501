"""`parleyd tools`: lists the agent's tools on this device, prints them for the agent's page, and tries one by hand."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from parleyd.app.agents import about_tools, provider_of
from parleyd.app.out_of_reach import apart_for
from parleyd.cli.configured import config_of
from parleyd.cli.daemon import add_socket, connected
from parleyd.cli.terminal import show, terminal_width
from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.text import printable
from parleyd.host import apart
from parleyd.host.directories import config_path, state_directory
from parleyd.tools.built_in import BUILT_IN
from parleyd.tools.device_tools import DaemonActions, DeviceTools
from parleyd.tools.result import Fault, ToolError
from parleyd.tools.specs import spec
from parleyd.tools.toolbox import Tool

# The only built-in tool that works without the daemon.
_WITHOUT_DAEMON = "get_time"
# How much longer to wait than the tool's own deadline.
_STOP_MARGIN_S = 5.0
# A narrower text stands below the names.
_LEAST_BESIDE = 30
_WRITE = 'write \'{"name": "value"}\''


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "tools",
        description="Without ACTION: lists the tools that the agent may use on this device. See docs/tools.md.",
    )
    _add_config(parser, config_path())
    parser.add_argument("--json", action="store_true", help="print the tools for the agent's page, as JSON")
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(metavar="ACTION")
    run = actions.add_parser(
        "run",
        help="call a tool as the agent would",
        description="Calls a tool as the agent would, through the same checks, limits and audit log, and prints what "
        "the agent would be told. The tools of parleyd itself are called in the running daemon, all others here, as "
        "this user. Exit code 0: done; 1: an error for the agent.",
    )
    # A default here would overwrite the option before `run`.
    _add_config(run, argparse.SUPPRESS)
    add_socket(run)
    run.add_argument("name", metavar="NAME")
    run.add_argument("parameters", metavar="JSON", nargs="?", default="{}", help="the tool's parameters; default: {}")
    run.set_defaults(run=_run)


def _add_config(parser: argparse.ArgumentParser, default: Path | str) -> None:
    parser.add_argument("-c", "--config", type=Path, default=default, metavar="FILE", help=f"default: {config_path()}")


def _list(args: argparse.Namespace) -> int:
    config = config_of(args.config)
    tools = _tools(config, events.Bus(), args.config).tools
    if args.json:
        form = provider_of(config).tool_form
        print(json.dumps([form(spec(tool)) for tool in tools.values()], indent=2, ensure_ascii=False))
        return os.EX_OK
    if not tools:
        show("The agent may do nothing here; docs/tools.md tells how that changes.")
        return os.EX_OK
    width = max(len(tool.name) for tool in tools.values())
    for tool in tools.values():
        lead = f"{tool.name:{width}}  {tool.kind:8}  "
        columns = terminal_width()
        indent = " " * (len(lead) if columns is None or columns - len(lead) >= _LEAST_BESIDE else 4)
        show(f"{lead}{_signature(tool)}", indent=indent)
        show(f"{indent}{tool.description}", indent=indent)
    if any(tool.kind in ("command", "python") for tool in tools.values()):
        show(f"\nHere programs run {apart.ways().in_words()}.")
    show(f"\n{about_tools(config)}")
    return os.EX_OK


def _signature(tool: Tool) -> str:
    required = tool.parameters.schema.get("required", ())
    names = [name if name in required else f"[{name}]" for name in tool.parameters.schema["properties"]]
    confirmed = "" if tool.confirm_s is None else f"  once a person allows it, within {tool.confirm_s:g} s"
    as_daemon = ", as the daemon" if tool.as_daemon else ""
    return f"({', '.join(names)})  at most {tool.timeout_s:g} s{as_daemon}{confirmed}"


def _run(args: argparse.Namespace) -> int:
    parameters = _parameters(args.parameters)
    tools = _tools(config_of(args.config), events.Bus(), args.config)
    tool = tools.tools.get(args.name)
    if tool is None:
        known = ", ".join(tools.tools) or "none"
        raise UserError(f"there is no tool {args.name!r} here", f"there are: {known}", os.EX_USAGE)
    if tool.kind == BUILT_IN and tool.name != _WITHOUT_DAEMON:
        with connected(args) as client:
            answer = client.ask("run_tool", name=tool.name, parameters=parameters)
        text, fault = answer["result"], answer["fault"]
    else:
        try:
            result = tools.by_hand(tool.name, parameters, tool.timeout_s + _STOP_MARGIN_S)
        finally:
            # Also after Ctrl-C: no tool keeps running.
            tools.close()
        text, fault = result.text, None if result.fault is None else result.fault.value
    show(printable(text), sys.stdout if fault is None else sys.stderr)
    if fault is None:
        return os.EX_OK
    show(f"parleyd: for the agent this is an error ({fault})", sys.stderr)
    return 1


def _parameters(text: str) -> dict[str, object]:
    try:
        parameters = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(":")[0]
        raise UserError(f"the parameters are not JSON: {why}", _WRITE, os.EX_DATAERR) from None
    if not isinstance(parameters, dict):
        raise UserError("the parameters are not a JSON object", _WRITE, os.EX_DATAERR)
    return parameters


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it knows no {name}")


def _tools(config: Config, bus: events.Bus, file: Path) -> DeviceTools:
    try:
        folder = state_directory()
    except OSError:
        folder = None
    host = DaemonActions(
        set_volume=_no_daemon,
        mute=_no_daemon,
        end_conversation=_no_daemon,
        status=_no_daemon,
        tell=_no_daemon,
    )
    apart_ = apart_for(config, file, folder)
    return DeviceTools(config.tools, host, bus, folder, apart=apart_, camera=config.camera)


def _no_daemon(*_: object) -> NoReturn:
    raise ToolError(Fault.FAILED, "There is no daemon here.")
