"""Reads a configuration file and checks all rules of the program.

loaded = load(path)  # or raises ConfigError
loaded.config.gate.hangover_ms
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from parleyd.checks import earcon_files, profile_rules, rules
from parleyd.config import loader, secrets
from parleyd.config.loader import ConfigError, Loaded, SettingsText
from parleyd.config.problem import KeyProblem, Problem
from parleyd.config.schema import Config

__all__ = ["ConfigError", "Loaded", "Problem", "SettingsText", "load", "parse"]

_AGENT_ID = "elevenlabs.agent_id"
_SOUND = ("audio", "gate")


def load(path: Path, laid: SettingsText | None = None) -> Loaded:
    """Reads and checks a file, with the settings laid over it. Raises ConfigError, also if the file cannot be read."""
    return loader.load(path, _problems, laid)


def load_without_agent(path: Path) -> Loaded:
    """Like load(), but elevenlabs.agent_id may be missing: the agent is still to be made. Raises ConfigError."""

    def problems(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
        is_missing = config.elevenlabs.agent_id is None
        return (problem for problem in _problems(config, is_settled) if not (is_missing and problem.key == _AGENT_ID))

    return loader.load(path, problems)


def parse_without_agent(text: str, path: str) -> Loaded:
    """Like parse(), whatever elevenlabs.agent_id is: the agent is still to be chosen. Raises ConfigError."""

    def problems(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
        return (problem for problem in _problems(config, is_settled) if problem.key != _AGENT_ID)

    return loader.parse(text, path, problems)


def load_for_sound(path: Path) -> Loaded:
    """Like load(), but of the rules only those of microphone, speaker and gate count: the agent may still be to be
    chosen, as in the file that an installation leaves. Raises ConfigError."""

    def problems(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
        return (problem for problem in rules.check(config, is_settled) if problem.key.partition(".")[0] in _SOUND)

    return loader.load(path, problems)


def parse(text: str, path: str) -> Loaded:
    """Checks the text of a file; `path` is used only in the problems. Raises ConfigError."""
    return loader.parse(text, path, _problems)


def _problems(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    problems = tuple(rules.check(config, is_settled))
    yield from problems
    yield from profile_rules.check(config, problems, is_settled)
    yield from earcon_files.check(config.earcons, is_settled)
    yield from _key(config, problems, is_settled)


def _key(config: Config, found: Sequence[KeyProblem], is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """Warns if the key cannot be found now."""
    key = f"{config.provider}.api_key"
    is_used = key in config.agent_keys and is_settled("provider") and is_settled(key)
    # A key that breaks the rules has been reported.
    if is_used and not any(problem.key.startswith(key) for problem in found):
        yield from secrets.look_at_key(config.agent_keys[key], key)
