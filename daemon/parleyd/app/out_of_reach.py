"""The files that tools, hooks and commands of dynamic variables must not reach, from the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from parleyd.config.base import Secret
from parleyd.config.schema import Config
from parleyd.host import apart
from parleyd.host.apart import Apart


def apart_for(config: Config, file: Path | None, state_directory: Path | None) -> Apart:
    """How the programs of this configuration are kept apart here. file: where it stands; it may hold secrets."""
    always = [place for place in (file, state_directory) if place is not None]
    made = Apart(apart.ways(), always, required=config.tools.apart == "required")
    made.hide(places(config))
    return made


def places(config: Config) -> Iterator[Path]:
    """Files of secrets, the transcript and the control socket, where the configuration names their places."""
    tools = config.tools
    secrets: list[Secret | str | None] = [*config.agent_keys.values()]
    secrets += [server.authorization for server in config.openai.mcp.values()]
    for of_tool in (
        *(tool.secrets for tool in tools.command.values()),
        *(tool.secrets for tool in tools.http.values()),
        *(tool.secrets for tool in tools.python.values()),
    ):
        secrets += of_tool.values()
    secrets.append(config.mqtt.password)
    if config.mqtt.tls.key is not None:
        yield Path(config.mqtt.tls.key)
    for secret in secrets:
        if isinstance(secret, Secret) and secret.file is not None:
            yield Path(secret.file)
    if config.transcript.directory is not None:
        yield Path(config.transcript.directory)
    if config.control.socket not in ("auto", "off"):
        yield Path(config.control.socket)
