"""Writes docs/providers.md from the capabilities: python -m parleyd.app.providers_page > docs/providers.md"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from parleyd.agents.elevenlabs.agent import CAPABILITIES as ELEVENLABS
from parleyd.agents.openai.agent import capabilities as openai_capabilities
from parleyd.agents.provider import ANY_MEDIA_TYPE, Capabilities
from parleyd.config.openai_section import OpenAI

_HEAD = """\
<!-- Generated from the capabilities: python -m parleyd.app.providers_page > docs/providers.md -->
# Which provider

*For everybody who chooses an agent: what each provider can do here, and what speaks for it.*

| | `elevenlabs` | `openai` | `local` |
|---|---|---|---|
{kinds}
`elevenlabs` needs one id and no instructions here. `openai` knows exactly which part of an answer was heard, and
costs nothing while nobody talks. More is in [openai.md](openai.md) and [privacy-and-cost.md](privacy-and-cost.md). With
`fallback: local` the embedded agent answers while one of the other two cannot: [offline.md](offline.md).

## What each can do here

The embedded agent has the abilities of the protocol that it speaks.

| | `elevenlabs` | `openai` |
|---|---|---|
"""
_KINDS = (
    (
        "what it is",
        "an agent that is set up on a platform",
        "OpenAI, or any server that speaks its Realtime protocol",
        "the embedded agent",
    ),
    ("account", "ElevenLabs", "OpenAI, another service, or none: a server of your own", "none"),
    (
        "where the agent is described",
        "on its page at ElevenLabs",
        "in `openai.instructions`, on this device",
        "in `local.scenario`; without one it answers a fixed set of questions",
    ),
    (
        "good for",
        "knowledge bases, many voices, people who maintain the agent in a browser",
        "devices that bring their own instructions and tools; pictures; a server in your own house",
        "trying out, tests, no network; with a [language model](mind.md) of your own, an agent of your own",
    ),
)
_WORDS: Mapping[str, str] = {
    "replaceable": "a newer text replaces the older one",
    "appended": "each text stays",
    "items": "as messages of the conversation",
    "prose": "as one text",
    "none": "no",
    "session": "in each session",
    "platform": "once, on the provider's page",
}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _attachments(can: Capabilities) -> str:
    sizes = sorted(set(can.attachments.values()))
    if not sizes:
        return "no"
    kinds = "any" if ANY_MEDIA_TYPE in can.attachments else ", ".join(sorted(can.attachments))
    return f"{kinds}, at most {sizes[-1] / 2**20:g} MB"


_ROWS: tuple[tuple[str, Callable[[Capabilities], str]], ...] = (
    ("the agent greets of its own accord", lambda can: _yes(can.speaks_first)),
    (
        "who may decide on interruptions (`barge_in.mode`)",
        lambda can: ", ".join(sorted(one.value for one in can.interrupts)),
    ),
    ("a typed text ends the answer by itself", lambda can: _yes(can.text_interrupts)),
    ("it is told which part of an answer was heard", lambda can: _yes(can.truncates)),
    ("it tells which words of an answer were said", lambda can: _yes(can.corrects_text)),
    ("the person's words are written down", lambda can: _yes(can.transcribes)),
    ("it tells which part of the speech it has", lambda can: _yes(can.announces_speech)),
    ("context (`parleyd context`)", lambda can: _WORDS[can.context]),
    ("the conversation so far, in a new session", lambda can: _WORDS[can.history]),
    ("files (`parleyd send-file`)", _attachments),
    ("approval of calls elsewhere (MCP)", lambda can: _yes(can.approvals)),
    ("ratings (`parleyd feedback`)", lambda can: _yes(can.feedback)),
    ("it waits while somebody is busy (`parleyd activity`)", lambda can: _yes(can.activity)),
    ("the tools of this device are declared", lambda can: _WORDS[can.tools]),
    ("conversations in writing (`audio: off`)", lambda can: _yes(can.text_only)),
    ("it bills", lambda can: ", ".join(sorted(can.bills)) or "nothing"),
)


def page() -> str:
    """The whole page, as Markdown."""
    providers = (ELEVENLABS, openai_capabilities(OpenAI()))
    rows = [f"| {what} | {' | '.join(told(can) for can in providers)} |\n" for what, told in _ROWS]
    kinds = "".join(f"| {' | '.join(row)} |\n" for row in _KINDS)
    return _HEAD.replace("{kinds}\n", kinds + "\n") + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
