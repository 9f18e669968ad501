"""Plays the earcons that the cues call for, on events from any thread; and makes the sound of each earcon."""

from __future__ import annotations

import threading
from collections.abc import Callable

from parleyd.audio.earcons.cues import EarconCues
from parleyd.audio.earcons.sounds import NAMES, Earcon, Sound, all_chosen
from parleyd.audio.playback.playback import Playback
from parleyd.config.schema import Earcons
from parleyd.core import events


class EarconBell:
    """A subscriber of the bus."""

    def __init__(self, cues: EarconCues, playback: Playback) -> None:
        self._cues = cues
        self._playback = playback
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            cue = self._cues.step(event)
            if cue is not None:
                self._playback.play_earcon(cue.earcon, after_voice=cue.after_voice)


def earcons_of(section: Earcons, speak: Callable[[str], Sound]) -> dict[Earcon, Sound]:
    """The sounds of the configuration. Raises UserError, like speak."""
    return all_chosen({name: getattr(section, name) for name in NAMES}, section.level_db, speak)
