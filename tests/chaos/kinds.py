"""All kinds of faults, row by row, and how much of each a run has."""

from __future__ import annotations

from chaos import kinds_convai, kinds_handshake, kinds_live, kinds_machine, kinds_realtime
from chaos.lane import Kind

# Of about 3000 faults so many are of a row; a row that is not named has OTHERWISE.
WEIGHTS = {
    "refused, reset, closed or stalled at each handshake step": 530,
    "not WebSocket: portal, banner, wrong Accept, huge or endless headers": 280,
    "close 1000-1015": 270,
    "close 3000-3003, 4000 and above": 200,
    "redirects 301-308": 200,
    "garbage: text, JSON, UTF-8, depth, binary, fragments, audio": 200,
    "first message late, never, twice, again, bad": 135,
    "HTTP 401, 403, 404": 115,
    "HTTP 500, 502, 503": 115,
    "close frames that are wrong": 90,
    "tool floods, unknown tools, big and deep parameters, approvals": 85,
    "TCP reset, FIN without close frame (live)": 80,
    "audio after close, 200 s of audio at once, end_call, error": 75,
    "reserved opcode, masked, RSV1, stray continuation": 70,
    "interruption storm, ids backwards, absurd ids": 60,
    "1 byte at a time (frame; handshake)": 55,
    "latency, loss, 20 kbit/s": 50,
    "TLS: certificates, versions, broken records, no TLS at all": 65,
    "server hangs: freeze, stall in a frame, never a pong": 40,
    "SIGKILL, SIGTERM at random moments": 60,
    "agents that hang up, transcripts that are late": 60,
    "tool floods, unknown tools, big and bad arguments, approvals": 90,
    "audio after close, 200 s of audio at once, errors, the end of the hour": 75,
    "sessions that the server refuses": 80,
    "answers that a person cuts; sound that comes after the cut": 75,
    "speech storm, absurd positions": 60,
    "responses failed, cancelled, incomplete, disordered, never over": 105,
    "transcripts late, failed, twice, never; lost between question and answer": 80,
    "no fault at all": 60,
    "SIGSTOP 30 s": 12,
    "server hangs while somebody goes on talking": 12,
}
OTHERWISE = 21
# The faults in the messages of one protocol.
OF_PROTOCOL = {"elevenlabs": kinds_convai, "openai": kinds_realtime}


# What was once broken is in the short form whatever the seed.
ALWAYS = (
    "agent-hangs-up",
    "agent-late-transcript",
    "interruption-1e300",
    "hang-talk",
    "long-talk",
    "process-no-handles",
    "cut-queued",
)
# What takes longer is for the long form alone.
SHORT_S = 33.0


def every(provider: str) -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for module in (kinds_handshake, kinds_live, kinds_machine, OF_PROTOCOL[provider]):
        for kind in module.kinds():
            assert kind.name not in found, kind.name
            found[kind.name] = kind
    return found


def weight(row: str) -> float:
    return WEIGHTS.get(row, OTHERWISE)


def chosen_from(kinds: dict[str, Kind]) -> dict[str, tuple[str, float, str]]:
    """As choosing.choose wants it."""
    return {kind.name: (kind.row, weight(kind.row), kind.world) for kind in kinds.values()}


def matching(kinds: dict[str, Kind], names: str | None) -> dict[str, Kind]:
    """names: beginnings of names of kinds, with commas between them. Raises ValueError for one that is none."""
    if names is None:
        return kinds
    found: dict[str, Kind] = {}
    for name in (one.strip() for one in names.split(",")):
        these = {kind.name: kind for kind in kinds.values() if kind.name.startswith(name)} if name else {}
        if not these:
            raise ValueError(f"no kind begins with {name!r}; --list shows them")
        found |= these
    return found
