"""How `parleyd platform` fails, with the exit codes that scripts rely on (docs/platform.md)."""

from __future__ import annotations

import os

from parleyd.core.errors import UserError

# Besides these: 0 in step, or all written; 1 something is left to do.
EX_LEFT = 1
EX_UNREACHABLE = os.EX_UNAVAILABLE  # 69
EX_NOT_KEPT = os.EX_SOFTWARE  # 70
EX_MAY_NOT = os.EX_NOPERM  # 77
EX_CONFIGURATION = os.EX_CONFIG  # 78


class PlatformError(UserError):
    """The agent could not be read or written; the exit code says which kind it is."""

    hint: str


def without_a_key(provider: str, hint: str) -> PlatformError:
    """provider: that of the configuration; the agents of another one are on no platform, and a key would not help.
    hint: where to name the key."""
    if provider != "elevenlabs":
        text = f"only ElevenLabs has a platform, and the configuration says provider: {provider}"
        return PlatformError(text, f"for an agent there {hint}", EX_CONFIGURATION)
    return PlatformError("without a key the platform cannot be asked", hint, EX_CONFIGURATION)
