"""Settings that the broker keeps: what is made of them, once, and what is reported. Pure: all times are made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from parleyd.checks.mqtt_rules import check
from parleyd.config.mqtt_section import Mqtt
from parleyd.config.schema import Config
from parleyd.mqtt.desired import LOOK_S, PUTS_PER_MINUTE, SETTLE_S, Desired
from parleyd.mqtt.names import Device, Topics
from parleyd.mqtt.orders import MAX_PAYLOAD_BYTES, Message, Order, Orders, Refused
from parleyd.mqtt.publications import Ask, Publish
from parleyd.mqtt.translator import Command, Translator

DEVICE = Device("d1", "Voice", "0.1.0")
SETTINGS = Mqtt(settings="on", groups=["all", "ring-1"], usage_days=31)
OWN = "parleyd/d1/config/desired"
REPORTED = "parleyd/d1/config/reported"


class Bench:
    """The decisions, a broker that keeps what it was sent, and a daemon that answers as the real one does."""

    def __init__(self, settings: Mqtt = SETTINGS) -> None:
        self.desired = Desired(Topics(settings, DEVICE))
        self.now_s = 100.0
        self.kept: dict[str, bytes] = {}
        self.config: dict[str, Any] = {
            "revision": 0, "values": {}, "probation": None, "label": "", "changed_since": False, "went_back": None,
        }  # fmt: skip
        self.refusal: dict[str, Any] | None = None
        self.put: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []

    def connect(self) -> None:
        self.desired.connected()
        # The first may come before the broker's answer to the subscription.
        for number, topic in enumerate(list(self.kept)):
            if number == 1:
                self.desired.subscribed(self.now_s)
            self.deliver(topic)
        if len(self.kept) <= 1:
            self.desired.subscribed(self.now_s)

    def deliver(self, topic: str) -> None:
        self.desired.message(Message(topic, self.kept[topic], self.now_s, is_retained=True))

    def want(self, topic: str, revision: object, /, **settings: Any) -> None:
        said = {"revision": revision, "settings": {key.replace("__", "."): value for key, value in settings.items()}}
        self.kept[topic] = json.dumps(said).encode()
        self.deliver(topic)

    def begin(self) -> None:
        """The daemon has been started."""
        self.do(self.desired.began())

    def do(self, commands: list[Ask] | list[Ask | Publish]) -> None:
        for command in commands:
            if isinstance(command, Publish):
                assert command.topic == REPORTED
                assert command.is_retained
                self.reports.append(json.loads(command.payload))
            elif command.what == "config":
                self.desired.config(self.config, self.now_s)
            else:
                self.do(self.desired.put(self._put(dict(command.fields)), self.now_s))

    def _put(self, fields: dict[str, Any]) -> dict[str, Any]:
        assert command_is_whole(fields)
        self.put.append(fields)
        if self.refusal is not None:
            return {"ok": False, "error": self.refusal}
        values = dict(self.config["values"])
        for key, value in fields["changes"].items():
            values[key] = {"value": value, "origin": "default" if value is None else "settings"}
        self.config |= {
            "revision": self.config["revision"] + 1, "values": values, "label": fields["label"], "went_back": None,
            "probation": {"left_s": 120, "confirmed": True, "after_restart": False}, "changed_since": False,
        }  # fmt: skip
        result = {"now": [*fields["changes"]], "next_session": [], "restart": []}
        return {"ok": True, "result": result}

    def wait(self, seconds: float = 2 * SETTLE_S) -> dict[str, Any]:
        """Returns the last report, after that time."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += 0.5
            self.do(self.desired.tick(self.now_s))
        return self.reports[-1] if self.reports else {}


def command_is_whole(fields: dict[str, Any]) -> bool:
    return fields.keys() == {"revision", "changes", "label"} and bool(fields["changes"])


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.connect()
    made.begin()
    return made


def test_nothing_is_touched_unless_something_is_wanted(bench: Bench) -> None:
    bench.config["values"] = {"gate.hangover_ms": {"value": 700, "origin": "settings"}}
    assert bench.wait() == {
        "state": "none", "desired": {}, "settings_revision": 0, "groups": ["all", "ring-1"],
        "keys": ["gate.hangover_ms"],
    }  # fmt: skip
    assert bench.put == []


