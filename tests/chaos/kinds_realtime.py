"""Faults in the messages of the OpenAI Realtime protocol."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from chaos.kinds_handshake import series
from chaos.kinds_live import Act, ask_a_deaf_line, closes, on_line, wait_came, writes
from chaos.lane import Kind, Lane
from chaos.realtime import Realtime
from chaos.voices import tone
from chaos.wire import CLOSE, CONTINUATION, TEXT, Line, close_payload, frame

# Frames of one daemon are of one server: a talk of another protocol is a fault of the harness.


def talk_of(line: Line) -> Realtime:
    assert isinstance(line.talk, Realtime)
    return line.talk


def texts(*messages: object) -> bytes:
    return b"".join(frame(TEXT, json.dumps(message).encode()) for message in messages)


# ---------------------------------------------------------------- ends


def error_and_close(code: str, words: str, close: int, reason: str = "") -> Act:
    def act(line: Line, dice: Random) -> None:
        talk_of(line).error(code, words)
        closes(close, reason=reason)(line, dice)

    return act


def refuses(code: str, close: int) -> Callable[[Lane, Line, Random], bool]:
    """Takes the connection, and then not the session, as OpenAI does it with a bad key."""

    def behave(_lane: Lane, line: Line, _dice: Random) -> bool:
        line.write(line.upgrade_answer(line.read_request()))
        if close != 3000:
            talk_of(line).error(code, "The session is refused.")
        line.write(frame(CLOSE, close_payload(close, f"invalid_request_error.{code}")))
        line.wait_gone(1.0)
        return True

    return behave


def refuses_update(_lane: Lane, line: Line, _dice: Random) -> bool:
    """The wanted session is refused for one field; the session as the server made it stays."""
    line.write(line.upgrade_answer(line.read_request()))
    talk = talk_of(line)
    talk.send("session.created", session={"id": "sess_refused"})
    update = json.loads(line.read_text())
    talk.error("unknown_parameter", "Unknown parameter: 'session.voice'.", update.get("event_id"))
    line.wait_gone(3.0)
    return True


# ---------------------------------------------------------------- messages that are none


def _deep(_dice: Random) -> bytes:
    return frame(TEXT, b'{"type":"response.done","response":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def _fragments(_dice: Random) -> bytes:
    body = json.dumps({"type": "rate_limits.updated", "rate_limits": []}).encode()
    pieces = [body[at : at + 3] for at in range(0, len(body), 3)]
    first = frame(TEXT, pieces[0], final=False)
    middle = b"".join(frame(CONTINUATION, piece, final=False) for piece in pieces[1:-1])
    empty = frame(CONTINUATION, b"", final=False) * 2000
    return first + middle + empty + frame(CONTINUATION, pieces[-1])


# An item that holds what is no sound; how much of it counts as sound is the daemon's business.
_ODD_ITEM = "item_odd"


def _delta(audio: object) -> dict[str, object]:
    return {"type": "response.output_audio.delta", "response_id": "resp_odd", "item_id": _ODD_ITEM, "delta": audio}


def garbage(data: bytes | Callable[[Random], bytes]) -> Act:
    def act(line: Line, dice: Random) -> None:
        talk_of(line).item_ms[_ODD_ITEM] = 10**6
        writes(data)(line, dice)

    return act


_WRONG: list[object] = [
    {"type": "response.output_audio.delta", "delta": 5},
    {"type": "response.output_audio.delta", "response_id": [], "item_id": {}, "delta": "AAAA"},
    {"type": "response.created", "response": "resp"},
    {"type": "response.done"},
    {"type": "response.done", "response": {"id": 7, "status": [], "output": "x"}},
    {"type": "response.output_item.done", "item": {"type": "function_call", "name": 1, "call_id": {}}},
    {"type": "conversation.item.added", "item": None},
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": {}},
    {"type": "input_audio_buffer.committed", "item_id": ["a"]},
    {"type": "conversation.item.input_audio_transcription.completed", "transcript": ["a"]},
    {"type": "rate_limits.updated", "rate_limits": {}},
    {"type": "error", "error": {"message": []}},
    {"type": ["error"]},
]
_NULLS = (
    "response.output_audio.delta",
    "response.output_audio_transcript.delta",
    "response.output_item.done",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.completed",
    "input_audio_buffer.speech_stopped",
    "rate_limits.updated",
    "session.updated",
    "error",
)
GARBAGE: tuple[tuple[str, bytes | Callable[[Random], bytes]], ...] = (
    ("half-json", frame(TEXT, b'{"type":"response.output_audio.delta","delta":"AAAA')),
    ("bad-utf8", frame(TEXT, b'{"type":"response.output_text.delta","delta":"\xff\xfe\xc0\x80"}')),
    ("surrogates", frame(TEXT, b'{"type":"response.output_audio_transcript.delta","delta":"\\ud83d x"}')),
    ("deep", _deep),
    ("fragments", _fragments),
    ("odd-audio", lambda dice: texts(*(_delta("A" * 4 * size) for size in (1, 3, 0, dice.randint(100, 900))))),
    ("bad-base64", texts(*(_delta(text) for text in ("!!!", "AAA", "====", "Ä" * 100, "A" * 9999)))),
    ("wrong-types", texts(*_WRONG)),
    ("nulls", texts(*({"type": name} for name in _NULLS))),
    ("numbers", frame(TEXT, b'{"type":"rate_limits.updated","rate_limits":[{"name":"tokens","reset_seconds":1e999}]}')),
)

# ---------------------------------------------------------------- tools


def tool_flood(line: Line, _dice: Random) -> None:
    talk_of(line).call(*(("get_volume", f"f{talk_of(line).next_id('call')}", "{}") for _ in range(500)))


def tool_floods(line: Line, _dice: Random) -> None:
    """Each call in an answer of its own."""
    for _ in range(200):
        talk_of(line).call(("get_volume", talk_of(line).next_id("call"), "{}"))
        line.drain()


def unknown_tools(line: Line, _dice: Random) -> None:
    talk_of(line).call(*((f"tool_{number}", talk_of(line).next_id("call"), "{}") for number in range(100)))


def big_arguments(line: Line, _dice: Random) -> None:
    told = json.dumps({"percent": "x" * 2**20})
    talk_of(line).call(("set_volume", talk_of(line).next_id("call"), told))


def bad_arguments(line: Line, _dice: Random) -> None:
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    told: tuple[object, ...] = (deep, "{", "[]", "null", None, 5, {"percent": []}, "")
    talk_of(line).call(*(("set_volume", talk_of(line).next_id("call"), one) for one in told))


def approvals(line: Line, _dice: Random) -> None:
    talk = talk_of(line)
    for _ in range(200):
        item = {"id": talk.next_id("mcpr"), "type": "mcp_approval_request", "server_label": "bank", "name": "pay"}
        talk.send("conversation.item.done", previous_item_id=None, item={**item, "arguments": '{"to": "me"}'})


# ---------------------------------------------------------------- floods


def much_audio(lane: Lane, dice: Random) -> None:
    """200 s at once; cut when the server hears a person."""
    items: list[str] = []

    def act(line: Line) -> None:
        items.append(talk_of(line).respond("a story", tone(-1, 2.0) * 100)[1])

    def interrupt(line: Line) -> None:
        talk_of(line).speech_begins()

    line = lane.server.live
    if line is not None and line.do(act):
        lane.pause(dice.uniform(0.5, 2.0))
        line.do(interrupt)
        _wait_truncated(lane, line, items)


def limits_flood(line: Line, _dice: Random) -> None:
    limit = {"name": "tokens", "limit": 40_000, "remaining": 1, "reset_seconds": 0.5}
    data = texts(*({"type": "rate_limits.updated", "rate_limits": [limit]} for _ in range(3000)))
    for at in range(0, len(data), 65536):
        line.write(data[at : at + 65536])
        line.drain()


def error_flood(line: Line, _dice: Random) -> None:
    """Errors that harm nothing."""
    talk = talk_of(line)
    for number in range(300):
        talk.error("response_cancel_not_active" if number % 2 else "", "no active response found")
        line.drain()


# ---------------------------------------------------------------- answers that are cut


def interrupted(answers: int, words: str) -> Callable[[Lane, Random], None]:
    """Long answers, one behind the other, and a person who speaks into the first: each of them is truncated."""

    def strike(lane: Lane, dice: Random) -> None:
        line = lane.server.live
        if line is None:
            return
        items: list[str] = []

        def act(one: Line) -> None:
            items.extend(talk_of(one).respond(words, tone(-1, 6.0))[1] for _ in range(answers))

        line.do(act)
        lane.pause(dice.uniform(0.8, 2.0))
        said = lane.speak(dice)
        # Speech passes in real time.
        time.sleep(max(0.0, said.end_s - time.monotonic()))
        _wait_truncated(lane, line, items)

    return strike


def _wait_truncated(lane: Lane, line: Line, items: list[str], timeout_s: float = 10.0) -> None:
    talk, wrongs = talk_of(line), lane.heard.wrongs
    until_s = time.monotonic() + timeout_s
    while missing := [item for item in items if item not in talk.truncated_ms]:
        if line.over.is_set():
            return
        if time.monotonic() > until_s:
            wrongs.append(f"of {len(items)} answers that were cut {len(missing)} were not truncated")
            return
        time.sleep(0.03)  # The server's books are asked.
    cut_ms = [talk.truncated_ms[item] for item in items]
    if cut_ms[0] <= 0 or any(cut_ms[1:]):
        wrongs.append(f"of {len(items)} answers a part of the first was heard, and they were cut to {cut_ms} ms")


def stale_sound(line: Line, _dice: Random) -> None:
    """An answer that is cancelled goes on arriving; none of it may be heard."""
    talk = talk_of(line)
    response_id, item_id = talk.next_id("resp"), talk.next_id("item")
    talk.begin_response(response_id)
    pieces = list(talk.pieces(response_id, item_id, "stale", tone(-1, 4.0)))
    for piece in pieces[:6]:
        line.send(piece)
    line.wait_or_serve(0.5)
    talk.speech_begins()
    for piece in pieces[6:]:
        line.send(piece)
        line.wait_or_serve(0.01)


def speech_storm(line: Line, _dice: Random) -> None:
    talk = talk_of(line)
    for _ in range(200):
        talk.speech_begins()
        line.wait_or_serve(0.01)
        talk.send("input_audio_buffer.speech_stopped", audio_end_ms=talk.position_ms, item_id=talk.next_id("item"))


def absurd_position(at: object) -> Act:
    def act(line: Line, _dice: Random) -> None:
        talk = talk_of(line)
        talk.send("input_audio_buffer.speech_started", audio_start_ms=at, item_id=talk.next_id("item"))
        talk.send("input_audio_buffer.speech_stopped", audio_end_ms=at, item_id=talk.next_id("item"))
        line.server.heard.interrupted(time.monotonic())

    return act


# ---------------------------------------------------------------- responses that go wrong


def _failed(code: str, words: str) -> tuple[str, dict[str, Any]]:
    return "failed", {"type": "failed", "error": {"type": "server_error", "code": code, "message": words}}


def goes_wrong(how: tuple[str, dict[str, Any]], times: int = 1) -> Callable[[Lane, Random], None]:
    """The next answers are none; the daemon asks again, or says that it will not."""

    def strike(lane: Lane, dice: Random) -> None:
        line = lane.server.live
        if line is None:
            return
        talk = talk_of(line)
        talk.fails = [how] * times
        said = lane.speak(dice)
        wait_came(said.number, said.loud[-1], line)
        told_before = sum(event["event"] == "answer_failed" for event in lane.control.events)
        lane.pause(2.0)
        if not talk.owed or line.over.is_set():
            return
        told = sum(event["event"] == "answer_failed" for event in lane.control.events)
        if how[0] == "failed" and told == told_before:
            lane.heard.wrongs.append("an answer failed, and nothing tells the person")

    return strike


def fails_and_is_lost(lane: Lane, dice: Random) -> None:
    """The answer fails, and before it is asked for again the line is lost: the question is sent again."""
    line = lane.server.live
    if line is None:
        return
    talk = talk_of(line)
    talk.fails = [_failed("rate_limit_exceeded", "Rate limit reached. Please try again in 20s.")]
    said = lane.speak(dice)
    wait_came(said.number, said.loud[-1], line)
    until_s = time.monotonic() + 3.0
    while not talk.owed and time.monotonic() < until_s and not line.over.is_set():
        time.sleep(0.03)  # The server's books are asked.
    lane.pause(dice.uniform(0.1, 1.0))
    lane.cut()


def unanswered(lane: Lane, dice: Random) -> None:
    """The account is empty: nothing asks again, and it is told. There is credit again for the next question."""
    line = lane.server.live
    if line is None:
        return
    talk = talk_of(line)
    talk.fails = [_failed("insufficient_quota", "You exceeded your current quota.")]
    said = lane.speak(dice)
    lane.excuse(said, "the account had no credit")
    wait_came(said.number, said.loud[-1], line)
    lane.pause(2.0)
    talk.owed = ()
    if not line.over.is_set() and not any(event["event"] == "answer_failed" for event in lane.control.events):
        lane.heard.wrongs.append("the account is empty, and nothing tells the person")


def disorder(line: Line, dice: Random) -> None:
    """Messages of an answer in any order, some of them twice, some of answers that there never were."""
    talk = talk_of(line)
    response_id, item_id = talk.next_id("resp"), talk.next_id("item")
    pieces = list(talk.pieces(response_id, item_id, "out of order", tone(-1, 0.4)))
    pieces += [talk.message("response.created", response={"id": response_id, "status": "in_progress"})]
    pieces += [dice.choice(pieces) for _ in range(4)]
    pieces += [talk.message("response.done", response={"id": f"resp_ghost_{number}"}) for number in range(3)]
    pieces += [talk.message("response.output_item.done", response_id="resp_none", item=None)]
    dice.shuffle(pieces)
    for piece in pieces:
        line.send(piece)
    talk.done(response_id, "completed")


def two_at_a_time(line: Line, _dice: Random) -> None:
    """Two answers whose pieces come in turn, and which both end."""
    talk = talk_of(line)
    ids = [(talk.next_id("resp"), talk.next_id("item")) for _ in range(2)]
    for response_id, _ in ids:
        talk.begin_response(response_id)
    first, second = (list(talk.pieces(*both, "two", tone(-1, 0.4))) for both in ids)
    for one, other in zip(first, second, strict=True):
        line.send(one)
        line.send(other)
    for response_id, _ in ids:
        talk.done(response_id, "completed")


def never_done(line: Line, _dice: Random) -> None:
    """An answer that begins and never ends; what is said afterwards is answered all the same."""
    talk = talk_of(line)
    talk.begin_response(talk.next_id("resp"))
    # The server has forgotten it; the daemon cannot know.
    talk.active = ""


# ---------------------------------------------------------------- transcripts


def without_transcript(how: str) -> Callable[[Lane, Random], None]:
    """failed, twice, or never: the answer is the acknowledgement all the same."""

    def strike(lane: Lane, dice: Random) -> None:
        line = lane.server.live
        if line is None:
            return
        talk = talk_of(line)
        talk.transcribes = False
        said = lane.speak(dice)
        wait_came(said.number, said.loud[-1], line)
        lane.pause(2.0)

        def act(one: Line) -> None:
            kind = "conversation.item.input_audio_transcription"
            item_id = talk.next_id("item")
            if how == "failed":
                error = {"type": "server_error", "code": "audio_unintelligible", "message": "no"}
                talk.send(f"{kind}.failed", item_id=item_id, content_index=0, error=error)
            elif how == "twice":
                for _ in range(3):
                    talk.understand((said.number,))
            talk.transcribes = True
            one.drain()

        line.do(act, 5.0)

    return strike


def answer_before_taken(lane: Lane, dice: Random) -> None:
    """The question is committed, and the line is lost before the answer: it is asked again in the next session."""
    if (asked := ask_a_deaf_line(lane, dice)) is None:
        return
    line, said = asked
    lane.pause(dice.uniform(0.8, 1.5))

    def act(one: Line) -> None:
        talk = talk_of(one)
        talk.commit()
        talk.understand((said.number,))

    line.do(act, 5.0)
    lane.pause(0.3)
    lane.cut()


def kinds() -> Iterator[Kind]:
    row = "garbage: text, JSON, UTF-8, depth, binary, fragments, audio"
    for name, data in GARBAGE:
        yield Kind(f"garbage-{name}", row, on_line(garbage(data)))
    row = "first message late, never, twice, again, bad"
    yield Kind("update-refused", row, series(refuses_update, most=1), live=False)
    row = "sessions that the server refuses"
    for code, close in (
        ("invalid_api_key", 3000),
        ("model_not_found", 4000),
        ("beta_api_shape_disabled", 4000),
        ("session_limit_reached", 1008),
        ("insufficient_quota", 4000),
    ):
        yield Kind(f"session-{code.replace('_', '-')}", row, series(refuses(code, close), most=2), live=False)
    row = "tool floods, unknown tools, big and bad arguments, approvals"
    yield Kind("tools-500", row, on_line(tool_flood))
    yield Kind("tools-200-answers", row, on_line(tool_floods))
    yield Kind("tools-unknown", row, on_line(unknown_tools))
    yield Kind("tools-1-mb", row, on_line(big_arguments))
    yield Kind("tools-bad-arguments", row, on_line(bad_arguments))
    yield Kind("tools-approvals", row, on_line(approvals))
    row = "audio after close, 200 s of audio at once, errors, the end of the hour"
    yield Kind("agent-200-s", row, much_audio, mutes="it was cut with the story")
    yield Kind("agent-error", row, on_line(error_and_close("server_error", "it is broken", 1011)))
    yield Kind(
        "agent-hour",
        row,
        on_line(error_and_close("session_expired", "Your session hit the maximum duration of 60 minutes.", 1001)),
    )
    yield Kind("agent-errors", row, on_line(error_flood))
    row = "answers that a person cuts; sound that comes after the cut"
    yield Kind("cut-one", row, interrupted(1, "a story"), speaks_itself=True, seconds=10.0)
    yield Kind("cut-queued", row, interrupted(3, "stories"), speaks_itself=True, seconds=10.0)
    yield Kind("cut-stale", row, on_line(stale_sound), mutes="it was interrupted", again=True, seconds=9.0)
    row = "speech storm, absurd positions"
    again: dict[str, Any] = {"mutes": "it was interrupted", "again": True, "seconds": 9.0}
    yield Kind("speech-storm", row, on_line(speech_storm), **again)
    for name, at in (("2^62", 2**62), ("1e300", 1e300), ("negative", -5000), ("text", "soon"), ("null", None)):
        yield Kind(f"speech-{name}", row, on_line(absurd_position(at)), **again)
    row = "responses failed, cancelled, incomplete, disordered, never over"
    limit = _failed("rate_limit_exceeded", "Rate limit reached. Please try again in 1.2s.")
    yield Kind("response-limit", row, goes_wrong(limit), speaks_itself=True, seconds=9.0)
    yield Kind("response-limit-twice", row, goes_wrong(limit, 2), speaks_itself=True, seconds=12.0)
    yield Kind("response-broken", row, goes_wrong(_failed("server_error", "oops")), speaks_itself=True, seconds=14.0)
    yield Kind("response-lost", row, fails_and_is_lost, speaks_itself=True, seconds=12.0)
    yield Kind("response-quota", row, unanswered, speaks_itself=True, seconds=9.0)
    yield Kind("response-disorder", row, on_line(disorder))
    yield Kind("response-two", row, on_line(two_at_a_time))
    yield Kind("response-never-done", row, on_line(never_done))
    row = "transcripts late, failed, twice, never; lost between question and answer"
    for how in ("failed", "twice", "never"):
        yield Kind(f"transcript-{how}", row, without_transcript(how), speaks_itself=True, seconds=9.0)
    yield Kind("answer-lost", row, answer_before_taken, speaks_itself=True, seconds=12.0)
    yield Kind("ping-messages", "ping floods (5000, 3000)", on_line(limits_flood))
