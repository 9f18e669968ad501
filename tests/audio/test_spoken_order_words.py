"""Orders to the device itself: which sound is looked at, and which words count."""

from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path

import pytest

from parleyd.audio.gate.gate import PAUSE_MS
from parleyd.audio.gate.order_stretch import BEFORE_MS, LONGEST_MS, OrderStretch
from parleyd.audio.gate.order_words import Order, OrderWords, judge
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS
from parleyd.audio.resample import Resampler

GOOD = 0.2  # e ** -1.6


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ([("stop", GOOD**20, 20)], "stop"),
        ([("please", GOOD**10, 10), ("say", GOOD**9, 9), ("that", GOOD**9, 9), ("again", GOOD**9, 9)], "repeat"),
        ([("louder", GOOD**20, 20), ("please", GOOD**10, 10)], "louder"),
        ([("be", GOOD**5, 5)], None),  # the beginning of a sentence
        ([("water", GOOD**20, 20)], None),
        ([("louder", 0.02**20, 20)], None),  # e ** -3.9 for each frame
        ([("stop", 0.02**20, 20)], "stop"),
        ([("stop", 0.005**20, 20)], None),  # e ** -5.3
        ([("be", GOOD**40, 40), ("quiet", 0.003**5, 5)], None),  # one word of it does not fit
        ([("stop", 0.0, 20)], None),
        ([], None),
    ],
)
def test_a_sentence_counts_by_its_words_and_its_score(words: list[tuple[str, float, int]], order: Order | None) -> None:
    assert judge(words) == order


def frames(count: int, mark: int) -> list[bytes]:
    return [bytes([mark]) * FRAME_BYTES] * count


def fed(
    stretch: OrderStretch, sounds: list[bytes], *, started_at: int, stopped_at: int | None, agent_sounds: bool = True
) -> list[bytes]:
    found = []
    for number, pcm in enumerate(sounds):
        whole = stretch.step(
            pcm,
            talk_started=number == started_at,
            talk_stopped=number == stopped_at,
            agent_sounds=agent_sounds,
        )
        if whole is not None:
            found.append(whole)
    return found


def test_a_short_stretch_over_the_agent_is_looked_at_with_its_beginning() -> None:
    before, after = frames(50, 1), frames(40, 2)
    (whole,) = fed(OrderStretch(), before + after, started_at=49, stopped_at=89)
    kept = BEFORE_MS // FRAME_MS
    assert whole == b"".join(before[-kept:] + after)


def test_what_begins_while_the_agent_is_silent_is_the_agents() -> None:
    assert not fed(OrderStretch(), frames(90, 1), started_at=40, stopped_at=80, agent_sounds=False)


def test_whoever_talks_for_long_talks_to_the_agent() -> None:
    longest = (LONGEST_MS + PAUSE_MS) // FRAME_MS
    assert fed(OrderStretch(), frames(100 + longest, 1), started_at=50, stopped_at=50 + longest)
    stretch = OrderStretch()
    assert not fed(stretch, frames(200 + longest, 1), started_at=50, stopped_at=51 + longest)
    # And the next stretch is looked at again.
    assert fed(stretch, frames(90, 1), started_at=40, stopped_at=80)


@pytest.fixture(scope="module")
def words() -> OrderWords:
    pytest.importorskip("pocketsphinx")
    return OrderWords()


def spoken(text: str, voice: str, folder: Path) -> bytes:
    assert shutil.which("flite"), "flite is missing: scripts/setup test installs it"
    path = folder / "spoken.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        sound, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    resampler = Resampler(rate_hz, 16_000)
    return resampler.process(sound) + resampler.flush()


@pytest.mark.parametrize("voice", ["slt", "rms"])
@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("Stop.", "stop"),
        ("be quiet", "stop"),
        ("louder", "louder"),
        ("louder please", "louder"),
        ("quieter", "quieter"),
        ("softer", "quieter"),
        ("repeat that", "repeat"),
        ("say that again", "repeat"),
        ("What time is it?", None),
        ("I stopped it.", None),
        ("yes", None),
        ("hello", None),
        ("thank you", None),
        ("water", None),
        ("later", None),
        ("slower", None),
        ("quite", None),
        ("tell me more", None),
    ],
)
def test_orders_are_told_from_other_words(
    words: OrderWords, text: str, order: Order | None, voice: str, tmp_path: Path
) -> None:
    assert words.heard(spoken(text, voice, tmp_path)) == order
