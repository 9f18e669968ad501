"""The camera of this device: it takes no picture while the device is muted."""

from __future__ import annotations

import logging
from collections.abc import Callable

from parleyd.config.camera_section import Camera as CameraSection
from parleyd.host.apart import Apart
from parleyd.host.stopping import Stop
from parleyd.tools.camera import Camera, CameraError, Picture

log = logging.getLogger(__name__)


class DeviceCamera:
    """apart: how its program is kept apart from the daemon. is_muted: asked before and after a picture is taken."""

    def __init__(self, config: CameraSection, apart: Apart, is_muted: Callable[[], bool]) -> None:
        self.config = config
        """Replaced when the configuration changes."""
        self._apart = apart
        self._is_muted = is_muted

    def check(self) -> None:
        """Raises CameraError if no picture may be taken."""
        if not self.config.is_there:
            raise CameraError("there is no camera", "set camera.command; docs/camera.md")
        if self._is_muted():
            raise CameraError("this device is muted, and its camera with it", "`parleyd unmute` lets it hear and see")

    def take(self, stop: Stop) -> Picture:
        """Blocks. Raises CameraError."""
        self.check()
        picture = Camera(self.config, self._apart).take(stop)
        # Somebody may have muted the device in the meantime.
        self.check()
        log.info("the camera took a picture (%s, %d bytes)", picture.media_type, len(picture.data))
        return picture
