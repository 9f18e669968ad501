"""Faults in the messages of the ElevenLabs agents protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random

from chaos.convai import audio, interruption, metadata, response
from chaos.kinds_live import Act, on_line, writes
from chaos.lane import Kind, Lane
from chaos.voices import tone
from chaos.wire import CLOSE, CONTINUATION, TEXT, Line, close_payload, frame


def ends_the_call(line: Line, _dice: Random) -> None:
    """As ElevenLabs' own end_call: the tool is told, then the line is closed."""
    line.send(
        {
            "type": "agent_tool_response",
            "agent_tool_response": {
                "tool_name": "end_call",
                "tool_call_id": "e",
                "tool_type": "system",
                "is_error": False,
            },
        }
    )
    line.write(frame(CLOSE, close_payload(1000)))
    line.wait_gone(1.0)
    line.close()


def tells_an_error(line: Line, _dice: Random) -> None:
    line.send({"type": "error", "error_event": {"error_type": "internal", "code": 1011, "message": "it is broken"}})
    line.write(frame(CLOSE, close_payload(1011, "it is broken")))
    line.wait_gone(1.0)
    line.close()


# ---------------------------------------------------------------- messages that are none


def _deep(_dice: Random) -> bytes:
    return frame(TEXT, b'{"type":"audio","audio_event":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def _fragments(_dice: Random) -> bytes:
    body = json.dumps({"type": "ping", "ping_event": {"event_id": 7, "ping_ms": 1}}).encode()
    pieces = [body[at : at + 3] for at in range(0, len(body), 3)]
    first = frame(TEXT, pieces[0], final=False)
    middle = b"".join(frame(CONTINUATION, piece, final=False) for piece in pieces[1:-1])
    empty = frame(CONTINUATION, b"", final=False) * 2000
    return first + middle + empty + frame(CONTINUATION, pieces[-1])


def _odd_audio(_dice: Random) -> bytes:
    return b"".join(frame(TEXT, json.dumps(audio(bytes(size), 1)).encode()) for size in (1, 3, 0, 319, 1, 2))


def _bad_base64(_dice: Random) -> bytes:
    return b"".join(
        frame(TEXT, json.dumps({"type": "audio", "audio_event": {"audio_base_64": text, "event_id": 1}}).encode())
        for text in ("!!!", "AAA", "====", "Ä" * 100, "A" * 9999)
    )


def _wrong_types(_dice: Random) -> bytes:
    said: list[object] = [
        {"type": "audio", "audio_event": 5},
        {"type": "audio", "audio_event": {"audio_base_64": 5, "event_id": "x"}},
        {"type": "ping", "ping_event": None},
        {"type": "ping"},
        {"type": "user_transcript", "user_transcription_event": {"user_transcript": ["a"]}},
        {"type": "agent_response", "agent_response_event": {"agent_response": {}, "event_id": []}},
        {"type": ["interruption"]},
        {"type": "client_tool_call", "client_tool_call": {"tool_name": 1, "tool_call_id": {}, "parameters": "x"}},
    ]
    return b"".join(frame(TEXT, json.dumps(one).encode()) for one in said)


def _nulls(_dice: Random) -> bytes:
    names = ("audio", "ping", "interruption", "user_transcript", "agent_response", "client_tool_call", "mcp_tool_call")
    return b"".join(frame(TEXT, json.dumps({"type": name, f"{name}_event": None}).encode()) for name in names)


GARBAGE: tuple[tuple[str, bytes | Callable[[Random], bytes]], ...] = (
    ("half-json", frame(TEXT, b'{"type":"audio","audio_event":{"audio_base_64":"AAAA')),
    ("bad-utf8", frame(TEXT, b'{"type":"user_transcript","x":"\xff\xfe\xc0\x80"}')),
    ("surrogates", frame(TEXT, b'{"type":"agent_response","agent_response_event":{"agent_response":"\\ud83d x"}}')),
    ("deep", _deep),
    ("fragments", _fragments),
    ("odd-audio", _odd_audio),
    ("bad-base64", _bad_base64),
    ("wrong-types", _wrong_types),
    ("nulls", _nulls),
    ("numbers", frame(TEXT, b'{"type":"ping","ping_event":{"event_id":1e999,"ping_ms":-1}}')),
)

# ---------------------------------------------------------------- tools


def _call(name: str, call_id: str, parameters: object) -> dict[str, object]:
    call = {"tool_name": name, "tool_call_id": call_id, "parameters": parameters, "event_id": 1}
    return {"type": "client_tool_call", "client_tool_call": call}


def tool_flood(line: Line, _dice: Random) -> None:
    for number in range(500):
        line.send(_call("get_volume", f"f{number}", {}))


def unknown_tools(line: Line, _dice: Random) -> None:
    for number in range(100):
        line.send(_call(f"tool_{number}", f"u{number}", {"a": number}))


def big_parameters(line: Line, _dice: Random) -> None:
    line.send(_call("set_volume", "big", {"percent": "x" * 2**20}))


def deep_parameters(line: Line, _dice: Random) -> None:
    deep = b'{"a":' * 500 + b"1" + b"}" * 500
    line.write(
        frame(
            TEXT,
            b'{"type":"client_tool_call","client_tool_call":{"tool_name":"set_volume","tool_call_id":"d",'
            b'"parameters":' + deep + b"}}",
        )
    )


def approvals(line: Line, _dice: Random) -> None:
    for number in range(200):
        call = {
            "service_id": "s",
            "tool_call_id": f"m{number}",
            "tool_name": "pay",
            "tool_description": "pays",
            "parameters": {"to": "me"},
            "timestamp": "2026-01-01T00:00:00Z",
            "state": "awaiting_approval",
            "approval_timeout_secs": 2,
        }
        line.send({"type": "mcp_tool_call", "mcp_tool_call": call})


# ---------------------------------------------------------------- floods


def much_audio(lane: Lane, dice: Random) -> None:
    """200 s at once; cut by an interruption, as a person would have it cut."""

    def act(line: Line) -> None:
        event_id = line.server.next_event_id()
        line.send(response("a story", event_id))
        # A tone of no answer's.
        piece = tone(-1, 2.0)
        for _ in range(100):
            line.send(audio(piece, event_id))

    def interrupt(line: Line) -> None:
        line.send(interruption(line.server.next_event_id()))

    line = lane.server.live
    if line is not None:
        line.do(act)
        lane.pause(dice.uniform(0.5, 2.0))
        line.do(interrupt)


def app_pings(line: Line, _dice: Random) -> None:
    data = b"".join(
        frame(TEXT, b'{"type":"ping","ping_event":{"event_id":%d,"ping_ms":5}}' % number) for number in range(3000)
    )
    for at in range(0, len(data), 65536):
        line.write(data[at : at + 65536])
        line.drain()


def interruption_storm(line: Line, _dice: Random) -> None:
    for _ in range(200):
        line.send(interruption(line.server.next_event_id()))
        line.wait_or_serve(0.01)


def backwards_ids(line: Line, _dice: Random) -> None:
    """Interruptions with older and older numbers; what is answered afterwards has newer ones."""
    top = line.server.next_event_id()
    for number in range(top + 20, top - 20, -1):
        line.send(interruption(min(number, top)))


def absurd_id(number: float) -> Act:
    def act(line: Line, _dice: Random) -> None:
        line.send(interruption(number))

    return act


def metadata_again(line: Line, _dice: Random) -> None:
    line.send(metadata("conv_again", agent_output_audio_format="ulaw_8000", user_input_audio_format="pcm_48000"))


def kinds() -> Iterator[Kind]:
    row = "garbage: text, JSON, UTF-8, depth, binary, fragments, audio"
    for name, data in GARBAGE:
        yield Kind(f"garbage-{name}", row, on_line(writes(data)))
    yield Kind(
        "metadata-again",
        "first message late, never, twice, again, bad",
        on_line(metadata_again),
        again=True,
        seconds=9.0,
    )
    row = "tool floods, unknown tools, big and deep parameters, approvals"
    yield Kind("tools-500", row, on_line(tool_flood))
    yield Kind("tools-unknown", row, on_line(unknown_tools))
    yield Kind("tools-1-mb", row, on_line(big_parameters))
    yield Kind("tools-deep", row, on_line(deep_parameters))
    yield Kind("tools-approvals", row, on_line(approvals))
    row = "audio after close, 200 s of audio at once, end_call, error"
    yield Kind("agent-200-s", row, much_audio, mutes="it was cut with the story")
    yield Kind("agent-end-call", row, on_line(ends_the_call))
    yield Kind("agent-error", row, on_line(tells_an_error))
    row = "interruption storm, ids backwards, absurd ids"
    yield Kind(
        "interruption-storm", row, on_line(interruption_storm), mutes="it was interrupted", again=True, seconds=9.0
    )
    yield Kind(
        "interruption-backwards", row, on_line(backwards_ids), mutes="it was interrupted", again=True, seconds=9.0
    )
    yield Kind("interruption-2^62", row, on_line(absurd_id(2**62)), mutes="it was interrupted", again=True, seconds=9.0)
    yield Kind(
        "interruption-1e300", row, on_line(absurd_id(1e300)), mutes="it was interrupted", again=True, seconds=9.0
    )
    yield Kind("ping-messages", "ping floods (5000, 3000)", on_line(app_pings))
