"""The connection to the agent, from this process: the parts of a daemon without sound."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import msgspec

from parleyd.agents.provider import Agent, UploadError
from parleyd.app.service import Service
from parleyd.audio.devices.null import NullInput, NullOutput
from parleyd.chat.link import Event, LinkError, Take
from parleyd.config.schema import Config
from parleyd.control import messages
from parleyd.core import events


class OwnLink:
    """A daemon without sound inside this process; the session ends with it. Raises the errors of Service."""

    def __init__(self, config: Config, agent: Agent, take: Take) -> None:
        bus = events.Bus()
        self._service = Service(
            config, agent, NullInput(), NullOutput(), bus, on_failure=lambda: take(self._failed()), state_directory=None
        )
        # After the parts of the daemon: what the person then does concerns what they know.
        bus.subscribe(lambda event: take(msgspec.json.decode(messages.event(event))))
        self._service.start()

    def wake(self) -> None:
        self._service.wake()

    def turn(self, until_s: float) -> AbstractContextManager[None]:
        return nullcontext()

    def say(self, text: str) -> None:
        if (refusal := self._service.say(text)) is not None:
            raise LinkError(f"{refusal.text}; {refusal.hint}")

    def send_file(self, descriptor: int, name: str, text: str | None) -> None:
        try:
            self._service.send_file(os.dup(descriptor), name, text)
        except UploadError as error:
            raise LinkError(error.with_hint) from error

    def close(self) -> None:
        self._service.stop()

    def _failed(self) -> Event:
        return {"event": "gone", "text": str(self._service.failure)}
