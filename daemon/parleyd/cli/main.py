"""The `parleyd` command: one sub-command per file in this folder."""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import os
import re
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import parleyd
from parleyd.cli.commands import COMMANDS, GROUPS, SUMMARIES
from parleyd.cli.examples import EXAMPLES, FIRST_STEPS, block
from parleyd.cli.terminal import wrapped
from parleyd.core.errors import UserError
from parleyd.core.text import json_text, printable

# Up to this width the pages have another form.
_NARROW = 60
DESCRIPTION = "A voice daemon: microphone and speaker, voice agent."


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _open_what_is_closed()
    # Characters that the terminal cannot show are printed as \x.., and are not an error.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if not [word for word in arguments if word != "--debug"]:
            print(_first_steps())
            return os.EX_OK
        arguments = _asks_for_help(arguments)
        chosen = [name for name in arguments if name in COMMANDS][:1]
        _refuse_unknown(arguments)
        _let_sigint_end_the_process()
        args = parser_for(chosen).parse_args(arguments)
        if chosen != ["run"] and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            # The daemon handles the signal itself, once it can.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except SystemExit as exit_:
        # argparse exits with 2; sysexits has its own code for wrong usage.
        return os.EX_USAGE if exit_.code else os.EX_OK
    except UserError as failure:
        return _failed(failure, arguments)
    except ImportError as error:
        # Imported here, because only who lacks a package needs it.
        from parleyd.host.packages import import_failure

        of_a_package = import_failure(error)
        if of_a_package is None:
            raise
        return _failed(of_a_package, arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the pipe has ended, which is not an error.
        _give_up_stdout()
        return os.EX_OK
    except OSError as error:
        # Commands report errors of their own files; other errors concern the output.
        if "--debug" in arguments:
            _print_trace()
        _give_up_stdout()
        print(f"parleyd: cannot write the output: {error.strerror}", file=sys.stderr)
        return os.EX_IOERR


def parser_for(chosen: Iterable[str]) -> argparse.ArgumentParser:
    """The parser. chosen: the commands whose options it knows; with none it has the list of all commands, for the help.

    Only the chosen ones are imported, because on a small board importing all takes seconds.
    """
    parser = _Whole(prog="parleyd", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"parleyd {parleyd.__version__}")
    parser.add_argument("--debug", action="store_true", help="log everything, and show where an error came from")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser, action=_Commands)
    # The objects of an import stay; the search for garbage among them takes a tenth of the time.
    gc.disable()
    try:
        for file in dict.fromkeys(COMMANDS[command] for command in chosen):
            importlib.import_module(f"parleyd.cli.{file}").add_parser(commands)
    finally:
        gc.enable()
    for command in () if commands.choices else COMMANDS:
        commands.add_parser(command)
    return parser


class _UsageError(UserError):
    usual_exit_code = os.EX_USAGE

    def __init__(self, text: str, prog: str, usage: str) -> None:
        super().__init__(text, f"{prog} --help")
        self.prog = prog
        self.usage = usage


class _Formatter(argparse.HelpFormatter):
    """Leaves words whole, and room for a path on a narrow terminal."""

    def __init__(self, prog: str) -> None:
        width = _width()
        super().__init__(prog, max_help_position=24 if width > _NARROW else 12, width=width)

    def _format_usage(self, *args: Any) -> str:
        usage = super()._format_usage(*args)
        if self._width > _NARROW:
            return usage
        # argparse indents the options as far as the command's name reaches.
        parts = re.findall(r"\[[^\[\]]*\]|\S+", usage)
        parts = [word for part in parts for word in ([part] if len(part) < self._width - 4 else part.split())]
        lines = [""]
        for part in (" ".join(part.split()) for part in parts):
            if lines[-1] and len(f"{lines[-1]} {part}") > self._width:
                lines.append("   ")
            lines[-1] += f" {part}" if lines[-1] else part
        return "\n".join(lines) + "\n\n"

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _whole_words(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in _whole_words(text, width - len(indent)))


