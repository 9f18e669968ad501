"""Numbers of the configuration have bounds: no value makes a busy loop, a flood, or something that can never happen."""

from __future__ import annotations

import pytest

from parleyd.checks.configuration import parse
from parleyd.checks.document import sections
from parleyd.config.keys import Key
from parleyd.config.problem import ConfigError

NUMBERS = [key for section in sections() for key in section.keys if key.number is not None]


@pytest.mark.parametrize("key", NUMBERS, ids=lambda key: key.dotted)
def test_every_number_has_a_least_and_a_greatest_value(key: Key) -> None:
    """Not "above 0": that lets everything through that rounds to nothing."""
    assert key.number is not None
    assert key.number.ge is not None
    assert key.number.le is not None
    assert key.number.gt is key.number.lt is None


def problem(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    [only] = caught.value.problems
    return str(only)


TOOL = "{%s: {a: {description: d, timeout_s: 0.01, %s}}}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("reconnect: {initial_s: 0.001}", "reconnect.initial_s: 0.001 is too small; use a number from 0.1 to 60 s"),
        # A final error is tried again after max_s, for ever.
        ("reconnect: {initial_s: 0.1, max_s: 0.1}", "reconnect.max_s: 0.1 is too small; use a number from 1 to 3600 s"),
        ("local: {memory_mb: 64}", "local.memory_mb: 64 is too small; use a whole number from 100 to 65536"),
        ("budget: {minutes_per_day: 1e-9}", "budget.minutes_per_day: 1e-9 is too small; use a number from 1 to 1440"),
        ("budget: {minutes_per_month: 0.5}", "budget.minutes_per_month: 0.5 is too small; use a number from 1 to"),
        ("budget: {money_per_day: 0.001}", "budget.money_per_day: 0.001 is too small; use a number from 0.01 to"),
        ("budget: {money_per_month: 0.001}", "budget.money_per_month: 0.001 is too small; use a number from 0.01 to"),
        ("transcript: {max_mb: 1e-6}", "transcript.max_mb: 1e-6 is too small; use a number from 0.1 to 1000"),
        ("transcript: {day_mb: 1e-6}", "transcript.day_mb: 1e-6 is too small; use a number from 0.1 to 1000"),
        ("transcript: {total_mb: 0.5}", "transcript.total_mb: 0.5 is too small; use a number from 1 to 100000"),
        ("debug: {record_mb: 0.01}", "debug.record_mb: 0.01 is too small; use a number from 1 to 10000"),
        ("camera: {timeout_s: 0.001}", "camera.timeout_s: 0.001 is too small; use a number from 0.1 to 30 s"),
        ("hooks: [{on: [woken], command: [a], timeout_s: 0.001}]", "hooks.1.timeout_s: 0.001 is too small; use a"),
        (f"tools: {TOOL % ('command', 'run: [a]')}", "tools.command.a.timeout_s: 0.01 is too small; use a number from"),
        (f"tools: {TOOL % ('http', 'url: http://h/')}", "tools.http.a.timeout_s: 0.01 is too small; use a number from"),
        ("tools: {per_minute: 10000}", "tools.per_minute: 10000 is too large; use a whole number from 1 to 600"),
        ("tools: {mcp: {ask_s: 1}}", "tools.mcp.ask_s: 1 is too small; use a number from 5 to 295 s"),
        ("openai: {turn_detection: {threshold: 0}}", "openai.turn_detection.threshold: 0 is too small; use a number"),
        ("openai: {turn_detection: {threshold: 1}}", "openai.turn_detection.threshold: 1 is too large; use a number"),
        ("openai: {turn_detection: {silence_duration_ms: 0}}", "silence_duration_ms: 0 is too small; use a whole"),
        ("openai: {truncation: {retention_ratio: 1e-9}}", "retention_ratio: 1e-9 is too small; use a number from"),
        ("openai: {max_output_tokens: 1}", "openai.max_output_tokens: 1 is too small; use a whole number from 16 to"),
    ],
)
def test_a_number_that_loops_floods_or_never_ends_is_refused(text: str, told: str) -> None:
    shown = problem(f"provider: local\n{text}")
    assert shown.startswith("p.yaml:2: ")
    assert told in shown


@pytest.mark.parametrize(
    "key", [key for key in NUMBERS if not {"NAME", "N"} & set(key.path)], ids=lambda key: key.dotted
)
@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e308", "-1e308", "-1000000000"])
def test_no_number_is_taken_that_is_none_or_beyond_all_bounds(key: Key, value: str) -> None:
    text = value
    for name in reversed(key.path):
        text = f"{{{name}: {text}}}"
    assert f"p.yaml:1: {key.dotted}: " in problem(text.replace("{", "{provider: local, ", 1))
