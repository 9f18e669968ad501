"""The embedded agent's list of voices and their samples, read by the official SDK."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
import wave

import pytest
from elevenlabs import ElevenLabs
from elevenlabs.core import ApiError

from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings

KEY = "sk_0123456789"


def test_the_sdk_reads_the_voices_and_each_has_a_sample() -> None:
    with LocalAgent(AgentSettings(api_key=KEY, ears="none")) as agent:
        voices = ElevenLabs(api_key=KEY, base_url=agent.base_url).voices.get_all().voices
        assert {"Sally", "Robert"} <= {voice.name for voice in voices}
        assert voices[0].labels is not None
        assert voices[0].labels["language"] == "en"
        assert voices[0].preview_url is not None
        with urllib.request.urlopen(voices[0].preview_url, timeout=30) as answer:
            content = io.BytesIO(answer.read())
        with wave.open(content) as file:
            assert file.getnframes() > file.getframerate()
        # Whoever has not read the list, which wants the key, gets no sample, and cannot have the server make one.
        address, token = voices[0].preview_url.split("?")
        nobody = f"{agent.base_url}/previews/nobody.wav"
        for guessed in (address, f"{address}?token=", f"{address}?token={'0' * 32}", f"{address}?token=%ff%00", nobody,
                        f"{nobody}?{token}"):  # fmt: skip
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(guessed, timeout=30)


def test_a_key_without_the_permission_is_told_its_name() -> None:
    with LocalAgent(AgentSettings(api_key=KEY, ears="none", key_permissions=("convai_read",))) as agent:
        with pytest.raises(ApiError) as refused:
            ElevenLabs(api_key=KEY, base_url=agent.base_url).voices.get_all()
        assert "voices_read" in str(refused.value.body)
        with pytest.raises(ApiError) as refused:
            ElevenLabs(api_key="sk_another0", base_url=agent.base_url).voices.get_all()
        assert refused.value.status_code == 401


def test_the_voices_of_a_scenario_are_listed() -> None:
    with LocalAgent(AgentSettings(ears="none", voice_ids=("Mia",))) as agent:
        (voice,) = ElevenLabs(api_key=KEY, base_url=agent.base_url).voices.get_all().voices
        assert voice.voice_id == "Mia"
        assert voice.preview_url is not None
        with urllib.request.urlopen(voice.preview_url, timeout=30) as answer:
            assert answer.read(4) == b"RIFF"
