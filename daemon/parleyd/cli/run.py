"""`parleyd run`: the daemon."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import parleyd
from parleyd.app import logs
from parleyd.app.agents import Agents
from parleyd.app.out_of_reach import apart_for
from parleyd.app.reloader import Reloader, ReloadError
from parleyd.app.service import Service
from parleyd.app.settings import SettingsKeeper
from parleyd.audio.devices.deadlines import GivenUpError
from parleyd.audio.devices.names import devices_of
from parleyd.audio.devices.native_output import keep_stderr_apart
from parleyd.audio.devices.portaudio_host import host
from parleyd.checks.configuration import ConfigError, Loaded, load
from parleyd.cli import in_a_terminal
from parleyd.cli.configured import add_config
from parleyd.cli.terminal import show
from parleyd.config.changed_keys import Changes
from parleyd.config.programs import runs_programs
from parleyd.config.schema import Config
from parleyd.control.client import SOCKET_NAME
from parleyd.control.commands import Commands, takes_time
from parleyd.control.messages import RequestError
from parleyd.control.own_programs import OwnPrograms
from parleyd.control.roles import roles_of
from parleyd.control.server import ControlServer
from parleyd.core import events, health
from parleyd.core.errors import UserError
from parleyd.core.health import Trouble
from parleyd.core.log_fields import fields
from parleyd.host import allocator, journal, notify, signals
from parleyd.host.apart import Apart, Way
from parleyd.host.descent import become_reaper
from parleyd.host.directories import runtime_directory, state_directory
from parleyd.host.lock import HeldError, Lock
from parleyd.host.signals import Signals
from parleyd.profiles.profiles import ApplyError, Profiles

if TYPE_CHECKING:
    from parleyd.app.prometheus import Exporter

log = logging.getLogger(__name__)

# The time limit of the start: the embedded agent's recogniser and a slow sound server, on a slow board.
START_S = 90.0
# The lock file in the state directory of a running daemon.
LOCK_NAME = "daemon.lock"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("run", description="Runs the daemon until SIGTERM or Ctrl-C.")
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    allocator.keep_small()
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
    keep_stderr_apart()
    # Prints the stack of each thread at a crash inside PortAudio, and at the watchdog's SIGABRT.
    faulthandler.enable(sys.stderr)
    running_logs = logs.start(settings, in_a_terminal.wrap)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    bus = events.Bus()
    bus.subscribe(running_logs.follow)
    is_read_at_once = running_logs.format == "text" and os.isatty(2)
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
    if host.oldest_call() is not None:
        # A normal exit would wait for threads that hang inside PortAudio.
        os._exit(code)
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
            microphone, speaker = devices_of(config.audio)
            apart = apart_for(config, args.config, state)
            _tell_how_apart(config, apart)
            become_reaper()
            agents, arrived = held.enter_context(Agents(config, apart)), held.enter_context(Signals(reloads=True))
            profiles = Profiles(config, bus)
            first = profiles.first_config()
            service = Service(
                first,
                agents.agent(first),
                microphone,
                speaker,
                bus,
                arrived.nudge,
                give_up=lambda: arrived.stop_wanted,
                state_directory=state,
                speech_for=agents.speech,
                local_speech_for=agents.local_speech,
                apart=apart,
                fallback=agents.fallback,
            )
            service.report_settings(lambda: settings.report)
            threading.excepthook = partial(thread_died, service)
            reload = Reloader(settings, service, profiles, debug=args.debug, scenario=config.local.scenario)
            with contextlib.ExitStack() as stack:
                service.watch(arrived.pulse, profiles.pulse, settings.pulse)
                commands = Commands(service, lambda: _reload(reload), arrived.stop, profiles, settings)
                control, metrics = _control(config, service, commands, bus), _metrics(config, service)
                # Started before the devices, so that `parleyd status` reports the start, and `parleyd stop` ends it.
                for beside in (control, metrics):
                    if beside is not None:
                        service.watch(beside.pulse)
                        stack.callback(beside.stop)
                        beside.start()
                stack.callback(service.stop)
                service.start()
                if metrics is not None:
                    # Otherwise the file would report for a minute that the daemon is starting.
                    metrics.write_soon()
                stack.callback(profiles.stop)
                profiles.start(service, partial(_apply, service, agents), service.fail)
                stack.callback(lambda: settings.stop(failed=service.failure is not None))
                settings.start(reload.take, partial(_troubles_of_settings, service), arrived.stop)
                log.info(
                    "parleyd %s runs; provider: %s, wake: %s",
                    parleyd.__version__,
                    config.provider,
                    service.status().wake_mode,
                )
                if is_read_at_once:
                    log.info("%s", in_a_terminal.hint(config))
                agents.load_ahead(first)
                # The objects of the start live as long as the daemon: the collector need not look at them again.
                gc.collect()
                gc.freeze()
                allocator.give_back()
                attend(service, arrived, reload)
    except GivenUpError:
        # The daemon was told to stop before it had started.
        return os.EX_OK
    return os.EX_OK


def _troubles_of_settings(service: Service) -> tuple[Trouble, ...]:
    """Those that changed settings may be the reason for."""
    return tuple(one for one in service.status().troubles if one.part != health.FILES)


def thread_died(service: Service, args: threading.ExceptHookArgs) -> None:
    """Ends the service if a thread dies that does not report to its owner: no thread may be missing unnoticed."""
    name = args.thread.name if args.thread is not None else "unknown"
    service.fail(f"the thread {name}", args.exc_value or args.exc_type())


def _control(config: Config, service: Service, commands: Commands, bus: events.Bus) -> ControlServer | None:
    where = config.control.socket
    if where == "off":
        return None
    try:
        path = runtime_directory() / SOCKET_NAME if where == "auto" else Path(where)
    except OSError as error:
        text = f"the runtime directory {error.filename} cannot be made: {error.strerror}"
        raise UserError(text, "set control.socket to a path that this user may write, or to off") from error
    return ControlServer(
        path,
        commands,
        service.status,
        bus,
        service.fail,
        roles_of(config.control),
        takes_time,
        OwnPrograms().refused,
    )


def _metrics(config: Config, service: Service) -> Exporter | None:
    if config.metrics.textfile is None and config.metrics.port is None:
        return None
    from parleyd.app.prometheus import Exporter

    return Exporter(config.metrics, service.status)


def _apply(service: Service, agents: Agents, config: Config) -> Changes:
    try:
        return service.reconfigure(config, agents.agent)
    except UserError as error:
        raise ApplyError(str(error), error.hint) from error


def _reload(reload: Reloader) -> Changes:
    try:
        return reload()
    except ReloadError as error:
        hint = "the old configuration stays in force until this is fixed and it is read again"
        raise RequestError("bad_config", str(error), hint) from error


def _tell_how_apart(config: Config, apart: Apart) -> None:
    """Once, and only where there is something to keep apart."""
    if not runs_programs(config):
        return
    if apart.ways.way is not Way.NONE:
        log.info("tools and hooks run %s", apart.ways.in_a_line())
        return
    hint = apart.ways.hint()
    refused = "; tools.apart is required, so none of them is run" if apart.required else ""
    log.warning("tools and hooks run %s%s; %s", apart.ways.in_words(), refused, hint, extra=fields(hint=hint))


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


def attend(service: Service, arrived: Signals, reload: Reloader | None = None) -> None:
    """Handles signals until one of them stops the daemon. Raises UserError if the service fails."""
    while not arrived.stop_wanted:
        match arrived.wait():
            case signals.RELOAD if reload is not None:
                # It has been logged.
                with contextlib.suppress(ReloadError):
                    reload()
            case signals.WAKE:
                service.wake()
            case signals.SLEEP:
                service.sleep()
            case _ if service.failure is not None:
                raise service.failure
    log.info("stopping")
