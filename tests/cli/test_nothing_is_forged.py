"""Lines that commands print, with an agent's words in them: none of those words can stand where a line begins."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from parleyd.audio.devices.portaudio_host import CardDevice
from parleyd.chat.screen import Screen
from parleyd.chat.view import View
from parleyd.chat.wrap import columns
from parleyd.cli import events as events_command
from parleyd.cli import transcript as transcript_command
from parleyd.cli.agent import _Printer
from parleyd.cli.daemon import refused
from parleyd.cli.devices import _Found, _print
from parleyd.cli.main import main
from parleyd.cli.status import Row, shown
from parleyd.cli.terminal import rows
from parleyd.control import messages
from parleyd.control.client import RefusedError
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.demo.timeline import Timeline
from parleyd.embedded.record import Activity
from parleyd.hooks.hook_event import HookEvent
from parleyd.host import log_lines
from parleyd.transcript.reading import Entry

MARK = "00:00:00"
# Lines of their own, by a line feed, by what readers take for one, by signs of the terminal, by an unbroken word that
# is longer than any line (with a blank that is no blank), and by wide characters.
HOSTILE = [
    f"well\n{MARK}  trouble: forged",
    f"well\r{MARK}  trouble: forged",
    f"well\x85{MARK}\u2028{MARK}\x0b{MARK}\x0c{MARK}\x1e{MARK}",
    f"well\x1b[2K\x1b[1G{MARK}  forged\x9b2J\u202e",
    "⠀" * 62 + MARK + "⠀" * 9 + MARK + "⠀forged",
    "".join("x" * number + MARK for number in range(40, 90)),
    "日" * 29 + MARK + "本" * 31 + MARK,
]
WIDTHS = [None, 40, 80]


def filled(kind: type[events.Event], text: str) -> events.Event:
    """An event of this kind with that text wherever it takes one."""
    values: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for name in kind.__struct_fields__:
        hint = hints[name]
        if name == "parameters":
            values[name] = {text: [text]}
        elif get_origin(hint) is Literal:
            values[name] = get_args(hint)[0]
        elif get_origin(hint) is dict:
            values[name] = {text: 1}
        elif hint is Ending:
            values[name] = Ending(EndingKind.RETRY, text, text)
        elif hint in (float, int):
            values[name] = 1
        elif hint is bool:
            values[name] = True
        else:
            values[name] = text
    return kind(**values)


KINDS = sorted(events.Event.__subclasses__(), key=lambda kind: kind.__name__)


def starts(printed: str, width: int | None) -> Iterator[str]:
    """What stands at the left edge: of lines, and of what a terminal of this width breaks by itself."""
    for line in printed.split("\n"):
        while line:
            yield line
            used = 0
            for index, sign in enumerate(line):
                used += columns(sign)
                if width is not None and used > width:
                    line = line[index:]
                    break
            else:
                break


def assert_nothing_forged(printed: str, width: int | None, own: int) -> None:
    """own: so many lines may begin with the mark, since they do."""
    assert all(sign.isprintable() or sign == "\n" for sign in printed), repr(printed)
    forged = [start for start in starts(printed, width) if start.startswith((MARK, f" {MARK}"))]
    assert len(forged) <= own, repr(printed)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_events(kind: type[events.Event]) -> None:
    for text in HOSTILE:
        sentence = events_command.sentence(json.loads(messages.event(filled(kind, text))))
        for width in WIDTHS:
            assert_nothing_forged(events_command.shown(sentence, MARK, width) if sentence else "", width, 1)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_snapshot_of_the_state_and_its_page(width: int | None, text: str) -> None:
    snapshot = {"event": "snapshot", "status": {"state": "asleep", "reason": text, "health": "well"}}
    assert_nothing_forged(events_command.shown(events_command.sentence(snapshot), MARK, width), width, 1)
    page = [Row("asks", text, hint=text), Row("", text), Row("microphone", text)]
    assert_nothing_forged("\n".join(shown(page, width=width, colour=False)), width, 0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_conversation_in_writing(kind: type[events.Event], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for text in HOSTILE:
        out = io.StringIO()
        Screen(out, colour=False).show(View().take(json.loads(messages.event(filled(kind, text)))))
        # An answer may have lines of its own; all of them are indented.
        assert_nothing_forged(out.getvalue(), 80, 0)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_refusal(text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_arguments: object) -> int:
        raise refused(RefusedError({"kind": "no_id", "text": text, "hint": text}))

    monkeypatch.setattr("parleyd.cli.approve._run", lambda _order, args: fails(args))
    assert main(["approve"]) != 0
    told = capsys.readouterr().err
    assert told.startswith("parleyd: well") or not told.count(f"\n{MARK}")
    assert len(told.splitlines()) == 1
    assert_nothing_forged(told, None, 0)


@pytest.mark.parametrize("text", HOSTILE)
def test_transcript_log_hook_and_the_embedded_agent(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    entry = Entry(time=datetime(2026, 1, 1, tzinfo=UTC), speaker=text, text=text)
    record = logging.LogRecord("x", logging.WARNING, "f.py", 1, "%s", (text,), None)
    record.fields = {"hint": text}
    logged = log_lines.entry_of(record, {})
    _Printer(is_json=False, done=lambda: None).show(Activity(1, "tool_call", 0.0, {"name": text, "parameters": {}}))
    _Printer(is_json=True, done=lambda: None).show(Activity(1, "message", 0.0, {"type": text}))
    for line in (
        transcript_command.in_words(entry),
        log_lines.text(logged),
        log_lines.json_line(logged),
        log_lines.prefixed(logged),
        HookEvent("heard", 1.0, conversation_id=text, more={"x": text}).document().decode().removesuffix("\n"),
        *capsys.readouterr().out.removesuffix("\n").split("\n"),
    ):
        assert line.isprintable()
        assert not line.startswith(MARK)
    assert text not in HookEvent("heard", 1.0, conversation_id=text).environment().values()


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("width", [40, 80])
def test_the_transcript_on_a_terminal(width: int, text: str) -> None:
    entry = Entry(time=datetime(2026, 1, 1, tzinfo=UTC), speaker=text, text=text)
    assert_nothing_forged(transcript_command.in_words(entry, width), width, 0)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_devices(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    device = CardDevice(1, text, "ALSA", 48_000, 1, 0)
    _print(_Found({"input": [device]}, {"input": 1}, {("input", 1): [16_000]}, {}))
    assert_nothing_forged(capsys.readouterr().out, None, 0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_timeline_of_the_demo(kind: type[events.Event]) -> None:
    for text in HOSTILE:
        out = io.StringIO()
        timeline = Timeline(out)
        timeline(filled(kind, text))
        timeline.close()
        assert_nothing_forged(out.getvalue(), None, 0)


def test_rows_keep_all_that_is_said_and_stay_within_the_width() -> None:
    text = "one two " + "x" * 100 + " 日本語" * 20 + " end"
    made = rows(text, 40, lead="12:00:00  ", indent=" " * 10)
    assert all(columns(row) < 40 for row in made)
    assert "".join("".join(row[10:] for row in made).split()) == "".join(text.split())
    assert rows(text, None, lead="> ") == [f"> {text}"]
