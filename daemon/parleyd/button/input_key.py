"""A key of an input device (evdev): USB buttons, keyboards, remote controls, gpio-keys of the device tree."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from typing import Any

from parleyd.button.contact import ButtonGoneError
from parleyd.config.button import Button
from parleyd.core.errors import UserError
from parleyd.host import python_env

_FOLDER = Path("/dev/input")
_AUTOREPEAT = 2
_MOST_KEYS_SHOWN = 12


def open_key(config: Button) -> InputKey:
    """Opens the device. Raises ButtonGoneError, and UserError for lasting errors."""
    try:
        import evdev
    except ImportError as error:
        text = f"button.device is set, but the package evdev cannot be imported: {error}"
        hint = f"install it: sudo apt install python3-evdev, or {python_env.install('evdev')}"
        raise UserError(text, hint) from error
    code = None
    if config.key is not None:
        code = evdev.ecodes.ecodes.get(config.key)
        if code is None:
            text = f"button.key: there is no key {config.key}"
            raise UserError(text, "press the button while `evtest` runs: that names it")
    device = _find(evdev, str(config.device))
    keys: list[int] = device.capabilities().get(evdev.ecodes.EV_KEY, [])
    if not keys or (code is not None and code not in keys):
        device.close()
        wanted = f"the key {config.key}" if code is not None else "any keys"
        has = ", ".join(_names(evdev, keys)) or "none"
        raise UserError(f"{device.name} does not have {wanted}; its keys are: {has}", "set button.key to one of them")
    return InputKey(device, code, evdev.ecodes.EV_KEY)


def _find(evdev: Any, wanted: str) -> Any:
    if wanted.startswith("/"):
        return _opened(evdev, wanted)
    refused: list[str] = []
    names: list[str] = []
    for path in sorted(str(each) for each in _FOLDER.glob("event*")):
        try:
            device = evdev.InputDevice(path, readonly=True)
        except PermissionError:
            refused.append(path)
            continue
        except OSError:
            continue
        if wanted.lower() in device.name.lower():
            return device
        names.append(device.name)
        device.close()
    if refused:
        text = f"this user may not read {len(refused)} of the input devices, and {wanted!r} is not among the others"
        raise ButtonGoneError(text, "sudo adduser $USER input, then log in again")
    there = "; there are: " + ", ".join(dict.fromkeys(names)) if names else "; there are none at all"
    raise ButtonGoneError(f"no input device has {wanted!r} in its name{there}", "plug it in, or set button.device")


def _opened(evdev: Any, path: str) -> Any:
    try:
        return evdev.InputDevice(path, readonly=True)
    except PermissionError:
        raise ButtonGoneError(f"this user may not read {path}", "sudo adduser $USER input, then log in again") from None
    except OSError as error:
        raise ButtonGoneError(f"cannot read {path}: {error.strerror}", "plug it in, or set button.device") from None


def _names(evdev: Any, keys: list[int]) -> list[str]:
    names = []
    for code in keys[:_MOST_KEYS_SHOWN]:
        name = evdev.ecodes.bytype[evdev.ecodes.EV_KEY].get(code, str(code))
        names.append(name if isinstance(name, str) else name[0])
    return names + ["..."] * (len(keys) > _MOST_KEYS_SHOWN)


class InputKey:
    """device: an evdev.InputDevice. code: None means any key."""

    def __init__(self, device: Any, code: int | None, key_type: int) -> None:
        self.name = f"{device.name} ({device.path})"
        self._device = device
        self._code = code
        self._key_type = key_type

    def changes(self, timeout_s: float | None) -> list[tuple[bool, float]]:
        try:
            if not select.select([self._device.fd], [], [], timeout_s)[0]:
                return []
            events = list(self._device.read())
        except OSError as error:
            raise ButtonGoneError(f"{self.name} is gone ({os.strerror(error.errno or 0)})", "plug it in") from error
        # The time of arrival is used, because the event's time has another clock.
        now_s = time.monotonic()
        return [
            (event.value != 0, now_s)
            for event in events
            if event.type == self._key_type and event.value != _AUTOREPEAT and self._code in (None, event.code)
        ]

    def close(self) -> None:
        self._device.close()
