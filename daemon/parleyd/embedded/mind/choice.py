"""Makes the minds of an agent: scripted ones, or those of a language model."""

from __future__ import annotations

import os
from typing import Protocol

from parleyd.core.errors import UserError
from parleyd.embedded.mind.parts import Mind
from parleyd.embedded.mind.scripted import ScriptedMind
from parleyd.embedded.opening import Opening
from parleyd.embedded.settings import AgentSettings
from parleyd.host import python_env


class Minds(Protocol):
    """Makes the mind of each conversation, and holds what they share."""

    def mind(self, settings: AgentSettings, opening: Opening) -> Mind: ...

    async def close(self) -> None: ...


class ScriptedMinds:
    """See Minds."""

    def mind(self, settings: AgentSettings, opening: Opening) -> Mind:
        return ScriptedMind(settings.replies)

    async def close(self) -> None:
        """Nothing is held."""


def make_minds(settings: AgentSettings) -> Minds:
    """Raises UserError if a package is missing, or a key cannot be read."""
    if settings.mind is None:
        return ScriptedMinds()
    try:
        # These packages are an extra that most devices do not have.
        from parleyd.embedded.mind.language_model import LanguageModel
    except ImportError as error:
        text = f"a mind by address needs the package {error.name}"
        raise UserError(text, python_env.install("openai", "sentence-stream"), os.EX_UNAVAILABLE) from None
    return LanguageModel(settings.mind)
