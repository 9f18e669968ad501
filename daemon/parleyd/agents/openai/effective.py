"""Compares the session that is in force, by the server's own account, with the one that was asked for. Pure.

A server that does not report a setting may have taken it; only a value that it reports otherwise is a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from parleyd.agents.events import NotTaken
from parleyd.agents.openai import client_messages as client
from parleyd.agents.openai import server_messages as server

_MAX_QUOTED_CHARS = 80


def not_taken(asked: client.Session, told: server.SessionPart) -> Iterator[NotTaken]:
    sent, found = asked.audio or client.SessionAudio(), told.audio or server.AudioPart()
    sent_in, sent_out = sent.input or client.InputAudio(), sent.output or client.OutputAudio()
    found_in, found_out = found.input or server.InputPart(), found.output or server.OutputPart()
    # Some servers name the version of a model behind its name.
    if asked.model and told.model and not told.model.startswith(asked.model):
        yield NotTaken("openai.model", asked.model, _shown(told.model))
    voice = _name(found_out.voice) or _name(told.voice)
    wanted_voice = sent_out.voice or asked.voice
    if wanted_voice and voice and voice != wanted_voice:
        yield NotTaken("openai.voice", wanted_voice, _shown(voice))
    speed = server.decimal(found_out.speed)
    if sent_out.speed is not None and speed is not None and abs(speed - sent_out.speed) > 0.001:
        yield NotTaken("openai.speed", f"{sent_out.speed:g}", f"{speed:g}")
    yield from _detection(sent_in.turn_detection, asked.turn_detection, found_in.turn_detection or told.turn_detection)
    if isinstance(sent_in.transcription, dict) and found_in.transcription is not None:
        yield from _differs(
            "openai.transcription.model", sent_in.transcription.get("model"), found_in.transcription.get("model")
        )
    if isinstance(sent_in.noise_reduction, dict) and found_in.noise_reduction is not None:
        yield from _differs(
            "openai.noise_reduction", sent_in.noise_reduction.get("type"), found_in.noise_reduction.get("type")
        )
    if asked.instructions and told.instructions == "":
        yield NotTaken("openai.instructions", "the configured text", "none")
    if asked.tools and isinstance(told.tools, list):
        yield from _tools(asked.tools, told.tools)


def _detection(first: object, flat: object, told: object) -> Iterator[NotTaken]:
    wanted = first if first is not msgspec.UNSET else flat
    if wanted is msgspec.UNSET or not isinstance(told, Mapping):
        return
    kind = told.get("type")
    if wanted is None:
        if kind not in (None, "none"):
            yield NotTaken("openai.turn_detection", "manual", _shown(kind))
        return
    if not isinstance(wanted, Mapping):
        return
    if isinstance(kind, str) and kind != wanted.get("type"):
        yield NotTaken("openai.turn_detection", str(wanted.get("type")), _shown(kind))
    if wanted.get("interrupt_response") is False and told.get("interrupt_response") is True:
        yield NotTaken("barge_in.mode", "no interruption by the server", "the server interrupts")


def _tools(asked: Sequence[Mapping[str, object]], told: Sequence[object]) -> Iterator[NotTaken]:
    known = {name for one in told if isinstance(one, Mapping) for name in (one.get("name"), one.get("server_label"))}
    names = [str(one.get("name") or one.get("server_label")) for one in asked]
    missing = [name for name in names if name not in known]
    if missing:
        left = len(names) - len(missing)
        yield NotTaken("tools", _shown(", ".join(missing)), f"{left} of {len(names)} tools")


def _differs(key: str, wanted: object, told: object) -> Iterator[NotTaken]:
    if isinstance(wanted, str) and isinstance(told, str) and wanted != told:
        yield NotTaken(key, wanted, _shown(told))


def _name(voice: object) -> str:
    found = voice.get("id") if isinstance(voice, Mapping) else voice
    return found if isinstance(found, str) else ""


def _shown(told: object) -> str:
    return str(told)[:_MAX_QUOTED_CHARS]
