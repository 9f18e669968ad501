"""`parleyd run`: the daemon."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from parleyd import events
from parleyd.agents.agent import Agent
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.local.child import AgentChild, AgentChildError
from parleyd.audio.devices.chatter import keep_stderr_apart
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.names import device_pair
from parleyd.audio.devices.portaudio import host
from parleyd.audio.echo import EchoCancellerMissingError
from parleyd.audio.vad import VadUnavailableError
from parleyd.audio.wakeword import WakeWordUnavailableError
from parleyd.cli.errors import CommandError
from parleyd.config.loader import DEFAULT_CONFIG_PATH, ConfigError, load
from parleyd.config.schema import Config
from parleyd.config.secrets import SecretError, resolve
from parleyd.host import logs, signals
from parleyd.host.directories import state_directory
from parleyd.host.signals import Signals
from parleyd.service import Service, ServiceError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("run", help="run the daemon", description="Run the daemon until SIGTERM or Ctrl-C.")
    parser.add_argument(
        "-c", "--config", type=Path, default=DEFAULT_CONFIG_PATH, metavar="FILE", help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        loaded = load(args.config)
    except ConfigError as error:
        for problem in (*error.warnings, *error.problems):
            print(f"parleyd: {problem}", file=sys.stderr)
        return os.EX_CONFIG
    config = loaded.config
    settings = msgspec.structs.replace(config.log, level="debug") if args.debug else config.log
    keep_stderr_apart()
    listener = logs.start(settings)
    for warning in loaded.warnings:
        logs.log.warning("%s", warning)
    try:
        with agent_for(config) as agent:
            code = _serve(config, agent)
    except CommandError as failure:
        if host.oldest_call() is None:
            raise
        print(f"parleyd: {failure}", file=sys.stderr)
        code = failure.exit_code
    finally:
        listener.stop()
    if host.oldest_call() is not None:
        # The interpreter would wait at its end for what hangs inside PortAudio.
        os._exit(code)
    return code


@contextlib.contextmanager
def agent_for(config: Config) -> Iterator[Agent]:
    """The configured provider; the embedded agent lives as long as the context."""
    with contextlib.ExitStack() as stack:
        section, key = config.elevenlabs, None
        try:
            if config.provider == "local":
                child = stack.enter_context(AgentChild(config.local.scenario))
                # The embedded agent answers to any id, and wants no key.
                agent_id = section.agent_id or "local"
                section = msgspec.structs.replace(section, agent_id=agent_id, base_url=child.base_url)
            else:
                key = resolve(section.api_key)
            agent = ElevenLabsAgent(section, key)
        except SecretError as error:
            raise CommandError(str(error), error.mend, os.EX_CONFIG) from error
        except ValueError as error:
            raise CommandError(str(error), None, os.EX_CONFIG) from error
        except AgentChildError as error:
            raise CommandError(str(error), None, os.EX_UNAVAILABLE) from error
        yield agent


def _serve(config: Config, agent: Agent) -> int:
    try:
        microphone, speaker = device_pair(
            config.audio.input.device, config.audio.output.device, input_channel=config.audio.input.channel
        )
        with Signals() as arrived:
            service = Service(
                config,
                agent,
                microphone,
                speaker,
                events.Bus(),
                arrived.nudge,
                give_up=lambda: arrived.stop_wanted,
                state=_state_directory(),
            )
            service.start()
            try:
                attend(service, arrived)
            finally:
                service.stop()
    except (DeviceError, VadUnavailableError, WakeWordUnavailableError, EchoCancellerMissingError) as error:
        raise CommandError(str(error), error.mend, os.EX_UNAVAILABLE) from error
    except ServiceError as error:
        raise CommandError(str(error), error.mend, os.EX_SOFTWARE) from error
    return os.EX_OK


def _state_directory() -> Path | None:
    try:
        return state_directory()
    except OSError as error:
        logs.log.warning("nothing is kept across restarts: %s: %s", error.filename, error.strerror)
        return None


def attend(service: Service, arrived: Signals) -> None:
    """Does what signals ask for until one says stop. Raises ServiceError when the service fails."""
    while (number := arrived.wait()) not in signals.STOP:
        match number:
            case signals.WAKE:
                service.wake()
            case signals.SLEEP:
                service.sleep()
            case _ if service.failure is not None:
                raise service.failure
