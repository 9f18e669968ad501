"""Prints the conversation as it happens, with a line for each event that a person would notice."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
import threading
import time
from typing import TextIO

from parleyd.core import events
from parleyd.core.events import Event
from parleyd.core.states import State
from parleyd.core.text import one_line
from parleyd.demo import page

_COLOURS = {
    "person": "36",
    "agent": "32",
    "line": "33",
    "trouble": "31",
    "state": "2",
}
_LABEL_COLUMNS = 13
# How long events are held to be sorted by time: they come from several threads, and speech is recognised only after a
# while.
_HOLD_S = 0.4
# The lines that are shown of a long answer.
_MOST_LINES = 2


class Timeline:
    """A subscriber of the bus; prints on a separate thread, so that a slow terminal delays nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = page.may_colour(stream)
        self._began_s: float | None = None
        self._speech_ended_s: float | None = None
        self._lost_s: float | None = None
        self._barged_in_s: float | None = None
        self._reason = ""
        self._speech_lost = False
        self._waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        self._waiting.put(event)

    def close(self) -> None:
        """Prints the held events; prints nothing after that."""
        self._waiting.put(None)
        self._thread.join(2.0)

    def _run(self) -> None:
        held: list[tuple[float, int, Event]] = []
        numbers = itertools.count()
        is_open = True
        while is_open or held:
            with contextlib.suppress(queue.Empty):
                wait_s = max(0.0, held[0][0] + _HOLD_S - time.monotonic()) if held else None
                event = self._waiting.get(timeout=wait_s) if is_open else None
                if event is None:
                    is_open = False
                else:
                    heapq.heappush(held, (event.at_s, next(numbers), event))
            while held and (not is_open or held[0][0] + _HOLD_S <= time.monotonic()):
                # The reader of the pipe may have ended; the conversation goes on.
                with contextlib.suppress(BrokenPipeError):
                    self._show(heapq.heappop(held)[2])

    def _show(self, event: Event) -> None:
        if self._began_s is None:
            self._began_s = event.at_s
        match event:
            case events.Started():
                self._line(event, "state", "asleep", f"listening on {event.microphone}, speaking on {event.speaker}")
            case events.UtteranceStarted():
                sure_after = _ms(event.detected_s - event.at_s)
                self._line(event, "person", "speech", f"somebody speaks (sure after {sure_after})")
            case events.TalkStopped():
                self._speech_ended_s = event.at_s
            case events.SessionOpened():
                self._opened(event)
            case events.SessionEnded(ending=ending) if ending.kind.value != "user":
                self._lost_s = event.at_s
                self._reason = ending.reason
                label = "agent left" if ending.kind.value == "agent" else "line lost"
                # The usual reason says the same as the label.
                reason = "the connection is opened again" if ending.reason == "the line was lost" else ending.reason
                self._line(event, "line", label, reason)
            case events.Heard(final=True):
                self._line(event, "person", "understood", f"“{event.text}”")
            case events.AnswerText(corrected=False):
                self._line(event, "agent", "answering", f"“{event.text}”")
            case events.AnswerText():
                self._line(event, "agent", "corrected", f"it knows that only this was heard: “{event.text}”")
            case events.AnswerStarted():
                self._line(event, "agent", "speaks", self._since_speech(event.at_s))
            case events.BargedIn():
                self._barged_in_s = event.at_s
                self._line(event, "line", "interrupted", f"after {event.heard_ms / 1000:.1f} s of its answer")
            case events.AnswerEnded(finished=False) if self._barged_in_s is not None:
                self._line(event, "line", "silent", f"after {_ms(event.at_s - self._barged_in_s)}")
                self._barged_in_s = None
            case events.AnswerEnded():
                self._line(event, "agent", "has spoken", f"{event.heard_ms / 1000:.1f} s")
            case events.StateChanged(after=State.ASLEEP.value):
                self._line(event, "state", "asleep", event.reason)
            case events.SpeechLost():
                self._speech_lost = True
                self._line(event, "trouble", "lost", f"{event.lost_ms} ms of speech: {event.cause}")
            case events.ToolCalled():
                self._line(event, "agent", "tool", event.name)
            case events.Trouble() if event.hint or self._reason not in event.text:
                self._line(event, "trouble", "trouble", event.text + (f"; {event.hint}" if event.hint else ""))
            case _:
                pass

    def _opened(self, event: events.SessionOpened) -> None:
        resent = f", {event.resent_ms} ms of speech waited and went first" if event.resent_ms else ""
        if self._lost_s is None:
            self._line(event, "line", "connected", f"in {event.handshake_ms} ms{resent}")
        else:
            self._line(event, "line", "back", f"in {_ms(event.at_s - self._lost_s)}{resent}{self._lost_speech()}")
            self._lost_s = None

    def _lost_speech(self) -> str:
        return "" if self._speech_lost else ": nothing lost"

    def _since_speech(self, at_s: float) -> str:
        if self._speech_ended_s is None or self._speech_ended_s > at_s:
            return ""
        since = _ms(at_s - self._speech_ended_s)
        self._speech_ended_s = None
        return f"{since} after the person had finished"

    def _line(self, event: Event, kind: str, label: str, text: str) -> None:
        head = f"{event.at_s - (self._began_s or 0.0):6.2f} s  "
        width = page.width_of(self._stream)
        lines = page.beside(head + label.ljust(_LABEL_COLUMNS), one_line(text), width, most_lines=_MOST_LINES)
        if self._colour:
            lines[0] = lines[0].replace(label, f"\x1b[{_COLOURS[kind]}m{label}\x1b[0m", 1)
        print("\n".join(lines), file=self._stream, flush=True)


def _ms(duration_s: float) -> str:
    return f"{duration_s * 1000:.0f} ms"
