"""Takes pictures with the program of the section `camera`, apart from the daemon, as tools run."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from parleyd.agents.pictures import ENDINGS, media_type
from parleyd.config.camera_section import Camera as CameraSection
from parleyd.core.errors import UserError
from parleyd.core.text import cause
from parleyd.core.veiled import Veiled
from parleyd.host import subprocesses
from parleyd.host.apart import Apart, Way
from parleyd.host.stopping import Stop
from parleyd.tools import picture_file

# A picture of a small camera has a tenth of it. Providers may take less.
MOST_BYTES = 4 * 1024 * 1024
_HINT = "try camera.command by hand; docs/camera.md"


class CameraError(UserError):
    """There is no picture. The text and the hint are for the person and the agent."""

    hint: str


class Picture(Veiled, frozen=True):
    hidden = ("data",)

    data: bytes
    media_type: str

    @property
    def name(self) -> str:
        return f"camera.{ENDINGS[self.media_type]}"


class Camera:
    """apart: see DeviceTools. Thread-safe."""

    def __init__(self, section: CameraSection, apart: Apart) -> None:
        self._section = section
        self._apart = apart if section.run_as == "apart" else None

    def take(self, stop: Stop) -> Picture:
        """Blocks, for camera.timeout_s and a moment at most; stop ends it before. Raises CameraError."""
        command = self._section.command
        name = Path(command[0]).name
        until_s = time.monotonic() + self._section.timeout_s
        try:
            with tempfile.TemporaryDirectory(prefix="parleyd-camera-") as folder:
                ran = self._run(command, folder, stop, until_s)
        except subprocesses.NotStartedError as error:
            raise CameraError(str(error).rstrip("."), "correct camera.command; docs/camera.md") from None
        except OSError as error:
            raise CameraError(f"no folder for a picture can be made: {error.strerror}", "see the disk") from None
        if ran.is_cut:
            most = MOST_BYTES // 2**20
            raise CameraError(f"{name} gave more than {most} MiB", "have it take a smaller picture, such as 1024x768")
        if ran.status != 0:
            if time.monotonic() >= until_s:
                text = f"{name} did not finish within {self._section.timeout_s:g} s"
                raise CameraError(text, "see that nothing else holds the camera, or raise camera.timeout_s")
            said = cause(ran.errors, ())
            how = f"signal {-ran.status}" if ran.status < 0 else f"code {ran.status}"
            text = f"{name} failed with {how}{f': {said}' if said else ''}".rstrip(".")
            hint = "" if self._apart is None else self._apart.hint_about(text)
            raise CameraError(text, hint or _HINT)
        if not ran.data:
            raise CameraError(f"{name} gave no picture", "have it write to standard output (-o -), or to {file}")
        found = media_type(ran.data[:16])
        if found is None:
            raise CameraError(
                f"{name} gave something that is neither JPEG nor PNG", "choose its format; docs/camera.md"
            )
        return Picture(ran.data, found)

    def _run(self, command: list[str], folder: str, stop: Stop, until_s: float) -> subprocesses.Ran:
        environment = {}
        if any(picture_file.PLACEHOLDER in argument for argument in command):
            command = [sys.executable, "-I", "-S", "-B", picture_file.__file__, str(MOST_BYTES), *command]
            if self._apart is None or self._apart.ways.way is not Way.UNIT:
                # Nothing is left of a program that was killed. A unit of systemd's has a /tmp of its own.
                environment["TMPDIR"] = folder
        return subprocesses.run(
            command,
            apart=self._apart,
            directory="/",
            environment=environment,
            stdin=b"",
            stop=stop,
            most_bytes=MOST_BYTES,
            until_s=until_s,
        )
