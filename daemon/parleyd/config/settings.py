"""The settings that people make while the daemon runs: values of keys, laid over the user's file. Pure.

They stand in a file of their own, so that the user's file, its comments and its order are never rewritten.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from parleyd.config.keys import Key, all_keys, keys_of
from parleyd.config.nodes import Values, compose, dump
from parleyd.config.schema import Config

_HEAD = """\
# Settings made with `parleyd set`, laid over the configuration file. parleyd writes this file.
# revision: {revision}
"""
_LABEL_LINE = "# label: {label}{since}\n"
_REVISION = re.compile(r"^# revision: ([0-9]{1,15})$", re.MULTILINE)
# The name that a program may give to the settings that it has made. It fits in a comment of the file.
LABEL = r"[A-Za-z0-9._:-]{1,100}"
_SINCE = ", changed since"
_LABELLED = re.compile(rf"^# label: ({LABEL})({_SINCE})?$", re.MULTILINE)

# The keys that a setting may change: how the device listens, talks, sounds and what it may spend. Everything that runs
# a program, names a file, an address or a key, gives a person or an agent more power, keeps people's words, or names
# the agent that hears them (which may be anybody's), stays with the user's file: whoever can change settings from afar
# must not be able to take the device over.
_SETTABLE = (
    "elevenlabs.overrides",
    "openai.model",
    "openai.voice",
    "openai.speed",
    "openai.instructions",
    "openai.greeting",
    "openai.language",
    "openai.transcription",
    "openai.turn_detection",
    "openai.noise_reduction",
    "openai.reasoning_effort",
    "openai.max_output_tokens",
    "openai.truncation",
    "openai.audio_format",
    "wake",
    "audio.input",
    "audio.output.device",
    "audio.output.volume",
    "audio.output.keep_open",
    "audio.output.lead_in_ms",
    "audio.echo",
    "audio.stall_s",
    "earcons",
    "gate",
    "barge_in",
    "session",
    "continuity",
    "budget",
    "quiet_hours",
    "reconnect",
    "announce",
    "log.level",
)
# Keys whose values may name a file.
_MAY_NAME_FILES = (
    "audio.input.device",
    "audio.output.device",
    "earcons",
    "openai.instructions",
    "announce.local_voice",
)
_EARCON_WORDS = ("on", "off", "spoken")
_EARCON_KEYS = ("earcons.level_db", "earcons.after_speech")


class Settings(Struct, frozen=True):
    """values: the value of each key, as JSON has it, by the key's dotted name. revision: counts the changes; 0: there
    has never been one. label: given by the program that made them; empty: none. changed_since: they were changed after
    they had got it."""

    revision: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    changed_since: bool = False

    def text(self) -> str:
        """The content of the file."""
        since = _SINCE if self.changed_since else ""
        label = _LABEL_LINE.format(label=self.label, since=since) if self.label else ""
        return _HEAD.format(revision=self.revision) + label + (dump(nested(self.values)) if self.values else "")

    def changed(self, changes: Mapping[str, Any], label: str | None = None) -> Settings:
        """The next revision. changes: values by dotted names; None removes the key. label: None: the change gives
        none."""
        values = {key: value for key, value in {**self.values, **changes}.items() if value is not None}
        if label is not None:
            return Settings(self.revision + 1, values, label)
        return Settings(self.revision + 1, values, self.label, changed_since=bool(self.label))

    def by_keys(self) -> Settings:
        """The same, with a value for each key of the configuration, as read() has it: a part of a map that was given
        by a name of its own (budget.prices.NAME) becomes the whole map."""
        return replace(self, values=dict(flat(nested(self.values))))

    def as_written(self, found: Settings) -> Settings:
        """The same, with the values of the file, if somebody else has written those. The revision stays: it was no
        change that can go back."""
        if found.values == self.values:
            return self
        return Settings(self.revision, found.values, self.label, changed_since=bool(self.label))

    def after(self, other: Settings) -> Settings:
        """These values again, as the revision after another one."""
        return replace(self, revision=other.revision + 1)

    def undone_after(self, other: Settings) -> Settings:
        """Likewise, by the order of a person: the label stays that of the other one, as with each change of theirs."""
        return Settings(other.revision + 1, self.values, other.label, changed_since=bool(other.label))


def read(text: str) -> Settings:
    """The settings in the text of a file; whether their values fit is not checked. Raises NodeError."""
    root = compose(text)
    plain = {} if root is None else Values().read(root)
    found, labelled = _REVISION.search(text), _LABELLED.search(text)
    values = dict(flat(plain)) if isinstance(plain, dict) else {}
    label, since = (labelled[1], labelled[2]) if labelled else ("", None)
    return Settings(int(found[1]) if found else 0, values, label, changed_since=since is not None)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted names, as sections in sections; in the order of the schema, unknown keys last."""
    order = {key.dotted: number for number, key in enumerate(all_keys())}
    root: dict[str, Any] = {}
    for dotted in sorted(values, key=lambda key: (order.get(key, len(order)), key)):
        *sections, name = dotted.split(".")
        inside = root
        for section in sections:
            below = inside.setdefault(section, {})
            if not isinstance(below, dict):
                # No section at all: the reader will say that there is no such key.
                inside, name = root, dotted
                break
            inside = below
        # Never the value itself, in which a later one may be laid.
        inside[name] = copy.deepcopy(values[dotted])
    return root


def leaves(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes by the dotted names of keys, also where whole sections were given."""
    sections = {key.dotted: key.section for key in all_keys() if key.section is not None}
    plain: dict[str, Any] = {}
    for dotted, value in changes.items():
        section = sections.get(dotted)
        if section is not None and isinstance(value, Mapping):
            plain.update(flat(value, section, tuple(dotted.split("."))))
        else:
            plain[dotted] = value
    return plain


def refusal(dotted: str, value: object) -> tuple[str, str] | None:
    """(the problem, the hint) of a key, or of its value, that only the user's file may set; None if a setting may."""
    if not _is_below(dotted, _SETTABLE):
        return "this cannot be changed by a setting", f"set {dotted} in the configuration file itself, and reload it"
    if _is_below(dotted, _MAY_NAME_FILES) and _names_file(dotted, value):
        return "a setting cannot name a file", f"set {dotted} in the configuration file itself, and reload it"
    return None


def _names_file(dotted: str, value: object) -> bool:
    if isinstance(value, dict):
        return True
    if dotted.startswith("earcons.") and dotted not in _EARCON_KEYS:
        # Any other text is the path of a file.
        return value not in _EARCON_WORDS
    return isinstance(value, str) and ("/" in value or "\0" in value or value.startswith("wav:"))


def settable() -> Iterator[Key]:
    """The keys that a setting may change."""
    return (key for key in all_keys() if key.section is None and _is_below(key.dotted, _SETTABLE))


def _is_below(dotted: str, sections: tuple[str, ...]) -> bool:
    return any(dotted == section or dotted.startswith(f"{section}.") for section in sections)


def flat(
    plain: Mapping[str, Any], section: type[msgspec.Struct] = Config, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Sections in sections, as values by dotted names."""
    keys = keys_of(section, path)
    for name, value in plain.items():
        key = keys.get(name)
        if key is not None and key.section is not None and isinstance(value, Mapping):
            yield from flat(value, key.section, key.path)
        else:
            yield ".".join((*path, name)), value
