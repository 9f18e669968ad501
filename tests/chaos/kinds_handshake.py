"""Faults before there is a session: of TCP, of HTTP, of the WebSocket handshake and of the first message."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from random import Random

from chaos.lane import Kind, Lane
from chaos.wire import BINARY, TEXT, Line, Talk, frame

STALL_S = 12.0

STEPS = ("accept", "request", "half a status line", "status line", "half the headers", "upgrade", "opening")


def series(behave: Callable[[Lane, Line, Random], bool], most: int = 3) -> Callable[[Lane, Random], None]:
    """The next one to three connections meet that, after the line that there is has been cut."""

    def strike(lane: Lane, dice: Random) -> None:
        token = dice.getrandbits(32)

        def behaviour(line: Line) -> bool:
            return behave(lane, line, Random(token))

        lane.server.arm(behaviour, dice.randint(1, most))
        lane.cut(fin=dice.random() < 0.3)
        _wait_used(lane)

    return strike


def _wait_used(lane: Lane, timeout_s: float = 1.0) -> None:
    """The fault has begun once the first connection has met it; a daemon that sleeps makes none."""
    met = lane.server.met
    until_s = time.monotonic() + timeout_s
    while lane.server.met == met and time.monotonic() < until_s:
        time.sleep(0.02)  # A daemon that sleeps tells nothing.


def go_to(line: Line, step: str) -> None:
    """As far as the handshake goes well."""
    if step == "accept":
        return
    request = line.read_request()
    answer = line.upgrade_answer(request)
    status = answer.index(b"\r\n") + 2
    sent = {
        "request": 0,
        "half a status line": 7,
        "status line": status,
        "half the headers": status + (len(answer) - status) // 2,
    }.get(step, len(answer))
    if sent:
        line.write(answer[:sent])
    if step == "opening":
        while (message := line.next_message(0.5)) is None or message[0] != TEXT:
            pass


def breaks_off(step: str, how: str) -> Callable[[Lane, Line, Random], bool]:
    def behave(_lane: Lane, line: Line, _dice: Random) -> bool:
        go_to(line, step)
        if how == "reset":
            line.reset()
        elif how == "stalled":
            line.wait_gone(STALL_S)
        return True

    return behave


def refused(lane: Lane, dice: Random) -> None:
    lane.server.refuse()
    lane.cut()
    lane.pause(dice.uniform(0.5, 3.0))
    lane.back_s = time.monotonic()
    lane.server.accept_again()


def http(status: str, *headers: str, body: str = "") -> Callable[[Lane, Line, Random], bool]:
    def behave(lane: Lane, line: Line, dice: Random) -> bool:
        line.read_request()
        # A client may know one of the schemes and not the other.
        scheme = dice.choice(("http", "ws"))
        named = [header.format(scheme=scheme, trap=lane.server.trap_port) for header in headers]
        text = "\r\n".join([f"HTTP/1.1 {status}", *named, f"Content-Length: {len(body)}", "", body])
        line.write(text.encode())
        line.wait_gone(0.3)
        return True

    return behave


def raw(data: bytes, *, ask: bool = True) -> Callable[[Lane, Line, Random], bool]:
    def behave(_lane: Lane, line: Line, _dice: Random) -> bool:
        if ask:
            line.read_request()
        line.write(data)
        line.wait_gone(0.5)
        return True

    return behave


def upgraded(*more: str, accept: str | None = None, version: str = "1.1") -> Callable[[Lane, Line, Random], bool]:
    """An odd upgrade; who takes it has a good session."""

    def behave(_lane: Lane, line: Line, _dice: Random) -> bool:
        line.write(line.upgrade_answer(line.read_request(), *more, accept=accept, version=version))
        line.begin()
        return False

    return behave


def headers_without_end(_lane: Lane, line: Line, _dice: Random) -> bool:
    line.read_request()
    line.write(b"HTTP/1.1 101 Switching Protocols\r\n")
    until_s = time.monotonic() + STALL_S
    number = 0
    while time.monotonic() < until_s:
        line.write(b"".join(f"X-{number + one}: {'x' * 200}\r\n".encode() for one in range(100)))
        number += 100
        time.sleep(0.02)  # So that it takes a while, and not all memory.
    return True


def dripped_handshake(_lane: Lane, line: Line, dice: Random) -> bool:
    answer = line.upgrade_answer(line.read_request())
    each_s = dice.choice((0.005, 0.015, 0.05))
    for byte in answer:
        line.write(bytes([byte]))
        time.sleep(each_s)  # A slow line.
    line.begin()
    return False


def first_messages(messages: Callable[[Talk, Random], Iterator[object]]) -> Callable[[Lane, Line, Random], bool]:
    """After the opening: numbers are pauses in seconds, bytes are whole frames, dicts are messages; then a session,
    for a daemon that takes what there was."""

    def behave(_lane: Lane, line: Line, dice: Random) -> bool:
        line.write(line.upgrade_answer(line.read_request()))
        line.begin(announce=False)
        assert line.session is not None
        for message in messages(line.talk, dice):
            if isinstance(message, float):
                line.wait_or_serve(message)
            elif isinstance(message, bytes):
                line.write(message)
            else:
                line.send(message)
        line.session.ready_s = time.monotonic()
        return False

    return behave


def _late(talk: Talk, dice: Random) -> Iterator[object]:
    yield dice.uniform(1.0, 2.4)
    yield talk.ready("conv_late")


def _too_late(talk: Talk, _dice: Random) -> Iterator[object]:
    yield 5.0
    yield talk.ready("conv_too_late")


def _never(_talk: Talk, _dice: Random) -> Iterator[object]:
    yield STALL_S


def _twice(talk: Talk, _dice: Random) -> Iterator[object]:
    yield talk.ready("conv_once")
    yield talk.ready("conv_twice", gives="ulaw")


def _bad(talk: Talk, _dice: Random) -> Iterator[object]:
    for text in talk.half_ready():
        yield frame(TEXT, text)
    yield STALL_S


def _unknown_format(talk: Talk, _dice: Random) -> Iterator[object]:
    yield talk.ready("conv_format", gives="opus_48000")
    yield STALL_S


def _audio_first(talk: Talk, _dice: Random) -> Iterator[object]:
    yield talk.sound(bytes(6400))
    yield talk.ready("conv_second")


def _binary(talk: Talk, _dice: Random) -> Iterator[object]:
    yield frame(BINARY, json.dumps(talk.ready("conv_binary")).encode())


HTML = "<html><head><title>Welcome</title></head><body>Accept the terms of this hotel.</body></html>"
TRAP = "Location: {scheme}://127.0.0.1:{trap}/stolen"


def kinds() -> Iterator[Kind]:
    row = "refused, reset, closed or stalled at each handshake step"
    yield Kind("handshake-refused", row, refused, live=False)
    for step in STEPS:
        for how in ("reset", "closed", "stalled"):
            name = f"handshake-{how}-{step.replace(' ', '-')}"
            yield Kind(name, row, series(breaks_off(step, how)), live=False, seconds=10.0 if how == "stalled" else 5.0)
    row = "not WebSocket: portal, banner, wrong Accept, huge or endless headers"
    for name, behave in (
        ("portal-captive", http("200 OK", "Content-Type: text/html", body=HTML)),
        ("portal-ssh", raw(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", ask=False)),
        ("portal-smtp", raw(b"220 mail.example ESMTP\r\n")),
        ("portal-blank", raw(b"\r\n\r\n")),
        ("portal-noise", raw(bytes(range(256)) * 8)),
        ("portal-204", http("204 No Content")),
        ("upgrade-wrong-accept", upgraded(accept="AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
        ("upgrade-no-accept", upgraded(accept="")),
        ("upgrade-http-1.0", upgraded(version="1.0")),
        ("upgrade-subprotocol", upgraded("Sec-WebSocket-Protocol: chat")),
        ("upgrade-deflate", upgraded("Sec-WebSocket-Extensions: permessage-deflate")),
        ("upgrade-huge-headers", upgraded(*(f"X-{number}: {'x' * 8000}" for number in range(380)))),
        ("upgrade-endless-headers", headers_without_end),
    ):
        yield Kind(name, row, series(behave), live=False, seconds=10.0 if "endless" in name else 5.0)
    row = "redirects 301-308"
    for code in (301, 302, 303, 307, 308):
        yield Kind(f"redirect-{code}", row, series(http(f"{code} Moved", TRAP), most=2), live=False)
    row = "first message late, never, twice, again, bad"
    for name, messages in (
        ("metadata-late", _late),
        ("metadata-too-late", _too_late),
        ("metadata-never", _never),
        ("metadata-twice", _twice),
        ("metadata-bad", _bad),
        ("metadata-unknown-format", _unknown_format),
        ("metadata-after-audio", _audio_first),
        ("metadata-binary", _binary),
    ):
        yield Kind(
            name,
            row,
            series(first_messages(messages), most=2),
            live=False,
            seconds=10.0 if messages in (_never, _bad, _too_late) else 5.0,
        )
    row = "HTTP 401, 403, 404"
    for status in ("401 Unauthorized", "403 Forbidden", "404 Not Found"):
        body = json.dumps({"detail": {"status": "refused", "message": "no"}})
        yield Kind(f"http-{status[:3]}", row, series(http(status, body=body), most=2), live=False)
    row = "HTTP 500, 502, 503"
    for status in ("500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"):
        yield Kind(f"http-{status[:3]}", row, series(http(status, body="oops")), live=False)
    row = "HTTP 429 with Retry-After"
    for after in ("1", "30", "Fri, 31 Dec 2099 23:59:59 GMT"):
        name = f"http-429-after-{after if after.isdigit() else 'date'}"
        yield Kind(name, row, series(http("429 Too Many Requests", f"Retry-After: {after}"), most=2), live=False)
    yield Kind("drip-handshake", "1 byte at a time (frame; handshake)", series(dripped_handshake), live=False)
