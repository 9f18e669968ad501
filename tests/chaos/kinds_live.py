"""Faults of a line that is up: closes, bad frames, garbage, floods, servers that hang, agents that hang up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from random import Random

from chaos.books import Said
from chaos.lane import Kind, Lane
from chaos.voices import tone
from chaos.wire import ANSWER_S, BINARY, CLOSE, CONTINUATION, PING, TEXT, Line, close_payload, frame

Act = Callable[[Line, Random], None]


def on_line(act: Act, timeout_s: float = 60.0) -> Callable[[Lane, Random], None]:
    def strike(lane: Lane, dice: Random) -> None:
        line = lane.server.live
        if line is not None:
            line.do(lambda one: act(one, dice), timeout_s)

    return strike


# ---------------------------------------------------------------- ends


def closes(code: int | None, *, reason: str = "") -> Act:
    """With its close frame answered, or after a second without."""

    def act(line: Line, _dice: Random) -> None:
        line.write(frame(CLOSE, b"" if code is None else close_payload(code, reason)))
        line.wait_gone(1.5)
        line.close()

    return act


def closes_badly(payload: bytes, *, ignore: bool = False) -> Act:
    def act(line: Line, _dice: Random) -> None:
        line.write(frame(CLOSE, payload))
        if ignore:
            # The server goes on talking, and never ends the connection.
            for _ in range(20):
                line.send(line.talk.words("are you still there"))
                line.wait_gone(0.1)
        line.wait_gone(1.0)
        line.close()

    return act


def resets(line: Line, _dice: Random) -> None:
    line.reset()


def ends(line: Line, _dice: Random) -> None:
    line.close()


def talks_after_close(line: Line, _dice: Random) -> None:
    line.write(frame(CLOSE, close_payload(1000)))
    for _ in range(10):
        line.send(line.talk.sound(bytes(6400)))
    line.wait_gone(1.0)
    line.close()


# ---------------------------------------------------------------- frames that are none


def writes(data: bytes | Callable[[Random], bytes]) -> Act:
    def act(line: Line, dice: Random) -> None:
        line.write(data if isinstance(data, bytes) else data(dice))

    return act


def _noise(dice: Random) -> bytes:
    return b"".join(frame(dice.choice((TEXT, BINARY)), dice.randbytes(dice.randint(1, 2000))) for _ in range(50))


GARBAGE: tuple[tuple[str, bytes | Callable[[Random], bytes]], ...] = (
    ("text", frame(TEXT, b"hello") + frame(TEXT, b"")),
    ("scalars", b"".join(frame(TEXT, text) for text in (b"5", b"null", b'"x"', b"[]", b"{}", b"[[1]]", b"true"))),
    ("binary", frame(BINARY, bytes(range(256)))),
    ("noise", _noise),
    ("unknown-types", b"".join(frame(TEXT, b'{"type":"x%d","x":{}}' % number) for number in range(200))),
)

# ---------------------------------------------------------------- floods


def pings(line: Line, _dice: Random) -> None:
    data = frame(PING, b"x" * 20)
    for _ in range(50):
        line.write(data * 100)
        line.drain()


def big_frame(line: Line, _dice: Random) -> None:
    line.write(frame(TEXT, b"x" * 20_000_000))
    line.wait_gone(2.0)
    line.close()


def big_fragments(line: Line, _dice: Random) -> None:
    piece = b"x" * 2**20
    line.write(frame(TEXT, piece, final=False))
    for _ in range(20):
        line.write(frame(CONTINUATION, piece, final=False))
    line.wait_gone(2.0)
    line.close()


def drips(line: Line, dice: Random) -> None:
    data = frame(TEXT, json.dumps(line.talk.saying("slowly " * 20)).encode())
    each_s = dice.choice((0.005, 0.02))
    for byte in data:
        line.write(bytes([byte]))
        line.wait_or_serve(each_s)


# ---------------------------------------------------------------- servers that hang


def hangs(how: str, talk: bool) -> Callable[[Lane, Random], None]:
    """freeze: nothing is read any more. frame: it stops in the middle of a frame. silent: it reads, and says nothing.
    talk: somebody goes on talking all the while."""

    def act(line: Line) -> None:
        if how == "frame":
            line.write(frame(TEXT, json.dumps(line.talk.sound(bytes(3200))).encode())[:500])
        line.deaf = True
        if how == "freeze":
            line.inert.set()

    def strike(lane: Lane, dice: Random) -> None:
        line = lane.server.live
        if line is None:
            return
        line.do(act, 5.0)
        until_s = time.monotonic() + 35.0
        while not line.over.is_set() and time.monotonic() < until_s:
            if talk:
                said = lane.speak(dice)
                line.over.wait(max(0.0, said.end_s - time.monotonic()))
            else:
                line.over.wait(0.5)
        # Its own time is no recovery's.
        line.inert.clear()

    return strike


# ---------------------------------------------------------------- agents that hang up, and late transcripts


def hangs_up_after_the_question(lane: Lane, dice: Random) -> None:
    """A gateway that rebalances: 1000, as soon as the question has come, and no transcript."""
    if (asked := ask_a_deaf_line(lane, dice)) is None:
        return
    line, _said = asked
    lane.pause(dice.uniform(0.0, 1.5))
    line.do(lambda one: closes(1000)(one, dice), 5.0)


def late_transcript(lane: Lane, dice: Random) -> None:
    """A, a pause, B; A's transcript comes after B, by a recogniser that is late; then the line is reset."""
    if (asked := ask_a_deaf_line(lane, dice)) is None:
        return
    line, first = asked
    lane.pause(1.2)
    second = lane.speak(dice)
    wait_came(second.number, second.loud[-1], line)
    # Long enough for the talk to be over; what is still being said is acknowledged by no transcript.
    lane.pause(dice.uniform(0.8, 1.5))
    line.do(lambda one: one.talk.understand((first.number,)), 5.0)
    lane.pause(0.3)
    lane.cut()