def _whole_words(text: str, width: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Formatter, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses what is left over here, and not in the parser of all commands, whose usage says nothing about it."""
        known, extras = super().parse_known_args(args, namespace)
        if extras:
            self.error(f"unrecognized arguments: {' '.join(extras)}{self._about(extras)}")
        return known, extras

    def _about(self, extras: list[str]) -> str:
        is_file = len(extras) == 1 and extras[0].endswith((".yaml", ".yml"))
        takes_one = "-c FILE" in self.format_usage()
        return f"; a configuration is named by -c: -c {extras[0]}" if is_file and takes_one else ""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(message, self.prog, self.format_usage())

    def format_help(self) -> str:
        examples = EXAMPLES.get(self.prog.removeprefix("parleyd").strip())
        shown = f"\n{block('examples', examples, _width())}" if examples else ""
        return super().format_help() + shown


if TYPE_CHECKING:
    _SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    # The class of argparse takes no types when it runs.
    _SubParsers = argparse._SubParsersAction


class _Commands(_SubParsers):
    """Knows the line that the help has for each command."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        return super().add_parser(name, help=SUMMARIES[name], **options)


class _Whole(_Parser):
    """Prints the help of all commands in groups; argparse knows only one list."""

    def format_help(self) -> str:
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        (commands,) = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        about = {one.dest: one for one in commands._get_subactions()}
        for heading, group in GROUPS.items():
            formatter.start_section(heading)
            formatter.add_arguments([about[name] for name in group if name in about])
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments([action for action in self._actions if action is not commands])
        formatter.end_section()
        return f"{formatter.format_help()}\n{block('examples', EXAMPLES[''], _width())}"


def _width() -> int:
    # argparse leaves two columns free, too.
    return shutil.get_terminal_size().columns - 2


def _first_steps() -> str:
    width = _width()
    steps = [step for step in FIRST_STEPS if step[0] in COMMANDS]
    more = "`parleyd help` lists all commands, and `parleyd help COMMAND` has the options of one."
    return "\n".join(
        (*textwrap.wrap(f"parleyd {parleyd.__version__}. {DESCRIPTION}", width), "", block("first steps", steps, width),
         *textwrap.wrap(more, width))
    )  # fmt: skip


def _failed(failure: UserError, arguments: Sequence[str]) -> int:
    """Prints the error that is being handled. Returns the exit code."""
    if "--debug" in arguments:
        _print_trace()
    if "--json" in arguments:
        return _failed_in_json(failure)
    if isinstance(failure, _UsageError):
        print(failure.usage, end="", file=sys.stderr)
        print(wrapped(f"{failure.prog}: {printable(str(failure))}", sys.stderr), file=sys.stderr)
    else:
        print(wrapped(f"parleyd: {printable(failure.with_hint)}", sys.stderr), file=sys.stderr)
    return failure.exit_code


def _failed_in_json(failure: UserError) -> int:
    """Prints the error for programs, on standard output, where they expect JSON."""
    facts = {"text": str(failure), "hint": failure.hint, "exit_code": failure.exit_code}
    print(json_text({"error": facts}), flush=True)
    return failure.exit_code


def _asks_for_help(arguments: list[str]) -> list[str]:
    """Handles `parleyd help [COMMAND]` and `parleyd version`, which newcomers type."""
    match [word for word in arguments if word != "--debug"]:
        case ["version"]:
            return ["--version"]
        case ["help"]:
            return ["--help"]
        case ["help", *commands]:
            return [*commands, "--help"]
        case _:
            return arguments


def _refuse_unknown(arguments: Sequence[str]) -> None:
    """Refuses an unknown command, and suggests a similar one: argparse would list all commands, and say of an unknown
    option that the command is missing."""
    first = next((word for word in arguments if word != "--debug"), "-")
    if first in COMMANDS or any(option.startswith(first) for option in ("-h", "--help", "--version", "--debug")):
        return
    if first.startswith("-"):
        parser_for(()).error(f"unrecognized arguments: {first}")
    # Imported here, because other commands start sooner without it.
    import difflib

    near = difflib.get_close_matches(first, (*COMMANDS, "help", "version"), n=1)
    hint = f"did you mean {near[0]}?" if near else "parleyd help lists them"
    raise UserError(f"there is no command {first!r}", hint, os.EX_USAGE)


def _print_trace() -> None:
    # Imported here, because it takes as long to load as all else in this file.
    import traceback

    traceback.print_exc()


def _let_sigint_end_the_process() -> None:
    """Lets SIGINT end the process: an import may swallow a KeyboardInterrupt, and Ctrl-C would be lost."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_what_is_closed() -> None:
    """Opens closed standard streams (`>&-`). Otherwise the next socket would get their number, and the output would be
    sent there."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The system uses the lowest free number, which is this stream's.
            os.open(os.devnull, os.O_RDWR)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the end


def _give_up_stdout() -> None:
    """Gives up standard output, so that Python does not write to it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
