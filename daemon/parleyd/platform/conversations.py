"""The platform's account of a conversation, joined with this device's own transcript. Pure.

Only the two together tell why an answer was slow: the platform knows its recogniser, its language model and its voice,
the device knows when the answer became audible; the difference is the way between them.

Source: `GET /v1/convai/conversations` and `/{id}` (ConversationSummaryResponseModel and GetConversationResponseModel of
the official Python SDK 2.78). Each field may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# The platform's names of the parts of a turn's latency, in seconds, and the words for them.
PARTS = {
    "convai_turn_silence_before_initiation": "waiting for the end of the turn",
    "convai_turn_asr_latency": "recogniser",
    "convai_llm_service_ttfb": "language model",
    "convai_tts_service_ttfb": "voice",
}
# From the end of the person's silence to the first sound, at the platform.
WHOLE = "convai_ttf_audio_since_silence"
# A difference below this is within the accuracy of the two clocks.
NETWORK_NOTICED_S = 0.3


@dataclass(frozen=True, slots=True)
class LocalTurn:
    """A line of the transcript of this device."""

    at: datetime
    speaker: str
    text: str
    answered_s: float | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list. cost: in credits; cost_usd: in US dollars. is_here: the transcript of this device has it."""

    conversation_id: str
    began: datetime
    duration_s: float
    messages: int
    ended: str
    cost: int | None
    cost_usd: float | None
    status: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """parts: seconds by the platform's names. heard_after_s: by this device's own clock; None: it does not know."""

    at_s: float
    speaker: str
    text: str
    is_interrupted: bool
    parts: Mapping[str, float]
    heard_after_s: float | None
    tools: Sequence[str]

    @property
    def way_s(self) -> float | None:
        """The time that neither the recogniser, nor the model, nor the voice explains: the network and this device."""
        if self.heard_after_s is None or WHOLE not in self.parts:
            return None
        return self.heard_after_s - self.parts[WHOLE]

    @property
    def slowest(self) -> str | None:
        """The part that took longest, in words."""
        found = {words: self.parts[name] for name, words in PARTS.items() if name in self.parts}
        if self.way_s is not None and self.way_s > NETWORK_NOTICED_S:
            found["network"] = self.way_s
        return max(found, key=lambda words: found[words]) if found else None


def summary(item: Mapping[str, Any], here: Iterable[str]) -> Summary:
    """item: of the list. here: the ids of the conversations in the transcript of this device."""
    cost, fiat = item.get("cost"), item.get("cost_fiat")
    return Summary(
        conversation_id=str(item.get("conversation_id", "")),
        began=datetime.fromtimestamp(_number(item.get("start_time_unix_secs")), UTC),
        duration_s=_number(item.get("call_duration_secs")),
        messages=int(_number(item.get("message_count"))),
        ended=str(item.get("termination_reason") or ""),
        cost=cost if isinstance(cost, int) and not isinstance(cost, bool) else None,
        cost_usd=float(fiat) if isinstance(fiat, int | float) and not isinstance(fiat, bool) else None,
        status=str(item.get("status", "")),
        is_here=str(item.get("conversation_id", "")) in here,
    )


def turns(conversation: Mapping[str, Any], local: Sequence[LocalTurn]) -> list[Turn]:
    """The turns of one conversation. local: those of the same conversation, in order."""
    answers = [turn for turn in local if turn.speaker == "agent"]
    found, used = [], 0
    for entry in conversation.get("transcript") or ():
        if not isinstance(entry, Mapping):
            continue
        text = str(entry.get("message") or "")
        speaker = "agent" if entry.get("role") == "agent" else "you"
        own: LocalTurn | None = None
        if speaker == "agent" and text:
            # Both sides have the answers in the same order; the words may have been cut here.
            place = next((n for n, turn in enumerate(answers[used:], used) if _begins_alike(turn.text, text)), None)
            if place is not None:
                own, used = answers[place], place + 1
        found.append(
            Turn(
                at_s=_number(entry.get("time_in_call_secs")),
                speaker=speaker,
                text=text,
                is_interrupted=entry.get("interrupted") is True,
                parts=_parts(entry.get("conversation_turn_metrics")),
                heard_after_s=own.answered_s if own else None,
                tools=tuple(_tools(entry)),
            )
        )
    return found


def _begins_alike(here: str, there: str) -> bool:
    words, other = here.lower().split()[:3], there.lower().split()[:3]
    return words[: len(other)] == other[: len(words)] if words and other else False


def _parts(metrics: object) -> dict[str, float]:
    records = metrics.get("metrics") if isinstance(metrics, Mapping) else None
    if not isinstance(records, Mapping):
        return {}
    return {
        str(name): _number(record.get("elapsed_time"))
        for name, record in records.items()
        if isinstance(record, Mapping) and name in (*PARTS, WHOLE)
    }


def _tools(entry: Mapping[str, Any]) -> Iterable[str]:
    for result in entry.get("tool_results") or ():
        if isinstance(result, Mapping):
            name, latency_s = result.get("tool_name", "?"), _number(result.get("tool_latency_secs"))
            error = result.get("raw_error_message") if result.get("is_error") else None
            yield f"{name} {latency_s:.1f} s" + (f", error: {error}" if error else "")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
