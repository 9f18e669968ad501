"""The picture of the demo: its figures are on it, in both forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.demo.facts import Facts, Recording
from parleyd.demo.picture import DARK, LIGHT, Play, Theme, draw

FACTS = Facts(
    utterances=2,
    understood=["What time is it?"],
    answers=1,
    sessions=2,
    wake_to_live_ms=20,
    speech_end_to_answer_ms=900,
    interruptions=1,
    silent_after_ms=7,
    lines_lost=1,
    line_back_after_ms=2000,
    speech_resent_ms=1500,
    speech_lost_ms=0,
    room_s=10.0,
    stayed_in_the_room=0.6,
    asleep_at_the_end=True,
)
HAPPENED = [
    events.UtteranceStarted(at_s=101.0, utterance=1, detected_s=101.1),
    events.StateChanged(at_s=101.1, before="asleep", after="live", reason="somebody speaks", trigger="speech"),
    events.TalkStopped(at_s=102.0, utterance=1),
    events.UtteranceEnded(at_s=102.1, utterance=1),
    events.Heard(at_s=102.2, text="What time is it?", final=True),
    events.AnswerStarted(at_s=102.75, answer=1),
    events.AnswerText(at_s=102.75, text="It is a quarter past seven in the evening " * 4),
    events.BargedIn(at_s=104.0, by="server", heard_ms=1200),
    events.SessionEnded(at_s=105.0, ending=Ending(EndingKind.RETRY, "the line was lost")),
    events.SessionOpened(at_s=107.0, conversation_id="c", handshake_ms=2000, resent_ms=1500, tries=1),
    events.StateChanged(at_s=109.0, before="live", after="asleep", reason="quiet", trigger="idle"),
]


def recording(rate_hz: int) -> Recording:
    return Recording(np.full(rate_hz * 10, 0.1, np.float32), rate_hz, 100.0)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    found: list[Figure] = []
    save = Figure.savefig

    def saved(figure: Figure, *args: Any, **more: Any) -> None:
        found.append(figure)
        save(figure, *args, **more)

    monkeypatch.setattr(Figure, "savefig", saved)
    return found


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_the_figures_are_on_it(theme: Theme, tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path / "it.png", Play(HAPPENED, recording(16_000), recording(48_000), FACTS), theme)
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    texts = [text.get_text() for text in figure.findobj(Text)]
    for wanted in (
        "2 questions, 1 answer, 1 interruption, 1 lost line, 0 ms of speech lost",
        "first sound after 0.75 s",
        "silent after 7 ms",
        "the line was away for 2.0 s",
        "1.5 s of speech waited and went first",
        "“What time is it?”",
    ):
        assert wanted in texts
    assert any(text.startswith("parleyd ") for text in texts), "it has a name"
    assert any(text.endswith("…”") for text in texts), "a long answer is cut between words"
    assert to_hex(figure.get_facecolor()) == theme.paper


def test_no_words_stand_in_the_time_without_a_line(tmp_path: Path, drawn: list[Figure]) -> None:
    """Neither of the answer before it, nor of the person who speaks on meanwhile."""
    happened = [
        events.UtteranceStarted(at_s=101.0, utterance=1, detected_s=101.1),
        events.AnswerText(at_s=104.0, text="Today is Monday, November 30, 2026."),
        events.UtteranceStarted(at_s=108.0, utterance=2, detected_s=108.1),
        events.SessionEnded(at_s=108.5, ending=Ending(EndingKind.RETRY, "the line was lost")),
        events.SessionOpened(at_s=110.5, conversation_id="c", handshake_ms=2000, resent_ms=1500, tries=1),
        events.Heard(at_s=110.6, text="Please count to ten.", final=True),
        events.StateChanged(at_s=130.0, before="live", after="asleep", reason="quiet", trigger="idle"),
    ]
    draw(tmp_path / "it.png", Play(happened, recording(16_000), recording(48_000), FACTS), LIGHT)
    (figure,) = drawn
    bands = [band for band in figure.findobj(Rectangle) if band.get_alpha() == 0.16]
    # An answer of two lines begins and ends in two texts.
    texts = [text for text in figure.findobj(Text) if "“" in text.get_text() or "”" in text.get_text()]
    assert len(bands) == 3
    assert len(texts) >= 2
    over = {
        text.get_text()
        for text in texts
        if any(band.get_window_extent().overlaps(text.get_window_extent()) for band in bands)
    }
    assert not over
