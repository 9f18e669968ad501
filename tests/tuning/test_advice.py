"""From facts to words, line by line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from parleyd.tuning.advice import Facts, Loudness, Settings, Trial, advise

GOOD = Facts(
    seconds=15,
    peak_dbfs=-14,
    clipped_share=0,
    offset_percent=0.1,
    dead_share=0,
    floor_dbfs=-62,
    hum_db=4,
    speech_dbfs=-30,
    standing_out_share=0.3,
    voiced_share=0.95,
    pitched_share=0.8,
    openings=3,
    sent_share=0.5,
    torn=0,
    late=0,
)
SHUT = replace(GOOD, openings=0, sent_share=0.0, speech_dbfs=None)


def test_where_all_is_well_nothing_is_to_be_changed() -> None:
    advice = advise(GOOD, Settings())
    assert [each.kind for each in advice] == ["good", "good"]
    assert advice[0].text == "the level is right, and speech is 32 dB above the noise"
    assert "opened 3 times and would have sent 7.5 of 15.0 s" in advice[1].text


@pytest.mark.parametrize(
    ("facts", "kind", "words"),
    [
        (replace(GOOD, peak_dbfs=-41), "change", "peaks at −41 dBFS: raise the capture gain by about 20 dB with `als"),
        (replace(GOOD, peak_dbfs=-31), "change", "raise the capture gain by about 10 dB"),
        (replace(GOOD, clipped_share=0.01), "fault", "clips (1 % of the samples are at full scale): lower the capture"),
        (replace(GOOD, offset_percent=3.2), "change", "DC offset of 3.2 %"),
        (replace(GOOD, dead_share=0.4), "change", "40 % of the recording is digital silence"),
        (replace(GOOD, dead_share=1.0), "fault", "nothing but zeros"),
        (replace(GOOD, floor_dbfs=-40), "change", "the noise floor is high (−40 dBFS)"),
        (replace(GOOD, speech_dbfs=-54), "change", "speech is only 8 dB above the noise"),
        (replace(GOOD, hum_db=25), "change", "25 dB above the noise inside it"),
        (replace(GOOD, sent_share=0.97), "change", "hardly ever closed"),
        (replace(SHUT, standing_out_share=0.01), "fault", "never opened: nothing stood out of the noise (−62 dBFS)"),
        (replace(SHUT, pitched_share=0.1), "fault", "had no pitch, as in a whisper"),
        (SHUT, "fault", "did not top what goes on in the room"),
    ],
)
def test_what_is_wrong_is_said(facts: Facts, kind: str, words: str) -> None:
    assert [each.kind for each in advise(facts, Settings()) if words in each.text] == [kind]


def test_no_tick_where_much_that_sounds_like_speech_would_not_have_been_sent() -> None:
    held = replace(GOOD, seconds=29.7, sent_share=0.35, held_back_ms={"background": 17_000, "no_pitch": 300})
    told = [each for each in advise(held, Settings()) if "sent" in each.text]
    assert [each.kind for each in told] == ["change"]
    assert told[0].text.startswith(
        "17.3 of 29.7 s sound like speech and would not have been sent (17.0 s no louder than the other sounds of "
    )
    little = replace(held, held_back_ms={"no_pitch": 300})
    assert [each.kind for each in advise(little, Settings()) if "sent" in each.text] == ["good"]


@pytest.mark.parametrize(
    ("facts", "settings", "key", "value"),
    [
        (replace(GOOD, torn=2), Settings(), "gate.hangover_ms", 1300),
        (replace(GOOD, torn=2), Settings(hangover_ms=4900), "gate.hangover_ms", 5000),
        (replace(GOOD, late=1), Settings(), "gate.pre_roll_ms", 800),
        (replace(SHUT, voiced_share=0.2), Settings(aggressiveness=3), "gate.aggressiveness", 2),
    ],
)
def test_which_key_to_change_to_what(facts: Facts, settings: Settings, key: str, value: str | int) -> None:
    assert [(each.key, each.value) for each in advise(facts, settings) if each.key] == [(key, value)]


STRICTER = Trial("gate.aggressiveness", 3, 0.5)
STRICTER_NO_HELP = replace(STRICTER, sent_s=6.0)


@pytest.mark.parametrize(
    ("trials", "key", "value", "words"),
    [
        ([replace(STRICTER, sent_s=0.0)], "gate.aggressiveness", 3, "it would have been nothing with"),
        ([STRICTER, Trial("gate.vad", "silero", 0.5)], "gate.aggressiveness", 3, "it would have been 0.5 s with"),
        ([STRICTER, Trial("gate.vad", "silero", 0.0)], "gate.vad", "silero", "it would have been nothing with"),
        ([STRICTER_NO_HELP, Trial("gate.vad", "silero", 6.0)], "wake.mode", "word", "a stricter detector would hardly"),
        ([STRICTER_NO_HELP], "gate.vad", "silero", "a higher aggressiveness would hardly have helped. Against speech"),
        ([], "gate.vad", "silero", "the second detector, which could not be tried: install its package"),
    ],
)
def test_against_noise_what_would_have_helped_most(trials: list[Trial], key: str, value: str | int, words: str) -> None:
    (advice,) = (each for each in advise(GOOD, Settings(), nobody_spoke=True, trials=trials) if each.kind != "good")
    assert (advice.key, advice.value) == (key, value)
    assert "opened the gate 3 times and would have sent 7.5 of 15.0 s" in advice.text
    assert words in advice.text


def test_with_the_second_detector_nothing_stricter_is_claimed_to_have_been_tried() -> None:
    (advice,) = (each for each in advise(GOOD, Settings(vad="silero"), nobody_spoke=True) if each.kind != "good")
    assert (advice.key, advice.value) == ("wake.mode", "word")
    assert "with the second detector: what it hears is speech" in advice.text
    assert "would hardly have helped" not in advice.text


def test_who_did_not_speak_is_not_told_to_raise_the_gain() -> None:
    (advice,) = advise(replace(SHUT, peak_dbfs=-53, standing_out_share=0.0), Settings())
    assert "did you speak?" in advice.text


@pytest.mark.parametrize("trouble", [{"peak_dbfs": -31}, {"clipped_share": 0.01}, {"hum_db": 30}, {"speech_dbfs": -54}])
def test_the_level_is_right_only_where_it_is(trouble: dict[str, Any]) -> None:
    assert not any("level is right" in each.text for each in advise(replace(GOOD, **trouble), Settings()))


def test_an_offset_is_no_hum() -> None:
    found = advise(replace(GOOD, offset_percent=5, hum_db=43), Settings())
    (advice,) = (each for each in found if each.kind != "good")
    assert "DC offset" in advice.text


def test_quiet_noise_is_no_reason_for_more_gain() -> None:
    advice = advise(replace(SHUT, peak_dbfs=-55, standing_out_share=0.0), Settings(), nobody_spoke=True)
    assert [each.kind for each in advice] == ["good"]


def test_in_noise_the_torn_utterances_are_not_the_hangovers_fault() -> None:
    assert not any(each.key for each in advise(replace(GOOD, speech_dbfs=-54, torn=3, late=3), Settings()))


def test_faults_come_first() -> None:
    kinds = [each.kind for each in advise(replace(GOOD, clipped_share=0.1, hum_db=30), Settings())]
    assert kinds == ["fault", "change", "good"]


SOFT = replace(GOOD, peak_dbfs=-46, floor_dbfs=-88, speech_dbfs=-60)


@pytest.mark.parametrize(
    ("facts", "loudness", "value", "words"),
    [
        # What the converter already has needs no making up for: alsamixer first, where there is one.
        (SOFT, Loudness(has_mixer=True), 25, "raise the capture gain by about 25 dB with `alsamixer`"),
        (SOFT, Loudness(has_mixer=True), 25, "where that is not enough, make it louder here with"),
        (SOFT, Loudness(has_mixer=False), 25, "its card has no capture volume: make it louder here with"),
        (SOFT, Loudness(), 25, "where that is not enough, make it louder here with"),
        (SOFT, Loudness(gain_db=12, has_mixer=False), 37, "peaks at −46 dBFS with a gain of 12 dB"),
        (SOFT, Loudness(gain_db=30, has_mixer=False), 40, "make it louder here with"),
        # The noise of the room comes up to -50 dBFS and no further.
        (replace(SOFT, floor_dbfs=-66), Loudness(has_mixer=False), 16, "make it louder here with"),
        (replace(SOFT, floor_dbfs=-53), Loudness(has_mixer=False), None, "come nearer"),
        (SOFT, Loudness(auto_gain=True, has_mixer=False), None, "auto_gain makes it louder by itself"),
    ],
)
def test_a_soft_microphone_is_made_louder(facts: Facts, loudness: Loudness, value: int | None, words: str) -> None:
    (advice,) = (each for each in advise(facts, Settings(), loudness) if "your microphone peaks" in each.text)
    assert words in advice.text
    assert (advice.key, advice.value) == (None if value is None else "audio.input.gain_db", value)
    assert ("alsamixer" in advice.text) is (loudness.has_mixer is not False)


def test_what_the_gain_makes_clip_is_lowered_by_the_gain() -> None:
    loud = replace(GOOD, clipped_share=0.01)
    (advice,) = (each for each in advise(loud, Settings(), Loudness(gain_db=24)) if each.kind == "fault")
    assert "with a gain of 24 dB the microphone clips" in advice.text
    assert (advice.key, advice.value) == ("audio.input.gain_db", 14)


def test_channels_that_cancel_are_not_called_muted() -> None:
    (advice,) = advise(replace(GOOD, dead_share=1.0), Settings(), channels_cancel=True)
    assert "cancel each other" in advice.text
    assert (advice.key, advice.value) == ("audio.input.channel", 1)
