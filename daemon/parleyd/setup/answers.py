"""The answers of a file for `parleyd setup --answers`: one key for each question. Pure."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping

from parleyd.config.nodes import NodeError, Values, compose
from parleyd.core.errors import UserError

# Every question: what its answer is, and what is taken without one.
QUESTIONS: dict[str, str] = {
    "go_on": "yes or no: go on, although another user or service fits better; without an answer yes",
    "microphone": "a part of its name, default, wav:PATH or null; without an answer the present one",
    "listen": "yes or no: record for a moment and judge the level; without an answer no",
    "gain": "yes or no: take the gain that is proposed; without an answer no",
    "speaker": "as for the microphone",
    "tone": "yes or no: play two notes; without an answer no",
    "playback": "yes or no: play back the recording; without an answer no",
    "echo": "yes or no: measure the echo; without an answer no",
    "echo_mode": "auto, aec, half_duplex or off; without an answer what was measured, or the present one",
    "provider": "elevenlabs, openai or local; without an answer the present one",
    "base_url": "the address of the provider's server; without an answer the present one",
    "key_file": "the path of a file whose first line is the key; without an answer the present key",
    "agent": "the agent's id or name, or new; without an answer the present one",
    "agent_name": "the name of a new agent; without an answer the name of this machine",
    "agent_prompt": "who a new agent is; without an answer a short text about a helper at home",
    "fit": "yes or no: change what does not fit on the agent; without an answer yes",
    "language": "a code such as en or de, or keep; without an answer keep",
    "voice": "a part of the voice's name, its id, or keep; without an answer keep",
    "sample": "yes or no: hear the voice; without an answer no",
    "announce": "yes or no: the same voice for announcements; without an answer no",
    "service": "yes or no: start the service; without an answer yes, where it is installed",
    "try": "yes or no: wait for a first question; without an answer no",
}


def parse(text: str, name: str) -> dict[str, str]:
    """Returns the answers in a file, as texts. name: the name of the file, for errors. Raises UserError."""
    try:
        node = compose(text)
        plain = {} if node is None else Values().read(node)
    except NodeError as error:
        raise UserError(f"{name}, line {error.line}: {error}", error.hint, os.EX_DATAERR) from None
    if not isinstance(plain, dict):
        raise UserError(f"{name} has no answers", "write lines such as microphone: default", os.EX_DATAERR)
    return checked({str(key): _as_text(value) for key, value in plain.items()}, name)


def options(pairs: Iterable[str]) -> dict[str, str]:
    """Returns the answers of the options --answer KEY=VALUE. Raises UserError."""
    found = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise UserError(f"--answer {pair}: there is no =", "write --answer KEY=VALUE", os.EX_USAGE)
        found[key] = value
    return checked(found, "--answer")


def checked(answers: Mapping[str, str], name: str) -> dict[str, str]:
    for key in answers:
        if key not in QUESTIONS:
            near = difflib.get_close_matches(key, QUESTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(QUESTIONS)}"
            raise UserError(f"{name}: nobody asks for {key!r}", hint, os.EX_DATAERR)
    return dict(answers)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
