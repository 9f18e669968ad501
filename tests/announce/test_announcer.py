"""The announcer's thread; tests/service has whole announcements."""

from __future__ import annotations

import os
import queue
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.announce.announcer import Announcer, _printable
from parleyd.announce.budget_notice import BudgetNotice
from parleyd.announce.sound_file import SoundFile
from parleyd.audio.playback.announcements import Announcements
from parleyd.audio.playback.mix import Mix
from parleyd.config.retention import Budget
from parleyd.config.schema import Announce, Config
from parleyd.core import events
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.core.health import Pulse
from parleyd.embedded.local_speech import LocalSpeech, local_speech
from parleyd.host.handed_over import of_this_process


def test_a_thread_that_ends_does_not_hide_the_next_ones_work() -> None:
    """Health is told that it rests while no other can have begun."""
    announcer = Announcer(
        None,
        Announce(),
        Announcements(Mix(volume=1.0, duck_db=12.0), threading.Condition()),
        events.Bus(),
        timeout_s=1.0,
        on_death=lambda _what, _error: None,
    )
    free: list[bool] = []

    class Seen(Pulse):
        def rest(self) -> None:
            free.append(announcer._thread is None)
            super().rest()

    announcer.pulse = Seen("announcer")
    announcer._thread = threading.current_thread()
    assert announcer._next() is None
    assert free == [False], "another thread may have begun, and its work would count as rest"
    assert announcer._thread is None


class Hanging(SoundFile):
    """A file on a disk that does not answer."""

    def __init__(self, path: Path, over: threading.Event) -> None:
        super().__init__(os.open(path, os.O_RDONLY), of_this_process(path.name))
        self.over = over

    def stream(self, text: str, timeout_s: float) -> Iterator[bytes]:
        self.over.wait()
        yield from ()


def test_a_sound_whose_disk_hangs_does_not_keep_the_next_ones_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parleyd.announce.announcer._HANGS_S", 0.05)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    bus, ended, over = events.Bus(), queue.Queue[events.AnnouncementEnded](), threading.Event()
    bus.subscribe(lambda event: ended.put(event) if isinstance(event, events.AnnouncementEnded) else None)
    track = Announcements(Mix(volume=1.0, duck_db=12.0), threading.Condition())
    announcer = Announcer(None, Announce(), track, bus, timeout_s=0.05, on_death=lambda _what, _error: None)
    try:
        for name in ("one", "another"):
            announcer.announce_sound(Hanging(tmp_path / "a.wav", over), name, now=False)
        first, second = ended.get(timeout=60), ended.get(timeout=60)
    finally:
        over.set()
        announcer.stop()
    assert (first.announcement, second.announcement) == (1, 2)
    assert first.reason == "nothing of the sound came for 0.2 s"
    assert first.hint


class Missing(SoundFile):
    """A file that cannot be read on."""

    def stream(self, text: str, timeout_s: float) -> Iterator[bytes]:
        yield from ()
        raise DialError(Ending(EndingKind.FINAL, "it is gone"))


def test_every_text_that_waits_is_told_to_be_over_when_the_daemon_stops_between_two(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(3200))
    bus, ended, are_queued = events.Bus(), queue.Queue[events.AnnouncementEnded](), threading.Event()

    def take(event: events.Event) -> None:
        if isinstance(event, events.AnnouncementEnded):
            ended.put(event)
            assert are_queued.wait(60)
            announcer.stop()

    bus.subscribe(take)
    track = Announcements(Mix(volume=1.0, duck_db=12.0), threading.Condition())
    announcer = Announcer(None, Announce(), track, bus, timeout_s=1.0, on_death=lambda _what, _error: None)
    for name in ("one", "two", "three"):
        descriptor = os.open(tmp_path / "a.wav", os.O_RDONLY)
        announcer.announce_sound(Missing(descriptor, of_this_process("a.wav")), name, now=False)
    are_queued.set()
    told = [ended.get(timeout=10) for _ in range(3)]
    assert [(one.announcement, one.reason) for one in told] == [
        (1, "it is gone"),
        (2, "the daemon stops"),
        (3, "the daemon stops"),
    ]


