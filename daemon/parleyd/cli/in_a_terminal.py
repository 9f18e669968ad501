"""`parleyd run` by hand: what to say, and what was heard. A log that is kept has no words in it; this one is read at
once, by the person who speaks."""

from __future__ import annotations

import logging

from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.core.text import one_line

log = logging.getLogger(__name__)


def hint(config: Config) -> str:
    """What the person could do now."""
    if config.audio.mode == "off":
        return "try: parleyd chat, in another terminal · Ctrl-C ends"
    # The embedded agent understands a fixed set of sentences, any other agent what people say.
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
