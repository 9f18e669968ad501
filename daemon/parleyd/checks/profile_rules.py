"""The rules for profiles that types cannot express. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from parleyd.checks import rules
from parleyd.config.overlay import overlay
from parleyd.config.problem import KeyProblem
from parleyd.config.profile_sections import AUTO, NONE
from parleyd.config.schema import Config

_NAME = r"[A-Za-z0-9_-]{1,40}"


def check(config: Config, found: Sequence[KeyProblem], is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """found: the problems of rules.check() for the configuration without a profile. is_settled: see rules.check()."""
    for name, profile in config.profiles.items():
        key = f"profiles.{name}"
        if not re.fullmatch(_NAME, name):
            yield KeyProblem(key, "this is no name for a profile", "use letters, digits, _ and -, at most 40")
            continue
        if name in (AUTO, NONE):
            hint = "give it another name"
            yield KeyProblem(key, f"`parleyd profile {name}` means something else: see docs/profiles.md", hint)
        if not is_settled(key):
            continue
        if is_settled(f"{key}.schedule"):
            yield from rules.hours(f"{key}.schedule", profile.schedule, is_settled)
        if is_settled(f"{key}.settings"):
            yield from _settings(f"{key}.settings", overlay(config, profile.settings), found, is_settled)
            if not profile.settings:
                yield KeyProblem(key, "this profile changes nothing", "add settings: {audio: {output: {volume: 0.3}}}")


def _settings(
    key: str, with_profile: Config, found: Sequence[KeyProblem], is_settled: Callable[[str], bool]
) -> Iterator[KeyProblem]:
    """The problems of a profile's settings, at the keys of the profile."""

    def settled(one: str) -> bool:
        return is_settled(one) and is_settled(f"{key}.{one}")

    for problem in rules.check(with_profile, settled):
        if problem not in found:
            yield problem._replace(key=f"{key}.{problem.key}")
