"""Ears and voices behind an address: Wyoming by the package's own server, OpenAI's API by the embedded agent's."""

from __future__ import annotations

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("wyoming")
from local_client import Client, Start, spoken
from model_servers import wyoming

from parleyd.core.errors import UserError
from parleyd.embedded.parts_by_address import VoiceByAddress, ears_at
from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.settings import PartAddress


def test_wyoming_ears_and_voice() -> None:
    with wyoming("What time is it?") as place:
        heard = ears_at(PartAddress(wyoming=place)).transcribe(spoken("anything"))
        assert heard == "What time is it?"
        voice = VoiceByAddress(PartAddress(wyoming=place), None)
        pcm = voice.say("It is noon.", 16_000)
        assert 0.5 < len(pcm) / 32_000 < 3
        assert voice.say("...", 16_000) == b""
        voice.close()


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:9", "silent"])
def test_parts_that_do_not_answer(place: str, caplog: pytest.LogCaptureFixture) -> None:
    with wyoming("silent") as silent:
        at = PartAddress(wyoming=silent if place == "silent" else place, timeout_s=0.5)
        assert ears_at(at).transcribe(spoken("anything")) == NOT_UNDERSTOOD
        voice = VoiceByAddress(at, "slt")
        assert voice.say("It is noon.", 16_000), "the local voice speaks in its place"
        voice.close()
    assert "does not answer" in caplog.text
    assert "noon" not in caplog.text, "words stay out of the log"


def test_openais_api(start: Start) -> None:
    """The embedded agent serves speech over HTTP; transcriptions it does not."""
    server = start()
    at = PartAddress(base_url=f"{server.base_url}/v1", timeout_s=10)
    voice = VoiceByAddress(at, None)
    assert 0.5 < len(voice.say("It is noon.", 16_000)) / 32_000 < 3
    voice.close()
    assert ears_at(at).transcribe(spoken("anything")) == NOT_UNDERSTOOD


@pytest.mark.parametrize("at", [PartAddress(), PartAddress(wyoming="http://x"), PartAddress(wyoming="tcp://x")])
def test_an_address_that_is_none(at: PartAddress) -> None:
    with pytest.raises(UserError, match="tcp://"):
        ears_at(at)


def test_the_whole_agent_with_parts_elsewhere() -> None:
    from parleyd.embedded import scenario
    from parleyd.embedded.server import LocalAgent

    with wyoming("What time is it?") as place:
        text = f"agent: {{ears_at: {{wyoming: '{place}'}}, voice_at: {{wyoming: '{place}'}}, end_of_speech_ms: 300}}"
        script = scenario.parse(text, "test.yaml")
        with LocalAgent(script.agent, script) as server, Client(server) as client:
            client.until("agent_response")
            client.say(spoken("Good morning."))
            assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "What time is it?"
            assert client.until("agent_response")["agent_response_event"]["agent_response"].startswith("It is ")
