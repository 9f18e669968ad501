"""`parleyd chat` where no daemon runs: a session without sound, in this process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from parleyd.app import logs
from parleyd.app.agents import Agents, provider_of
from parleyd.chat.link import Link, Take
from parleyd.chat.own_link import OwnLink
from parleyd.chat.screen import Screen
from parleyd.cli.configured import config_of
from parleyd.config.schema import Audio, Config, Log
from parleyd.host.directories import config_path

# The idle time of a session in writing, because writing takes longer than speaking.
IDLE_TIMEOUT_S = 300.0


@contextlib.contextmanager
def linked(path: Path | None, take: Take, screen: Screen | None, *, debug: bool) -> Iterator[Link]:
    """path: the configuration. screen: shows who answers; None: nothing is shown, and the agent does not greet."""
    config, words = _own_config(path)
    if screen is None:
        config = msgspec.structs.replace(config, wake=msgspec.structs.replace(config.wake, greeting="skip"))
    # The conversation itself reports errors, so a log is only for --debug.
    running_logs = logs.start(Log(level="debug")) if debug else None
    if running_logs is None:
        logging.getLogger("parleyd").handlers[:] = [logging.NullHandler()]
    try:
        with Agents(config) as agents:
            own = OwnLink(config, agents.agent(config), take)
            try:
                if screen is not None:
                    screen.note(f"{words}. Ctrl-D ends, /help tells more.")
                    own.wake()
                yield own
            finally:
                own.close()
    finally:
        if running_logs is not None:
            running_logs.stop()


def _own_config(path: Path | None) -> tuple[Config, str]:
    """The configuration of a session without a daemon, and the name of the agent. Raises UserError."""
    if path is None and not config_path().exists():
        config, words = Config(provider="local"), "No daemon runs here; the embedded agent answers"
    else:
        config = config_of(path or config_path())
        whose = "the embedded agent" if config.provider == "local" else f"the {provider_of(config).shown(config)}"
        words = f"A session of its own with {whose}"
    replace = msgspec.structs.replace
    idle_timeout_s = max(config.session.idle_timeout_s, IDLE_TIMEOUT_S)
    return replace(
        config,
        audio=Audio(mode="off"),
        wake=replace(config.wake, mode="manual"),
        session=replace(config.session, idle_timeout_s=idle_timeout_s),
    ), words
