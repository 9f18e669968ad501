"""The words of a person in ElevenLabs' protocol, on their way to the recogniser."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from parleyd.embedded.turn_times import TurnTimes


@dataclass(frozen=True, slots=True)
class Utterance:
    """guess: recognises it already. may_be_ignored: it was spoken into an answer, which goes on until its words are
    known."""

    pcm: bytes
    is_final: bool
    guess: asyncio.Task[str] | None = None
    times: TurnTimes | None = None
    may_be_ignored: bool = False
