"""What a real Home Assistant answers to the tool of docs/home-assistant.md, as it stands on that page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hass import Hass, until
from home_assistant_tool import tools

from parleyd.tools.result import Fault

URL = os.environ["HASS"]
LIGHT = "light.hall_light"
RESULT, REMEMBER = "result: response.speech.plain.speech", "remember: {conversation_id: conversation_id}"
WAIT_S = 60.0


@pytest.fixture
def light(hass: Hass) -> str:
    until(lambda: hass.state(LIGHT) is not None, "there is no light")
    hass.expose(LIGHT)
    return LIGHT


def asked(hass: Hass, folder: Path, texts: Sequence[str], *changes: tuple[str, str]) -> list[str]:
    device = tools(URL, folder, hass.token, *changes)
    try:
        said = [device.by_hand("home", {"text": text}, WAIT_S) for text in texts]
    finally:
        device.close()
    assert not any(one.is_error for one in said), said
    return [one.text for one in said]


def test_a_wish_is_carried_out_and_the_answer_is_a_sentence(hass: Hass, light: str, tmp_path: Path) -> None:
    for order, state in (("turn on the hall light", "on"), ("turn off the hall light", "off")):
        said = asked(hass, tmp_path, [order])[0]
        print(f"{order!r}: {said!r}")
        assert hass.state(light) == state
        assert said
        assert "{" not in said
    questions = ("what time is it", "is the hall light on", "make me a sandwich")
    for question, said in zip(questions, asked(hass, tmp_path, questions), strict=True):
        print(f"{question!r}: {said!r}")
        assert said
        assert "{" not in said


@pytest.mark.usefixtures("light")
def test_the_second_wish_belongs_to_the_same_conversation(hass: Hass, tmp_path: Path) -> None:
    texts = ("turn on the hall light", "turn off the hall light")
    with_it = asked(hass, tmp_path, texts, (RESULT, "result: conversation_id"))
    assert with_it[0] == with_it[1]
    forgetful = (REMEMBER, ""), (', conversation_id: "{conversation_id}"', "")
    without = asked(hass, tmp_path, texts, (RESULT, "result: conversation_id"), *forgetful)
    assert without[0] != without[1]


@pytest.mark.usefixtures("hass")
def test_a_wrong_token_is_told(tmp_path: Path) -> None:
    device = tools(URL, tmp_path, "wrong-token-0815")
    try:
        said = device.by_hand("home", {"text": "turn on the hall light"}, WAIT_S)
    finally:
        device.close()
    assert said.fault is Fault.NOT_AUTHORISED
    print(said.text)
