"""The tool of docs/home-assistant.md as it stands there, against a house in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from home_assistant_tool import tools
from house_server import TOKEN

from parleyd.checks.configuration import ConfigError, parse
from parleyd.tools.result import Fault

WAIT_S = 60.0


@pytest.fixture
def url() -> Iterator[str]:
    program = [sys.executable, str(Path(__file__).with_name("house_server.py"))]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as house:
        assert house.stdout is not None
        yield f"http://127.0.0.1:{house.stdout.readline().strip()}"
        house.terminate()


def test_a_question_of_the_house_is_answered_in_the_same_conversation(url: str, tmp_path: Path) -> None:
    device = tools(url, tmp_path, TOKEN)
    try:
        said = [device.by_hand("home", {"text": text}, WAIT_S) for text in ("turn on the light", "hall", "kitchen")]
    finally:
        device.close()
    assert [one.text for one in said] == [
        "Which room?",
        "Turned on the light in the hall.",
        "I have forgotten what this was about.",
    ]
    assert not any(one.is_error for one in said)


def test_a_wrong_token_is_told_without_the_token(url: str, tmp_path: Path) -> None:
    device = tools(url, tmp_path, "wrong-token-0815")
    try:
        said = device.by_hand("home", {"text": "turn on the light"}, WAIT_S)
    finally:
        device.close()
    assert said.fault is Fault.NOT_AUTHORISED
    assert "answered with status 401" in said.text
    assert "wrong-token" not in said.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("body: {text: '{text}'}, remember: {id: conversation_id}", "id is remembered, and no request uses it"),
        ("remember: {id: conversation_id}", "id is remembered, and no request uses it"),
        ("body: {text: '{text}'}, remember: {text: a}", "text is a parameter, too"),
        ("body: {text: '{text}', id: '{id}'}", "there is no parameter id"),
        ("result: a..b", "names with dots between them"),
    ],
)
def test_what_the_configuration_refuses(more: str, said: str) -> None:
    text = (
        "provider: local\ntools: {http: {home: {description: d, url: 'https://h/', method: POST, "
        f"parameters: {{type: object, properties: {{text: {{type: string}}}}}}, {more}}}}}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        parse(text, "p")
    assert said in str(caught.value)
