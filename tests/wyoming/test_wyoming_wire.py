"""The Wyoming protocol, read within bounds."""

from __future__ import annotations

import contextlib
import io
import json
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wyoming.audio import AudioChunk, AudioStart
from wyoming.event import Event, read_event, write_event
from wyoming.info import Info

from parleyd.config.wyoming_section import Wyoming
from parleyd.wyoming import wire
from parleyd.wyoming.target import info
from parleyd.wyoming.wire import MOST_LINE_BYTES, MOST_PAYLOAD_BYTES, Reader, WireError, encoded

EVENTS = [
    Event("describe"),
    AudioStart(22050, 2, 1, timestamp=0).event(),
    AudioChunk(22050, 2, 1, b"\n{}\x00" * 500).event(),
    Event("odd", {"text": "Küche\n"}, b"x"),
]


def written(*events: Event) -> bytes:
    file = io.BytesIO()
    for event in events:
        write_event(event, file)
    return file.getvalue()


@given(st.data())
def test_what_the_package_writes_is_read_in_pieces_of_any_size(data: st.DataObject) -> None:
    sent = written(*EVENTS)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=8)))
    reader, came = Reader(), []
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        came += list(reader.feed(sent[start:end]))
    assert came == EVENTS


def test_each_head_is_read_once_however_many_pieces_the_rest_has(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[bytes] = []

    def noted(text: bytes) -> Any:
        texts.append(bytes(text))
        return json.loads(text)

    monkeypatch.setattr(wire, "json", types.SimpleNamespace(loads=noted))
    reader, sent = Reader(), written(*EVENTS)
    came = [event for at in range(len(sent)) for event in reader.feed(sent[at : at + 1])]
    assert came == EVENTS
    # A head each, and data of their own for those that have some.
    assert len(texts) <= 2 * len(EVENTS)


def test_a_head_that_is_none_is_refused_before_its_rest_has_come() -> None:
    with pytest.raises(WireError, match="no type"):
        list(Reader().feed(b'{"type": 5, "data_length": 10}\n'))


def test_the_package_reads_what_is_written() -> None:
    described = info(Wyoming(name="Küche", area="Erdgeschoss"), "pi", "1.2")
    event = read_event(io.BytesIO(encoded(described)))
    assert event is not None
    satellite = Info.from_event(event).satellite
    assert satellite is not None
    assert (satellite.name, satellite.area, satellite.installed) == ("Küche", "Erdgeschoss", True)


def test_half_a_surrogate_that_json_can_spell_is_answered_as_it_came() -> None:
    """A ping comes back with its text, and no text may end the program."""
    sent = b'{"type": "ping", "data": {"text": "\\ud800"}}\n'
    (event,) = Reader().feed(sent)
    assert list(Reader().feed(encoded(event))) == [event]


@given(st.binary(max_size=300))
def test_any_bytes_are_events_or_an_error(data: bytes) -> None:
    came: list[Event] = []
    with contextlib.suppress(WireError):
        came.extend(Reader().feed(data + b"\n"))
    assert all(isinstance(event.type, str) for event in came)


@pytest.mark.parametrize(
    "sent",
    [
        b"x" * (MOST_LINE_BYTES + 2),
        b"GET / HTTP/1.1\r\n",
        b"[]\n",
        b"{}\n",
        b'{"type": 5}\n',
        b'{"type": "ping", "data": [1]}\n',
        b'{"type": "ping", "data_length": -1}\n',
        b'{"type": "ping", "data_length": true}\n',
        b'{"type": "ping", "data_length": 1e3}\n',
        b'{"type": "ping", "data_length": 70000}\n',
        b'{"type": "ping", "data_length": 2}\n[]',
        b'{"type": "ping", "payload_length": %d}\n' % (MOST_PAYLOAD_BYTES + 1),
        b"[" * 8000 + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_what_is_too_large_or_no_event_is_an_error_at_once(sent: bytes) -> None:
    """The package's own reader would wait for 70,000 bytes, or any number."""
    with pytest.raises(WireError):
        list(Reader().feed(sent))
