"""Reads a configuration file and checks all rules of the program.

loaded = load(path)  # or raises ConfigError
loaded.config.gate.hangover_ms
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from parleyd.checks import earcon_files, profile_rules, rules
from parleyd.config import loader, secrets
from parleyd.config.loader import ConfigError, Loaded
from parleyd.config.problem import Finding, Problem
from parleyd.config.schema import Config

__all__ = ["ConfigError", "Loaded", "Problem", "load", "parse"]


def load(path: Path) -> Loaded:
    """Reads and checks a file. Raises ConfigError, also if the file cannot be read."""
    return loader.load(path, _findings)


def parse(text: str, path: str) -> Loaded:
    """Checks the text of a file; `path` is used only in the problems. Raises ConfigError."""
    return loader.parse(text, path, _findings)


def _findings(config: Config, is_settled: Callable[[str], bool]) -> Iterator[Finding]:
    findings = tuple(rules.check(config, is_settled))
    yield from findings
    yield from profile_rules.check(config, findings, is_settled)
    yield from earcon_files.check(config.earcons, is_settled)
    yield from _key(config, is_settled)


def _key(config: Config, is_settled: Callable[[str], bool]) -> Iterator[Finding]:
    """Warns if the key cannot be found now."""
    sections = {"elevenlabs": config.elevenlabs.api_key, "openai": config.openai.api_key}
    if not is_settled("provider") or config.provider not in sections:
        return
    key, secret = f"{config.provider}.api_key", sections[config.provider]
    # A key that breaks the rules has been reported.
    if is_settled(key) and not list(rules.api_key(secret, key)):
        yield from secrets.look_at_key(secret, key)
