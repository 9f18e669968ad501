"""`parleyd setup`: a guided set-up, from the sound card to the first answer."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from parleyd.audio.devices.native_output import keep_stderr_apart
from parleyd.config.loader import MAX_BYTES
from parleyd.core.errors import UserError
from parleyd.doctor.examination import user_name
from parleyd.doctor.sound_access import our_socket, running_servers
from parleyd.host.directories import SYSTEM_CONFIG, config_path, user_config_directory
from parleyd.host.files import read_file
from parleyd.host.interruptible import interruptible
from parleyd.setup import answers, flow
from parleyd.setup.dialog import Dialog
from parleyd.setup.file import ConfigFile
from parleyd.setup.fitting import Fit, fitting
from parleyd.setup.page import Page
from parleyd.setup.state import Setup

_INCOMPLETE = 1


class _EndedError(KeyboardInterrupt):
    """A signal has ended the set-up."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "setup",
        description="Finds the sound devices, tries them, takes the key and tries it, chooses or makes an agent and "
        "fits it to this device, chooses a voice, starts the service, and waits for a first question. Each step can be "
        "repeated alone: parleyd setup audio. Exit codes: 0 all done; 1 a step was left out; 130 interrupted.",
    )
    parser.add_argument("step", nargs="*", type=_step, metavar="STEP", help=f"{', '.join(flow.NAMES)}; default: all")
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="the file to write; default: that of the service that fits"
    )
    parser.add_argument("--answers", type=Path, metavar="FILE", help="do not ask: the answers are in this file")
    parser.add_argument(
        "--answer", action="append", default=[], metavar="KEY=VALUE", help="do not ask: one answer; may be repeated"
    )
    parser.add_argument("--base-url", metavar="URL", help="the address of the provider's server")
    parser.set_defaults(run=run)


def _step(text: str) -> str:
    if text not in flow.NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is no step; there are {', '.join(flow.NAMES)}")
    return text


def run(args: argparse.Namespace) -> int:
    # A thread that hangs inside PortAudio keeps standard error muted.
    keep_stderr_apart()
    page = Page(sys.stdout)
    given = _answers(args)
    dialog = Dialog(page, given)
    try:
        with _signals():
            return _run(args, page, dialog)
    except KeyboardInterrupt as interruption:
        number = interruption.number if isinstance(interruption, _EndedError) else signal.SIGINT
        with contextlib.suppress(OSError):
            page.still()
            page.say()
            page.say("Stopped. The step that was interrupted has changed nothing; the steps before it stay.")
        return 128 + number


def _run(args: argparse.Namespace, page: Page, dialog: Dialog) -> int:
    fit = fitting(running_servers(), os.geteuid(), user_name, answers=our_socket() is not None)
    page.say(fit.text)
    if fit.instead is not None and args.config is None:
        page.note("Run this instead:")
        page.command(fit.instead)
        if not dialog.yes("go_on", f"Go on here, as {user_name(os.geteuid())}?", default=False, unattended=True):
            return _INCOMPLETE
    path = args.config or _path(fit)
    setup = Setup(page, dialog, ConfigFile(path), fit, args.base_url)
    return os.EX_OK if flow.run(setup, args.step) else _INCOMPLETE


def _path(fit: Fit) -> Path:
    """The file of the service that fits. Raises UserError."""
    if os.geteuid() == 0:
        return SYSTEM_CONFIG
    try:
        return user_config_directory() / SYSTEM_CONFIG.name if fit.of_user else config_path()
    except OSError as error:
        raise UserError(f"there is no place for the configuration: {error.strerror}", "name it: -c FILE") from None


def _answers(args: argparse.Namespace) -> dict[str, str] | None:
    """None: a person is asked."""
    if args.answers is None and not args.answer:
        return None
    found: dict[str, str] = {}
    if args.answers is not None:
        try:
            text = read_file(args.answers, MAX_BYTES, pipes=True).decode("utf-8-sig", "replace")
        except OSError as error:
            raise UserError(f"{args.answers} cannot be read: {error.strerror}", None, os.EX_NOINPUT) from None
        found = answers.parse(text, str(args.answers))
    return found | answers.options(args.answer)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the set-up like Ctrl-C: what is half done is undone on the way out."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise _EndedError(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with interruptible():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