def test_a_sounds_name_has_no_signs_that_steer_a_terminal() -> None:
    assert _printable("the bell\x1b[2J\nfrom there") == "the bell [2J from there"
    assert _printable("\x00\n") == ""


# ---------------------------------------------------------------- the local voice


class _Dialogue:
    """Notes what the agent is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def context(self, text: str, context_id: str | None, *, by_person: bool) -> bool:
        self.told.append(text)
        return True


class _Announcer:
    """Notes what it is told to speak."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def announce(self, text: str, *, now: bool, local: bool = False) -> int:
        self.told.append((text, local))
        return 1


FAILED = events.AnswerFailed(at_s=1.0, text="no", hint=None, without_credit=True)
ANSWERED = events.AnswerStarted(at_s=2.0, answer=1)


def notices(*happened: events.Event, budget: Budget | None = None) -> list[tuple[str, bool]]:
    announcer = _Announcer()
    notice = BudgetNotice(Config(budget=budget or Budget()), announcer, _Dialogue())  # type: ignore[arg-type]
    for event in happened:
        notice(event)
    return announcer.told


def test_that_nothing_is_left_is_said_by_the_local_voice() -> None:
    spent = events.BudgetSpent(at_s=1.0, reason="r", hint="h")
    near = events.BudgetNear(at_s=1.0, period="day", left_s=60.0)
    assert notices(near, spent) == [
        ("Most of the talking time is used up.", False),
        ("The talking time is used up.", True),
    ]


@pytest.mark.parametrize(
    ("near", "told"),
    [
        (
            events.BudgetNear(at_s=1.0, period="month", left_money=0.4, of_money=2.0, currency="EUR"),
            "Only 0.40 EUR are left for talking this month; the person was told.",
        ),
        (
            events.BudgetNear(at_s=1.0, period="day", left_s=150.0, of_minutes=15),
            "This device may talk for another 2 min this day; the person was told.",
        ),
    ],
)
def test_the_agent_is_told_how_much_is_left(near: events.BudgetNear, told: str) -> None:
    dialogue = _Dialogue()
    BudgetNotice(Config(), _Announcer(), dialogue)(near)  # type: ignore[arg-type]
    assert dialogue.told == [told]


def test_an_account_without_credit_is_told_once_until_the_agent_answers_again() -> None:
    said = (Budget().no_credit_text, True)
    ended = events.SessionEnded(at_s=1.0, ending=Ending(EndingKind.FINAL, "no credit", "top up", without_credit=True))
    other = events.SessionEnded(at_s=1.0, ending=Ending(EndingKind.FINAL, "a bad key", "another"))
    assert notices(FAILED, FAILED, ended) == [said]
    assert notices(ended, ANSWERED, FAILED) == [said, said]
    fallback, agent = (
        events.SessionOpened(
            at_s=1.0, conversation_id="c", handshake_ms=1, resent_ms=0, tries=1, is_fallback=is_fallback
        )
        for is_fallback in (True, False)
    )
    assert notices(ended, fallback, ANSWERED, ended, ANSWERED, ended) == [said], "the fallback has answered"
    assert notices(ended, fallback, ANSWERED, agent, ANSWERED, ended) == [said, said]
    assert notices(other, events.AnswerFailed(at_s=1.0, text="no", hint=None)) == []
    assert notices(FAILED, budget=Budget(no_credit_text=None)) == []


def test_the_local_voice_is_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_speech("off") is None
    voice = local_speech("auto")
    assert voice is not None
    assert sum(map(len, voice.stream("Hello there.", 1.0))) > 16_000
    assert local_speech("nobody").stream("Hello.", 1.0) is not None  # type: ignore[union-attr]
    with pytest.raises(DialError) as refusal:
        list(LocalSpeech("no such voice").stream("Hello.", 1.0))
    assert refusal.value.ending.hint
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert local_speech("auto") is None
