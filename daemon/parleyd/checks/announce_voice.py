"""Whether announcements have a voice. A module of its own, since light clients ask, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parleyd.embedded import synthesisers

if TYPE_CHECKING:  # the doctor starts without what this imports
    from parleyd.config.schema import Config


def has_voice(config: Config) -> bool:
    """Whether the daemon has a voice for announcements: as app.agents makes it, which would load too much."""
    section, openai = config.announce, config.openai
    if config.provider == "local" or section.voice_id is not None:
        return True
    if config.provider == "openai" and (openai.voice is not None or openai.is_openais):
        return True
    return section.local_voice != "off" and synthesisers.is_one_installed()
