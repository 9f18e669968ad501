"""A child process of the doctor that touches the sound devices: PortAudio may hang there, or end the process.

    python -m parleyd.doctor.sound_probe devices '{"input": "default", "channel": null, "output": "default"}'

Prints one line of JSON. Everything that goes wrong with a device is part of it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from typing import Any

from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.names import input_device
from parleyd.audio.devices.portaudio import PortAudioInput, PortAudioOutput, find
from parleyd.audio.devices.portaudio_host import Direction, host
from parleyd.audio.gate import Gate
from parleyd.audio.vad import detector
from parleyd.tuning.advice import Facts, facts_of
from parleyd.tuning.recording import record
from parleyd.tuning.rehearsal import rehearse

RATES_HZ = (16_000, 24_000, 44_100, 48_000)
LISTEN_S = 2.0
# Periods that a speaker takes within this time, or it is stuck.
_PERIODS, _TAKES_S = 10, 3.0


def devices(asked: dict[str, Any]) -> dict[str, Any]:
    """Of both directions: the name, the rates that open, or what is wrong and its mend."""
    return {
        "input": _opens(asked["input"], "input", asked["channel"]),
        "output": _opens(asked["output"], "output", None),
    }


def _opens(spec: str, direction: Direction, channel: int | None) -> dict[str, Any]:
    try:
        if spec == "null" or spec.startswith("wav:"):
            if direction == "input":
                microphone = input_device(spec, channel)
                with contextlib.closing(microphone):
                    microphone.open(lambda _pcm, _start_s: None)
            return {"name": spec, "rates_hz": None}
        device = find(spec.strip(), direction)
        rates = [rate for rate in RATES_HZ if host.supports(device, direction, rate)]
        rate_hz = _start(spec, direction, channel)
        return {"name": device.name, "host_api": device.host_api, "rates_hz": rates, "opened_hz": rate_hz}
    except DeviceError as refusal:
        return {"problem": str(refusal), "mend": refusal.mend}


def _start(spec: str, direction: Direction, channel: int | None) -> int:
    """The rate at which the daemon would use it; silence for a speaker. Raises DeviceError."""
    flows = threading.Semaphore(0)
    if direction == "input":
        microphone = PortAudioInput(spec.strip(), channel)
        with contextlib.closing(microphone):
            rate_hz = microphone.open(lambda _pcm, _start_s: flows.release()).rate_hz
            return _await(flows, rate_hz, f"the microphone '{microphone.name}' delivers no sound")
    speaker = PortAudioOutput(spec.strip())

    def silence(samples: int) -> bytes:
        flows.release()
        return bytes(2 * samples)

    with contextlib.closing(speaker):
        rate_hz = speaker.open(silence).rate_hz
        return _await(flows, rate_hz, f"the speaker '{speaker.name}' takes no sound")


def _await(flows: threading.Semaphore, rate_hz: int, otherwise: str) -> int:
    for _ in range(_PERIODS):
        if not flows.acquire(timeout=_TAKES_S):
            raise DeviceError(otherwise, "its driver or the sound server hangs: restart the server, or replug it")
    return rate_hz


def listen(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        pcm, rate_hz = record(input_device(asked["input"], asked["channel"]), LISTEN_S)
    except DeviceError as refusal:
        return {"problem": str(refusal), "mend": refusal.mend}
    facts: Facts = facts_of(rehearse(pcm, rate_hz, detector("webrtcvad", 2), Gate(500, 900)))
    return {
        "peak_dbfs": facts.peak_dbfs,
        "floor_dbfs": facts.floor_dbfs,
        "clipped_share": facts.clipped_share,
        "dead_share": facts.dead_share,
        "offset_percent": facts.offset_percent,
    }


def main() -> None:
    does = {"devices": devices, "listen": listen}[sys.argv[1]]
    print(json.dumps(does(json.loads(sys.argv[2]))), flush=True)


if __name__ == "__main__":
    main()
