"""The rules for tools that types cannot express. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from parleyd.checks import literal_tokens
from parleyd.config import tool_sections as sections
from parleyd.config.base import Secret
from parleyd.config.camera_section import Camera
from parleyd.config.problem import KeyProblem
from parleyd.tools import template
from parleyd.tools.parameters import Parameters, SchemaError
from parleyd.tools.picture_file import PLACEHOLDER
from parleyd.tools.template import Placeholder, TemplateError

# Interpreters, which take a program as an argument.
_INTERPRETER = re.compile(
    r"(ba|da|z|k|a|fi|c|tc)?sh|python[\d.]*|pypy[\d.]*|perl[\d.]*|ruby[\d.]*|node(js)?|deno|bun|(original-|[gmn])?awk|g?sed|"
    r"g?jq|jaq|yq|lua(jit)?[\d.]*|php[\d.]*|tclsh[\d.]*|expect|guile|julia|Rscript"
)
# The usual options before a program or its file; some interpreters use -c or -e for something else.
_PROGRAM_OPTION = re.compile(r"-[a-zA-Z]*[cef]|--(expression|file|eval|command|from-file)")
_OTHER_OPTIONS = re.compile(r"lua.*|php.*|deno|bun")
# These interpreters read options behind their program, too.
_READS_ON = re.compile(r".*(awk|sed|jq|jaq|yq)")
_HINT = (
    "write the program first and without it, then the value as an argument of its own, as in "
    '[sh, -c, \'echo "$1"\', sh, "{text}"] or [sed, -n, -e, 5p, "/var/log/{name}"]; or give it by stdin: parameters'
)
# Programs that pass their arguments to a shell, here or on another host.
_SHELL_BEHIND = ("ssh", "rsh", "su", "watch", "eval")
# The meaning of their arguments depends on the arguments before.
_DATABASES = ("sqlite3", "psql", "mysql", "mariadb")
# Programs that run the command after them.
_WRAPPERS = (
    "busybox", "chroot", "doas", "env", "find", "flock", "ionice", "nice", "nohup", "setsid", "stdbuf", "sudo",
    "systemd-run", "taskset", "timeout", "xargs",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check(
    tools: sections.Tools, is_settled: Callable[[str], bool], *, has_camera: bool = False
) -> Iterator[KeyProblem]:
    """is_settled: see rules.check. has_camera: without one there is no tool `look`."""
    for built_in in tools.confirm_built_in:
        if built_in not in tools.built_in:
            hint = "add it to tools.built_in, or remove it here"
            yield KeyProblem("tools.confirm_built_in", f"the agent may not use {built_in} at all", hint)
    built_in_names = [str(name) for name in tools.built_in if has_camera or name != "look"]
    seen: dict[str, str] = dict.fromkeys(built_in_names, "tools.built_in")
    kinds: tuple[tuple[str, Mapping[str, sections.Tool]], ...] = (
        ("command", tools.command),
        ("http", tools.http),
        ("python", tools.python),
    )
    for kind, declared in kinds:
        for name, tool in declared.items():
            key = f"tools.{kind}.{name}"
            if not _NAME.fullmatch(name):
                yield KeyProblem(key, "an agent cannot call this name", "use letters, digits, _ and -, at most 64")
            if name in seen:
                yield KeyProblem(key, f"there is a tool of this name under {seen[name]}", "give it another name")
            seen[name] = f"tools.{kind}"
            if all(is_settled(f"{key}.{field}") for field in tool.__struct_fields__):
                yield from _tool(key, tool)
                if tool.confirm and tool.timeout_s + tools.confirm_s > sections.MAX_TIMEOUT_S:
                    text = (
                        f"with the {tools.confirm_s:g} s in which a person may allow it (tools.confirm_s) it takes "
                        "longer than an agent waits"
                    )
                    hint = f"use at most {sections.MAX_TIMEOUT_S - tools.confirm_s:g} s, or shorten tools.confirm_s"
                    yield KeyProblem(f"{key}.timeout_s", text, hint)


def camera(section: Camera, tools: sections.Tools) -> Iterator[KeyProblem]:
    key = "camera.command"
    program = section.command[0]
    if "{" in program:
        yield KeyProblem(key, "the program cannot be a placeholder", "write the program out")
    elif "/" in program and not program.startswith("/"):
        yield KeyProblem(key, f"{program} counts from nowhere", "give the whole path, from / on")
    for argument in section.command[1:]:
        for placeholder in re.findall(r"\{[^{}]*\}", argument):
            if placeholder != PLACEHOLDER:
                hint = f"{PLACEHOLDER} stands for the file to write to; there is nothing else"
                yield KeyProblem(key, f"nothing is known of {placeholder}", hint)
    if "look" in tools.built_in and section.confirm:
        most_s = sections.MAX_TIMEOUT_S - tools.confirm_s - sections.SEND_S
        if section.timeout_s > most_s:
            text = (
                f"with the {tools.confirm_s:g} s in which a person may allow it (tools.confirm_s) it takes longer than "
                "an agent waits"
            )
            yield KeyProblem("camera.timeout_s", text, f"use at most {most_s:g} s, or shorten tools.confirm_s")


def _tool(key: str, tool: sections.Tool) -> Iterator[KeyProblem]:
    parameters = Parameters(tool.parameters)
    try:
        parameters.check_schema()
    except SchemaError as error:
        hint = "see https://json-schema.org/understanding-json-schema"
        yield KeyProblem(f"{key}.parameters", str(error), hint)
        return
    match tool:
        case sections.CommandTool():
            yield from _command(key, tool, parameters)
            yield from _secrets(key, tool.secrets)
            yield from literal_tokens.check(key, tool)
        case sections.HttpTool():
            yield from _http(key, tool, parameters)
            yield from _secrets(key, tool.secrets)
            yield from literal_tokens.check(key, tool)
        case sections.PythonTool():
            yield from _secrets(key, tool.secrets)


def _command(key: str, tool: sections.CommandTool, parameters: Parameters) -> Iterator[KeyProblem]:
    if not tool.run:
        yield KeyProblem(f"{key}.run", "there is no program to run", "write run: [/path/of/program, argument]")
        return
    program = tool.run[0]
    if "{" in program:
        yield KeyProblem(f"{key}.run", "the agent would choose the program", "write the program out")
    elif "/" in program and not program.startswith("/"):
        yield KeyProblem(f"{key}.run", f"{program} counts from nowhere", "give the whole path, from / on")
    if not tool.directory.startswith("/"):
        yield KeyProblem(f"{key}.directory", "it counts from nowhere", "give the whole path, from / on")
    name = _wrapped(tool.run)
    is_interpreter = _INTERPRETER.fullmatch(name) is not None
    for index, argument in enumerate(tool.run):
        found = yield from _placeholders(f"{key}.run", argument, parameters)
        if found and name in _SHELL_BEHIND:
            text = f"{name} hands its arguments to a shell, to which a parameter could be anything"
            yield KeyProblem(f"{key}.run", text, "use stdin: parameters, and read them at the other end")
        if found and name in _DATABASES:
            text = f"{name} takes its arguments for a program, of which the agent would write a part"
            yield KeyProblem(f"{key}.run", text, "write a script that reads stdin: parameters, and run that")
        if found and is_interpreter and _may_be_program(name, tool.run, index):
            text = f"the agent would write a part of the program that {name} runs"
            yield KeyProblem(f"{key}.run", text, _HINT)
        for placeholder in found:
            if placeholder.secret:
                hint = "programs get secrets by their environment: secrets: {NAME: {credential: ...}}"
                yield KeyProblem(f"{key}.run", "a secret in an argument can be seen by everybody", hint)
    for parameter in tool.may_be_option:
        if parameter not in parameters.names:
            yield KeyProblem(f"{key}.may_be_option", f"there is no parameter {parameter}", "name one of the properties")


def _wrapped(run: Sequence[str]) -> str:
    """The name of the program behind all wrappers, such as sh in [timeout, 5, sh, -c, ...]."""
    names = [PurePosixPath(argument).name for argument in run]
    if names[0] not in _WRAPPERS:
        return names[0]
    known = (name for name in names if _INTERPRETER.fullmatch(name) or name in (*_SHELL_BEHIND, *_DATABASES))
    return next(known, names[0])


def _may_be_program(name: str, run: Sequence[str], index: int) -> bool:
    """Whether this argument of an interpreter may be its program, or an option that contains one.

    The options of all interpreters are not known here. So the program has to come before a value, in a place that is
    the same for all of them: first, or right behind one of the usual options for it.
    """
    start = [PurePosixPath(argument).name for argument in run].index(name) + 1
    is_behind_it = index > start and not run[start].startswith("-")
    if is_behind_it and not _READS_ON.fullmatch(name):
        return False
    before = run[index - 1]
    if run[index].startswith("-") or _PROGRAM_OPTION.fullmatch(before) or re.fullmatch(r"--[a-z-]+", before):
        return True
    if is_behind_it:
        return False
    if _OTHER_OPTIONS.fullmatch(name):
        return True
    return not any(
        _PROGRAM_OPTION.fullmatch(option) and not program.startswith("-")
        for option, program in pairwise(run[start:index])
    )


def _http(key: str, tool: sections.HttpTool, parameters: Parameters) -> Iterator[KeyProblem]:
    yield from _plain_placeholders(f"{key}.url", tool.url, parameters)
    parts = urlsplit(tool.url)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        yield KeyProblem(f"{key}.url", "this URL has no usable host or port", "use a URL such as https://example.org/x")
    elif parts.scheme == "http" and tool.secrets and not _is_near(host):
        text = "without TLS the secrets of this tool can be read on the way"
        yield KeyProblem(f"{key}.url", text, "use https://", is_warning=True)
    for name, text in tool.headers.items():
        if not _HEADER_NAME.fullmatch(name) or re.search(r"[^\t -~]", text):
            yield KeyProblem(f"{key}.headers", f"{name} is no header", "use plain ASCII text in one line")
            continue
        try:
            found = list(template.placeholders(template.parse(text)))
        except TemplateError as error:
            yield KeyProblem(f"{key}.headers", f"{name}: {error}", "see docs/tools.md")
            continue
        for placeholder in found:
            if not placeholder.secret:
                hint = f"write {{secret:{placeholder.name}}} for a secret, or put the value into url or body"
                yield KeyProblem(f"{key}.headers", f"{name}: a parameter has no place in a header", hint)
            elif placeholder.name not in tool.secrets:
                hint = f"add secrets: {{{placeholder.name}: {{credential: ...}}}}"
                yield KeyProblem(f"{key}.headers", f"{name}: there is no secret {placeholder.name}", hint)
    if tool.body is not None:
        try:
            found = list(template.body_placeholders(tool.body))
            unknown = [one for one in found if one.name not in parameters.names and one.name not in tool.remember]
        except TemplateError as error:
            yield KeyProblem(f"{key}.body", str(error), "see docs/tools.md")
        else:
            for one in unknown:
                yield KeyProblem(f"{key}.body", f"there is no parameter {one.name}", "add it to parameters.properties")
    yield from _remembered(key, tool, parameters)


def _remembered(key: str, tool: sections.HttpTool, parameters: Parameters) -> Iterator[KeyProblem]:
    try:
        used = {one.name for one in template.body_placeholders(tool.body)} if tool.body is not None else set()
    except TemplateError:
        return
    for name in tool.remember:
        if name in parameters.names:
            text = f"{name} is a parameter, too, which the agent gives"
            yield KeyProblem(f"{key}.remember.{name}", text, "give it another name")
        elif name not in used:
            text = f"{name} is remembered, and no request uses it"
            yield KeyProblem(f"{key}.remember.{name}", text, f'write body: {{..., {name}: "{{{name}}}"}}')


def _plain_placeholders(key: str, text: str, parameters: Parameters) -> Iterator[KeyProblem]:
    for placeholder in (yield from _placeholders(key, text, parameters)):
        if placeholder.secret or placeholder.spread:
            yield KeyProblem(key, "only {name} has a place here", "secrets belong into headers, lists into body")


def _placeholders(key: str, text: str, parameters: Parameters) -> Generator[KeyProblem, None, list[Placeholder]]:
    try:
        found = list(template.placeholders(template.parse(text)))
    except TemplateError as error:
        yield KeyProblem(key, str(error), "see docs/tools.md")
        return []
    for placeholder in found:
        if placeholder.secret:
            continue
        if placeholder.name not in parameters.names:
            yield KeyProblem(key, f"there is no parameter {placeholder.name}", "add it to parameters.properties")
        elif placeholder.name not in parameters.always_there:
            hint = "put it into parameters.required, or give it a default"
            yield KeyProblem(key, f"the agent may leave {placeholder.name} out", hint)
    return found


def _secrets(key: str, secrets: Mapping[str, Secret]) -> Iterator[KeyProblem]:
    for name, secret in secrets.items():
        ways = [way for way in secret.__struct_fields__ if getattr(secret, way) is not None]
        if len(ways) != 1:
            text = f"{' and '.join(ways)} are given together" if ways else "no place of the secret is given"
            yield KeyProblem(
                f"{key}.secrets.{name}", text, "use one of {env: NAME}, {file: PATH} or {credential: NAME}"
            )


def _is_near(host: str) -> bool:
    """Whether the host is this machine or in the home network."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".lan", ".home.arpa"))