def unasked_sound(lane: Lane, dice: Random) -> None:
    """A question, and sound that answers nothing ("one moment"), and then the line is reset."""
    if (asked := ask_a_deaf_line(lane, dice)) is None:
        return
    line, _said = asked
    line.do(lambda one: one.send(one.talk.sound(tone(-1, ANSWER_S))), 5.0)
    lane.pause(0.3)
    lane.cut()


def hangs_up_after_the_answer(lane: Lane, dice: Random) -> None:
    """All of the answer is sent, and in the same moment the line is closed: it is heard to its end."""
    if (asked := ask_a_deaf_line(lane, dice)) is None:
        return
    line, said = asked

    def act(one: Line) -> None:
        one.answer((said.number,))
        one.server.heard.answers[-1].owed = True
        closes(1000)(one, dice)

    lane.pause(dice.uniform(0.6, 1.2))

    line.do(act, 5.0)


def ask_a_deaf_line(lane: Lane, dice: Random) -> tuple[Line, Said] | None:
    """Makes the server answer nothing, and asks a question. Returns when it has come up; None: there is no session."""
    line = lane.server.live
    if line is None:
        return None
    line.deaf = True
    said = lane.speak(dice)
    wait_came(said.number, said.loud[-1], line)
    return line, said


def wait_came(number: int, frame_number: int, line: Line, timeout_s: float = 8.0) -> None:
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s and not line.over.is_set():
        assert line.session is not None
        if any(utterance == number and index >= frame_number for _, utterance, index in line.session.frames[-50:]):
            return
        time.sleep(0.02)  # A frame comes every 20 ms.


# ---------------------------------------------------------------- a bad line, without any help of the kernel's


def slow(receive_delay_s: tuple[float, float]) -> Callable[[Lane, Random], None]:
    def strike(lane: Lane, dice: Random) -> None:
        line = lane.server.live
        if line is None:
            return
        delay_s = dice.uniform(*receive_delay_s)

        def begin(one: Line) -> None:
            one.receive_delay_s = delay_s

        def end(one: Line) -> None:
            one.receive_delay_s = 0.0

        line.do(begin)
        lane.pause(dice.uniform(2.0, 4.0))
        line.do(end)

    return strike


# ---------------------------------------------------------------- people who talk long


