"""The platform's account of a conversation beside this device's own. No network."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from parleyd.platform.conversations import LocalTurn, summary, turns

AT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


def answer(text: str, **metrics: float) -> dict[str, Any]:
    records = {name: {"elapsed_time": value} for name, value in metrics.items()}
    return {"role": "agent", "message": text, "time_in_call_secs": 3, "conversation_turn_metrics": {"metrics": records}}


def local(text: str, answered_s: float | None) -> LocalTurn:
    return LocalTurn(AT, "agent", text, answered_s)


def test_the_join_tells_what_only_both_sides_know() -> None:
    told = answer(
        "It is noon.",
        convai_ttf_audio_since_silence=1.1,
        convai_turn_asr_latency=0.2,
        convai_llm_service_ttfb=0.6,
        convai_tts_service_ttfb=0.2,
    )
    (turn,) = turns({"transcript": [told]}, [local("It is noon.", 1.9)])
    assert turn.heard_after_s == 1.9
    assert turn.way_s == pytest.approx(0.8)
    assert turn.slowest == "network"
    (turn,) = turns({"transcript": [told]}, [local("It is noon.", 1.2)])
    assert turn.slowest == "language model"
    (turn,) = turns({"transcript": [told]}, [])
    assert (turn.way_s, turn.slowest) == (None, "language model")


def test_answers_are_matched_in_order_and_by_their_beginning() -> None:
    said = [answer("Hello there my friend."), answer("Hello there my dear."), answer("Only the platform has this.")]
    heard = [local("hello there my", 0.5), local("Hello there my dear.", 0.7)]
    found = turns({"transcript": said}, heard)
    assert [turn.heard_after_s for turn in found] == [0.5, 0.7, None]


def test_errors_of_tools_are_shown() -> None:
    entry = {
        "role": "agent",
        "message": None,
        "time_in_call_secs": 4,
        "tool_results": [
            {"tool_name": "lamp", "is_error": True, "tool_latency_secs": 1.5, "raw_error_message": "no such lamp"},
            {"tool_name": "get_time", "is_error": False, "tool_latency_secs": 0.1},
        ],
    }
    (turn,) = turns({"transcript": [entry]}, [])
    assert turn.tools == ("lamp 1.5 s, error: no such lamp", "get_time 0.1 s")


@pytest.mark.parametrize("odd", [{}, {"transcript": None}, {"transcript": ["text", 3]}, {"transcript": [{}]}])
def test_fields_may_be_missing(odd: dict[str, Any]) -> None:
    assert len(turns(odd, [local("Hello", 1.0)])) == len(
        [entry for entry in odd.get("transcript") or () if entry == {}]
    )


def test_a_summary_says_whether_this_device_knows_the_conversation() -> None:
    item = {"conversation_id": "conv_1", "start_time_unix_secs": 1_800_000_000, "call_duration_secs": 61, "cost": 120}
    told = summary(item, {"conv_1": []})
    assert (told.is_here, told.cost, told.cost_usd, told.duration_s) == (True, 120, None, 61.0)
    assert not summary(item, {}).is_here
    assert summary({"cost": True, "cost_fiat": "1"}, {}).cost is None
