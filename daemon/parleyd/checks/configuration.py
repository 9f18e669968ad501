"""Reads a configuration file and checks all rules of the program.

loaded = load(path)  # or raises ConfigError
loaded.config.gate.hangover_ms
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from parleyd.checks import earcon_files, profile_rules, rules
from parleyd.config import loader, secrets
from parleyd.config.loader import ConfigError, Loaded
from parleyd.config.problem import Finding, Problem
from parleyd.config.schema import Config

__all__ = ["ConfigError", "Loaded", "Problem", "load", "parse"]

_AGENT_ID = "elevenlabs.agent_id"


def load(path: Path) -> Loaded:
    """Reads and checks a file. Raises ConfigError, also if the file cannot be read."""
    return loader.load(path, _findings)


def load_without_agent(path: Path) -> Loaded:
    """Like load(), but elevenlabs.agent_id may be missing: the agent is still to be made. Raises ConfigError."""

    def findings(config: Config, is_settled: Callable[[str], bool]) -> Iterator[Finding]:
        is_missing = config.elevenlabs.agent_id is None
        return (finding for finding in _findings(config, is_settled) if not (is_missing and finding.key == _AGENT_ID))

    return loader.load(path, findings)


def parse(text: str, path: str) -> Loaded:
    """Checks the text of a file; `path` is used only in the problems. Raises ConfigError."""
    return loader.parse(text, path, _findings)


def _findings(config: Config, is_settled: Callable[[str], bool]) -> Iterator[Finding]:
    findings = tuple(rules.check(config, is_settled))
    yield from findings
    yield from profile_rules.check(config, findings, is_settled)
    yield from earcon_files.check(config.earcons, is_settled)
    yield from _key(config, findings, is_settled)


def _key(config: Config, found: Sequence[Finding], is_settled: Callable[[str], bool]) -> Iterator[Finding]:
    """Warns if the key cannot be found now."""
    key = f"{config.provider}.api_key"
    is_used = key in config.agent_keys and is_settled("provider") and is_settled(key)
    # A key that breaks the rules has been reported.
    if is_used and not any(finding.key.startswith(key) for finding in found):
        yield from secrets.look_at_key(config.agent_keys[key], key)
