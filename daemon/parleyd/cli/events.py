"""`parleyd events`: prints the events of the running daemon as they happen."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

from parleyd.audio.gate.why_held_back import in_words
from parleyd.cli.daemon import add_options, connected
from parleyd.cli.terminal import rows, terminal_width
from parleyd.core.text import json_text, name_text, one_line, question, settled

# The continuation of a line is indented as far as the text behind the time.
_INDENT = " " * 10


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "events",
        description="Shows the present state of the running daemon, and with --follow each event from then on, until "
        "Ctrl-C or until the daemon ends. --json shows every field of every event.",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="print new events as they happen")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    with connected(args) as client:
        client.ask("events")
        for event in client.events():
            if args.json:
                print(json_text(event), flush=True)
            elif text := sentence(event):
                print(shown(text, time.strftime("%H:%M:%S"), terminal_width(sys.stdout)), flush=True)
            if not args.follow:
                break
    return os.EX_OK


def shown(text: str, clock: str, width: int | None) -> str:
    """The event as lines. An agent's own line breaks, and words that are longer than a line, must not look like further
    events."""
    return "\n".join(rows(one_line(text), width, lead=f"{clock}  ", indent=_INDENT))


def sentence(event: dict[str, Any]) -> str:
    """An event of the control socket in words; empty for events without a meaning for a person. An unknown event of a
    newer daemon is shown by its name and fields."""
    match event:
        case {"event": "snapshot", "status": status}:
            return f"{status['state']} ({status['reason']}), {status['health']}"
        case {"event": "utterance_ended" | "ducked" | "answer_part" | "talk_stopped" | "spent" | "words_expected"}:
            return ""
        case {"event": "order_heard", "order": order}:
            return f"the device itself heard “{order}”"
        case {"event": "started", "microphone": None}:
            return "the daemon runs, without sound"
        case {"event": "started", "microphone": microphone, "speaker": speaker}:
            return f"the daemon listens on {microphone} and speaks on {speaker}"
        case {"event": "utterance_started"}:
            return "somebody speaks"
        case {"event": "woken", "by": "device"}:
            return "woken by a timer"
        case {"event": "woken", "by": by}:
            return f"woken by {by}" if by != "word" else "woken by its word"
        case {"event": "state_changed", "after": after, "reason": reason}:
            return f"{after} ({reason})"
        case {"event": "session_opened", "conversation_id": conversation, "handshake_ms": handshake_ms}:
            return f"a session has begun: {conversation}, after {handshake_ms} ms"
        case {"event": "session_ended", "ending": {"reason": reason}, "conversation_id": conversation}:
            return f"the session has ended: {reason}" if conversation else f"no session: {reason}"
        case {"event": "heard", "text": text, "final": True}:
            return f"understood: “{text}”"
        case {"event": "heard", "text": text}:
            return f"understood so far: “{text}”"
        case {"event": "not_transcribed", "reason": reason}:
            return f"what was said has no transcript: {reason}"
        case {"event": "typed", "text": text}:
            return f"typed: “{text}”"
        case {"event": "answer_text", "text": text, "corrected": True}:
            return f"of the answer only this was heard: “{text}”"
        case {"event": "answer_text", "text": text}:
            return f"the agent answers: “{text}”"
        case {"event": "answer_started", "answer": answer}:
            return f"answer {answer} sounds"
        case {"event": "answer_ended", "answer": answer, "heard_ms": heard_ms, "finished": finished}:
            return f"answer {answer} {'was heard' if finished else 'was cut'} after {heard_ms / 1000:.1f} s"
        case {"event": "answer_failed" | "answer_incomplete", "text": text, "hint": hint}:
            return f"{text}; {hint}" if hint else str(text)
        case {"event": "barged_in", "by": by}:
            return "interrupted by the person" + (", as the server says" if by == "server" else "")
        case {"event": "speech_lost", "lost_ms": lost_ms, "cause": cause}:
            return f"{lost_ms / 1000:.1f} s of speech reached no agent: {cause}"
        case {"event": "sound_missing", "missing_ms": 0, "cause": cause}:
            return f"some sound of the microphone is missing: {cause}"
        case {"event": "sound_missing", "missing_ms": missing_ms, "cause": cause}:
            return f"{missing_ms / 1000:.2f} s of the microphone's sound is missing: {cause}"
        case {"event": "speech_held_back", "held_ms": held_ms}:
            return f"held back {sum(held_ms.values()) / 1000:.1f} s that sounded like speech ({in_words(held_ms)})"
        case {"event": "typed_lost", "text": text, "cause": cause}:
            return f"no agent will read “{text}”: {cause}"
        case {"event": "tool_called", "name": name, "parameters": parameters}:
            return f"the agent calls {name_text(name)} with {json_text(parameters)}"
        case {"event": "tool_ended", "name": name, "fault": fault, "took_ms": took_ms}:
            return f"{name} took {took_ms} ms" + (f": {fault}" if fault else "")
        case {"event": "approval_wanted", "approval": approval, "name": _, "service": _, "parameters": _}:
            return f"may the agent call {question(event)}? parleyd approve {approval}, or deny"
        case {"event": "approval_settled", "name": name, "allowed": allowed, "by": by}:
            return f"{name_text(name)} was {'allowed' if allowed else 'denied'} by {by}"
        case {"event": "confirmation_wanted", "approval": approval, "name": _, "parameters": _}:
            return f"may the agent run {question(event)} here? parleyd approve {approval}, or deny"
        case {"event": "confirmation_settled", "name": name, "allowed": allowed, "by": by}:
            return settled(name, by, allowed=allowed)
        case {"event": "file_waits", "name": name}:
            return f"the picture {name} waits until nobody speaks"
        case {"event": "file_sent", "name": name, "upload": 0}:
            return f"the agent has looked: {name}"
        case {"event": "file_sent", "name": name}:
            return f"the agent has the file {name}"
        case {"event": "file_failed", "name": name, "text": text, "hint": hint}:
            return f"the file {name} did not reach the agent: {text}; {hint}"
        case {"event": "budget_near", "period": period, "left_money": float(left_money), "currency": currency}:
            return f"{left_money:.2f} {currency} are left of this {period}'s budget"
        case {"event": "budget_near", "period": period, "left_s": int() | float() as left_s}:
            return f"{left_s / 60:.0f} min are left of this {period}'s budget"
        case {"event": "budget_spent", "reason": reason, "hint": hint}:
            return f"{reason}; {hint}"
        case {"event": "fallback_began", "reason": reason}:
            return f"the fallback answers: {reason}"
        case {"event": "fallback_over"}:
            return "the agent answers again"
        case {"event": "timer_went_off", "number": number, "label": label}:
            return f"timer {number} goes off" + (f": {label}" if label else "")
        case {"event": "device_lost", "which": which, "name": name, "cause": cause}:
            return f"the {which} is gone: {cause} ({name})"
        case {"event": "device_back", "which": which, "name": name, "away_s": away_s}:
            return f"the {which} is back after {away_s:.1f} s ({name})"
        case {"event": "muted", "on": on}:
            return "the microphone is muted" if on else "the microphone is heard again"
        case {"event": "input_gain_changed", "gain_db": gain_db}:
            return f"the microphone is made louder by {gain_db:g} dB now"
        case {"event": "volume_changed", "volume": volume}:
            return f"volume {volume:.0%}"
        case {"event": "settings_changed", "revision": revision, "why": why, **changed}:
            keys = (*changed.get("now", ()), *changed.get("next_session", ()), *changed.get("restart", ()))
            return f"settings, revision {revision}, {why}: {', '.join(keys) or 'nothing has changed'}"
        case {"event": "profile_changed", "profile": profile, "by": by}:
            return f"profile {profile or 'none'}, by {by}"
        case {"event": "announcement_started", "announcement": announcement, "text": text}:
            return f"announcement {announcement} sounds: “{text}”"
        case {"event": "announcement_ended", "announcement": announcement, "finished": True}:
            return f"announcement {announcement} was heard"
        case {"event": "announcement_ended", "announcement": announcement, "reason": reason}:
            return f"announcement {announcement} was not heard to its end: {reason}"
        case {"event": "trouble", "text": text, "hint": hint}:
            return f"trouble: {text}" + (f"; {hint}" if hint else "")
        case {"event": "trouble_over", "part": part}:
            return f"no more trouble with: {part}"
        case {"event": "wake_refused", "reason": reason, "hint": hint}:
            return f"no session now: {reason}; {hint}"
        case _:
            return _generic(event)


def _generic(event: dict[str, Any]) -> str:
    fields = {name: value for name, value in event.items() if name not in ("event", "at_s") and value is not None}
    told = ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in fields.items())
    name = str(event["event"]).replace("_", " ")
    return f"{name}: {told}" if told else name


def _value(value: object) -> str:
    return value if isinstance(value, str) else json_text(value)
