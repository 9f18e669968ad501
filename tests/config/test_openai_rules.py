"""The rules of the section openai: each mistake is one line with its key and its hint."""

from __future__ import annotations

import pytest

from parleyd.checks.configuration import ConfigError, parse

START = "provider: openai\n"


def problems(text: str) -> list[tuple[str, str, str]]:
    """(key, text, hint) of each problem and warning."""
    try:
        found = parse(START + text, "p.yaml").warnings
    except ConfigError as error:
        found = error.problems
    return [(one.key, one.text, one.hint) for one in found]


def test_the_least_that_works() -> None:
    assert problems("openai: {api_key: {credential: openai}}\n") == []
    assert problems("openai: {base_url: http://127.0.0.1:8080/v1}\n") == []


def test_openai_itself_takes_nobody_without_a_key() -> None:
    assert problems("")[0][:2] == ("openai.api_key", "OpenAI opens no session without a key")
    assert "sudo parleyd secret openai" in problems("")[0][2]
    # A section that another provider's configuration keeps is not asked.
    assert parse("provider: local\nopenai: {voice: cedar}\n", "p.yaml").warnings == ()


@pytest.mark.parametrize(
    ("section", "key", "word"),
    [
        ("{base_url: 'http://127.0.0.1:1/v1/realtime'}", "base_url", "/realtime"),
        ("{base_url: 'https://api.openai.com'}", "base_url", "https://api.openai.com/v1"),
        ("{base_url: 'http://192.168.1.5:1/v1'}", "base_url", "https://"),
        ("{base_url: 'ws://127.0.0.1/v1'}", "base_url", "URL"),
        ("{model: gpt-live-1}", "model", "gpt-realtime-2.1"),
        ("{model: gpt-realtime, api_key: {env: A}}", "model", "2027-01-20"),
        ("{model: 'a b'}", "model", "blank"),
        ("{voice: ''}", "voice", "empty"),
        ("{instructions: 'Hello {{name}}.'}", "instructions", "openai.dynamic_variables.name"),
        ("{greeting: 'Greet {{name}}.'}", "greeting", "openai.dynamic_variables.name"),
        ("{instructions: {file: /nowhere/at/all}}", "instructions", "cannot be read"),
        ("{instructions: {}}", "instructions.file", "missing"),
        ("{instructions: [a]}", "instructions", "{file: PATH}"),
        ("{turn_detection: {type: semantic, threshold: 0.5}}", "turn_detection.threshold", "type: server"),
        ("{turn_detection: {eagerness: low}}", "turn_detection.eagerness", "semantic"),
        ("{turn_detection: {type: vad}}", "turn_detection.type", "semantic"),
        ("{transcription: {model: whisper-1}, api_key: {env: A}}", "transcription.model", "2027-02-26"),
        ("{truncation: {mode: disabled, retention_ratio: 0.5}}", "truncation.retention_ratio", "remove"),
        ("{language: 'e n'}", "language", "blank"),
        ("{speed: 2}", "speed", "1.5"),
        ("{max_output_tokens: 50000}", "max_output_tokens", "32000"),
        ("{api_key: {env: sk-proj-0123456789abcdefghij}}", "api_key.env", "OPENAI_API_KEY"),
        ("{api_key: sk-proj-0123456789abcdefghij}", "api_key", "file"),
        ("{mcp: {a b: {url: 'https://h/x'}}}", "mcp.a b", "letters"),
        (
            "{mcp: {a: {url: 'https://h/x', approval: never, without_approval: [b]}}}",
            "mcp.a.without_approval",
            "remove",
        ),
        ("{mcp: {a: {url: 'http://h/x', authorization: {env: T}}}}", "mcp.a.url", "https://"),
        ("{mcp: {a: {}}}", "mcp.a.url", "missing"),
        ("{dynamic_variables: {a: {env: X, file: /y}}}", "dynamic_variables.a", "one of"),
        ("{prompt: x}", "prompt", "unknown key"),
    ],
)
def test_each_mistake_is_named(section: str, key: str, word: str) -> None:
    found = problems(f"openai: {section}\n")
    assert [one[0] for one in found] == [f"openai.{key}"]
    assert word in " ".join(found[0][1:])
    assert found[0][2]
    assert "0123456789" not in str(found)


def test_instructions_that_are_too_long() -> None:
    [(key, text, hint)] = problems(f"openai: {{instructions: {'x' * 70_000}}}\n")
    assert (key, hint.split(";")[0]) == ("openai.instructions", "shorten them")
    assert "more than 64 KiB" in text


@pytest.mark.parametrize(
    ("budget", "model", "warns"),
    [
        ("money_per_day: 1", "mine", True),
        ("money_per_month: 1", "mine", True),
        ("money_per_day: 1", "gpt-realtime-2.1", False),
        ("money_per_day: 1, minutes_per_day: 10", "mine", False),
        ("money_per_day: 1, minute_price: 0.1", "mine", False),
        ("money_per_day: 1, prices: {mine: {text_in: 1}}", "mine", False),
    ],
)
def test_a_budget_in_money_needs_prices(budget: str, model: str, warns: bool) -> None:
    found = problems(f"openai: {{base_url: 'http://127.0.0.1:1/v1', model: {model}}}\nbudget: {{{budget}}}\n")
    assert bool(found) is warns
    assert all(key.startswith("budget.money_per_") and "budget.prices" in hint for key, _, hint in found)


def test_a_section_that_is_not_used_is_not_held_against_the_provider() -> None:
    text = "provider: local\nopenai: {model: gpt-live-1, instructions: '{{x}}'}\n"
    assert parse(text, "p.yaml").warnings == ()


def test_profiles_may_change_all_of_it() -> None:
    text = (
        "openai: {api_key: {env: A}}\n"
        "profiles: {night: {settings: {openai: {voice: cedar, instructions: Whisper., language: de}}}}\n"
    )
    assert problems(text) == []