def test_switched_off_it_neither_reads_nor_reports() -> None:
    bench = Bench(Mqtt(groups=["all"]))
    assert Topics(Mqtt(groups=["all"]), DEVICE).desired == {}
    bench.connect()
    bench.want(OWN, 1, gate__hangover_ms=700)
    bench.begin()
    assert bench.wait(60) == {}
    assert bench.put == []


def test_groups_and_the_device_together_are_made_once_and_the_later_one_counts() -> None:
    bench = Bench()
    bench.kept = {
        OWN: b'{"revision": 3, "settings": {"gate": {"hangover_ms": 900}}}',
        "parleyd/group/ring-1/config/desired": b'{"revision": "b7", "settings": {"gate.hangover_ms": 800, '
        b'"wake.mode": "manual"}}',
        "parleyd/group/all/config/desired": b'{"revision": 1, "settings": {"wake.mode": "speech", '
        b'"log.level": "debug"}}',
    }  # fmt: skip
    bench.config["values"] = {"earcons.error": {"value": "off", "origin": "settings"}}
    bench.begin()
    bench.connect()
    bench.wait(SETTLE_S / 2)
    assert bench.put == [], "what else is kept may be on its way"
    report = bench.wait()
    assert bench.put == [
        {
            "revision": 0,
            "changes": {
                "earcons.error": None, "wake.mode": "manual", "log.level": "debug", "gate.hangover_ms": 900,
            },
            "label": bench.config["label"],
        }
    ]  # fmt: skip
    assert report["state"] == "probation"
    assert report["desired"] == {"device": 3, "group/all": 1, "group/ring-1": "b7"}
    assert sorted(report["now"]) == sorted(bench.put[0]["changes"])
    bench.config["probation"] = None
    assert bench.wait(LOOK_S * 2)["state"] == "kept"
    # Neither another connection, nor another start of either program, makes it again.
    bench.connect()
    bench.begin()
    again = Bench()
    again.kept, again.config = bench.kept, bench.config
    again.begin()
    again.connect()
    assert again.wait(60)["state"] == bench.wait(60)["state"] == "kept"
    assert (len(bench.put), len(again.put)) == (1, 0)


def test_what_went_back_is_reported_and_not_tried_again(bench: Bench) -> None:
    bench.want(OWN, 1, gate__hangover_ms=700)
    assert bench.wait()["state"] == "probation"
    label = bench.config["label"]
    bench.config |= {
        "revision": 2, "label": "", "values": {}, "probation": None,
        "went_back": {"revision": 1, "label": label, "reason": "microphone: it is gone"},
    }  # fmt: skip
    bench.do(bench.desired.changed())
    report = bench.wait()
    assert (report["state"], report["reason"]) == ("rolled_back", "microphone: it is gone")
    bench.begin()
    bench.connect()
    assert bench.wait(600)["state"] == "rolled_back"
    assert len(bench.put) == 1
    # The same under another revision is tried.
    bench.want(OWN, 2, gate__hangover_ms=700)
    assert bench.wait()["state"] == "probation"


def test_what_is_refused_is_reported_key_by_key_and_tried_again_with_another_daemon(bench: Bench) -> None:
    text = "hooks: this cannot be changed by a setting; set it in the file\ngate.vad: ears is none"
    bench.refusal = {"kind": "bad_settings", "text": text, "hint": "nothing was changed"}
    bench.want("parleyd/group/all/config/desired", 4, hooks=[], gate__vad="ears")
    report = bench.wait()
    assert report["state"] == "refused"
    assert report["problems"] == text.splitlines()
    assert report["hint"] == "nothing was changed"
    bench.wait(600)
    assert len(bench.put) == 1
    bench.begin()
    bench.wait(600)
    assert len(bench.put) == 2


