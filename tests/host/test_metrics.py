from __future__ import annotations

from parleyd.app.metrics import Distribution, MetricsCollector
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind


def test_a_conversation_is_counted() -> None:
    collector = MetricsCollector()

    def state(at_s: float, before: str, after: str) -> None:
        collector.take(events.StateChanged(at_s=at_s, before=before, after=after, trigger="", reason=""))

    collector.take(events.UtteranceStarted(at_s=9.9, utterance=1, detected_s=10.0))
    state(10.0, "asleep", "connecting")
    state(10.5, "connecting", "backing off")
    state(10.5, "backing off", "connecting")
    state(11.0, "connecting", "live")
    collector.take(events.SessionOpened(at_s=11.0, conversation_id="c", handshake_ms=500, resent_ms=0, tries=2))
    collector.take(events.TalkStopped(at_s=11.5, utterance=1))
    collector.take(events.AnswerStarted(at_s=12.25, answer=1))
    assert collector.session_s(13.0) == 2.0
    collector.take(events.BargedIn(at_s=13.0, by="server", heard_ms=750))
    collector.take(events.AnswerEnded(at_s=13.025, answer=1, heard_ms=775, finished=False))
    collector.take(events.SessionEnded(at_s=15.0, ending=Ending(EndingKind.RETRY, "")))
    state(15.0, "live", "backing off")
    it = collector.metrics
    assert (it.wakes, it.sessions, it.reconnects, it.failed_tries) == (1, 1, 1, 1)
    assert (it.utterances, it.answers, it.interruptions) == (1, 1, 1)
    assert it.session_s == collector.session_s(99.0) == 4.0
    assert it.speech_to_sound.last_ms == 750.0
    assert it.clear_residual.last_ms == 25.0
    # Not how long a line was away for which it woke.
    assert it.wake_to_live.last_ms is None


def test_an_answer_nobody_asked_for_has_no_delay() -> None:
    collector = MetricsCollector()
    collector.take(events.AnswerStarted(at_s=1.0, answer=1))
    collector.take(events.TalkStopped(at_s=2.0, utterance=1))
    collector.take(events.AnswerStarted(at_s=100.0, answer=2))
    assert collector.metrics.answers == 2
    assert collector.metrics.speech_to_sound.count == 0


def test_an_answer_that_began_while_somebody_spoke_has_no_delay() -> None:
    """What is audible from 1.9 s on may be told after the end of talk at 2 s."""
    collector = MetricsCollector()
    collector.take(events.TalkStopped(at_s=2.0, utterance=1))
    collector.take(events.AnswerStarted(at_s=1.9, answer=1))
    assert collector.metrics.speech_to_sound.count == 0


def test_only_the_first_answer_after_somebody_spoke_has_a_delay() -> None:
    collector = MetricsCollector()
    collector.take(events.TalkStopped(at_s=2.0, utterance=1))
    collector.take(events.AnswerStarted(at_s=2.5, answer=1))
    collector.take(events.AnswerStarted(at_s=7.0, answer=2))
    assert collector.metrics.speech_to_sound.count == 1
    assert collector.metrics.speech_to_sound.last_ms == 500.0


def test_distribution() -> None:
    it = Distribution()
    for ms in (1, 5, 6, 10**9):
        it.add(ms)
    assert it.buckets[0] == 2
    assert it.buckets[1] == 1
    assert it.buckets[-1] == 1
