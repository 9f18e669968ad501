"""Decides which settings the daemon gets from the broker, and reports what became of them. Pure.

The broker keeps the settings that are wanted: of each group, and of the device itself. Together they are all settings
of the device; the device's own take precedence. The daemon gets them once: settings that it refused, or that did not
stand their probation, are reported, and not tried again until others are wanted. The daemon itself remembers which
settings it has, and which it took back, by the label that they get here; so nothing is tried twice after a restart of
either program.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parleyd.config.settings import leaves
from parleyd.core.text import one_line
from parleyd.mqtt.names import Topics
from parleyd.mqtt.orders import MAX_PAYLOAD_BYTES, Message
from parleyd.mqtt.publications import Ask, Publish, as_json

# The broker sends the settings that it keeps one by one, right after it has taken the subscription. The daemon must not
# get half of them.
SETTLE_S = 2.0
# The interval between two looks at a probation, and the delay after a refusal that passes by itself.
LOOK_S = 10.0
# Refusals of the daemon that pass by themselves. A person has to do something about all others.
_PASSING = ("stale_revision", "unavailable", "busy", "not_running")
_MAX_CHARS = 2000
# Each change is written to the device's card, so no more changes than this are passed on, however often the broker
# changes its mind.
PUTS_PER_MINUTE = 6
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """The settings that one topic wants. settings: by the keys' dotted names. problem: it cannot be read; then nothing
    is made."""

    revision: int | str | None
    settings: Mapping[str, Any]
    problem: str | None = None


def read(message: Message) -> Wanted:
    """message: {"revision": ..., "settings": {...}}. The revision is the operator's: a number or a short text."""
    if len(message.payload) > MAX_PAYLOAD_BYTES:
        return Wanted(None, {}, f"it has more than {MAX_PAYLOAD_BYTES // 1024} KiB")
    try:
        said = json.loads(message.payload.decode())
        # For values that JSON has and the daemon cannot be told: NaN, half a character.
        json.dumps([[[[[[[[said]]]]]]]], ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return Wanted(None, {}, "it is not a JSON object")
    if not isinstance(said, dict):
        return Wanted(None, {}, "it is not a JSON object")
    revision, settings = said.get("revision"), said.get("settings")
    if isinstance(revision, bool) or not isinstance(revision, int | str) or len(str(revision)) > 100:
        return Wanted(None, {}, "it has no `revision`, which is a number or a text of at most 100 characters")
    if not isinstance(settings, dict):
        return Wanted(revision, {}, "it has no `settings`, which is an object with keys of the configuration")
    if unknown := said.keys() - {"revision", "settings"}:
        return Wanted(revision, {}, f"it has what is not known: {one_line(', '.join(sorted(unknown)))[:100]}")
    return Wanted(revision, {key: value for key, value in leaves(settings).items() if value is not None})


class Desired:
    """Each method returns what is to be done. All times are those of one clock that never goes back."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._wanted: dict[str, Wanted] = {}
        self._settled_s: float | None = None
        self._config: Mapping[str, Any] | None = None
        self._look_s = 0.0
        self._asks = False
        # The label of the settings that the daemon was told and has not answered yet; its answer; and its refusal.
        self._putting: str | None = None
        self._puts_s: deque[float] = deque()
        self._made: tuple[str, Mapping[str, Any]] | None = None
        self._refusal: tuple[str, Mapping[str, Any]] | None = None

    @property
    def _is_on(self) -> bool:
        return bool(self._topics.desired)

    # ------------------------------------------------------------ the broker

    def connected(self) -> None:
        """The broker will send all that it keeps; what it does not send is not wanted any more."""
        self._wanted.clear()
        self._settled_s = None

    def subscribed(self, now_s: float) -> None:
        """The broker has taken the subscription, and sends what it keeps."""
        self._settled_s = now_s + SETTLE_S

    def message(self, message: Message) -> bool:
        """Returns whether the message was one of wanted settings."""
        whose = self._topics.desired.get(message.topic)
        if whose is None:
            return False
        if message.payload:
            self._wanted[whose] = read(message)
        else:
            self._wanted.pop(whose, None)
        if self._settled_s is not None:
            self._settled_s = max(self._settled_s, message.at_s + SETTLE_S / 2)
        return True

    # ------------------------------------------------------------ the daemon

    def began(self) -> list[Ask]:
        """A daemon is there, perhaps another one than before, with another file."""
        self._config, self._refusal, self._putting = None, None, None
        return self._question()

    def changed(self) -> list[Ask]:
        """The settings were changed, by whomever."""
        return self._question()

    def gone(self) -> None:
        """Nothing is asked until began()."""
        self._config, self._putting, self._asks, self._look_s = None, None, False, 0.0

    def config(self, config: Mapping[str, Any] | None, now_s: float) -> None:
        """config: the daemon's answer to `config`; None: it gave none."""
        self._asks = False
        self._config = config
        probation = (config or {}).get("probation") or {}
        left_s = float(probation.get("left_s") or LOOK_S)
        self._look_s = now_s + min(LOOK_S, left_s + 1.0)

    def put(self, answer: Mapping[str, Any], now_s: float) -> list[Ask]:
        """answer: the daemon's to `put_config`, {"ok": true, "result": ...} or {"ok": false, "error": ...}."""
        label, self._putting = self._putting, None
        if label is None:
            # It comes from a daemon that has ended since.
            return []
        if answer.get("ok"):
            self._made = (label, answer["result"])
        elif answer["error"].get("kind") not in _PASSING:
            self._refusal = (label, answer["error"])
            return []
        # Until the present settings are known nothing is told again.
        self._config = None
        self._look_s = now_s + LOOK_S
        return self._question() if answer.get("ok") or answer["error"].get("kind") == "stale_revision" else []

    # ------------------------------------------------------------ decisions

    def tick(self, now_s: float) -> list[Ask | Publish]:
        """Call it after each of the others, and about once a second; it publishes all that it has to say each time."""
        if not self._is_on or self._settled_s is None or now_s < self._settled_s:
            return []
        if self._config is None:
            return [*self._question()] if now_s >= self._look_s and self._look_s > 0 else []
        commands: list[Ask | Publish] = []
        if self._config.get("probation") is not None and now_s >= self._look_s:
            commands.extend(self._question())
        return [*commands, *self._decide(self._config, now_s)]

    def _question(self) -> list[Ask]:
        if not self._is_on or self._asks:
            return []
        self._asks = True
        return [Ask("config")]

    def _decide(self, config: Mapping[str, Any], now_s: float) -> list[Ask | Publish]:
        if not self._wanted:
            return [self._report(config, "none")]
        problems = [
            f"{topic}: {self._wanted[whose].problem}"
            for topic, whose in self._topics.desired.items()
            if whose in self._wanted and self._wanted[whose].problem is not None
        ]
        if problems:
            return [self._report(config, "refused", problems=problems, hint="see docs/fleet.md; nothing was changed")]
        settings: dict[str, Any] = {}
        for whose in self._topics.desired.values():
            if whose in self._wanted:
                settings |= self._wanted[whose].settings
        label = self._label(settings)
        present = {key for key, value in config["values"].items() if value["origin"] == "settings"}
        went_back = config.get("went_back") or {}
        if went_back.get("label") == label:
            return [self._report(config, "rolled_back", reason=went_back.get("reason"))]
        if config.get("label") == label or not (settings or present):
            return [self._in_force(config, label)]
        if self._refusal is not None and self._refusal[0] == label:
            error = self._refusal[1]
            problems = str(error.get("text", ""))[:_MAX_CHARS].splitlines()
            return [self._report(config, "refused", problems=problems, hint=error.get("hint"))]
        if self._putting is not None or not self._may_put(now_s):
            return []
        self._putting = label
        changes = {**dict.fromkeys(present - settings.keys()), **settings}
        return [Ask("put_config", {"revision": config["revision"], "changes": changes, "label": label})]

    def _may_put(self, now_s: float) -> bool:
        """Counts the change if it may be made now."""
        while self._puts_s and now_s - self._puts_s[0] >= _MINUTE_S:
            self._puts_s.popleft()
        if len(self._puts_s) >= PUTS_PER_MINUTE:
            return False
        self._puts_s.append(now_s)
        return True

    def _label(self, settings: Mapping[str, Any]) -> str:
        # The revisions belong to it: who wants the same again under another one has it tried again.
        said = [[whose, one.revision] for whose, one in sorted(self._wanted.items())]
        plain = json.dumps([said, settings], sort_keys=True, ensure_ascii=True)
        return f"mqtt:{hashlib.sha256(plain.encode()).hexdigest()[:32]}"

    def _in_force(self, config: Mapping[str, Any], label: str) -> Publish:
        effects: dict[str, Any] = {}
        if self._made is not None and self._made[0] == label:
            effects = {when: self._made[1].get(when) for when in ("now", "next_session", "restart")}
        probation = config.get("probation")
        if config.get("changed_since"):
            return self._report(config, "changed_here", **effects)
        if probation is None:
            return self._report(config, "kept", **effects)
        if probation.get("after_restart"):
            return self._report(config, "waits_for_restart", **effects)
        if probation.get("after_session"):
            return self._report(config, "waits_for_session", **effects)
        return self._report(config, "probation", **effects)

    def _report(self, config: Mapping[str, Any], state: str, **more: Any) -> Publish:
        wanted = {whose: one.revision for whose, one in sorted(self._wanted.items())}
        said = {"state": state, "desired": wanted, "settings_revision": config["revision"]}
        said["groups"] = list(self._topics.groups)
        said["keys"] = sorted(key for key, value in config["values"].items() if value["origin"] == "settings")
        return Publish(self._topics.reported, as_json(said | {key: value for key, value in more.items() if value}))