@pytest.mark.parametrize("kind", ["unavailable", "busy", "not_running", "stale_revision"])
def test_a_refusal_that_passes_is_tried_again(kind: str, bench: Bench) -> None:
    bench.refusal = {"kind": kind, "text": "x", "hint": "y"}
    bench.want(OWN, 1, gate__hangover_ms=700)
    bench.wait()
    assert bench.put
    assert bench.reports == []
    bench.refusal = None
    assert bench.wait(3 * LOOK_S)["state"] == "probation"


def test_what_a_person_changed_stays_and_is_reported(bench: Bench) -> None:
    bench.want(OWN, 1, gate__hangover_ms=700)
    bench.wait()
    bench.config |= {"changed_since": True, "revision": 2, "probation": None}
    bench.do(bench.desired.changed())
    assert bench.wait()["state"] == "changed_here"
    assert len(bench.put) == 1


def test_keys_that_wait_for_a_restart(bench: Bench) -> None:
    bench.want(OWN, 1, audio__stall_s=7)
    bench.wait()
    bench.config["probation"] = {"left_s": 0, "confirmed": True, "after_restart": True}
    assert bench.wait(2 * LOOK_S)["state"] == "waits_for_restart"


def test_keys_that_wait_for_a_session(bench: Bench) -> None:
    bench.want(OWN, 1, session__connect_timeout_s=7)
    bench.wait()
    waits = {"left_s": 3600, "confirmed": True, "after_restart": False, "untried": True, "after_session": True}
    bench.config["probation"] = waits
    assert bench.wait(2 * LOOK_S)["state"] == "waits_for_session"
    bench.config["probation"] = waits | {"after_session": False}
    assert bench.wait(2 * LOOK_S)["state"] == "probation", "a session has begun to use them"


def test_an_emptied_topic_takes_nothing_away_and_empty_settings_do(bench: Bench) -> None:
    bench.want(OWN, 1, gate__hangover_ms=700)
    bench.wait()
    bench.kept[OWN] = b""
    bench.deliver(OWN)
    assert bench.wait()["state"] == "none"
    assert len(bench.put) == 1
    bench.want(OWN, 2)
    bench.wait()
    assert bench.put[-1]["changes"] == {"gate.hangover_ms": None}
    bench.want(OWN, 3)
    bench.config["values"] = {}
    assert bench.wait()["state"] == "probation"
    assert len(bench.put) == 2


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"\xff", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"[" * 20_000, "not a JSON object"),
        (b'{"revision": 1, "settings": {"a": NaN}}', "not a JSON object"),
        (b'{"settings": {}}', "has no `revision`"),
        (b'{"revision": true, "settings": {}}', "has no `revision`"),
        (b'{"revision": 1}', "has no `settings`"),
        (b'{"revision": 1, "settings": {}, "setings": {}}', "what is not known: setings"),
        (b" " * (MAX_PAYLOAD_BYTES + 1), "more than 64 KiB"),
    ],
)
def test_a_message_that_cannot_be_read_makes_nothing_of_the_others_either(
    payload: bytes, told: str, bench: Bench
) -> None:
    bench.want(OWN, 1, gate__hangover_ms=700)
    bench.kept["parleyd/group/all/config/desired"] = payload
    bench.deliver("parleyd/group/all/config/desired")
    report = bench.wait()
    assert report["state"] == "refused"
    assert told in report["problems"][0]
    assert report["problems"][0].startswith("parleyd/group/all/config/desired: ")
    assert bench.put == []


def test_a_daemon_that_has_not_answered_is_not_told_again(bench: Bench) -> None:
    bench.want(OWN, 1, gate__hangover_ms=700)
    asked = [one for half_s in range(40) for one in bench.desired.tick(bench.now_s + half_s / 2)]
    assert [one.what for one in asked if isinstance(one, Ask)] == ["put_config"]


def test_a_broker_that_changes_its_mind_without_end_is_followed_so_often(bench: Bench) -> None:
    for revision in range(30):
        bench.want(OWN, revision, gate__hangover_ms=600 + revision)
        bench.wait(2.0)
    assert len(bench.put) == PUTS_PER_MINUTE, "within a minute"
    bench.wait(60.0)
    # What it wanted last is made in the end.
    assert bench.put[-1]["changes"] == {"gate.hangover_ms": 629}
    assert len(bench.put) == PUTS_PER_MINUTE + 1


