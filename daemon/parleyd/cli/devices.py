"""`parleyd devices`: lists the sound devices."""

from __future__ import annotations

import argparse
import json
import os
import re
from typing import NamedTuple

from msgspec.structs import asdict

from parleyd.audio.devices import alsa
from parleyd.audio.devices.deadlines import in_time
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.native_output import keep_stderr_apart
from parleyd.audio.devices.portaudio import find
from parleyd.audio.devices.portaudio_host import CardDevice, Direction, host
from parleyd.audio.devices.server_devices import Kind, hdmi_last, listed_by_server
from parleyd.audio.devices.sound_server import Source, source_behind
from parleyd.cli.terminal import show
from parleyd.core.errors import UserError
from parleyd.core.text import one_line

_RATES_HZ = (16_000, 24_000, 44_100, 48_000)
# Entries of the configuration of alsa-lib and alsa-plugins.
_STOCK = re.compile(
    r"sysdefault|front|rear|center_lfe|side|surround\d\d|iec958|spdif|hdmi|dmix|dsnoop|dsp|"
    r"lavrate|samplerate|speexrate|speex|a52|upmix|vdownmix|oss"
)


class _Found(NamedTuple):
    """listed: the devices by direction. defaults: the index of the default device. rates_hz: by direction and index,
    the rates that can be opened. sources: by index, the sound server's source behind a microphone."""

    listed: dict[Direction, list[CardDevice]]
    defaults: dict[Direction, int | None]
    rates_hz: dict[tuple[Direction, int], list[int]]
    sources: dict[int, Source]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "devices",
        description="Lists microphones and speakers, the rates at which they open, and which is the default. "
        "Exit code 69 when there are none, or the sound server hangs.",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 69 if there is neither a microphone nor a speaker, or if PortAudio hangs."""
    # A thread that hangs inside PortAudio keeps standard error muted.
    keep_stderr_apart()
    try:
        found = in_time(_look, "listing the devices")
    except DeviceError as error:
        raise UserError(str(error), "see whether the sound server hangs", os.EX_UNAVAILABLE) from error
    if args.json:
        print(
            json.dumps(
                {
                    f"{direction}s": [_facts(found, direction, device) for device in some]
                    for direction, some in found.listed.items()
                },
                indent=2,
            )
        )
    else:
        _print(found)
        _print_server()
    return 0 if any(found.listed.values()) else os.EX_UNAVAILABLE


def _facts(found: _Found, direction: Direction, device: CardDevice) -> dict[str, object]:
    facts = asdict(device)
    facts |= {"default": device.index == found.defaults[direction], "rates_hz": found.rates_hz[direction, device.index]}
    if direction == "input" and (source := found.sources.get(device.index)) is not None:
        facts["source"] = {"name": source.name, "channels": source.names}
    return facts


def _look() -> _Found:
    devices = hdmi_last(host.devices())
    listed: dict[Direction, list[CardDevice]] = {
        "input": [device for device in devices if device.input_channels],
        "output": [device for device in devices if device.output_channels],
    }
    defaults = {direction: host.default_index(direction) for direction in listed}
    rates = {
        (direction, device.index): [rate for rate in _RATES_HZ if host.supports(device, direction, rate)]
        for direction, some in listed.items()
        for device in some
    }
    host.refresh()
    sources = {}
    for device in listed["input"]:
        if device.claims_any("input") and (source := source_behind(alsa.pcm_name(device.name))) is not None:
            sources[device.index] = source
    return _Found(listed, defaults, rates, sources)


def _print(found: _Found) -> None:
    listed, defaults, rates, sources = found
    for direction, some in listed.items():
        show(f"{direction.capitalize()} devices (audio.{direction}.device takes a part of the name):")
        shown = [device for device in some if device.index == defaults[direction] or not _STOCK.fullmatch(device.name)]
        width = max((len(one_line(device.name)) for device in shown), default=0)
        for device in shown:
            mark = "*" if device.index == defaults[direction] else " "
            api = "" if device.host_api == "ALSA" else f", by {device.host_api}"
            opens = _opens(rates[direction, device.index])
            channels = _channels(device, direction, sources.get(device.index) if direction == "input" else None)
            _row(f" {mark} {one_line(device.name):<{width}}  {channels}, {opens}{api}")
        if others := [device.name for device in some if device not in shown]:
            _row(f"   ALSA's own names for the same hardware: {one_line(', '.join(others))}")
        if not some:
            _print_none(direction)
    if any(index is not None for index in defaults.values()):
        show("* = default. Always there: wav:PATH and null.")


def _print_server() -> None:
    """Prints the devices of PulseAudio or PipeWire behind `default` and `pulse`, because ALSA does not know their
    names."""
    kinds: tuple[tuple[Kind, str], ...] = (("source", "Microphones"), ("sink", "Speakers"))
    for kind, what in kinds:
        found = listed_by_server(kind)
        if found is None:
            return
        show(f"{what} of the sound server, for the device default or pulse:")
        for one in found:
            _row(f" {'*' if one.is_default else ' '} {one_line(one.description)}")
            _row(f"     {one_line(one.name)}")
        if found:
            _row(f"   another one: pactl set-default-{kind} NAME")
        else:
            print("   none")


def _channels(device: CardDevice, direction: Direction, source: Source | None) -> str:
    if source is None and device.claims_any(direction):
        return "any number of channels"
    count = device.channels(direction) if source is None else len(source.positions)
    return "1 channel" if count == 1 else f"{count} channels"


def _opens(rates_hz: list[int]) -> str:
    if not rates_hz:
        return "does not open now"
    return f"opens at {'/'.join(f'{rate_hz / 1000:g}' for rate_hz in rates_hz)} kHz"


def _print_none(direction: Direction) -> None:
    try:
        find("default", direction)
    except DeviceError as error:
        _row(f"   none: {one_line(str(error))}")
        _row(f"   {one_line(error.hint)}")


def _row(text: str) -> None:
    show(text, indent="     ")
