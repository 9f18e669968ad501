"""Chooses the embedded agent's answers. Pure: the time is an argument."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from parleyd.embedded.recognise import NOT_UNDERSTOOD
from parleyd.embedded.settings import AgentSettings, ReplyRule, ToolSpec

_ECHO = "You said: "
SORRY = "Sorry, I did not understand."
# It lasts more than 25 s, so that a person can interrupt it.
STORY = (
    "Once upon a time there was a small loudspeaker who lived on a shelf above the kitchen table. "
    "Every morning it listened to the rain on the window, and every evening it told the cups what it had heard. "
    "One day a storm took the line to the city away, and the house became very quiet. "
    "The cups were afraid, and the spoons did not dare to move. "
    "But the loudspeaker remembered every word that anybody had ever said to it, and so it began to tell. "
    "It told of trains in the snow, of a dog who could count to four, and of a lighthouse that was afraid of the dark. "
    "When the line came back in the morning, nobody wanted to hear the news. "
    "And that is why, to this day, there is a cup of tea beside every good loudspeaker. "
)
# fmt: off
_NUMBERS = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
]
# fmt: on
_MINUTES = {name: value for value, name in enumerate(_NUMBERS, 1)} | {"thirty": 30, "sixty": 60}


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A received file, without its content."""

    name: str
    media_type: str
    size_bytes: int


@dataclass
class Memory:
    """The memory of one conversation."""

    said: list[str] = field(default_factory=list)
    updates: dict[str, str] = field(default_factory=dict)
    name: str | None = None
    last_answer: str = ""

    def add_update(self, text: str, context_id: str | None) -> None:
        """Adds a contextual update; a newer one with the same id replaces the older one."""
        self.updates[context_id or f"#{len(self.updates)}"] = text


@dataclass(frozen=True)
class Reply:
    """say may contain {result}, the tool's result; end_call: hang up afterwards."""

    say: str
    tool: ToolSpec | None = None
    end_call: bool = False

    def with_result(self, result: str, *, is_error: bool) -> str:
        """The reply after the tool has answered."""
        heard = for_the_ear(result)
        if is_error:
            return f"I could not do that: {heard}"
        return self.say.replace("{result}", heard)


# Sentences in results that are for an agent, and for nobody's ears.
_FOR_THE_AGENT = re.compile(
    r"\s*\b(Tell the person that|Correct that and|Do not claim|Nothing was done\. (?=Correct|Do not))[^.!?]*[.!?]"
)


def for_the_ear(result: str) -> str:
    """The result of a tool, without instructions to the agent, and JSON in words."""
    if result[:1] in ("{", "["):
        try:
            return _spoken(json.loads(result))
        except (ValueError, RecursionError):
            return result
    return _FOR_THE_AGENT.sub("", result).strip() or result