def test_a_broker_that_is_slow_makes_no_half_of_what_is_wanted(bench: Bench) -> None:
    bench.want(OWN, 1, gate__hangover_ms=700)
    bench.wait()
    bench.desired.connected()
    bench.deliver(OWN)
    reports = len(bench.reports)
    bench.wait(60)
    assert (len(bench.reports), len(bench.put)) == (reports, 1), "it has not even taken the subscription"
    bench.desired.subscribed(bench.now_s)
    assert bench.wait()["state"] == "probation"
    assert len(bench.put) == 1


def test_a_daemon_that_is_away_is_told_when_it_is_there(bench: Bench) -> None:
    bench.desired.gone()
    bench.want(OWN, 1, gate__hangover_ms=700)
    bench.wait(60)
    assert bench.put == []
    bench.begin()
    assert bench.wait()["state"] == "probation"


def test_an_answer_that_never_came_is_asked_for_again(bench: Bench) -> None:
    bench.desired.began()
    bench.desired.config(None, bench.now_s)
    bench.want(OWN, 1, gate__hangover_ms=700)
    assert bench.wait(2 * LOOK_S)["state"] == "probation"


# ---------------------------------------------------------------- groups, and usage by day


def test_a_command_to_a_group_is_answered_by_each_device_with_its_name() -> None:
    translator = Translator(SETTINGS, DEVICE)
    [order] = translator.message(Message("parleyd/group/ring-1/do/volume", b'{"id": 7}', 1.0))
    assert isinstance(order, Order)
    [answer] = translator.answered(order.reply, {"ok": True, "result": {}})
    assert isinstance(answer, Publish)
    assert answer.topic == "parleyd/d1/result"
    assert json.loads(answer.payload) == {
        "command": "volume", "id": 7, "group": "ring-1", "device": "d1", "ok": True, "result": {},
    }  # fmt: skip
    # Neither another group's, nor one that is kept, nor one that this device does not allow.
    assert translator.message(Message("parleyd/group/ring-2/do/volume", b"", 1.0)) == []
    assert not isinstance(
        translator.message(Message("parleyd/group/all/do/mute", b"", 1.0, is_retained=True))[0], Order
    )
    topics = Topics(SETTINGS, DEVICE)
    refused = Orders(Mqtt(commands=[], groups=["all"]), topics).order(Message("parleyd/group/all/do/mute", b"", 1.0))
    assert isinstance(refused, Refused)
    assert refused.kind == "not_allowed"


def test_a_device_is_not_called_like_the_topics_of_groups() -> None:
    [problem] = check(Config(mqtt=Mqtt(device="group")), lambda _key: True)
    assert problem.key == "mqtt.device"


def day(name: str, minutes: float) -> dict[str, Any]:
    return {"day": name, "minutes": minutes, "money": 0.0, "tokens": 0}


def test_the_usage_of_each_day_has_a_topic_of_its_own() -> None:
    translator = Translator(SETTINGS, DEVICE)
    snapshot = {"event": "snapshot", "status": {"state": "asleep"}}
    assert Ask("usage", {"days": 31}) in translator.told(snapshot)
    answer = {"currency": "EUR", "days": [day("2026-11-29", 2.5), day("2026-11-28", 0.0), day("2026-11-27", 1.0)]}

    def told() -> dict[str, Any]:
        return {
            one.topic: json.loads(one.payload) for one in translator.usage(answer) if isinstance(one, Publish)
        }  # fmt: skip

    assert told() == {
        "parleyd/d1/usage/2026-11-29": {"minutes": 2.5, "money": 0.0, "tokens": 0, "currency": "EUR"},
        "parleyd/d1/usage/2026-11-27": {"minutes": 1.0, "money": 0.0, "tokens": 0, "currency": "EUR"},
    }
    assert told() == {}
    assert Ask("usage", {"days": 31}) in translator.told({"event": "session_ended"})
    # The broker may have lost all of it, and the device was away for days.
    assert Ask("usage", {"days": 31}) in translator.connected()
    assert len(told()) == 2
    assert not [one for one in Translator(Mqtt(), DEVICE).told(snapshot) if one == Ask("usage", {"days": 0})]


