"""The daemon behind `parleyd run`: its parts, from the configuration to the last signal.

A module of its own, because importing it takes as long as the sound devices need to open; run.py does both at once.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import parleyd
from parleyd.app.agents import Agents
from parleyd.app.out_of_reach import apart_for
from parleyd.app.reloader import Reloader, ReloadError
from parleyd.app.service import Service
from parleyd.app.settings import SettingsKeeper
from parleyd.audio.devices.device import InputDevice, OutputDevice
from parleyd.audio.devices.portaudio_host import host
from parleyd.cli import in_a_terminal
from parleyd.config.changes import Changes
from parleyd.config.programs import runs_programs
from parleyd.config.schema import Config
from parleyd.control.commands import Commands, takes_time
from parleyd.control.messages import RequestError
from parleyd.control.own_programs import OwnPrograms
from parleyd.control.protocol import SOCKET_NAME
from parleyd.control.roles import roles_of
from parleyd.control.server import ControlServer
from parleyd.core import events, health
from parleyd.core.errors import UserError
from parleyd.core.health import Trouble
from parleyd.core.log_fields import fields
from parleyd.host import allocator, openblas, signals
from parleyd.host.apart import Apart, Way
from parleyd.host.descent import become_reaper
from parleyd.host.directories import runtime_directory
from parleyd.host.signals import Signals
from parleyd.profiles.profiles import ApplyError, Profiles

if TYPE_CHECKING:
    from parleyd.app.prometheus import Exporter

log = logging.getLogger(__name__)


def serve(
    config_path: Path,
    config: Config,
    settings: SettingsKeeper,
    state: Path | None,
    devices: tuple[InputDevice, OutputDevice],
    bus: events.Bus,
    *,
    debug: bool,
    is_read_at_once: bool,
) -> None:
    """Builds the parts, starts them, and returns when a signal has stopped the daemon.

    config: of the file at config_path, with the settings. state: the state directory. devices: microphone and speaker.
    is_read_at_once: a person reads the log on a terminal. Raises UserError and GivenUpError.
    """
    with contextlib.ExitStack() as held:
        apart = apart_for(config, config_path, state)
        _tell_how_apart(config, apart)
        become_reaper()
        agents, arrived = held.enter_context(Agents(config, apart)), held.enter_context(Signals(reloads=True))
        profiles = Profiles(config, bus)
        first = profiles.first_config()
        microphone, speaker = devices
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
        reload = Reloader(settings, service, profiles, debug=debug, scenario=config.local.scenario)
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
            openblas.take_memory()
            # The objects of the start live as long as the daemon: the collector need not look at them again.
            gc.collect()
            gc.freeze()
            gc.enable()
            host.unload_unused()
            allocator.give_back()
            attend(service, arrived, reload)


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
