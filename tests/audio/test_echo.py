"""What is the person's and what the speaker's: half duplex, the canceller, and noticing that neither was enough."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from echoes import echo_of, frame_of, frames_of, power, voice
from hypothesis import given
from hypothesis import strategies as st

from parleyd.audio.echo.canceller import (
    _HOLD_FRAMES,
    _SETTLE_FRAMES,
    EchoCanceller,
    EchoCancellerMissingError,
    EchoPath,
    HalfDuplex,
)
from parleyd.audio.echo.far_end import FarEnd, FarFrame
from parleyd.audio.echo.linear import LinearCanceller, LinearFrame
from parleyd.audio.echo.linear_filter import BANDS, PARTS, LinearFilter
from parleyd.audio.echo.near_end import AecWitness, NearEnd
from parleyd.audio.echo.self_echo import FRAMES, SelfEcho
from parleyd.audio.gate.gate import ONSET_SPEECH_MS
from parleyd.audio.gate.vad import Vad
from parleyd.audio.pcm import FRAME_MS, FRAME_SAMPLES, Frame, samples_of, to_pcm

# ---------------------------------------------------------------- half duplex


@pytest.mark.parametrize(
    ("start_s", "audible", "silent_from_s", "deaf"),
    [
        (10.00, False, 0.0, False),  # nothing was ever played
        (10.00, True, 0.0, True),  # the first of an answer waits for the device
        (10.00, True, 12.0, True),
        (12.00, False, 12.0, True),  # the tail
        (12.29, False, 12.0, True),
        (12.30, False, 12.0, False),
        (12.10, False, 11.0, False),  # it was cut: silent earlier than was foreseen
    ],
)
def test_half_duplex_is_deaf_while_the_agent_is_heard_and_a_tail(
    start_s: float, audible: bool, silent_from_s: float, deaf: bool
) -> None:
    assert HalfDuplex(300).deaf(start_s, audible=audible, silent_from_s=silent_from_s) is deaf


@given(st.integers(0, 3000), st.floats(0, 100), st.floats(0, 100))
def test_half_duplex_hears_again_exactly_a_tail_after_the_end(tail_ms: int, silent_s: float, start_s: float) -> None:
    deaf = HalfDuplex(tail_ms).deaf(start_s, audible=False, silent_from_s=silent_s)
    assert deaf == (start_s < silent_s + tail_ms / 1000)


# ---------------------------------------------------------------- the canceller


def test_the_linear_filter_removes_the_echo_and_forecasts_what_it_leaves() -> None:
    far = voice(8.0, 3, 0.1)
    heard, linear = echo_of(far), LinearCanceller()
    left, forecasts, truths = [], [], []
    for near, reference in zip(frames_of(heard), frames_of(far), strict=True):
        made = linear.step(near, reference)
        left.append(made.residual)
        forecasts.append(float(made.expected_bands.sum()))
        truths.append(float(made.residual_bands.sum()))
    assert power(left[200:]) < power(frames_of(heard)[200:]) / 100
    assert 0.5 < np.median(np.asarray(forecasts[200:]) / np.asarray(truths[200:])) < 50


def test_the_filter_lets_the_person_through_and_stays_where_it_is() -> None:
    far, person = voice(10.0, 3, 0.1), voice(10.0, 4, 0.05)
    person[: 6 * 16_000] = person[8 * 16_000 :] = 0.0
    heard, linear = echo_of(far) + person, LinearCanceller()
    left = [linear.step(n, f).residual for n, f in zip(frames_of(heard), frames_of(far), strict=True)]
    during = slice(310, 390)
    error = [a - b for a, b in zip(left[during], frames_of(person)[during], strict=True)]
    assert power(error) < power(frames_of(person)[during]) / 10
    assert power(left[405:430]) < power(frames_of(echo_of(far))[405:430]) / 30


def test_a_far_end_that_is_given_later_finds_its_path_again() -> None:
    far, later = voice(8.0, 3, 0.1), 100
    heard, linear, left = echo_of(far), LinearCanceller(), []
    delayed = np.concatenate([np.zeros(later, np.float32), far])
    for number, near in enumerate(frames_of(heard)):
        at = number * FRAME_SAMPLES
        if number == 300:
            linear.shift(later)
        if number < 300:
            left.append(linear.step(near, far[at : at + FRAME_SAMPLES]).residual)
        elif number < 300 + PARTS:
            linear.pass_by(delayed[at : at + FRAME_SAMPLES])
        else:
            left.append(linear.step(near, delayed[at : at + FRAME_SAMPLES]).residual)
    assert power(left[300:303]) < 3 * power(left[280:300])


@pytest.mark.parametrize("other", ["an offset", "a hum", "nothing"])
def test_a_steady_path_has_no_delay_error(other: str) -> None:
    far = voice(10.0, 3, 0.1)
    at_s = np.arange(len(far)) / 16_000
    disturbance = {"an offset": 0.1 + 0 * at_s, "a hum": 0.03 * np.sin(2 * np.pi * 50 * at_s), "nothing": 0 * at_s}
    heard, linear, errors = echo_of(far) * 0.1 + disturbance[other], LinearCanceller(), []
    for near, reference in zip(frames_of(heard.astype(np.float32)), frames_of(far), strict=True):
        errors.append(linear.step(near, reference).delay_error_samples)
    assert abs(np.mean(errors[100:])) < 0.02
    assert np.max(np.abs(errors[100:])) < 1.0


def test_an_echo_that_comes_later_errors() -> None:
    far, linear, errors = voice(10.0, 3, 0.1), LinearCanceller(), []
    heard = echo_of(far)
    heard[5 * 16_000 :] = heard[5 * 16_000 - 1 : -1]
    for near, reference in zip(frames_of(heard), frames_of(far), strict=True):
        errors.append(linear.step(near, reference).delay_error_samples)
    assert abs(np.mean(errors[200:249])) < 0.05
    assert 0.1 < np.max(errors[250:260]) < 1.5


@pytest.mark.parametrize("later", [-100, 15, 71, 300])
def test_an_echo_that_moves_all_at_once_is_found_where_it_is_and_is_no_person(later: int) -> None:
    far, far_end, jumps, seen = voice(16.0, 3, 0.1), FarEnd(), [], []
    path = EchoPath(far_end)
    far_end.start(16_000, 0.020)
    heard = np.concatenate([echo_of(far)[: 8 * 16_000], echo_of(far, 900 + later)[8 * 16_000 :]])
    left = []
    for number, near in enumerate(frames_of(heard)):
        at = number * FRAME_SAMPLES
        far_end.take(to_pcm(far[at : at + FRAME_SAMPLES] * 32768), number * 0.02)
        cancelled, _ = path.step(frame_of(near, (number - 1) * 0.02))
        if cancelled.delay_jump_samples:
            jumps.append((number, cancelled.delay_jump_samples))
        seen.append(cancelled.may_be_speech)
        left.append(samples_of(cancelled.frame.pcm).astype(np.float32) / 32768)
    assert [number for number, person in enumerate(seen) if person and number >= 20] == []
    assert len(jumps) == 1
    assert abs(jumps[0][1] - later) <= 1
    assert 400 <= jumps[0][0] < 425
    assert power(left[450:500]) < 0.01 * power(frames_of(heard)[450:500])


def test_a_person_who_talks_over_the_agent_is_no_jump() -> None:
    far, linear = voice(20.0, 3, 0.1), LinearCanceller()
    heard = echo_of(far) + np.concatenate([np.zeros(5 * 16_000), voice(15.0, 4, 0.05)]).astype(np.float32)
    for near, reference in zip(frames_of(heard), frames_of(far), strict=True):
        assert not linear.step(near, reference).delay_jump_samples


def test_a_siren_does_not_make_the_filter_useless() -> None:
    at_s = np.arange(60 * 16_000) / 16_000
    siren = (0.2 * np.sin(2 * np.pi * (600 * at_s + 300 / np.pi * np.sin(np.pi * at_s)))).astype(np.float32)
    far = np.concatenate([siren, voice(8.0, 3, 0.1)])
    heard, linear, left = echo_of(far), LinearCanceller(), []
    for near, reference in zip(frames_of(heard), frames_of(far), strict=True):
        made = linear.step(near, reference)
        left.append(made.residual)
        assert made.echo_power <= 1.0
    assert power(left[-100:]) < power(frames_of(heard)[-100:]) / 10


def run(
    canceller: EchoCanceller, heard: np.ndarray, far: np.ndarray, lost: range = range(0)
) -> tuple[list[np.ndarray], list[bool]]:
    """lost: frames in the place of which the microphone was not heard."""
    out, person = [], []
    for number, (near, reference) in enumerate(zip(frames_of(heard), frames_of(far), strict=True)):
        cancelled = canceller.step(Frame.silence(0.0) if number in lost else frame_of(near), FarFrame(reference))
        out.append(samples_of(cancelled.frame.pcm).astype(np.float32) / 32768)
        person.append(cancelled.may_be_speech)
    return out, person


def test_the_agent_alone_is_never_a_person_and_the_person_over_it_is() -> None:
    far, person = voice(10.0, 3, 0.1), voice(10.0, 4, 0.05)
    person[: 6 * 16_000] = person[8 * 16_000 :] = 0.0
    out, seen = run(EchoCanceller(), echo_of(far) + person, far)
    assert not any(seen[:295])
    assert not any(seen[420:])
    loud = [i for i in range(305, 395) if power([frames_of(person)[i]]) > 0.05**2 / 10]
    assert np.mean([seen[i] for i in loud]) > 0.9
    kept = [power([out[i]]) > power([frames_of(person)[i]]) / 4 for i in loud]
    assert np.mean(kept) > 0.9, "not muted"


def test_while_the_far_end_is_silent_frames_pass_untouched() -> None:
    canceller = EchoCanceller()
    frame, silence = frame_of(voice(0.02, 1, 0.1)), FarFrame(None)
    assert canceller.step(frame, silence).frame is frame
    assert canceller.step(frame, silence).may_be_speech
    canceller.step(frame, FarFrame(voice(0.02, 2, 0.1)))
    for _ in range(50):
        assert canceller.step(frame, silence).frame is not frame, "there may be an echo in it"
    assert canceller.step(frame, silence).frame is frame


@pytest.mark.parametrize("noise", [0.0015, 0.01])
def test_a_lost_or_muted_microphone_says_nothing_of_the_room_nor_of_the_echo(noise: float) -> None:
    far = voice(12.0, 3, 0.1)
    heard = echo_of(far) + (np.random.default_rng(9).standard_normal(len(far)) * noise).astype(np.float32)
    gap = range(300, 450)
    out, seen = run(EchoCanceller(), heard, far, lost=gap)
    assert not any(any(frame) for frame in out[gap.start : gap.stop])
    assert not any(seen[: gap.stop])
    # Onset takes 120 ms; without what was learnt before, the room's noise is a person for minutes.
    assert sum(seen[gap.stop :]) < 6


def test_a_speaker_that_runs_dry_is_no_person_and_afterwards_the_person_is_heard() -> None:
    """Of the far end 100 ms are never taken, as the stamps of what follows show."""
    far, person = voice(12.0, 3, 0.1), voice(12.0, 4, 0.05)
    person[: 9 * 16_000] = person[11 * 16_000 :] = 0.0
    hole = slice(6 * 16_000, 6 * 16_000 + 1600)
    far[hole] = 0.0
    heard, far_end, canceller, seen = echo_of(far) + person, FarEnd(), EchoCanceller(), []
    far_end.start(16_000, 0.020)
    for number, near in enumerate(frames_of(heard)):
        for at in range(number * FRAME_SAMPLES, (number + 1) * FRAME_SAMPLES, 160):
            if not hole.start <= at < hole.stop:
                far_end.take(to_pcm(far[at : at + 160] * 32768), at / 16_000)
        seen.append(canceller.step(frame_of(near), far_end.frame(number * 0.02)).may_be_speech)
    assert not any(seen[1:445])
    loud = [i for i in range(455, 545) if power([frames_of(person)[i]]) > 0.05**2 / 10]
    assert np.mean([seen[i] for i in loud]) > 0.9


def test_the_canceller_knows_the_path_at_once_where_the_far_end_is_given_later() -> None:
    far, later, canceller = voice(8.0, 3, 0.1), 100, EchoCanceller()
    delayed = np.concatenate([np.zeros(later, np.float32), far])
    for number, near in enumerate(frames_of(echo_of(far))[: 307 + PARTS]):
        moves, given = number == 306, far if number < 306 else delayed
        reference = given[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES]
        made = canceller.step(frame_of(near), FarFrame(reference, not moves, later if moves else 0))
    # The first frame after it is aligned again: nothing was learnt since.
    left = samples_of(made.frame.pcm).astype(np.float32) / 32768
    assert not made.may_be_speech
    assert power([left]) < power([near]) / 100


@pytest.mark.parametrize("ppm", [100, -100])
def test_how_much_the_clocks_differ_is_heard(ppm: int) -> None:
    """The times do not tell: both devices hand over as if they kept the same pace."""
    far = voice(30.0, 3, 0.1)
    count = np.arange(len(far))
    heard = frames_of(np.interp(count / (1 + ppm * 1e-6), count, echo_of(far)).astype(np.float32))
    seen: dict[bool, list[bool]] = {}
    for followed in (True, False):
        far_end, canceller, seen[followed] = FarEnd(), EchoCanceller(), []
        far_end.start(16_000, 0.020)
        for number, played in enumerate(frames_of(far)):
            far_end.take(to_pcm(played * 32768), number * 0.02)
            reference = far_end.frame((number - 1) * 0.02)
            if not number:
                continue
            cancelled = canceller.step(frame_of(heard[number - 1]), reference)
            seen[followed].append(cancelled.may_be_speech)
            if followed:
                far_end.correct(cancelled.delay_error_samples, 0)
    assert not any(seen[True][20:])
    assert any(seen[False][20:]), "the scene is one in which it matters"


def test_while_the_far_end_is_not_aligned_nobody_is_a_person() -> None:
    canceller, far, person = EchoCanceller(), voice(4.0, 3, 0.1), voice(4.0, 4, 0.2)
    seen = []
    for number, (near, reference) in enumerate(zip(frames_of(echo_of(far) + person), frames_of(far), strict=True)):
        cancelled = canceller.step(frame_of(near), FarFrame(reference, aligned=not 100 <= number < 150))
        seen.append(cancelled.may_be_speech)
    assert any(seen[50:100])
    assert not any(seen[100 : 149 + PARTS])
    assert any(seen[149 + PARTS :])


def test_the_verdict_needs_no_vad_that_knows_of_echo() -> None:
    far = voice(6.0, 3, 0.1)
    raw = Vad(2)
    fired = [raw.voiced(Frame(to_pcm(frame * 32768), 0.0)) for frame in frames_of(echo_of(far))]
    assert np.mean(fired) > 0.3, "the scene is one that a plain detector falls for"


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=60))
def test_what_the_forecast_explains_is_no_person(steps: list[tuple[float, float, float, float]]) -> None:
    near_end = NearEnd()
    for left, expected, echo, explained in steps:
        bands = np.full(BANDS, left, np.float32)
        verdict = near_end.step(bands, np.full(BANDS, max(left, expected) * 20, np.float32), echo, explained)
        assert not verdict.person(aec_agrees=False)


def test_less_is_enough_when_the_other_canceller_agrees() -> None:
    expected, left = np.full(BANDS, 1e-4, np.float32), np.full(BANDS, 2e-3, np.float32)  # 13 dB over it
    near = NearEnd().step(left, expected, 0.0, 0.0)
    assert not near.person(aec_agrees=False)
    assert near.person(aec_agrees=True)
    assert not NearEnd().step(left, expected, 0.0, 0.5).person(aec_agrees=True), "the echo over again"


def test_what_is_too_faint_to_be_a_person_may_be_the_beginning_of_a_word() -> None:
    near_end, expected = NearEnd(), np.full(BANDS, 1e-4, np.float32)
    near = near_end.step(expected * 10, expected, 0.0, 0.0)
    assert near.weak
    assert not near.person(aec_agrees=False)
    assert not near_end.step(expected * 10, expected, 0.0, 0.5).weak, "the echo over again"
    near = near_end.step(expected * 4, expected, 0.0, 0.0)
    assert near.is_explained, "the forecast may err by that"
    assert not near.weak


def test_what_the_other_canceller_always_leaves_is_no_sign() -> None:
    witness, rng = AecWitness(), np.random.default_rng(1)
    steady = [witness.step((rng.standard_normal(FRAME_SAMPLES) * 0.003).astype(np.float32)) for _ in range(500)]
    assert not any(steady)
    assert witness.step((rng.standard_normal(FRAME_SAMPLES) * 0.1).astype(np.float32))


def test_one_wrong_verdict_does_not_open_the_gate() -> None:
    assert (_HOLD_FRAMES + 1) * FRAME_MS <= ONSET_SPEECH_MS


def test_without_the_package_the_error_names_the_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with pytest.raises(EchoCancellerMissingError) as caught:
        EchoCanceller()
    assert "pywebrtc-audio" in (caught.value.hint or "")


# ---------------------------------------------------------------- at the joins


def test_of_a_person_before_the_far_end_was_lost_nothing_is_left_after_it() -> None:
    canceller, far, person = EchoCanceller(), frames_of(voice(6.0, 3, 0.1)), frames_of(voice(6.0, 4, 0.2))
    echo, lost_from = frames_of(echo_of(voice(6.0, 3, 0.1))), 300
    seen: list[bool] = []
    for number, reference in enumerate(far):
        if number >= 80 and seen[-1] and lost_from == 300:
            lost_from = number  # The person falls silent, and the far end is lost.
        near = echo[number] + (person[number] if number < lost_from else 0.0)
        aligned = not lost_from <= number < lost_from + 10
        seen.append(canceller.step(frame_of(near), FarFrame(reference, aligned=aligned)).may_be_speech)
    assert lost_from < 100
    assert not any(seen[lost_from:])


def test_the_change_from_one_canceller_to_the_other_is_no_click() -> None:
    canceller = EchoCanceller()
    linear, webrtc = np.full(FRAME_SAMPLES, 0.5, np.float32), np.zeros(FRAME_SAMPLES, np.float32)
    made = np.concatenate([canceller._mixed(linear, webrtc, share) for share in (0.0, 1.0, 1.0, 0.0, 0.0)])
    assert np.abs(np.diff(made)).max() < 0.01
    assert made[0] == made[-1] == 0.0
    assert np.all(made[2 * FRAME_SAMPLES : 3 * FRAME_SAMPLES] == 0.5)


def test_a_delay_error_is_told_once_the_path_is_found_again_and_never_beside_a_person() -> None:
    """Else the far end would be moved by what a person says."""
    far, person = voice(8.0, 3, 0.1), voice(8.0, 4, 0.1)
    person[: 300 * FRAME_SAMPLES] = 0.0
    canceller, told = EchoCanceller(), []
    for number, (near, reference) in enumerate(zip(frames_of(echo_of(far) + person), frames_of(far), strict=True)):
        told.append(canceller.step(frame_of(near), FarFrame(reference, aligned=number != 150)))
    settled = 151 + PARTS + _SETTLE_FRAMES - 1
    assert any(one.delay_error_samples for one in told[100:150])
    assert not any(one.delay_error_samples for one in told[150:settled])
    assert any(one.delay_error_samples for one in told[settled:300])
    beside = [one.delay_error_samples for one in told[300:] if one.may_be_speech]
    assert len(beside) > 20
    assert not any(beside)


@pytest.mark.parametrize("jumped", [False, True])
def test_after_a_jump_the_path_is_the_same_and_after_a_loss_it_may_be_another(
    jumped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubted: list[float] = []
    monkeypatch.setattr(LinearFilter, "doubt", lambda _self, share: doubted.append(share))
    far, canceller = voice(4.0, 3, 0.1), EchoCanceller()
    for number, (near, reference) in enumerate(zip(frames_of(echo_of(far)), frames_of(far), strict=True)):
        if number == 150:
            canceller._jumped = jumped
        canceller.step(frame_of(near), FarFrame(reference, aligned=number != 150))
    assert (1.0 in doubted) is not jumped


def test_a_lag_that_grows_while_the_canceller_rests_moves_the_path_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    far, later = voice(8.0, 3, 0.1), 100
    far[300 * FRAME_SAMPLES : 380 * FRAME_SAMPLES] = 0.0
    delayed = np.concatenate([np.zeros(later, np.float32), far])
    far_end, heard, sounds = FarEnd(), frames_of(echo_of(far)), 380
    given = [FarFrame(played) for played in frames_of(far)[:300]]
    given += [FarFrame(None, lag_increase_samples=later if number == 370 else 0) for number in range(300, sounds)]
    given += [FarFrame(played) for played in frames_of(delayed)[sounds:]]
    frames = iter(given)
    monkeypatch.setattr(far_end, "frame", lambda _start_s: next(frames))
    path, residuals = EchoPath(far_end), []
    step = path._canceller._linear.step

    def listened(near: np.ndarray, played: np.ndarray) -> LinearFrame:
        residuals.append((near, (made := step(near, played)).residual))
        return made

    monkeypatch.setattr(path._canceller._linear, "step", listened)
    for near in heard:
        path.step(frame_of(near))
    # The echo of the first frames is softer than the rest of an older one.
    again = residuals[-(len(heard) - sounds) + 4 :][:8]
    assert power([left for _, left in again]) < power([near for near, _ in again]) / 30


def test_a_filter_that_has_diverged_begins_anew() -> None:
    far = voice(8.0, 3, 0.1)
    heard, it, left = echo_of(far), LinearFilter(), []
    loud = range(250, 250 + PARTS + 1)
    for number, (near, reference) in enumerate(zip(frames_of(heard), frames_of(far), strict=True)):
        # For one frame the far end is far beyond full scale, as no speaker plays it.
        estimate = it.estimate(near, reference * (10_000 if number == loud.start else 1))
        if number not in loud:
            it.adapt(estimate.residual)
        left.append(estimate)
    assert any(left[number].echo_power == 0.0 for number in loud)
    assert power([one.residual for one in left[300:330]]) < power(frames_of(heard)[300:330]) / 8


def near_ends(left_db: float, expected_db: float) -> tuple[np.ndarray, np.ndarray]:
    return np.full(BANDS, 10 ** (left_db / 10), np.float32), np.full(BANDS, 10 ** (expected_db / 10), np.float32)


def test_the_distortion_of_a_loud_echo_rings_on_for_a_while() -> None:
    left, expected = near_ends(-40, -90)
    assert NearEnd().step(left, expected, 0.0, 0.0).person(aec_agrees=False), "without an echo it is a person"
    near_end = NearEnd()
    near_end.step(*near_ends(-90, -90), 1.0, 0.0)
    assert not near_end.step(left, expected, 0.0, 0.0).weak
    for _ in range(40):
        near_end.step(*near_ends(-90, -90), 0.0, 0.0)
    assert near_end.step(left, expected, 0.0, 0.0).person(aec_agrees=False)


def test_a_person_who_talks_long_teaches_nothing() -> None:
    near_end = NearEnd()
    assert all(near_end.step(*near_ends(-20, -40), 0.0, 0.0).person(aec_agrees=False) for _ in range(400))


def test_an_echo_hardly_raises_the_noise_floor() -> None:
    near_end = NearEnd()
    for _ in range(500):
        near_end.step(*near_ends(-58, -60), 0.0, 0.0)
    assert near_end.step(*near_ends(-50, -100), 0.0, 0.0).person(aec_agrees=False)


# ---------------------------------------------------------------- self-echo


def levels(seed: int, frames: int = 400) -> list[float]:
    rng = np.random.default_rng(seed)
    smooth = np.convolve(rng.standard_normal(frames + 8), np.ones(8) / 8, "valid")[:frames]
    made: list[float] = (-35 + 25 * smooth).tolist()
    return made


def test_a_microphone_that_follows_the_far_end_is_noticed_once() -> None:
    it, far = SelfEcho(), levels(1)
    near = [-60.0] * 5 + [level - 8 for level in far]
    told = [it.levels(a, b, talk=True) for a, b in zip(near, far, strict=False)]
    assert told.count(True) == 1
    assert told.index(True) < 160


@pytest.mark.parametrize("seed", range(2, 12))
def test_two_who_talk_at_once_are_not_an_echo(seed: int) -> None:
    it = SelfEcho()
    assert not any(it.levels(a, b, talk=True) for a, b in zip(levels(seed), levels(seed + 100), strict=True))


def test_a_stretch_of_sound_that_differs_begins_the_count_anew() -> None:
    it, far, other = SelfEcho(), levels(1, 4 * FRAMES), levels(50, 4 * FRAMES)
    near = [level - 8 for level in far]
    near[FRAMES : 2 * FRAMES] = other[FRAMES : 2 * FRAMES]
    told = [it.levels(a, b, talk=True) for a, b in zip(near, far, strict=True)]
    assert told.index(True) == 4 * FRAMES - 1


def test_levels_do_not_count_while_nobody_talks_or_the_agent_is_silent() -> None:
    it, far = SelfEcho(), levels(1)
    assert not any(it.levels(level, level, talk=False) for level in far)
    assert not any(it.levels(level, -120.0, talk=True) for level in far)


AGENT = "The train leaves from platform nine at eighteen forty two."


@pytest.mark.parametrize(
    ("heard", "certain"),
    [
        (["train leaves from platform nine", "at eighteen forty two the train"], False),
        (["train leaves from platform nine", "leaves from platform 9 at eighteen forty two"], True),
        (["the train leaves from platform nine"] * 2, True),
        (["the train leaves from platform nine"], False),
        (["platform nine?"] * 5, False),
        (["what time does it leave from there"] * 5, False),
    ],
)
def test_the_agents_words_in_the_persons_mouth(heard: list[str], certain: bool) -> None:
    it = SelfEcho()
    it.agent_said(AGENT, 100.0)
    assert any(it.person_said(text, 103.0 + i) for i, text in enumerate(heard)) is certain


def test_people_repeat_what_they_were_told_now_and_then() -> None:
    it, repeated = SelfEcho(), "train leaves from platform nine"
    for at_s, text in ((3.0, repeated), (9.0, "and when does it arrive"), (12.0, repeated), (80.0, repeated)):
        it.agent_said(AGENT, at_s - 3.0)
        assert not it.person_said(text, at_s)
    assert it.person_said(repeated, 85.0)


def test_old_words_of_the_agent_may_be_repeated() -> None:
    it = SelfEcho()
    it.agent_said(AGENT, 100.0)
    assert not any(it.person_said("the train leaves from platform nine", 140.0 + i) for i in range(5))
