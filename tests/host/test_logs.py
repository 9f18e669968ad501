"""Log records on their way out: what they look like, and what becomes of them when nobody takes them."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fake_journal import FakeJournal, parse
from parleyd.app import logs
from parleyd.app.log_context import Context
from parleyd.config.schema import Log
from parleyd.core import events
from parleyd.core.log_fields import NOTICE, Fields, fields
from parleyd.host import journal, log_lines
from parleyd.host.log_lines import Entry, StandardError, entry_of, json_line, prefixed, text

WAIT_S = 60.0
log = logging.getLogger("parleyd.tests")


@pytest.fixture(autouse=True)
def _own_handlers() -> Iterator[None]:
    root = logging.getLogger("parleyd")
    before = (root.level, root.propagate, root.handlers[:])
    yield
    root.setLevel(before[0])
    root.propagate, root.handlers[:] = before[1:]


class Stderr:
    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def lines(self) -> list[str]:
        """Since the last time."""
        return self._capture.readouterr().err.splitlines()


@pytest.fixture
def stderr(capfd: pytest.CaptureFixture[str]) -> Stderr:
    return Stderr(capfd)


@pytest.fixture
def socket_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "socket"
    monkeypatch.setattr(journal, "SOCKET", str(path))
    return path


def entry(message: str = "hello", level: int = logging.INFO, **more: object) -> Entry:
    record = logging.LogRecord("parleyd.x", level, __file__, 7, "%s", (message,), None)
    record.__dict__.update(fields(**more))  # type: ignore[arg-type]
    return entry_of(record, {})


# ---------------------------------------------------------------- what it looks like

HOSTILE = [
    "\n12:00:00 error forged",
    "\r\n<0>forged",
    "\x1b[2J\x1b]0;title\x07",
    "a\0b",
    "\x9b31m \x85 \u2028 \u2029 \u202e \ufeff",
    '"}\n{"level": "error"',
    "\nPRIORITY=0\nMESSAGE\n\x01\0\0\0\0\0\0\0x\n",
    "\udc9b\ud800",
    "x" * 100_000,
    "\n" * 100_000,
]


def of_any_text(test: Callable[[str], None]) -> Callable[[], None]:
    for sample in HOSTILE:
        test = example(sample)(test)
    anything = st.text(st.characters(exclude_categories=()), max_size=50)
    return settings(max_examples=100, deadline=None)(given(anything)(test))


def record_of(hostile: str) -> Entry:
    """With the text at every place where one from outside may be."""
    try:
        raise ValueError(hostile)
    except ValueError:
        record = logging.LogRecord("parleyd.x", logging.ERROR, __file__, 7, "said %s", (hostile,), sys.exc_info())
    record.__dict__.update(fields(reason=hostile, device=hostile, code=1008))
    return entry_of(record, {"state": "live", "conversation_id": hostile})


@of_any_text
def test_text_is_one_line_per_record_and_nothing_that_a_terminal_obeys(hostile: str) -> None:
    first, *traceback = text(record_of(hostile)).split("\n")
    assert re.match(r"\d\d:\d\d:\d\d error said ", first)
    assert all(line.startswith("    ") for line in traceback)
    assert all(line.isprintable() for line in (first, *traceback))
    assert len(first) < log_lines.MESSAGE_CHARS + 50


@of_any_text
def test_json_is_one_object_per_record_with_the_keys_that_were_given(hostile: str) -> None:
    line = json_line(record_of(hostile))
    assert line.isprintable()
    found = json.loads(line)
    known = {"time", "level", "where", "message", "traceback"}
    assert set(found) == known | {"state", "conversation_id", "reason", "device", "code"}
    assert (found["level"], found["state"], found["code"]) == ("error", "live", 1008)
    assert len(found["reason"]) <= log_lines.FIELD_CHARS


@of_any_text
def test_the_journal_gets_the_fields_that_were_given_and_no_others(hostile: str) -> None:
    found = parse(journal._datagram(record_of(hostile)))
    own = {"STATE", "CONVERSATION_ID", "REASON", "DEVICE", "CODE"}
    standard = {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "THREAD_NAME", "CODE_FILE", "CODE_LINE"}
    assert set(found) == standard | {f"PARLEYD_{name}" for name in own}
    assert (found["PRIORITY"], found["PARLEYD_CODE"]) == ("3", "1008")
    message, *traceback = found["MESSAGE"].split("\n")
    assert message.startswith("said ")
    # journalctl shows a value with control signs as "blob data".
    assert all(line.startswith("    ") and line.isprintable() for line in traceback)
    assert all(value.isprintable() for name, value in found.items() if name != "MESSAGE")


@of_any_text
def test_each_line_for_standard_error_has_its_priority(hostile: str) -> None:
    assert all(re.match(r"<3>(said |    )", line) for line in prefixed(record_of(hostile)).split("\n"))


def test_the_largest_record_fits_into_a_datagram(socket_path: Path, stderr: Stderr) -> None:
    wide = "\U0001f600" * 100_000

    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        raise ValueError("\n".join([wide] * 200))

    try:
        deep(150)
    except ValueError:
        record = logging.LogRecord("parleyd.x", logging.ERROR, __file__, 7, wide, None, sys.exc_info())
    names = [name for name in Fields.__annotations__ if name not in ("code", "latency_ms")]
    record.__dict__["fields"] = dict.fromkeys(names, wide)
    with FakeJournal(socket_path) as fake:
        assert journal.Journal().put(entry_of(record, {}))
        (found,) = fake.read()
    assert found["MESSAGE"].startswith("\U0001f600" * 1000)
    assert stderr.lines() == []


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, "7"), (logging.INFO, "6"), (NOTICE, "5"), (logging.WARNING, "4"), (logging.ERROR, "3")],
)
def test_priorities(level: int, priority: str) -> None:
    assert parse(journal._datagram(entry(level=level)))["PRIORITY"] == priority
    assert prefixed(entry(level=level)) == f"<{priority}>hello"


def test_the_page_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs/logging.md").read_text()
    named = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    assert named == [(name, f"PARLEYD_{name.upper()}") for name in Fields.__annotations__]


# ---------------------------------------------------------------- what it carries


def test_records_carry_state_conversation_and_utterance_of_the_moment_they_were_logged(socket_path: Path) -> None:
    running = logs.Logs(Log(format="journal"))
    running.start()
    say = running.follow
    with FakeJournal(socket_path) as fake:
        log.info("first")
        say(events.UtteranceStarted(at_s=1.0, utterance=3, detected_s=1.1))
        say(events.StateChanged(at_s=1.1, before="asleep", after="connecting", trigger="", reason="somebody speaks"))
        say(events.StateChanged(at_s=1.2, before="connecting", after="live", trigger="", reason="conversation c"))
        say(events.SessionOpened(at_s=1.2, conversation_id="c1", handshake_ms=100, resent_ms=0, tries=1))
        log.info("second")
        say(events.TalkStopped(at_s=2.0, utterance=3))
        say(events.UtteranceEnded(at_s=2.0, utterance=3))
        say(events.AnswerStarted(at_s=2.65, answer=1))
        say(events.AnswerStarted(at_s=9.0, answer=2))
        log.warning("third", extra=fields(state="backing off", reason="lost", hint=None))
        say(events.StateChanged(at_s=9.0, before="live", after="backing off", trigger="", reason="lost"))
        log.info("fourth")
        running.stop()
        found = [(e["MESSAGE"], {k: v for k, v in e.items() if k.startswith("PARLEYD_")}) for e in fake.read()]
    live = {"PARLEYD_STATE": "live", "PARLEYD_CONVERSATION_ID": "c1"}
    assert found == [
        ("first", {}),
        ("second", {**live, "PARLEYD_UTTERANCE": "3"}),
        ("the agent answers after 0.7 s", {**live, "PARLEYD_LATENCY_MS": "650"}),
        ("third", {**live, "PARLEYD_STATE": "backing off", "PARLEYD_REASON": "lost"}),
        ("fourth", {"PARLEYD_STATE": "backing off"}),
    ]


def test_an_answer_to_nothing_that_was_said_has_no_latency(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("parleyd").propagate = True
    context = Context()
    with caplog.at_level(logging.INFO, "parleyd"):
        # A noise at night, and in the morning somebody wakes it by hand: it greets.
        context.follow(events.TalkStopped(at_s=1.0, utterance=1))
        woken = events.StateChanged(at_s=30_000.0, before="asleep", after="connecting", trigger="", reason="woken")
        context.follow(woken)
        context.follow(events.AnswerStarted(at_s=30_001.0, answer=1))
    assert caplog.records == []


# ---------------------------------------------------------------- where it goes


def test_auto_is_the_journal_where_systemd_collects_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = os.fstat(sys.stderr.fileno()), Path("/").stat()
    for value, form in (
        (f"{own.st_dev}:{own.st_ino}", "journal"),
        # A child that a service started with a standard error of its own.
        (f"{other.st_dev}:{other.st_ino}", "text"),
        ("", "text"),
        ("nonsense", "text"),
    ):
        monkeypatch.setenv("JOURNAL_STREAM", value)
        assert logs.Logs(Log()).format == form
    for explicit in ("text", "json", "journal"):
        assert logs.Logs(Log(format=explicit)).format == explicit


def test_without_journald_it_is_standard_error_until_there_is_one(socket_path: Path, stderr: Stderr) -> None:
    sink = journal.Journal()
    assert sink.put(entry("one", logging.WARNING))
    assert sink.put(entry("two"))
    told, *rest = stderr.lines()
    assert told.startswith("<4>journald takes no log records (No such file")
    assert rest == ["<4>one", "<6>two"]
    with FakeJournal(socket_path) as fake:
        assert sink.put(entry("three"))
        assert fake.texts() == ["three", "journald takes log records again; 2 went to standard error"]
        assert fake.entries[-1]["PRIORITY"] == "5"
    # Restarted: another socket of the same name, and nothing logged in between.
    with FakeJournal(socket_path) as fake:
        assert sink.put(entry("four"))
        assert fake.texts() == ["four"]
    assert stderr.lines() == []


def test_a_full_journald_is_waited_for_once_and_then_not(socket_path: Path, stderr: Stderr) -> None:
    sink = journal.Journal()
    with FakeJournal(socket_path) as fake:
        said = [f"record {number}" for number in range(1000)]
        assert all(sink.put(entry(words)) for words in said)
        elsewhere = stderr.lines()
        assert elsewhere[0].startswith("<4>journald takes no log records (it is stuck)")
        here = fake.texts()
        assert here + [line.removeprefix("<6>") for line in elsewhere[1:]] == said
        assert sink.put(entry("last"))
        assert fake.texts()[len(here) :] == [
            "last",
            f"journald takes log records again; {len(said) - len(here)} went to standard error",
        ]


def test_what_nobody_takes_in_time_is_counted_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    stuck, at_it = threading.Event(), threading.Event()

    class Slow(StandardError):  # noqa: N818 - no exception
        def put(self, entry: Entry) -> bool:
            at_it.set()
            assert stuck.wait(WAIT_S)
            taken.append(entry.message)
            return True

    monkeypatch.setattr(logs, "StandardError", Slow)
    running = logs.start(Log(format="json"))
    log.info("first")
    assert at_it.wait(WAIT_S)
    for number in range(logs.MOST_WAITING + 7):
        log.info("record %d", number)
    stuck.set()
    running.stop()
    told = "7 log records were lost: nobody took them in time"
    assert taken.count(told) == 1
    taken.remove(told)
    assert taken == ["first", *(f"record {number}" for number in range(logs.MOST_WAITING))]


def test_a_standard_error_that_is_gone_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        running = logs.start(Log(format="text"))
        log.error("hello")
        running.stop()
        assert not running._thread.is_alive()


def test_a_record_that_cannot_be_made_does_not_end_who_logs(stderr: Stderr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    running = logs.start(Log(format="text"))
    log.info("%d", "no number")
    log.info("next")
    running.stop()
    assert [line.split(" ", 2)[2] for line in stderr.lines()] == ["info next"]
