"""The text-to-speech WebSocket: where, what is sent, what is understood, and why a text was not spoken."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parleyd.agents.elevenlabs.speech import ElevenLabsSpeech
from parleyd.agents.elevenlabs.speech_endings import judge_close, judge_http
from parleyd.agents.events import AgentError
from parleyd.agents.speech import SpeechReceived
from parleyd.audio.pcm import AudioFormat
from parleyd.config.schema import Announce
from parleyd.core.endings import DialError, EndingKind

KEY = "sk_0123456789abcdef"
RETRY, FINAL = EndingKind.RETRY, EndingKind.FINAL


def speech(base_url: str = "https://api.elevenlabs.io", key: str | None = KEY, **section: object) -> ElevenLabsSpeech:
    return ElevenLabsSpeech(msgspec.convert(section, Announce), base_url, "voice_1", key)


def test_the_address_has_the_voice_in_its_path_and_the_key_in_a_header_alone() -> None:
    address = speech(output_format="ulaw_8000", model_id="a&b").dial()
    assert address.url == (
        "wss://api.elevenlabs.io/v1/text-to-speech/voice_1/stream-input?model_id=a%26b&output_format=ulaw_8000"
    )
    assert address.headers == (f"xi-api-key: {KEY}",)
    assert KEY not in f"{address!r}{speech()!r}"
    assert speech(output_format="ulaw_8000").output_format == AudioFormat("ulaw", 8000)
    hostile = ElevenLabsSpeech(Announce(), "http://localhost:1/base/", "../../x?y#z\r\nHost: evil", None).dial()
    assert hostile.url.startswith(
        "ws://localhost:1/base/v1/text-to-speech/..%2F..%2Fx%3Fy%23z%0D%0AHost%3A%20evil/stream-input?model_id="
    )
    assert hostile.headers == ()


@pytest.mark.parametrize(
    ("base_url", "key", "reason", "hint"),
    [
        ("https://api.elevenlabs.io", None, "needs an API key", "elevenlabs.api_key"),
        ("http://192.168.1.5", KEY, "unencrypted", "https"),
        ("https://api.elevenlabs.io", "two words", "no key has", "elevenlabs.api_key"),
        ("https://api.elevenlabs.io", "line\r\nbreak", "no key has", "elevenlabs.api_key"),
        ("gopher://x", KEY, "no http", "https://HOST"),
    ],
)
def test_where_nothing_is_asked(base_url: str, key: str | None, reason: str, hint: str) -> None:
    with pytest.raises(DialError) as refused:
        speech(base_url, key).dial()
    ending = refused.value.ending
    assert reason in ending.reason
    assert hint in (ending.hint or "")
    assert ending.kind is FINAL


def test_what_is_sent() -> None:
    sent = [json.loads(message) for message in speech().messages('  He said "no"\u2028\ud800.  ')]
    assert sent == [{"text": " "}, {"text": 'He said "no"\u2028?. ', "flush": True}, {"text": ""}]


@pytest.mark.parametrize(
    ("message", "received"),
    [
        ({"audio": base64.b64encode(b"ab").decode(), "isFinal": None, "alignment": {"chars": ["a"]}}, (b"ab", False)),
        ({"audio": base64.b64encode(b"ab").decode(), "isFinal": False, "normalizedAlignment": 7}, (b"ab", False)),
        ({"audio": None, "isFinal": True}, (b"", True)),
        ({"is_final": True}, (b"", True)),
        ({"audio": base64.b64encode(b"ab").decode(), "is_final": True}, (b"ab", True)),
        ({"isFinal": "true", "later": [1]}, (b"", False)),
        ({"audio": "@@@"}, (b"", False)),
        ([], (b"", False)),
    ],
)
def test_what_is_understood(message: object, received: tuple[bytes, bool]) -> None:
    assert speech().receive(json.dumps(message)) == SpeechReceived(*received)


def test_an_error_is_understood_in_all_its_forms() -> None:
    told = speech().receive(json.dumps({"message": "No\n voice", "error": "voice_not_found", "code": 1008}))
    assert told.error == AgentError("No voice", "voice_not_found", 1008)
    assert speech().receive('{"error": {"a": 1}, "code": "x"}').error == AgentError("{'a': 1}", None, None)
    ending = speech().judge_close(1008, f"bad {KEY}", AgentError(f"key {KEY}", "invalid_api_key"))
    assert KEY not in ending.reason
    assert KEY not in speech().judge_refusal(400, json.dumps({"detail": KEY})).reason


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["audio", "isFinal", "is_final", "message", "error", "code"]), inner, max_size=4),
    max_leaves=10,
).map(json.dumps)))  # fmt: skip
def test_nothing_that_comes_raises(message: str | bytes) -> None:
    assert isinstance(speech().receive(message), SpeechReceived)


CLOSES = [
    # code, close reason, error, kind, words of the reason, words of the hint
    (None, "", None, RETRY, "line was lost", "network"),
    (1006, "", None, RETRY, "line was lost", "network"),
    (1011, "", None, RETRY, "in trouble", "later"),
    (1000, "", None, FINAL, "without a sound", "announce.voice_id"),
    (1008, "", None, FINAL, "did not accept", "announce.model_id"),
    (1009, "Message too big", None, FINAL, "model does not go with the voice", "announce.model_id"),
    (3000, "", None, RETRY, "in trouble", "later"),
    (1008, "", ("invalid_api_key", "Invalid API key"), FINAL, "not accepted", "elevenlabs.api_key"),
    (1008, "", ("missing_permissions", "The API key is missing text_to_speech"), FINAL, "may not be", "permission"),
    (1008, "", ("voice_id_does_not_exist", "A voice with voice_id x does not exist."), FINAL, "no such voice", "voice"),
    (1008, "", ("quota_exceeded", "This request exceeds your quota"), FINAL, "no credit", "credit"),
    (1008, "", ("invalid_model", "The model eleven_v3 is not available"), FINAL, "model", "eleven_flash_v2_5"),
    (1008, "", ("output_format_not_allowed", "Pro tier only"), FINAL, "sound format", "pcm_16000"),
    (1008, "", ("too_many_concurrent_requests", ""), RETRY, "too much", "later"),
    (1008, "Have not received a new text input within the timeout of 20 seconds.", None, FINAL, "was sent", "report"),
    (1008, "", ("invalid_input_message", "Could not parse input message"), FINAL, "was sent", "report"),
    (None, "", ("quota_exceeded", "no"), FINAL, "no credit", "credit"),
    (None, "", ("something_new", "Rain"), FINAL, "Rain", "announce.voice_id"),
]


@pytest.mark.parametrize(("code", "reason", "error", "kind", "says", "hint"), CLOSES)
def test_why_a_text_was_not_spoken(
    code: int | None, reason: str, error: tuple[str, str] | None, kind: EndingKind, says: str, hint: str
) -> None:
    ending = judge_close(code, reason, AgentError(error[1], error[0]) if error else None)
    assert ending.kind is kind
    assert says in ending.reason
    assert hint in (ending.hint or "")
    assert ending.code == code


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (401, "", FINAL, 'not accepted ("HTTP 401")'),
        (401, '{"detail": {"status": "quota_exceeded", "message": "0 left"}}', FINAL, "no credit"),
        (402, "", FINAL, "no credit"),
        (403, "", FINAL, "may not"),
        (404, "<html>", FINAL, "no text to speech at this address"),
        (404, '{"detail": {"status": "voice_not_found", "message": "A voice was not found"}}', FINAL, "no such voice"),
        (302, "", FINAL, "no text to speech at this address"),
        (422, '{"detail": [{"msg": "bad output_format"}]}', FINAL, "sound format"),
        (429, "", RETRY, "too much"),
        (503, '{"detail": "the model is tired"}', RETRY, "in trouble"),
        (200, "", FINAL, "did not accept"),
    ],
)
def test_what_an_http_answer_means(status: int, body: str, kind: EndingKind, says: str) -> None:
    ending = judge_http(status, body)
    assert ending.kind is kind
    assert says in ending.reason
    assert ending.hint
