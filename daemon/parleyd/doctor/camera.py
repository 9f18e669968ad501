"""The camera: takes a picture, and throws it away."""

from __future__ import annotations

import time
from collections.abc import Iterator

from parleyd.core.findings import Finding, error, good, skipped
from parleyd.doctor.examination import Examination


def picture(examination: Examination) -> Iterator[Finding]:
    from parleyd.app.out_of_reach import apart_for
    from parleyd.host.stopping import Stop
    from parleyd.tools.camera import Camera, CameraError

    config = examination.configured()
    if not config.camera.is_there:
        yield skipped("none is configured")
        return
    began_s = time.monotonic()
    try:
        taken = Camera(config.camera, apart_for(config, examination.config_path, None)).take(Stop())
    except CameraError as refusal:
        yield error(str(refusal), refusal.hint)
        return
    took_s = time.monotonic() - began_s
    size = len(taken.data) / 1024
    kind = taken.media_type.partition("/")[2].upper()
    yield good(f"it took a picture in {took_s:.1f} s ({kind}, {size:.0f} KiB), which was thrown away")
