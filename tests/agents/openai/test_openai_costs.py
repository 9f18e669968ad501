"""Tokens and seconds, by kind, as servers count them."""

from __future__ import annotations

import pytest
from realtime_session import OWN, Session

from parleyd.agents import events
from parleyd.agents.events import Token
from parleyd.config.openai_section import OpenAI, Transcription


def usage(**fields: object) -> dict[str, object]:
    return {"total_tokens": 0, **fields}


def test_tokens_by_kind() -> None:
    found = Session()
    found.created()
    found.done(
        usage=usage(
            input_tokens=1000,
            output_tokens=300,
            input_token_details={
                "text_tokens": 400,
                "audio_tokens": 500,
                "image_tokens": 100,
                "cached_tokens": 500,
                "cached_tokens_details": {"text_tokens": 300, "audio_tokens": 200, "image_tokens": 0},
            },
            output_token_details={"text_tokens": 100, "audio_tokens": 200, "reasoning_tokens": 60},
        )
    )
    assert found.of(events.Spent) == [
        events.Spent(
            "gpt-realtime-2.1",
            {
                Token.TEXT_IN: 100,
                Token.CACHED_TEXT_IN: 300,
                Token.AUDIO_IN: 300,
                Token.CACHED_AUDIO_IN: 200,
                Token.IMAGE_IN: 100,
                Token.AUDIO_OUT: 200,
                Token.TEXT_OUT: 100,
            },
        )
    ]


def test_tokens_without_details_are_text() -> None:
    found = Session()
    found.created()
    found.done(usage=usage(input_tokens=7, output_tokens=3))
    assert found.of(events.Spent)[0].tokens == {Token.TEXT_IN: 7, Token.TEXT_OUT: 3}


@pytest.mark.parametrize(
    "told",
    [None, {}, usage(input_tokens=0), usage(input_tokens=-5), usage(input_tokens=10**12), usage(input_tokens="x")],
)
def test_missing_tokens_are_no_error(told: object) -> None:
    found = Session()
    found.created()
    found.done(usage=told)
    assert not found.of(events.Spent)
    assert found.codec.malformed == 0


def test_transcriptions_by_seconds_and_by_tokens() -> None:
    found = Session(OpenAI(base_url=OWN, transcription=Transcription(model="t")))
    name = "conversation.item.input_audio_transcription.completed"
    found.receive(name, item_id="u", transcript="Hi", usage={"type": "duration", "seconds": 1.5})
    tokens = {"type": "tokens", "input_tokens": 20, "output_tokens": 4, "input_token_details": {"audio_tokens": 20}}
    found.receive(name, item_id="v", transcript="Hi", usage=tokens)
    assert found.of(events.Spent) == [
        events.Spent("t", seconds=1.5),
        events.Spent("t", {Token.AUDIO_IN: 20, Token.TEXT_OUT: 4}),
    ]
