"""The keys of `parleyd button`: a push button, and its actions."""

from typing import Annotated, Literal

from msgspec import Meta

from parleyd.config.base import Section

Order = Literal["wake", "sleep", "wake_or_sleep", "mute_or_unmute", "none"]


class Button(Section, frozen=True):
    """A push button, for `parleyd button`: docs/button.md. Either device or gpio_line."""

    device: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="an input device: part of its name, or its path (/dev/input/by-id/...)"),
    ] = None
    key: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="a key of the device, such as KEY_ENTER or BTN_0; null: any key"),
    ] = None
    gpio_chip: Annotated[str, Meta(min_length=1, description="the chip with the line")] = "/dev/gpiochip0"
    gpio_line: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="the line between the button and ground: its number, or its name, such as GPIO17"),
    ] = None
    gpio_pull: Annotated[
        Literal["up", "down", "none"],
        Meta(
            description="up: the button connects the line to ground; down: to 3.3 V; none: to ground, with a resistor "
            "of your own"
        ),
    ] = "up"
    short_press: Annotated[Order, Meta(description="the action of a short press")] = "wake_or_sleep"
    long_press: Annotated[
        Order, Meta(description="the action of a long press; none: a press counts when it begins, not when it ends")
    ] = "mute_or_unmute"
    long_ms: Annotated[int, Meta(ge=200, le=10000, description="the least duration of a long press")] = 800
    confirms: Annotated[
        bool,
        Meta(
            description="while a tool waits for a person (confirm: true), a short press allows the call and a long one "
            "denies it"
        ),
    ] = True
    debounce_ms: Annotated[int, Meta(ge=0, le=500, description="the longest time that the contact bounces")] = 20

    @property
    def is_there(self) -> bool:
        return self.device is not None or self.gpio_line is not None
