"""checks/rules.py leaves out the rules of a section in which nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from parleyd.checks import hook_rules, mqtt_rules, openai_rules, tool_rules, wyoming_rules
from parleyd.checks.configuration import parse
from parleyd.config.problem import KeyProblem
from parleyd.config.schema import Config


def of_hooks(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    return hook_rules.check(config.hooks, is_settled)


def of_tools(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    return tool_rules.check(config.tools, is_settled, has_camera=config.camera.is_there)


@pytest.mark.parametrize("rules", [of_hooks, of_tools, mqtt_rules.check, openai_rules.check, wyoming_rules.check])
@pytest.mark.parametrize(
    "elsewhere",
    ["", "audio: off", "provider: local", "control: {socket: 'off'}", "camera: {command: [/bin/true, '{file}']}"],
)
def test_the_defaults_of_a_section_break_none_of_its_rules(
    elsewhere: str, rules: Callable[[Config, Callable[[str], bool]], Iterator[KeyProblem]]
) -> None:
    config = parse(f"elevenlabs: {{agent_id: a}}\n{elsewhere}\n", "parleyd.yaml").config
    assert not list(rules(config, lambda _key: True))