def test_the_translator_passes_settings_on_in_both_directions() -> None:
    translator = Translator(SETTINGS, DEVICE)
    config = {
        "revision": 0, "values": {}, "probation": None, "label": "", "changed_since": False, "went_back": None,
    }  # fmt: skip
    translator.connected()
    translator.subscribed(1.0)
    assert Ask("config") in translator.told({"event": "snapshot", "status": {"state": "asleep"}})
    translator.config(config, 1.0)
    wanted = json.dumps({"revision": 1, "settings": {"gate.hangover_ms": 700}}).encode()
    assert translator.message(Message(OWN, wanted, 1.0, is_retained=True)) == []
    asked = [one for half_s in range(20) for one in translator.tick(1.0 + half_s / 2)]
    [put] = [one for one in asked if isinstance(one, Ask)]
    assert put.what == "put_config"
    assert put.fields["changes"] == {"gate.hangover_ms": 700}
    result = {"now": ["gate.hangover_ms"], "next_session": [], "restart": []}
    translator.put({"ok": True, "result": result}, 12.0)
    translator.told({"event": "settings_changed"})
    value = {"gate.hangover_ms": {"value": 700, "origin": "settings"}}
    translator.config(config | {"revision": 1, "label": put.fields["label"], "values": value}, 12.0)
    told = [one for half_s in range(20) for one in translator.tick(12.0 + half_s / 2) if isinstance(one, Publish)]
    assert [(one.topic, json.loads(one.payload)["state"]) for one in told] == [(REPORTED, "kept")]


def test_an_answer_to_what_another_daemon_was_told_is_none(bench: Bench) -> None:
    assert bench.desired.put({"ok": True, "result": {}}, bench.now_s) == []
    assert bench.wait()["state"] == "none"


def days(spent: dict[str, float]) -> dict[str, Any]:
    """The daemon's answer. spent: minutes by day."""
    return {"currency": "EUR", "days": [day(name, minutes) for name, minutes in spent.items()]}


def minutes_at(commands: list[Command]) -> dict[str, float]:
    """What is published, by day."""
    said = [one for one in commands if isinstance(one, Publish)]
    return {one.topic.removeprefix("parleyd/d1/usage/"): json.loads(one.payload)["minutes"] for one in said}


def test_usage_that_a_clock_has_dated_wrongly_is_billed_once() -> None:
    """A board without a clock battery starts with an old date, or one that is ahead, and the network corrects it."""
    translator = Translator(SETTINGS, DEVICE)
    translator.connected()
    translator.told({"event": "snapshot", "status": {"state": "asleep"}})
    # The clock is not set: the daemon has these for the day that comes.
    assert minutes_at(translator.usage(days({"1970-01-01": 3.0, "1969-12-31": 0.0}))) == {}
    assert minutes_at(translator.usage(days({"2026-11-20": 3.0, "2026-11-19": 0.0}))) == {"2026-11-20": 3.0}
    corrected = days({"2026-11-21": 3.0, "2026-11-20": 0.0})
    assert minutes_at(translator.usage(corrected)) == {"2026-11-21": 3.0, "2026-11-20": 0.0}
    assert minutes_at(translator.usage(corrected)) == {}
    # It was ahead, so that the day is no longer among those that are asked for.
    assert minutes_at(translator.usage(days({"2026-11-18": 3.0}))) == {"2026-11-18": 3.0, "2026-11-21": 0.0}
    # The broker may have lost it; what was said of a day that is no more counts again, too.
    translator.connected()
    assert minutes_at(translator.usage(days({"2026-11-18": 3.0}))) == {
        "2026-11-18": 3.0, "2026-11-20": 0.0, "2026-11-21": 0.0,
    }  # fmt: skip
    # Older days have their use, and are only no longer asked for.
    assert minutes_at(translator.usage(days({"2027-01-02": 1.0}))) == {"2027-01-02": 1.0}
