"""Executes the steps of a scenario on one connection, when their triggers come."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Protocol

from parleyd.embedded import messages, scenario
from parleyd.embedded.line import Line, LineClosedError
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.scenario import AnyStep, ConnectionScript, ProtocolStep, Trigger


class Actor(Protocol):
    """The part of the conversation that steps use."""

    record: ConnectionRecord

    @property
    def line(self) -> Line: ...

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None: ...

    async def say_unasked(self, text: str, *, end_call: bool) -> None: ...

    async def act(self, step: ProtocolStep) -> None:
        """Does a step that is a message of the protocol."""


class Script:
    """Steps without a delay are done before the triggering event is processed further; the others are done after their
    delay. The actor owns the script, and is not held by it."""

    def __init__(self, script: ConnectionScript, actor: Actor) -> None:
        self._steps = script.steps
        self._actor: Actor = weakref.proxy(actor)
        self._counts: Counter[tuple[Trigger, str | None]] = Counter()
        self._audio_moved = asyncio.Event()

    def audio_arrived(self) -> None:
        """Counts received sound of the client, for steps that wait for it."""
        self._audio_moved.set()
        self._audio_moved = asyncio.Event()

    async def fire(self, trigger: Trigger, type_: str | None = None) -> None:
        """Reports an event on the connection. type_: of the client's message."""
        self._actor.record.add_trigger(trigger)
        self._counts[trigger, None] += 1
        if type_ is not None:
            self._counts[trigger, type_] += 1
        due = [
            step
            for step in self._steps
            if step.on == trigger and step.type in (None, type_) and step.nth == self._counts[trigger, step.type]
        ]
        due.sort(key=lambda step: (step.after_s, step.after_audio_ms))
        later = [step for step in due if step.after_s or step.after_audio_ms]
        for step in due:
            if step not in later:
                # A client that has gone away has no part in the step; what it had sent before is still looked at.
                with contextlib.suppress(LineClosedError):
                    await self._do(step)
        if later:
            self._actor.spawn(self._do_later(later, time.monotonic(), self._actor.record.received_audio_ms))

    async def _do_later(self, steps: list[AnyStep], began_s: float, began_audio_ms: float) -> None:
        for step in steps:
            await asyncio.sleep(max(0.0, began_s + step.after_s - time.monotonic()))
            while self._actor.record.received_audio_ms < began_audio_ms + step.after_audio_ms:
                await self._audio_moved.wait()
            await self._do(step)

    async def _do(self, step: AnyStep) -> None:
        actor, line = self._actor, self._actor.line
        actor.record.tell("fault", do=step.__struct_config__.tag, on=step.on)
        match step:
            case scenario.Drop():
                line.drop()
            case scenario.Reset():
                line.reset()
            case scenario.Stall():
                actor.spawn(line.stall(step.seconds))
                await asyncio.sleep(0)
            case scenario.Close():
                line.close(step.code, step.reason)
            case scenario.Say() | scenario.EndCall():
                actor.spawn(actor.say_unasked(step.text, end_call=isinstance(step, scenario.EndCall)))
            case scenario.Send():
                await self._send_all(step)
            case _:
                await actor.act(step)

    async def _send_all(self, step: scenario.Send) -> None:
        for index, message in enumerate(step.messages * step.times):
            if index and step.every_s:
                await asyncio.sleep(step.every_s)
            note = message if isinstance(message, dict) else {"type": "(text)", "text": message}
            await self._actor.line.send_raw(message if isinstance(message, str) else messages.as_text(message), note)
