"""`parleyd run`: the daemon."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from parleyd import events
from parleyd.agents.agent import Agent
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.local.child import AgentChild, AgentChildError
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.names import device_pair
from parleyd.audio.echo import EchoCancellerMissingError
from parleyd.audio.vad import VadUnavailableError
from parleyd.cli.errors import CommandError
from parleyd.config.loader import DEFAULT_CONFIG_PATH, ConfigError, load
from parleyd.config.schema import Config, ElevenLabs
from parleyd.config.secrets import SecretError, resolve
from parleyd.host import logs
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
    listener = logs.start(settings)
    for warning in loaded.warnings:
        logs.log.warning("%s", warning)
    try:
        with agent_for(config) as agent:
            return _serve(config, agent)
    finally:
        listener.stop()


@contextlib.contextmanager
def agent_for(config: Config) -> Iterator[Agent]:
    """The configured provider; the embedded agent lives as long as the context."""
    try:
        if config.provider == "elevenlabs":
            yield ElevenLabsAgent(config.elevenlabs, resolve(config.elevenlabs.api_key))
            return
        with AgentChild(config.local.scenario) as child:
            section: ElevenLabs = msgspec.structs.replace(
                config.elevenlabs, agent_id=config.elevenlabs.agent_id or "local", base_url=child.base_url
            )
            yield ElevenLabsAgent(section, None)
    except SecretError as error:
        raise CommandError(str(error), error.mend, os.EX_CONFIG) from error
    except AgentChildError as error:
        raise CommandError(str(error), None, os.EX_UNAVAILABLE) from error


def _serve(config: Config, agent: Agent) -> int:
    try:
        microphone, speaker = device_pair(config.audio.input.device, config.audio.output.device)
        service = Service(config, agent, microphone, speaker, events.Bus())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.request_stop())
        signal.signal(signal.SIGUSR1, lambda *_: service.wake())
        signal.signal(signal.SIGUSR2, lambda *_: service.sleep())
        service.start()
        try:
            service.wait()
        finally:
            service.stop()
    except (DeviceError, VadUnavailableError, EchoCancellerMissingError) as error:
        raise CommandError(str(error), error.mend, os.EX_UNAVAILABLE) from error
    except ServiceError as error:
        raise CommandError(str(error), error.mend, os.EX_SOFTWARE) from error
    return os.EX_OK