def _spoken(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{str(name).replace('_', ' ')}: {_spoken(inner)}" for name, inner in value.items())
        case list():
            return "; ".join(map(_spoken, value)) or "nothing"
        case bool():
            return "yes" if value else "no"
        case None:
            return "nothing"
        case _:
            return str(value)


def answer(text: str, memory: Memory, rules: tuple[ReplyRule, ...], now: datetime) -> Reply:
    """The reply to the person's words, which are then remembered."""
    reply = _answer(text, memory, rules, now)
    if text != NOT_UNDERSTOOD:
        memory.said.append(text)
    memory.last_answer = reply.say
    return reply


def answer_files(files: Sequence[ReceivedFile | None], text: str, memory: Memory) -> Reply:
    """The reply to files and the person's words about them. None: a file that was never received."""
    got = [
        f"I got {it.name}: {it.media_type}, {it.size_bytes} bytes." if it else "I do not have the file you speak of."
        for it in files
    ]
    if text.strip():
        memory.said.append(text)
        got.append(f"You said: {text}")
    memory.last_answer = " ".join(got)
    return Reply(memory.last_answer)


_QUOTED = re.compile(
    r"[\"“](?P<quoted>[^\"”]+)[\"”]|\b(?:say|tell|read)\b[^:.]{0,40}:\s*(?P<named>.+)", re.IGNORECASE | re.DOTALL
)


def quoted(instructions: str) -> str | None:
    """The words that instructions ask for: in quotation marks, or after `Say exactly:`."""
    found = _QUOTED.search(instructions)
    return (found["quoted"] or found["named"]).strip() if found else None


def follow(instructions: str, memory: Memory, settings: AgentSettings, now: datetime) -> Reply:
    """The reply to instructions that nobody's question precedes: a greeting, or one of the known answers; otherwise the
    instructions themselves are read out."""
    if re.search(r"\bgreet", instructions, re.IGNORECASE):
        return Reply(settings.first_message)
    reply = _answer(instructions, memory, settings.replies, now)
    return Reply(instructions.strip()) if reply.say.startswith(_ECHO) else reply


def _answer(text: str, memory: Memory, rules: tuple[ReplyRule, ...], now: datetime) -> Reply:
    for rule in rules:
        if found := re.search(rule.heard, text, re.IGNORECASE):
            return Reply(found.expand(rule.say), rule.tool, rule.end_call)
    if text == NOT_UNDERSTOOD:
        return Reply(SORRY)
    for pattern, reply in _KNOWN:
        if known := re.search(pattern, text, re.IGNORECASE):
            return reply(known, memory, now)
    return Reply(f"{_ECHO}{text}")


_Answerer = Callable[[re.Match[str], Memory, datetime], Reply]


def _fixed(text: str, *, end_call: bool = False) -> _Answerer:
    return lambda _found, _memory, _now: Reply(text, end_call=end_call)


def _time(_found: re.Match[str], _memory: Memory, now: datetime) -> Reply:
    return Reply(f"It is {now.hour % 12 or 12}:{now:%M} {'PM' if now.hour >= 12 else 'AM'}.")


def _date(_found: re.Match[str], _memory: Memory, now: datetime) -> Reply:
    return Reply(f"Today is {now:%A}, {now:%B} {now.day}, {now.year}.")


def _count(found: re.Match[str], _memory: Memory, _now: datetime) -> Reply:
    limit = _MINUTES.get(found[1].lower(), 0) if found[1].isalpha() else int(found[1])
    if not 1 <= limit <= len(_NUMBERS):
        return Reply("I can count to twenty.")
    return Reply(", ".join(_NUMBERS[:limit]).capitalize() + ".")


def _timer(found: re.Match[str], _memory: Memory, _now: datetime) -> Reply:
    amount, unit = found[1], found[2].lower()
    count = _MINUTES.get(amount.lower(), 0) if amount.isalpha() else int(amount)
    seconds = count * (60 if unit.startswith("minute") else 1)
    return Reply("{result}", ToolSpec(name="set_timer", parameters={"seconds": seconds}))


def _switch(found: re.Match[str], _memory: Memory, _now: datetime) -> Reply:
    on = (found["first"] or found["last"]).lower() == "on"
    thing = found["thing"].lower()
    if "light" in thing or "lamp" in thing:
        return Reply("{result}", ToolSpec(name="set_light", parameters={"light": thing, "on": on}))
    return Reply("{result}", ToolSpec(name="set_device", parameters={"device": thing, "on": on}))


def _learn_name(found: re.Match[str], memory: Memory, _now: datetime) -> Reply:
    memory.name = found[1].capitalize()
    return Reply(f"Nice to meet you, {memory.name}.")


def _own_name(_found: re.Match[str], memory: Memory, _now: datetime) -> Reply:
    return Reply(f"Your name is {memory.name}." if memory.name else "You have not told me your name.")


def _before(_found: re.Match[str], memory: Memory, _now: datetime) -> Reply:
    if memory.said:
        return Reply(f"You said: {memory.said[-1]}")
    if memory.updates:
        return Reply(f"I was told: {list(memory.updates.values())[-1]}")
    return Reply("You have not said anything before.")


def _news(_found: re.Match[str], memory: Memory, _now: datetime) -> Reply:
    """The reply if the device asks the agent to report its last message."""
    told = list(memory.updates.values())[-1] if memory.updates else "Nothing has happened."
    return Reply(told.removesuffix(" Tell the person."))


def _again(_found: re.Match[str], memory: Memory, _now: datetime) -> Reply:
    return Reply(memory.last_answer or "I have not said anything yet.")


# The first match decides. Words after "Stop." are more important than that word.
_KNOWN: tuple[tuple[str, _Answerer], ...] = (
    (r"\b(a message of the device|has just happened on the device)\b", _news),
    (r"\b(what time|the time)\b", _time),
    (r"\bwhat (day|date)\b|\bthe (date|day)\b", _date),
    (r"\btell me a (long )?story\b", _fixed(STORY.strip())),
    (r"\bcount to (\w+)", _count),
    (r"\bweather\b", _fixed("I have no window to look out of, but I hope the sun shines.")),
    (r"\btimer for (\w+) (minutes?|seconds?)", _timer),
    (r"\bturn (?:(?P<first>on|off) )?(?:the )?(?P<thing>[a-z ]*[a-z])(?: (?P<last>on|off))\b", _switch),
    (r"\bturn (?P<first>on|off) (?:the )?(?P<thing>[a-z ]*[a-z])(?P<last>)", _switch),
    (r"\bmy name is (\w+)", _learn_name),
    (r"\bwhat is my name\b", _own_name),
    (r"\bwhat did i (just )?say\b", _before),
    (r"\brepeat that\b|\bsay that again\b", _again),
    (r"\b(who are you|your name)\b", _fixed("I am the embedded agent of parleyd.")),
    (r"\bwhat can you do\b", _fixed("Ask me for the time, the date, or a story. I can also count.")),
    (r"\bhow are you\b", _fixed("I am fine, thank you.")),
    (r"\b(good ?bye|bye bye|see you later)\b", _fixed("Goodbye. It was nice to talk to you.", end_call=True)),
    (r"\bthank(s| you)\b", _fixed("You are welcome.")),
    (r"\b(hello|good (morning|evening|afternoon))\b", _fixed("Hello. How can I help you?")),
    (r"^stop\b", _fixed("All right.")),
)
