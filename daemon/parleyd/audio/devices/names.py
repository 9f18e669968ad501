"""Makes the devices of a configuration. All code that opens a microphone uses this module, so that every key means the
same everywhere."""

from __future__ import annotations

from pathlib import Path

from parleyd.audio.devices.device import DeviceError, InputDevice, OutputDevice
from parleyd.audio.devices.portaudio import PortAudioInput, PortAudioOutput
from parleyd.config.schema import Audio, AudioInput


def microphone_of(section: AudioInput) -> InputDevice:
    """The microphone of audio.input, from input_device. Capture applies its gain: audio/capture/input_gain.py."""
    return input_device(section.device, section.channel)


def devices_of(audio: Audio, *, is_cut: bool = False) -> tuple[InputDevice, OutputDevice]:
    """Microphone and speaker, from device_pair; null devices with audio.mode: off."""
    if audio.mode == "off":
        return device_pair("null", "null")
    return device_pair(audio.input.device, audio.output.device, input_channel=audio.input.channel, is_cut=is_cut)


def input_device(spec: str, channel: int | None = None) -> InputDevice:
    """spec: `default`, `null`, `wav:PATH`, or a part of a device's name. A device or file that does not exist is an
    error when it is opened; DeviceError is raised here only for an impossible name.

    channel: the number of the channel, from 1; None: the mean of all channels."""
    # Imported where it is asked for, because numpy comes with it, and sound cards open before that is imported.
    if spec == "null":
        from parleyd.audio.devices.null import NullInput

        return NullInput()
    if spec.startswith("wav:"):
        from parleyd.audio.devices.wav import WavInput

        return WavInput(_path(spec), channel)
    return PortAudioInput(_sound_device(spec), channel)


def output_device(spec: str, *, is_cut: bool = False) -> OutputDevice:
    """Like input_device. Opening `wav:PATH` the first time overwrites the file. is_cut: close() is used to end sound
    that is not to be heard any more (`barge_in.cut: sharp`), and has to do so at once."""
    if spec == "null":
        from parleyd.audio.devices.null import NullOutput

        return NullOutput()
    if spec.startswith("wav:"):
        from parleyd.audio.devices.wav import WavOutput

        return WavOutput(_path(spec))
    return PortAudioOutput(_sound_device(spec), is_cut=is_cut)


def device_pair(
    input_spec: str, output_spec: str, *, input_channel: int | None = None, is_cut: bool = False
) -> tuple[InputDevice, OutputDevice]:
    """Returns the two devices of a conversation. Raises DeviceError, also if both are the same file, which would be
    overwritten before it is read."""
    if input_spec.startswith("wav:") and output_spec.startswith("wav:"):
        path = _path(output_spec)
        if _path(input_spec).resolve() == path.resolve():
            raise DeviceError(
                f"wav:{path} is both the microphone and the speaker", "give audio.output.device another file"
            )
    return input_device(input_spec, input_channel), output_device(output_spec, is_cut=is_cut)


def _path(spec: str) -> Path:
    path = spec.removeprefix("wav:")
    if not path:
        raise DeviceError("'wav:' names no file", "write wav:PATH, for example wav:speaker.wav")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DeviceError(f"wav:{path}: there is no such user", "write the whole path") from error


def _sound_device(spec: str) -> str:
    if not spec.strip():
        raise DeviceError("the device's name is empty", "write default, a part of its name, wav:PATH or null")
    return spec.strip()
