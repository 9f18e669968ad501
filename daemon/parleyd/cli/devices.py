"""`parleyd devices`: the sound devices there are."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict

from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.portaudio import CardDevice, Direction, find, host

_RATES_HZ = (16_000, 24_000, 44_100, 48_000)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("devices", help="list the sound devices")
    parser.add_argument("--json", action="store_true", help="print facts for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 69 when there is neither a microphone nor a speaker."""
    devices = host.devices()
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
    if args.json:
        print(
            json.dumps(
                {
                    f"{direction}s": [
                        asdict(device)
                        | {"default": device.index == defaults[direction], "rates_hz": rates[direction, device.index]}
                        for device in some
                    ]
                    for direction, some in listed.items()
                },
                indent=2,
            )
        )
    else:
        _print(listed, defaults, rates)
    return 0 if any(listed.values()) else os.EX_UNAVAILABLE


def _print(
    listed: dict[Direction, list[CardDevice]],
    defaults: dict[Direction, int | None],
    rates: dict[tuple[Direction, int], list[int]],
) -> None:
    for direction, some in listed.items():
        print(f"{direction.capitalize()} devices (audio.{direction}.device takes a part of the name):")
        for device in some:
            mark = "*" if device.index == defaults[direction] else " "
            channels = device.channels(direction)
            opens = "/".join(f"{rate / 1000:g}" for rate in rates[direction, device.index])
            opens = f"opens at {opens} kHz" if opens else "does not open now"
            print(
                f" {mark} {device.index:2}  {device.name}  [{device.host_api}]  "
                f"{channels} channel{'s' if channels != 1 else ''}, default {device.default_rate_hz} Hz, {opens}"
            )
        if not some:
            _print_none(direction)
    if any(index is not None for index in defaults.values()):
        print("* = default. Always there: wav:PATH and null.")


def _print_none(direction: Direction) -> None:
    try:
        find("default", direction)
    except DeviceError as error:
        print(f"   none: {error}\n   {error.mend}")
