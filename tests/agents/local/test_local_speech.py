"""The embedded agent's text-to-speech: the official SDK speaks with it, it keeps the real one's rules, and can fail."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from elevenlabs.client import ElevenLabs
from local_client import WAIT_S, Start
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from parleyd.audio.pcm import AudioFormat, decode
from parleyd.embedded.server import LocalAgent
from waiting import until

ALL = ({"text": " "}, {"text": "The tea is ready. ", "flush": True}, {"text": ""})


class Spoken:
    """What came of one connection: messages but for sound, the sound, and how it was closed."""

    def __init__(
        self,
        agent: LocalAgent,
        messages: tuple[object, ...] = ALL,
        query: str = "output_format=pcm_16000",
        key: str = "",
    ) -> None:
        self.told: list[dict[str, Any]] = []
        self.sound = b""
        self.pieces = 0
        url = f"{agent.url}/v1/text-to-speech/alba/stream-input?{query}"
        headers = {"xi-api-key": key} if key else None
        with connect(url, additional_headers=headers, compression=None, close_timeout=1) as socket:
            # Who is sent away at once has something to read all the same.
            with suppress(ConnectionClosed):
                for message in messages:
                    socket.send(message if isinstance(message, str) else json.dumps(message))
            try:
                while True:
                    told = json.loads(socket.recv(WAIT_S))
                    if told.get("audio"):
                        self.sound += base64.b64decode(told["audio"], validate=True)
                        self.pieces += 1
                    else:
                        self.told.append(told)
            except ConnectionClosed as closed:
                self.code = closed.rcvd.code if closed.rcvd else 1006

    @property
    def error(self) -> str:
        return str(self.told[-1]["error"])


def test_it_speaks_then_says_that_it_was_all_then_closes(start: Start) -> None:
    agent = start("agent: {ears: none}")
    spoken = Spoken(agent)
    assert spoken.told == [{"audio": None, "isFinal": True}]
    assert spoken.code == 1000
    assert spoken.pieces > 1
    assert 16_000 < len(spoken.sound) // 2 < 40_000
    ulaw = Spoken(agent, query="output_format=ulaw_8000")
    assert abs(len(ulaw.sound) * 2 - len(spoken.sound) // 2) < 100
    for pcm in (spoken.sound, decode(AudioFormat("ulaw", 8000), ulaw.sound)):
        assert np.abs(np.frombuffer(pcm, "<i2").astype(int)).max() > 3000
    (first, second) = agent.speeches
    assert first.voice_id == "alba"
    assert first.texts == ["The tea is ready. ", ""]
    assert first.flushes == 1
    assert second.query == {"output_format": "ulaw_8000"}


def test_text_without_a_flush_is_spoken_at_the_end_or_when_there_is_enough_of_it(start: Start) -> None:
    agent = start("agent: {ears: none}")
    whole = Spoken(agent).sound
    assert Spoken(agent, ({"text": " "}, {"text": "The tea "}, {"text": "is ready. "}, {"text": ""})).sound == whole
    long = "The tea is ready and waits for you on the little table beside the window of the blue room. "
    with connect(f"{agent.url}/v1/text-to-speech/a/stream-input?output_format=pcm_8000", close_timeout=1) as socket:
        for text in (" ", long, long):
            socket.send(json.dumps({"text": text}))
        assert json.loads(socket.recv(WAIT_S))["audio"]


@pytest.mark.parametrize(
    ("settings", "messages", "query", "error"),
    [
        ("", ("not JSON",), "output_format=pcm_16000", "invalid_input_message"),
        ("", ({"text": "Hello "},), "output_format=pcm_16000", "invalid_input_message"),
        ("", ALL, "output_format=pcm_48000", "invalid_output_format"),
        ("", ALL, "", "invalid_output_format"),
        (", api_key: secret", ALL, "output_format=pcm_16000", "invalid_api_key"),
        (", voice_ids: [elsie]", ALL, "output_format=pcm_16000", "voice_id_does_not_exist"),
    ],
)
def test_who_breaks_a_rule_is_told_and_closed(
    start: Start, settings: str, messages: tuple[object, ...], query: str, error: str
) -> None:
    spoken = Spoken(start(f"agent: {{ears: none{settings}}}"), messages, query, key="wrong")
    assert spoken.error == error
    assert spoken.code == 1008
    assert not spoken.sound


def test_it_fails_as_the_scenario_wants(start: Start) -> None:
    agent = start(
        """
agent: {ears: none, api_key: secret}
speech:
- handshake: {status: 503}
- end: {after_chunks: 2, drop: true}
- end: {error: quota_exceeded, message: No credits left.}
- end: {after_chunks: 1, code: 1011}
- final: false
"""
    )
    with pytest.raises(InvalidStatus):
        Spoken(agent)
    dropped = Spoken(agent, key="secret")
    assert (dropped.pieces, dropped.code) == (2, 1006)
    refused = Spoken(agent, key="secret")
    assert refused.told == [{"message": "No credits left.", "error": "quota_exceeded", "code": 1008}]
    assert (refused.pieces, refused.code) == (0, 1008)
    broken = Spoken(agent, key="secret")
    assert (broken.pieces, broken.code, broken.told) == (1, 1011, [])
    unfinished = Spoken(agent, key="secret")
    assert (unfinished.code, unfinished.told) == (1000, [])
    assert Spoken(agent, key="secret").sound == unfinished.sound


def test_what_a_client_sent_before_it_closed_is_recorded(start: Start) -> None:
    agent = start("agent: {ears: none}\nspeech: [{delay_s: 1}]")
    with connect(f"{agent.url}/v1/text-to-speech/a/stream-input?output_format=pcm_8000") as socket:
        for message in ({"text": " "}, {"text": "Tea. ", "flush": True}, {"text": "And cake. ", "flush": True}):
            socket.send(json.dumps(message))
    until("the end of the connection", lambda: agent.speeches and agent.speeches[0].over)
    assert agent.speeches[0].texts == ["Tea. ", "And cake. "]
    assert agent.speeches[0].flushes == 2


def test_the_official_sdk_speaks_with_it(start: Start) -> None:
    agent = start("agent: {ears: none, api_key: secret}")
    client = ElevenLabs(api_key="secret", base_url=agent.base_url)
    # The SDK wants TLS for this one.
    client.text_to_speech._ws_base_url = agent.url
    sound = b"".join(
        client.text_to_speech.convert_realtime(
            "alba", text=iter(["The tea is ready. "]), model_id="eleven_flash_v2_5", output_format="pcm_16000"
        )
    )
    assert 16_000 < len(sound) // 2 < 40_000