def long_talk(lane: Lane, dice: Random) -> None:
    """A long sentence, and soon after it three ordinary ones, all of the same loudness."""
    said = lane.speak(dice, long=True)
    for _ in range(3):
        # Speech passes in real time.
        time.sleep(max(0.0, said.end_s + dice.uniform(1.6, 2.5) - time.monotonic()))
        said = lane.speak(dice)
    # As above.
    time.sleep(max(0.0, said.end_s - time.monotonic()))


def nothing(lane: Lane, _dice: Random) -> None:
    """The books without any fault."""
    lane.pause(0.5)


REASONS = ("", "going away", "policy", "rate limited", "The AI agent you are trying to reach does not exist.", "é" * 50)


def kinds() -> Iterator[Kind]:
    row = "close 1000-1015"
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015):
        yield Kind(f"close-{code}", row, on_line(closes(code, reason=REASONS[code % 3])))
    row = "close 3000-3003, 4000 and above"
    for code in (3000, 3001, 3002, 3003, 4000, 4001, 4429, 4999):
        yield Kind(f"close-{code}", row, on_line(closes(code, reason=REASONS[code % len(REASONS)])))
    row = "garbage: text, JSON, UTF-8, depth, binary, fragments, audio"
    for name, data in GARBAGE:
        yield Kind(f"garbage-{name}", row, on_line(writes(data)))
    row = "close frames that are wrong"
    yield Kind("badclose-no-body", row, on_line(closes(None)))
    yield Kind("badclose-1-byte", row, on_line(closes_badly(b"\x03")))
    yield Kind("badclose-bad-utf8", row, on_line(closes_badly(b"\x03\xe8\xff\xfe\xc0")))
    yield Kind("badclose-4000-bytes", row, on_line(closes_badly(b"\x03\xe8" + b"x" * 3998)))
    yield Kind("badclose-ignored", row, on_line(closes_badly(b"\x03\xe9", ignore=True)))
    row = "TCP reset, FIN without close frame (live)"
    yield Kind("tcp-reset", row, on_line(resets))
    yield Kind("tcp-fin", row, on_line(ends))
    row = "audio after close, 200 s of audio at once, end_call, error"
    yield Kind("agent-audio-after-close", row, on_line(talks_after_close))
    row = "reserved opcode, masked, RSV1, stray continuation"
    yield Kind("frame-opcode", row, on_line(writes(frame(0x3, b"x") + frame(0xB, b"y"))))
    yield Kind("frame-masked", row, on_line(writes(frame(TEXT, b"{}", mask=True))))
    yield Kind("frame-rsv1", row, on_line(writes(frame(TEXT, b"{}", rsv=4))))
    yield Kind("frame-stray", row, on_line(writes(frame(CONTINUATION, b"{}"))))
    yield Kind("drip-frame", "1 byte at a time (frame; handshake)", on_line(drips))
    yield Kind("slow-latency", "latency, loss, 20 kbit/s", slow((0.3, 2.0)))
    row = "server hangs: freeze, stall in a frame, never a pong"
    for how in ("freeze", "frame", "silent"):
        yield Kind(f"hang-{how}", row, hangs(how, False), patience_s=60.0, seconds=27.0)
    row = "server hangs while somebody goes on talking"
    yield Kind("hang-talk", row, hangs("silent", True), patience_s=60.0, seconds=32.0)
    row = "20 MB frame, 20 MB in fragments"
    yield Kind("big-frame", row, on_line(big_frame))
    yield Kind("big-fragments", row, on_line(big_fragments))
    row = "ping floods (5000, 3000)"
    yield Kind("ping-frames", row, on_line(pings))
    row = "agents that hang up, transcripts that are late"
    yield Kind("agent-hangs-up", row, hangs_up_after_the_question, speaks_itself=True, seconds=14.0)
    yield Kind("agent-late-transcript", row, late_transcript, speaks_itself=True, seconds=16.0)
    yield Kind("agent-unasked-sound", row, unasked_sound, speaks_itself=True)
    yield Kind("agent-answer-and-close", row, hangs_up_after_the_answer, speaks_itself=True)
    row = "somebody talks for long, and then again"
    yield Kind("long-talk", row, long_talk, world="talk", speaks_itself=True, seconds=32.0)
    yield Kind("no-fault", "no fault at all", nothing)
