"""The examples in the help of each command, and the first steps of a newcomer. Pure.

Apart from the commands, because the help of one command is made without loading the others.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

# The columns of a command line; a comment stands behind it.
_COMMAND_COLUMNS = 44
# A narrower comment stands below its command line.
_LEAST_COMMENT = 24

# Each is a command line, without `parleyd`, and what it does.
Example = tuple[str, str]

FIRST_STEPS: tuple[Example, ...] = (
    ("demo", "hear a conversation; no key, no sound card"),
    ("setup", "set this device up, step by step"),
    ("check", "see whether the configuration is good"),
    ("doctor", "find what is missing, and how to fix it"),
    ("run", "the daemon in this terminal, until Ctrl-C"),
    ("status", "see how the daemon is doing"),
)

EXAMPLES: dict[str, tuple[Example, ...]] = {
    "": (
        ("demo", "a spoken conversation; no key, no sound card"),
        ("run -c parleyd.yaml", "the daemon in this terminal, until Ctrl-C"),
        ("help status", "the options of one command"),
    ),
    "run": (("run -c parleyd.yaml", "in this terminal, until Ctrl-C"), ("--debug run", "log everything")),
    "status": (
        ("status", "the page"),
        ("status --watch", "renewed every second, with a level meter"),
        ("status --all", "also delays, clocks, memory"),
        ("status --json", "every figure, for programs"),
    ),
    "events": (
        ("events --follow", "as it happens"),
        ("events --follow --json", "every field, for programs"),
    ),
    "reload": (("reload", "after a change of the configuration"),),
    "stop": (("stop", "end the daemon"),),
    "wake": (("wake", "open a session"), ("wake --anyway", "also if the budget is spent")),
    "sleep": (("sleep", "end the session"),),
    "mute": (("mute", "hear nothing, also after a restart"),),
    "unmute": (("unmute", "hear again"),),
    "volume": (
        ("volume", "show it"),
        ("volume 40", "40 percent"),
        ("volume up 10", "10 percent more"),
    ),
    "profile": (
        ("profile", "show the profile in force"),
        ("profile night", "choose one"),
        ("profile auto", "by the schedule again"),
    ),
    "announce": (
        ("announce Dinner is ready", "in the next pause"),
        ("announce --now Fire", "at once"),
        ("announce --wait Dinner is ready", "return when it was spoken"),
        ("announce --sound bell.wav", "a sound in place of a text"),
    ),
    "button": (("button", "watch the configured button"),),
    "say": (("say What time is it", "as if a person had said it"), ("say --wait What time is it", "print the answer")),
    "chat": (("chat", "through the running daemon"), ("chat -c parleyd.yaml", "a session of its own")),
    "context": (
        ("context The window is open", "the agent knows it"),
        ("context --id door The door is shut", "replaces an earlier text"),
    ),
    "send-file": (("send-file menu.pdf", "show the agent a file"), ("send-file cat.jpg --text Who", "with a question")),
    "activity": (("activity", "somebody is busy with the device"),),
    "feedback": (("feedback like", "it was a good answer"), ("feedback none", "take the rating back")),
    "approve": (("approve", "list the calls that wait"), ("approve 1", "allow the call with the id 1")),
    "deny": (("deny", "list the calls that wait"), ("deny 1", "deny the call with the id 1")),
    "transcript": (
        ("transcript --since today", "what was said today"),
        ("transcript --follow", "as it is said"),
    ),
    "conversations": (
        ("conversations", "the newest"),
        ("conversations conv_1", "one, and why an answer was slow"),
    ),
    "setup": (("setup", "step by step"), ("setup audio", "one step again")),
    "usage": (("usage", "minutes and money of the last days"), ("usage --days 31", "of a month")),
    "report": (("report", "shows what it collects, and asks"), ("report --show", "writes nothing")),
    "wyoming": (("wyoming", "wait for Home Assistant"),),
    "mqtt": (("mqtt", "connect with the broker"), ("mqtt --topics", "the topics of this device")),
    "look": (("look", "show the agent a picture"), ("look what is on the table", "with a question")),
    "settings": (("settings", "list what was set"), ("settings --all", "every key that can be set")),
    "set": (("set gate.hangover_ms 1200", "without touching the file"),),
    "unset": (("unset gate.hangover_ms", "the file decides again"),),
    "devices": (("devices", "with the names for the configuration"),),
    "secret": (
        ("secret", "asks for the key of the configured provider"),
        ("secret elevenlabs < key.txt", "reads the key"),
    ),
    "check": (
        ("check", "the configuration in use"),
        ("check -c new.yaml", "another one, before it is used"),
        ("check --all", "every key, with the value in force"),
    ),
    "doctor": (("doctor", "look at everything"), ("doctor --json", "for programs")),
    "tune": (
        ("tune", "speak for 15 s, and read the advice"),
        ("tune --noise --seconds 60", "what opens the gate by itself"),
        ("tune --echo", "measure the echo"),
        ("tune --wav spoken.wav", "listen to a recording"),
    ),
    "bench": (("bench", "the cost of the daemon on this board"),),
    "tools": (
        ("tools", "list them"),
        ("tools run list_timers", "try one"),
        ("tools --json", "for the agent's page"),
    ),
    "tools run": (
        ("tools run list_timers", "a tool without parameters"),
        ("tools run set_volume '{\"percent\": 40}'", "the parameters are JSON"),
    ),
    "platform": (
        ("platform plan", "what does not fit the agent"),
        ("platform apply", "fit it, after a yes"),
        ("platform create Kitchen", "make an agent"),
    ),
    "platform plan": (("platform plan", "show what would be changed"),),
    "platform apply": (("platform apply", "show, ask, change"), ("platform apply --yes", "without a question")),
    "platform create": (("platform create Kitchen", "an agent with this name"),),
    "demo": (
        ("demo", "an actor speaks with the agent"),
        ("demo --mic", "speak with it yourself"),
    ),
    "agent": (("agent --port 8765", "the embedded agent as a server"),),
}


def block(heading: str, examples: Iterable[Example], width: int) -> str:
    """The examples in two columns, or below each other where the terminal is narrow."""
    lines = [f"{heading}:"]
    listed = [(f"parleyd {words}", comment) for words, comment in examples]
    column = min(_COMMAND_COLUMNS, max(len(words) for words, _ in listed)) + 4
    for words, comment in listed:
        beside = width - column >= _LEAST_COMMENT and len(words) <= column - 4
        indent = " " * (column if beside else 6)
        told = textwrap.wrap(comment, width, initial_indent=indent, subsequent_indent=indent)
        if beside:
            lines.append(f"  {words}".ljust(column) + told.pop(0).lstrip())
        else:
            lines += textwrap.wrap(words, width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
        lines += told
    return "\n".join(lines) + "\n"
