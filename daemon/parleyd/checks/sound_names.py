"""A child process of this_machine.py that looks up sound devices by their names.

    python -m parleyd.checks.sound_names '{"input": "default", "output": "USB"}'

Prints one line of JSON: for each direction with a missing device, the problem and its hint.
"""

from __future__ import annotations

import json
import sys

from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.portaudio import find
from parleyd.audio.devices.portaudio_host import Direction


def main() -> None:
    asked: dict[Direction, str] = json.loads(sys.argv[1])
    problems = {}
    for direction, spec in asked.items():
        try:
            find(spec, direction)
        except DeviceError as error:
            problems[direction] = (str(error), error.hint)
    print(json.dumps(problems), flush=True)


if __name__ == "__main__":
    main()
