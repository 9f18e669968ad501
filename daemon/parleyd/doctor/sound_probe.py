"""A child process of the doctor that touches the sound devices: PortAudio may hang there, or end the process.

    python -m parleyd.doctor.sound_probe devices '{"input": {"device": "default"}, "output": {"device": "default"}}'

Its second argument is the configuration's `audio`.

Prints one line of JSON, which contains all problems with the devices.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from typing import Any

import msgspec

from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.names import microphone_of, output_device
from parleyd.audio.devices.portaudio import PortAudioInput, PortAudioOutput, find
from parleyd.audio.devices.portaudio_host import Direction, host
from parleyd.audio.gate.gate import Gate
from parleyd.audio.gate.vad import detector
from parleyd.config.schema import Audio
from parleyd.tuning.advice import DEAD_SHARE, Facts, facts_of
from parleyd.tuning.recording import channels_cancel, record
from parleyd.tuning.rehearsal import rehearse

RATES_HZ = (16_000, 24_000, 44_100, 48_000)
LISTEN_S = 2.0
# A speaker is stuck if it does not take this number of periods within this time.
_PERIODS, _TAKES_S = 10, 3.0


def devices(audio: Audio) -> dict[str, Any]:
    """For both directions: the name, the rates that can be opened, the channels of a microphone; or the problem and its
    hint."""
    return {"input": _opens(audio, "input"), "output": _opens(audio, "output")}


def _opens(audio: Audio, direction: Direction) -> dict[str, Any]:
    spec = (audio.input if direction == "input" else audio.output).device
    try:
        if spec == "null" or spec.startswith("wav:"):
            if direction == "input":
                microphone = microphone_of(audio.input)
                with contextlib.closing(microphone):
                    microphone.open(lambda _pcm, _start_s: None)
            return {"name": spec, "rates_hz": None}
        device = find(spec.strip(), direction)
        rates = [rate for rate in RATES_HZ if host.supports(device, direction, rate)]
        rate_hz, hears = _start(audio, direction)
        told = {"name": device.name, "host_api": device.host_api, "rates_hz": rates, "opened_hz": rate_hz}
        return told | ({"hears": hears} if hears else {})
    except DeviceError as refusal:
        return {"problem": str(refusal), "hint": refusal.hint}


def _start(audio: Audio, direction: Direction) -> tuple[int, str]:
    """Opens the device like the daemon, with silence for a speaker. Returns the rate and the channels that the daemon
    would use. Raises DeviceError."""
    flows = threading.Semaphore(0)
    if direction == "input":
        microphone = microphone_of(audio.input)
        assert isinstance(microphone, PortAudioInput)
        with contextlib.closing(microphone):
            rate_hz = microphone.open(lambda _pcm, _start_s: flows.release()).rate_hz
            rate_hz = _await(flows, rate_hz, f"the microphone '{microphone.name}' delivers no sound")
            return rate_hz, microphone.hears
    speaker = output_device(audio.output.device)
    assert isinstance(speaker, PortAudioOutput)

    def silence(samples: int) -> bytes:
        flows.release()
        return bytes(2 * samples)

    with contextlib.closing(speaker):
        rate_hz = speaker.open(silence).rate_hz
        return _await(flows, rate_hz, f"the speaker '{speaker.name}' takes no sound"), ""


def _await(flows: threading.Semaphore, rate_hz: int, otherwise: str) -> int:
    for _ in range(_PERIODS):
        if not flows.acquire(timeout=_TAKES_S):
            raise DeviceError(otherwise, "its driver or the sound server hangs: restart the server, or replug it")
    return rate_hz


def listen(audio: Audio) -> dict[str, Any]:
    try:
        pcm, rate_hz = record(microphone_of(audio.input), LISTEN_S, audio.input.gain_db)
    except DeviceError as refusal:
        return {"problem": str(refusal), "hint": refusal.hint}
    facts: Facts = facts_of(rehearse(pcm, rate_hz, detector("webrtcvad", 2), Gate(500, 900)))
    return {
        "peak_dbfs": facts.peak_dbfs,
        "floor_dbfs": facts.floor_dbfs,
        "clipped_share": facts.clipped_share,
        "dead_share": facts.dead_share,
        "offset_percent": facts.offset_percent,
        "gain_db": audio.input.gain_db,
        "channels_cancel": facts.dead_share > DEAD_SHARE and channels_cancel(audio.input),
    }


def main() -> None:
    does = {"devices": devices, "listen": listen}[sys.argv[1]]
    print(json.dumps(does(msgspec.json.decode(sys.argv[2], type=Audio))), flush=True)


if __name__ == "__main__":
    main()
