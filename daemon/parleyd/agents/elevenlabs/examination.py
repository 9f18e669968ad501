"""The doctor's examination of an ElevenLabs agent: its key, and its settings on the platform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from parleyd.agents.elevenlabs.address import place_of, signed_address
from parleyd.agents.elevenlabs.agent_settings import AgentSettings, read_settings
from parleyd.agents.elevenlabs.formats import FORMATS
from parleyd.agents.provider import Check
from parleyd.config.schema import ElevenLabs
from parleyd.core.endings import DialError, EndingKind
from parleyd.core.findings import Finding, error, good, misconfigured, note, skipped

_ANSWER_S = 8.0
_DEADLINE_S = 15.0


def checks(section: ElevenLabs, api_key: str | None) -> Sequence[Check]:
    """section: the one with which the agent was made."""
    return (
        Check("key", lambda: _key(section, api_key), _DEADLINE_S),
        Check("agent's settings", lambda: _settings(section, api_key), _DEADLINE_S),
    )


def _key(section: ElevenLabs, api_key: str | None) -> Iterable[Finding]:
    """Requests the signed URL with which each session of a private agent begins."""
    if section.agent_id is None:
        return [skipped("no agent is configured")]
    if api_key is None:
        return [note("none is configured: enough for a public agent, and its settings cannot be looked at")]
    try:
        signed_address(section.base_url, section.agent_id, api_key, _ANSWER_S, place_of(section))
    except DialError as refusal:
        ending = refusal.ending
        make = misconfigured if ending.kind is EndingKind.FINAL else error
        return [make(ending.reason, ending.hint or "try again later")]
    # ElevenLabs demands convai_write for a signed URL, and whoever may write agents may change this one, too.
    return [good("accepted, and it may open sessions with the agent (such a key may also change agents)")]


def _settings(section: ElevenLabs, api_key: str | None) -> Iterable[Finding]:
    if api_key is None or section.agent_id is None:
        return [skipped("without a key the agent's settings cannot be read")]
    try:
        found = read_settings(section.base_url, section.agent_id, section.branch_id, api_key, _ANSWER_S)
    except DialError as refusal:
        return [
            note(
                f"cannot be read: {refusal.ending.reason}",
                "give the key the permission to read agents (convai_read), or look at the agent's page yourself",
            )
        ]
    return list(judge_settings(found))


def judge_settings(found: AgentSettings) -> Iterator[Finding]:
    """Whether its formats can be used. Whether it fits the configuration is told by the comparison that `parleyd
    platform` makes."""
    formats = [name for name in (found.input_format, found.output_format) if name]
    for name in formats:
        if name not in FORMATS:
            hint = "choose PCM, or µ-law at 8 kHz, in its settings under Voice and Advanced"
            yield misconfigured(f"its audio format {name} is not known here", hint)
    if "ulaw_8000" in formats or "pcm_8000" in formats:
        yield note(f"it speaks in telephone quality ({' and '.join(formats)})", "PCM at 16 kHz or more sounds better")
    number = len(found.client_events or ())
    events = "" if found.client_events is None else f", {number} client event{'' if number == 1 else 's'}"
    name = f"{found.name}: " if found.name else ""
    yield good(f"{name}{' in, '.join(formats)} out{events}" if len(formats) == 2 else f"{name}they can be read{events}")
