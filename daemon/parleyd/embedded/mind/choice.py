"""Makes the minds of an agent: scripted ones, or those of a language model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from parleyd.core.errors import UserError
from parleyd.embedded.mind.parts import Mind
from parleyd.embedded.mind.scripted import ScriptedMind
from parleyd.embedded.settings import AgentSettings, MindSettings
from parleyd.host import python_env
from parleyd.host.packages import missing_module

if TYPE_CHECKING:
    from parleyd.embedded.mind.language_mind import LanguageMinds
    from parleyd.embedded.mind.language_model import LanguageModel


class Minds(Protocol):
    """Makes the mind of each conversation, and holds what they share."""

    def mind(self, settings: AgentSettings) -> Mind: ...

    async def close(self) -> None: ...


class ScriptedMinds:
    """See Minds."""

    def mind(self, settings: AgentSettings) -> Mind:
        return ScriptedMind(settings.replies)

    async def close(self) -> None:
        """Nothing is held."""


class AgentMinds:
    """See Minds. Each agent has the mind that its settings name. failed: called for each request that a model does not
    answer."""

    def __init__(self, failed: Callable[[], None]) -> None:
        self._failed = failed
        self._scripted = ScriptedMinds()
        self._models: dict[MindSettings, LanguageMinds] = {}

    def prepare(self, settings: AgentSettings) -> None:
        """Makes the model now, so that a fault is told at the start. Raises UserError."""
        if settings.mind is not None and settings.mind not in self._models:
            self._models[settings.mind] = _model(settings.mind, self._failed)

    def mind(self, settings: AgentSettings) -> Mind:
        if settings.mind is None:
            return self._scripted.mind(settings)
        self.prepare(settings)
        return self._models[settings.mind].mind(settings)

    def model(self, settings: AgentSettings) -> LanguageModel | None:
        """The model that an agent's mind asks; None: its mind is the script."""
        if settings.mind is None:
            return None
        self.prepare(settings)
        return self._models[settings.mind].model

    async def connect(self) -> None:
        """Opens the connections to all models."""
        await asyncio.gather(*(minds.model.connect() for minds in self._models.values()))

    async def close(self) -> None:
        for model in self._models.values():
            await model.close()


def _model(settings: MindSettings, failed: Callable[[], None]) -> LanguageMinds:
    try:
        # These packages are an extra that most devices do not have.
        from parleyd.embedded.mind.language_mind import LanguageMinds
        from parleyd.embedded.mind.language_model import LanguageModel
    except ImportError as error:
        text = f"a mind by address needs the package {missing_module(error)}"
        raise UserError(text, python_env.install("openai", "sentence-stream"), os.EX_UNAVAILABLE) from None
    return LanguageMinds(LanguageModel(settings, failed))
