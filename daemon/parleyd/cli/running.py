"""`parleyd run`: reads the configuration, opens the devices and serves, with the log and the lock around."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from parleyd.app import logs
from parleyd.app.settings import SettingsKeeper
from parleyd.audio.devices.ahead import opened_ahead
from parleyd.audio.devices.deadlines import GivenUpError
from parleyd.audio.devices.names import devices_of
from parleyd.audio.devices.portaudio_host import host
from parleyd.checks.configuration import ConfigError, Loaded, load
from parleyd.cli import in_a_terminal
from parleyd.cli.terminal import show
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.host import journal, notify
from parleyd.host.directories import state_directory
from parleyd.host.lock import HeldError, Lock
from parleyd.host.log_lines import descriptor_of_stderr

log = logging.getLogger(__name__)

# The time limit of the start: the embedded agent's recogniser and a slow sound server, on a slow board.
START_S = 90.0
# The lock file in the state directory of a running daemon.
LOCK_NAME = "daemon.lock"


def daemon(args: argparse.Namespace) -> int:
    """Runs it until a signal. Returns the exit code. Raises UserError."""
    try:
        loaded = load(args.config)
    except ConfigError as error:
        # The destination of the log is not known yet; in the journal the prefix gives the priority: sd-daemon(3).
        to_journal = journal.reads_stderr()
        for prefix, problems in (("<4>", error.warnings), ("<3>", error.problems)):
            for problem in problems:
                show(f"{prefix if to_journal else ''}parleyd: {problem}", sys.stderr)
        notify.failed(f"the configuration was refused: {error.problems[0]}")
        return os.EX_CONFIG
    config = loaded.config
    settings = msgspec.structs.replace(config.log, level="debug") if args.debug else config.log
    notify.starting("starting", START_S)
    running_logs = logs.start(settings, in_a_terminal.wrap)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    bus = events.Bus()
    bus.subscribe(running_logs.follow)
    is_read_at_once = running_logs.format == "text" and os.isatty(descriptor_of_stderr())
    if is_read_at_once:
        bus.subscribe(in_a_terminal.follow)
    try:
        code = _serve(loaded, args, bus, is_read_at_once=is_read_at_once)
    except UserError as failure:
        code = failure.exit_code
        notify.failed(failure.with_hint)
        if running_logs.format != "text":
            log.error("%s", failure.with_hint, exc_info=failure if args.debug else None)
        elif host.oldest_call() is None:
            raise
        else:
            show(f"parleyd: {failure.with_hint}", sys.stderr)
    finally:
        running_logs.stop()
    return code


def _serve(loaded: Loaded, args: argparse.Namespace, bus: events.Bus, *, is_read_at_once: bool) -> int:
    try:
        with contextlib.ExitStack() as held:
            state = _state_directory()
            held.enter_context(_alone(state))
            settings = SettingsKeeper(args.config, state, bus)
            config = settings.load_first(loaded).config
            if not args.debug:
                logging.getLogger("parleyd").setLevel(config.log.level.upper())
            microphone, speaker = devices_of(config.audio, is_cut=config.barge_in.cut == "sharp")
            held.enter_context(opened_ahead(speaker, microphone))
            # Imported here, because the devices open meanwhile.
            from parleyd.cli.serving import serve

            serve(
                args.config,
                config,
                settings,
                state,
                (microphone, speaker),
                bus,
                debug=args.debug,
                is_read_at_once=is_read_at_once,
            )
    except GivenUpError:
        # The daemon was told to stop before it had started.
        return os.EX_OK
    return os.EX_OK


def _state_directory() -> Path | None:
    try:
        return state_directory()
    except OSError as error:
        log.warning("nothing is remembered over a restart: %s: %s", error.filename, error.strerror)
        return None


@contextlib.contextmanager
def _alone(state: Path | None) -> Iterator[None]:
    """Locks the state directory: two daemons would overwrite each other's timers, usage and mute switch. Raises
    UserError."""
    lock: Lock | None = None
    try:
        lock = None if state is None else Lock(state / LOCK_NAME)
    except HeldError as error:
        who = f" (process {error.pid})" if error.pid else ""
        hint = (
            "stop it (parleyd stop), or give this one a state directory of its own with the environment variable "
            "STATE_DIRECTORY, and a socket of its own with control.socket"
        )
        text = f"a parleyd is already running{who}: it keeps its state in {state}"
        raise UserError(text, hint, os.EX_UNAVAILABLE) from None
    except OSError as error:
        # If the directory is not writable, no daemon can overwrite anything there.
        log.debug("the state directory %s is not held: %s", state, error.strerror)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
