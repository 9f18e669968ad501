"""The keys under `camera:`. schema.py explains the conventions, docs/camera.md explains the camera."""

# ruff: noqa: RUF012 (msgspec copies mutable defaults)
from typing import Annotated

from msgspec import Meta

from parleyd.config.base import RunAs, Section, Text


class Camera(Section, frozen=True, kw_only=True):
    """A program that takes a picture: for the agent's tool `look`, and for `parleyd look`."""

    command: Annotated[
        list[Text],
        Meta(
            description="the program and its arguments, such as [rpicam-still, -n, -t, 500, -e, jpg, -o, '-']; it "
            "writes a JPEG or PNG to standard output, or to the file that {file} stands for; []: there is no camera"
        ),
    ] = []
    # No program makes a picture in a shorter time than the least.
    timeout_s: Annotated[
        float, Meta(ge=0.1, le=30, description="for one picture; then the program is stopped, and the agent is told")
    ] = 10.0
    confirm: Annotated[
        bool,
        Meta(
            description="each picture that the agent wants waits until a person allows it, by the button or by "
            "`parleyd approve`"
        ),
    ] = True
    run_as: RunAs = "apart"

    @property
    def is_there(self) -> bool:
        return bool(self.command)
