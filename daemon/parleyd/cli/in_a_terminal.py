"""`parleyd run` by hand: suggests what to say, and shows what was heard. A stored log contains no words of a
conversation; this output is only read by the person who speaks."""

from __future__ import annotations

import logging

from parleyd.cli.terminal import rows
from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.core.text import one_line

# As wide as the time of an entry.
_INDENT = " " * 9
_NARROWEST = 40

log = logging.getLogger(__name__)


def wrap(entry: str, columns: int) -> str:
    """The entry of the log between words, behind its time."""
    first, *trace = entry.split("\n")
    width = max(_NARROWEST, columns)
    lines = rows(first, width, indent=_INDENT)
    for line in trace:
        lines += rows(line.strip(), width, lead="    ", indent=_INDENT)
    return "\n".join(lines)


def hint(config: Config) -> str:
    """A suggestion for the person."""
    if config.audio.mode == "off":
        return "try: parleyd chat, in another terminal · Ctrl-C ends"
    # The embedded agent understands a fixed set of sentences; other agents understand all.
    words = "what time is it · tell me a story" if config.provider == "local" else "say something"
    first = {
        "word": f"first the wake word, {config.wake.word.replace('_', ' ')} · ",
        "manual": "parleyd wake, in another terminal · ",
    }
    return f"try: {first.get(config.wake.mode, '')}{words} · Ctrl-C ends"


def follow(event: events.Event) -> None:
    """A subscriber of the bus."""
    match event:
        case events.UtteranceStarted():
            log.info("somebody speaks")
        case events.Heard(text=text, final=True):
            log.info("understood: “%s”", one_line(text))
        case events.AnswerText(text=text, corrected=False):
            log.info("the agent answers: “%s”", one_line(text))
        case _:
            pass
