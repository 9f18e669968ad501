"""What waits for the transcript is bounded in number and in length; what is given up is told."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from parleyd.config.retention import Transcript
from parleyd.core import events
from parleyd.transcript import writer
from parleyd.transcript.writer import TranscriptWriter


def test_long_texts_fill_the_queue_sooner_than_many(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = TranscriptWriter(Transcript(enabled=True), tmp_path)
    one(events.SessionOpened(at_s=1.0, conversation_id="c", handshake_ms=1, resent_ms=0, tries=1))
    for number in range(100):
        one(events.Heard(at_s=2.0 + number, text=f"{number} " + "x" * 99_000, final=True))
    assert one._events.qsize() <= writer.MOST_CHARS // 99_000 + 1
    one.start()
    one.stop()
    (path,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert 30 < len(lines) <= 41
    assert lines[0]["text"].startswith("0 ")
    assert f"{100 - len(lines)} events came too fast" in caplog.text
    assert one._waiting_chars == 0


def test_turns_that_cannot_be_written_are_given_up_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "MOST_UNWRITTEN", 3)
    (tmp_path / "t").write_text("in the way of the folder")
    one = TranscriptWriter(Transcript(enabled=True), tmp_path / "t")
    told = threading.Event()

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "given up" in record.getMessage():
                told.set()

    handler = Seen()
    writer.log.addHandler(handler)
    one.start()
    for number in range(6):
        one(events.Heard(at_s=1.0 + number, text=f"{number}", final=True))
    try:
        assert told.wait(60)
    finally:
        writer.log.removeHandler(handler)
        one.stop()
    assert "the transcript cannot be written" in caplog.text
