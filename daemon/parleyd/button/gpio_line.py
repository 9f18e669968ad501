"""A line of a GPIO chip, by libgpiod 2."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path
from typing import Any

from parleyd.button.contact import ButtonGoneError
from parleyd.config.button import Button
from parleyd.core.errors import UserError
from parleyd.host import python_env


def open_line(config: Button) -> GpioLine:
    """Opens the line. Raises ButtonGoneError, and UserError for lasting errors."""
    try:
        import gpiod
        from gpiod.line import Bias, Direction, Edge
    except ImportError as error:
        text = f"button.gpio_line is set, but the package gpiod (2 or newer) cannot be imported: {error}"
        raise UserError(text, "install it: " + python_env.install("'gpiod>=2'")) from error
    chip, name = config.gpio_chip, str(config.gpio_line)
    line = int(name) if name.isdecimal() else name
    bias = {"up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "none": Bias.AS_IS}[config.gpio_pull]
    settings = gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=Edge.BOTH,
        bias=bias,
        active_low=config.gpio_pull != "down",
        debounce_period=timedelta(milliseconds=config.debounce_ms),
    )
    if not Path(chip).exists():
        raise ButtonGoneError(f"there is no GPIO chip {chip}", "gpiodetect lists the chips; set button.gpio_chip")
    try:
        request = gpiod.request_lines(chip, consumer="parleyd button", config={line: settings})
    except FileNotFoundError:
        raise UserError(f"{chip} has no line named {line}", "gpioinfo lists the lines") from None
    except PermissionError:
        text = f"this user may not use {chip}"
        raise ButtonGoneError(text, "sudo adduser $USER gpio, then log in again") from None
    except ValueError:
        raise UserError(f"{chip} has no line {line}", "gpioinfo lists the lines") from None
    except OSError as error:
        if error.errno == errno.EBUSY:
            text = f"line {line} of {chip} is used by something else"
            raise ButtonGoneError(text, f"gpioinfo says by what: gpioinfo -c {chip}") from None
        if error.errno == errno.EINVAL:
            text = f"{chip} has no line {line}, or the line cannot be read with gpio_pull: {config.gpio_pull}"
            raise UserError(text, "gpioinfo lists the lines") from None
        raise ButtonGoneError(f"cannot use line {line} of {chip}: {error.strerror}", "see dmesg") from None
    return GpioLine(request, f"line {line} of {chip}", gpiod.EdgeEvent.Type.RISING_EDGE)


class GpioLine:
    """request: a gpiod.LineRequest. The kernel's time stamps use the monotonic clock."""

    def __init__(self, request: Any, name: str, closing: object) -> None:
        self.name = name
        self._request = request
        self._closing = closing

    def changes(self, timeout_s: float | None) -> list[tuple[bool, float]]:
        try:
            if not self._request.wait_edge_events(timeout_s):
                return []
            events = self._request.read_edge_events()
        except OSError as error:
            raise ButtonGoneError(f"{self.name} is gone ({error.strerror})", "see dmesg") from error
        return [(event.event_type == self._closing, event.timestamp_ns / 1e9) for event in events]

    def close(self) -> None:
        self._request.release()
