"""Executes the steps of a scenario on one connection, when their triggers come."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from parleyd.embedded import messages, scenario
from parleyd.embedded.line import Line
from parleyd.embedded.record import ConnectionRecord
from parleyd.embedded.scenario import AnyStep, ConnectionScript, Trigger

_TONE = b"\x00\x10\x00\xf0"  # half the rate: certainly not speech

_MALFORMED: Mapping[str, str | bytes] = {
    "bad_json": '{"type": "audio", "audio_event": {',
    "not_object": '["audio"]',
    "missing_type": '{"audio_event": {"audio_base_64": "AAAA", "event_id": 1}}',
    "missing_fields": '{"type": "audio", "audio_event": {}}',
    "wrong_types": '{"type": "agent_response", "agent_response_event": {"agent_response": 5, "event_id": "x"}}',
    "bad_base64": '{"type": "audio", "audio_event": {"audio_base_64": "@@@", "event_id": 1}}',
    "binary": b"\x00\x01\x02\xff",
}


class Actor(Protocol):
    """The part of the conversation that steps use."""

    line: Line
    record: ConnectionRecord
    output_rate_hz: int

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None: ...

    def current_id(self) -> int:
        """The id of the last answer, or of the last interruption."""

    def reserve_reply_id(self) -> int:
        """The id that the next answer will have."""

    def new_call_id(self) -> str: ...

    def metadata_message(self) -> messages.Message: ...

    async def say_unasked(self, text: str, *, end_call: bool) -> None: ...


class Script:
    """Steps without a delay are done before the triggering event is processed further; the others are done after their
    delay."""

    def __init__(self, script: ConnectionScript, actor: Actor) -> None:
        self._steps = script.steps
        self._actor = actor
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
            case scenario.Error():
                await line.send(_error(step))
            case scenario.Malformed():
                await line.send_raw(_MALFORMED[step.kind], {"type": "(malformed)", "kind": step.kind})
            case scenario.Oversized():
                # Four base64 characters for three bytes, two bytes for a sample.
                samples = int(step.mebibytes * 1024 * 1024 * 3 / 4 / 2)
                await line.send_audio(bytes(samples * 2), actor.current_id())
            case scenario.DuplicateMetadata():
                await line.send(actor.metadata_message())
            case scenario.StaleAudio():
                samples = step.duration_ms * actor.output_rate_hz // 1000
                await line.send_audio(_TONE * (samples // 2), actor.current_id() - step.below)
            case scenario.UnknownEvent():
                content = {"type": step.name, f"{step.name}_event": {"event_id": 1}}
                await line.send_raw(messages.as_text(content), content)
            case scenario.QueueStatus():
                await line.send(messages.queue_status(step.status))
            case scenario.Interrupt():
                await line.send(messages.interruption(self._interrupted_id(step)))
            case scenario.ToolCall():
                await self._call_tool(step)
            case scenario.McpToolCall():
                call_id = actor.new_call_id()
                actor.record.tell("tool_call", name=step.name, parameters=step.parameters)
                await line.send(
                    messages.mcp_tool_call(step.name, call_id, step.service, step.parameters, step.approval_timeout_s)
                )
            case scenario.Say() | scenario.EndCall():
                actor.spawn(actor.say_unasked(step.text, end_call=isinstance(step, scenario.EndCall)))
            case scenario.Send():
                await self._send_all(step)

    def _interrupted_id(self, step: scenario.Interrupt) -> int:
        if step.id == "reply":
            return self._actor.reserve_reply_id()
        return self._actor.current_id() if step.id == "turn" else step.id

    async def _call_tool(self, step: scenario.ToolCall) -> None:
        call_id = self._actor.new_call_id()
        self._actor.record.tell("tool_call", name=step.name, parameters=step.parameters)
        await self._actor.line.send(
            messages.client_tool_call(
                step.name,
                call_id,
                step.parameters,
                self._actor.current_id(),
                expects_response=step.expects_response,
            )
        )

    async def _send_all(self, step: scenario.Send) -> None:
        for index, message in enumerate(step.messages):
            if index and step.every_s:
                await asyncio.sleep(step.every_s)
            note = message if isinstance(message, dict) else {"type": "(text)", "text": message}
            await self._actor.line.send_raw(message if isinstance(message, str) else messages.as_text(message), note)


def _error(step: scenario.Error) -> messages.Message:
    if step.shape == "flat":
        return messages.flat_error(step.message)
    make = messages.error if step.shape == "event" else messages.client_error
    return make(step.error_type, step.code, step.message)
