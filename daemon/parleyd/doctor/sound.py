"""The configured microphone and speaker: whether they exist, can be opened, and deliver or take sound."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from parleyd.core.findings import Finding, error, good, misconfigured, note, skipped, warning
from parleyd.doctor.examination import Examination
from parleyd.doctor.sound_access import Holder
from parleyd.host import python_env, subprocesses

_PROBE_S = 25.0
_ALSAMIXER = "`alsamixer` (F6: the card, F4: capture)"
_PATCHY_SHARE = 0.02


# ---------------------------------------------------------------- devices


def devices(examination: Examination) -> Iterable[Finding]:
    audio = examination.configured().audio
    if audio.mode == "off":
        return [skipped("audio is off")]
    if {audio.input.device, audio.output.device} == {"null"}:
        return [skipped("audio.input.device and audio.output.device are null")]
    answer, problem = _ask("devices", examination)
    examination.sound_opens = answer is not None and not any("problem" in answer[one] for one in ("input", "output"))
    return judge_devices(answer, problem, examination.holders)


def judge_devices(
    answer: Mapping[str, Any] | None, problem: Finding | None, holders: Sequence[Holder]
) -> Iterator[Finding]:
    """answer: of sound_probe.devices; without one, problem. PortAudio calls a device that another program holds busy,
    or does not list it."""
    if answer is None:
        assert problem is not None
        yield problem
        return
    for direction, what in (("input", "microphone"), ("output", "speaker")):
        one = answer[direction]
        held = [holder for holder in holders if holder.device.endswith({"input": "c", "output": "p"}[direction])]
        if "problem" not in one:
            yield good(_opened(what, one))
        elif any(holder.is_daemon for holder in held):
            yield note(f"{what}: in use by parleyd itself", "to try it, stop the daemon: sudo systemctl stop parleyd")
        elif held:
            who = ", ".join(f"{holder.name or 'a program'} (pid {holder.pid}) holds {holder.device}" for holder in held)
            hint = "end it, if the configuration means that device: one in use is busy, or not even listed"
            yield error(f"{what}: {one['problem']}; {who}", hint)
        elif "is called" in one["problem"] or "may be any of" in one["problem"] or "channel" in one["problem"]:
            yield misconfigured(f"{what}: {one['problem']}", one["hint"])
        else:
            yield error(f"{what}: {one['problem']}", one["hint"])


def _opened(what: str, one: Mapping[str, Any]) -> str:
    if one["rates_hz"] is None:
        return f"{what}: {one['name']}"
    rates = "/".join(f"{rate / 1000:g}" for rate in one["rates_hz"])
    also = f", opens at {rates} kHz" if rates else ""
    hears = f"; {heard}" if (heard := one.get("hears")) else ""
    return f"{what}: {one['name']} [{one['host_api']}]{also}, used at {one['opened_hz'] / 1000:g} kHz{hears}"


# ---------------------------------------------------------------- level


def level(examination: Examination) -> Iterable[Finding]:
    if examination.configured().audio.mode == "off":
        return [skipped("audio is off")]
    microphone = examination.configured().audio.input
    if microphone.device == "null" or microphone.device.startswith("wav:"):
        return [skipped(f"audio.input.device is {microphone.device}")]
    if any(holder.is_daemon and holder.device.endswith("c") for holder in examination.holders):
        return [skipped("parleyd itself listens to the microphone now; `parleyd tune` measures, once it is stopped")]
    answer, problem = _ask("listen", examination)
    return judge_level(answer) if answer is not None else [problem] if problem else []


def judge_level(answer: Mapping[str, Any]) -> Iterator[Finding]:
    """answer: of sound_probe.listen. Nobody has to speak: only levels that are wrong in every room are reported."""
    from parleyd.tuning.advice import CLIPPED_SHARE, DEAD_SHARE, NOISY_DBFS, OFFSET_PERCENT

    if "problem" in answer:
        yield error(answer["problem"], answer["hint"])
        return
    peak, floor = answer["peak_dbfs"], answer["floor_dbfs"]
    levels = f"peak {peak:.0f} dBFS, noise floor {floor:.0f} dBFS"
    if gain_db := answer["gain_db"]:
        levels += f" with a gain of {gain_db:g} dB"
    if answer["channels_cancel"]:
        yield misconfigured(
            "the channels of the microphone cancel each other: all together nothing but digital zeros, one alone not",
            "set audio.input.channel to 1, or to the number of another that is good",
        )
    elif answer["dead_share"] > DEAD_SHARE:
        yield error(
            "nothing but digital zeros: muted, or the wrong microphone",
            f"unmute it with {_ALSAMIXER} or `pactl set-source-mute @DEFAULT_SOURCE@ 0`; look for a switch on it; or "
            "choose another of `parleyd devices` with audio.input.device",
        )
    elif answer["clipped_share"] > CLIPPED_SHARE:
        share = 100 * answer["clipped_share"]
        hint = f"lower its gain with {_ALSAMIXER}" if gain_db <= 0 else f"lower audio.input.gain_db (now {gain_db:g})"
        yield warning(f"it clips: {share:.2g} % of the samples are at full scale", hint)
    elif floor > NOISY_DBFS:
        hint = "away from fans and speakers, and less gain; `parleyd tune --noise` shows what the gate makes of it"
        yield warning(f"{levels}: loud, if nobody spoke", hint)
    else:
        yield good(f"{levels}; `parleyd tune` measures a voice")
    if _PATCHY_SHARE < answer["dead_share"] <= DEAD_SHARE:
        yield note(
            f"{100 * answer['dead_share']:.0f} % of the time digital zeros: something cuts quiet sound away",
            "switch off noise suppression of the device or sound server: it swallows the beginnings of words",
        )
    if answer["offset_percent"] > OFFSET_PERCENT:
        yield note(f"a DC offset of {answer['offset_percent']:.1f} %", "another input or cable usually fixes it")


# ---------------------------------------------------------------- the child


def _ask(what: str, examination: Examination) -> tuple[dict[str, Any] | None, Finding | None]:
    import msgspec

    audio = msgspec.json.encode(examination.configured().audio).decode()
    command = [*python_env.command(), "-m", "parleyd.doctor.sound_probe", what, audio]
    try:
        done = subprocesses.ask(command, timeout_s=_PROBE_S)
    except subprocesses.LateError:
        return None, judge_end(None, "")
    lines = done.output.splitlines()
    if done.status == 0 and lines:
        return json.loads(lines[-1]), None
    return None, judge_end(done.status, done.errors)


def judge_end(exit_code: int | None, stderr: str) -> Finding:
    """The finding for a child process without an answer. exit_code: None if it hung; negative: the signal that killed
    it."""
    if exit_code is None:
        hint = "restart the sound server (systemctl --user restart pipewire pulseaudio), or replug the device"
        return error(f"the sound system hangs: no answer within {_PROBE_S:g} s", hint)
    last = (stderr.strip().splitlines() or [""])[-1]
    if exit_code == -signal.SIGABRT:
        return error(
            f"PortAudio ended the process{': ' + last if last else ''}",
            "the ALSA configuration is probably broken: see ~/.asoundrc, /etc/asound.conf and ALSA_CONFIG_PATH; "
            "`aplay -L` must work",
        )
    return error(f"the sound devices could not be looked at: {last or f'exit code {exit_code}'}", "`parleyd devices`")
