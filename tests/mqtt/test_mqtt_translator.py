"""From events and status to publications, and from messages to orders. Pure: an afternoon takes a millisecond."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from parleyd.config.mqtt_section import Mqtt
from parleyd.mqtt.activity import Activity
from parleyd.mqtt.names import EVENTS, Device, Topics
from parleyd.mqtt.orders import COMMAND_S, MAX_PAYLOAD_BYTES, Message, Order, Orders, Refused
from parleyd.mqtt.patience import FIRST_S, GOOD_S, LASTING_S, LONGEST_S, Failure, Patience
from parleyd.mqtt.publications import Ask, Publish, Warn
from parleyd.mqtt.translator import Command, Translator

DEVICE = Device("d1", "Voice", "0.1.0")
BASE = "parleyd/d1"
DISCOVERY = "homeassistant/device/d1/config"
STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "health": "well",
    "troubles": [],
    "state": "asleep",
    "microphone": {"muted": False, "somebody_speaks": False, "floor_dbfs": -61.5},
    "speaker": {"volume": 0.4},
    "usage": {
        "session_minutes_today": 1.5, "session_minutes_month": 20.0, "money_today": 0.0, "money_month": 0.1,
        "currency": "USD",
    },
    "metrics": {"reconnects": 2, "wake_to_live": {"last_ms": 412.5}},
}  # fmt: skip
PROFILES = {"profile": None, "chosen": "auto", "profiles": ["night"]}


def said(commands: list[Command], topic: str) -> Any:
    """What is published at that topic; None: nothing."""
    found = [one for one in commands if isinstance(one, Publish) and one.topic in (topic, f"{BASE}/{topic}")]
    assert len(found) <= 1
    if not found:
        return None
    try:
        return json.loads(found[0].payload)
    except ValueError:
        return found[0].payload


def topics(commands: list[Command]) -> list[str]:
    return [one.topic for one in commands if isinstance(one, Publish)]


def known(settings: Mqtt | None = None, status: dict[str, Any] = STATUS) -> Translator:
    """Connected, and all is said about the daemon."""
    translator = Translator(settings or Mqtt(), DEVICE)
    translator.connected()
    assert translator.told({"event": "snapshot", "status": status}) == [Ask("profile")]
    translator.profiles(PROFILES)
    return translator


def event(what: str, /, **fields: Any) -> dict[str, Any]:
    return {"event": what, "at_s": 1.0, **fields}


def moved(after: str) -> dict[str, Any]:
    return event("state_changed", before="x", after=after, trigger="x", reason="x")


# ---------------------------------------------------------------- what is published


def test_nothing_but_its_absence_is_said_before_the_daemon_was_heard_of() -> None:
    translator = Translator(Mqtt(), DEVICE)
    assert translator.told(event("woken", by="speech")) == []
    assert topics(translator.connected()) == [f"{BASE}/online"]
    assert said(translator.connected(), "online") == "offline"
    assert translator.status(STATUS) == []  # it came late, from a daemon that has ended
    assert said(translator.daemon_gone(), "online") is None


def test_then_it_describes_the_device_and_says_all_and_last_that_it_is_there() -> None:
    translator = Translator(Mqtt(), DEVICE)
    translator.told({"event": "snapshot", "status": STATUS})
    commands = translator.profiles(PROFILES)
    assert topics(commands) == [
        DISCOVERY, f"{BASE}/state", f"{BASE}/figures", f"{BASE}/troubles", f"{BASE}/online",
    ]  # fmt: skip
    assert all(one.is_retained for one in commands if isinstance(one, Publish))
    assert said(commands, "state") == {
        "state": "idle", "muted": False, "volume": 40, "profile": "auto", "agent_speaks": False,
        "somebody_speaks": False, "answers_by": "agent",
    }  # fmt: skip
    assert said(commands, "figures") == {
        "version": "0.1.0", "minutes_today": 1.5, "minutes_month": 20.0, "money_today": 0.0, "money_month": 0.1,
        "currency": "USD", "reconnects": 2, "wake_to_live_ms": 412.5, "room_dbfs": -61.5,
    }  # fmt: skip
    assert said(commands, "troubles") == {"health": "well", "troubles": []}
    assert said(commands, DISCOVERY)["components"]["profile"]["options"] == ["auto", "none", "night"]
    # Nothing has changed.
    assert translator.profiles(PROFILES) == []
    assert translator.status(STATUS) == []
    # The broker may have forgotten it.
    assert topics(translator.connected()) == topics(commands)


def test_a_daemon_that_does_not_tell_its_profiles_is_described_without() -> None:
    translator = Translator(Mqtt(), DEVICE)
    translator.told({"event": "snapshot", "status": STATUS})
    assert "profile" not in said(translator.profiles(None), DISCOVERY)["components"]
    # Answers that come when the daemon has gone say nothing.
    assert said(translator.daemon_gone(), "online") == "offline"
    assert translator.status(STATUS) == []
    assert translator.profiles(None) == []
    assert translator.profiles(PROFILES) == []


def test_a_daemon_without_sound_and_with_little_to_tell() -> None:
    translator = Translator(Mqtt(discovery_prefix=None), DEVICE)
    translator.told({"event": "snapshot", "status": {"state": "asleep", "microphone": None, "speaker": None}})
    commands = translator.profiles(PROFILES)
    assert said(commands, DISCOVERY) is None
    assert said(commands, "state").keys() == {
        "state", "profile", "agent_speaks", "somebody_speaks", "answers_by",
    }  # fmt: skip
    assert said(commands, "figures")["wake_to_live_ms"] is None
    assert said(commands, "troubles") == {"health": None, "troubles": []}
    # Such an event should not come; nothing breaks.
    assert said(translator.told(event("muted", on=True)), "state") is None


def test_what_people_move_is_said_at_once() -> None:
    translator = known()
    assert said(translator.told(event("muted", on=True, warning=None)), "state")["muted"] is True
    assert said(translator.told(event("volume_changed", volume=0.255)), "state")["volume"] == 26
    assert translator.told(event("profile_changed", profile="night", by="command")) == [Ask("profile")]
    assert said(translator.profiles({**PROFILES, "chosen": "night"}), "state")["profile"] == "night"


def test_troubles_are_asked_for_when_they_may_have_changed() -> None:
    translator = known()
    commands = translator.told(event("device_lost", which="microphone", name="USB", cause="it is gone", hint="plug"))
    assert commands[-1] == Ask("status")
    trouble = {"part": "microphone", "grade": "trouble", "text": "it is gone", "hint": "plug it in", "mend": "x"}
    commands = translator.status({**STATUS, "health": "trouble", "troubles": [trouble]})
    assert said(commands, "troubles") == {
        "health": "trouble",
        "troubles": [{"part": "microphone", "text": "it is gone", "hint": "plug it in"}],
    }


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_published_once_and_not_kept(name: str) -> None:
    commands = known().told(event(name, name="x", label="a secret", parameters={"pin": "1234"}, approval="id"))
    published = next(one for one in commands if isinstance(one, Publish) and one.topic == f"{BASE}/event")
    assert not published.is_retained
    told = json.loads(published.payload)
    assert told.pop("event_type") == name
    assert told.keys() == set(EVENTS[name])


def test_no_words_are_published_unless_they_are_wanted() -> None:
    heard = event("heard", text="what time is it", final=True)
    tentative = event("heard", text="what", final=False)
    answer = event("answer_text", text="It is ten.", corrected=False)
    timer = event("timer_went_off", number=1, label="the eggs", late_s=0.0)
    wanted = {"none": (), "heard": ("heard",), "answers": ("answer",), "all": ("heard", "answer", "label")}
    for texts, expected in wanted.items():
        translator = known(Mqtt(texts=texts))  # type: ignore[arg-type]
        found = []
        for one in (heard, answer):
            commands = translator.told(one)
            for topic in ("heard", "answer"):
                if said(commands, topic) is not None:
                    assert said(commands, topic)["text"] == one["text"]
                    found.append(topic)
        assert said(translator.told(tentative), "heard") is None
        if "label" in said(translator.told(timer), "event"):
            found.append("label")
        assert tuple(found) == expected
        if texts == "all":
            published = next(one for one in translator.told(heard) if isinstance(one, Publish))
            assert not published.is_retained
            assert len(said(translator.told({**heard, "text": "x" * 40_000}), "heard")["text"]) == 8000


# ---------------------------------------------------------------- Home Assistant


def message(topic: str, payload: bytes = b"", **more: Any) -> Message:
    return Message(topic, payload, **{"at_s": 100.0, **more})


def test_when_home_assistant_is_back_it_is_told_all_again() -> None:
    translator = known()
    assert translator.message(message("homeassistant/status", b"offline")) == []
    assert translator.message(message("homeassistant/status", b"online", is_retained=True)) == []
    assert DISCOVERY in topics(translator.message(message("homeassistant/status", b"online")))


def test_a_device_that_was_removed_there_is_not_described_again_until_the_next_start() -> None:
    translator = known()
    assert translator.message(message(DISCOVERY, b"{...}")) == []  # its own words
    assert DISCOVERY in topics(translator.connected())
    assert translator.message(message(DISCOVERY, b"")) == []
    assert DISCOVERY not in topics(translator.connected())
    assert DISCOVERY not in topics(translator.message(message("homeassistant/status", b"online")))
    assert f"{BASE}/state" in topics(translator.connected())


def platforms(payload: Any) -> dict[str, Any]:
    """Key → platform; of a component that is taken away the platform in brackets."""
    components = payload["components"]
    return {key: one["platform"] if len(one) > 1 else [one["platform"]] for key, one in components.items()}


def test_what_the_device_has_no_more_is_taken_away_in_home_assistant() -> None:
    """Home Assistant keeps a component that is only left out of the next description, with its last state."""
    before = known(Mqtt(texts="answers"))
    kept = said(before.connected(), DISCOVERY)
    assert platforms(kept).items() >= {"answer": "sensor", "muted": "binary_sensor", "mute": "button"}.items()
    # Another start: no words, and a switch in the place of the button and its sensor.
    allowed = Mqtt(commands=[*Mqtt().commands, "unmute"])
    translator = Translator(allowed, DEVICE)
    translator.connected()
    assert translator.message(message(DISCOVERY, json.dumps(kept).encode(), is_retained=True)) == []
    translator.told({"event": "snapshot", "status": STATUS})
    first = said(translator.profiles(PROFILES), DISCOVERY)
    wanted = {"answer": ["sensor"], "muted": ["binary_sensor"], "mute": ["button"], "state": "sensor"}
    assert platforms(first).items() >= wanted.items()
    # Until the broker has it, it is said again with each connection.
    assert said(translator.connected(), DISCOVERY) == first
    assert said(translator.profiles(PROFILES), DISCOVERY) is None
    then = said(translator.message(message(DISCOVERY, json.dumps(first).encode())), DISCOVERY)
    assert then == said(known(allowed).connected(), DISCOVERY)
    assert platforms(then)["mute"] == "switch"
    assert translator.message(message(DISCOVERY, json.dumps(then).encode())) == []
    # A broker sends what it kept after the device has described itself, too.
    late = known(allowed)
    assert platforms(
        said(late.message(message(DISCOVERY, json.dumps(kept).encode(), is_retained=True)), DISCOVERY)
    ) == (platforms(first))


def test_nothing_is_taken_away_before_the_daemon_has_told_what_it_is() -> None:
    """A component that is taken away loses the name and the place that a person gave it."""
    kept = json.dumps(said(known().connected(), DISCOVERY)).encode()
    translator = Translator(Mqtt(), DEVICE)
    translator.connected()
    translator.message(message(DISCOVERY, kept, is_retained=True))
    starting = STATUS | {"state": "starting", "microphone": None, "speaker": None}
    translator.told({"event": "snapshot", "status": starting})
    assert not [one for one in platforms(said(translator.profiles(None), DISCOVERY)).values() if isinstance(one, list)]
    translator.status(STATUS)
    assert "profile" not in platforms(said(translator.profiles(None), DISCOVERY))
    without_profiles = said(translator.profiles(PROFILES | {"profiles": []}), DISCOVERY)
    assert platforms(without_profiles)["profile"] == ["select"]


@pytest.mark.parametrize(
    "payload",
    [
        b"x", b"[]", b"{}", b"\xff", b"[" * 100_000,
        b'{"origin": {"name": "parleyd"}, "components": 1}',
        b'{"origin": {"name": "parleyd"}, "components": {"a": 1}}',
        b'{"origin": {"name": "another"}, "components": {"a": {"platform": "sensor", "name": "A"}}}',
    ],
)  # fmt: skip
def test_a_description_that_is_not_its_own_takes_nothing_away(payload: bytes) -> None:
    assert known().message(message(DISCOVERY, payload, is_retained=True)) == []


def test_no_description_takes_memory_without_end() -> None:
    translator = known()
    strange = {f"k{number}": {"platform": "sensor", "name": "K"} for number in range(1000)}
    payload = json.dumps({"origin": {"name": "parleyd"}, "components": strange}).encode()
    described = said(translator.message(message(DISCOVERY, payload, is_retained=True)), DISCOVERY)
    taken_away = [one for one in platforms(described).values() if isinstance(one, list)]
    assert 100 < len(taken_away) <= 200


# ---------------------------------------------------------------- the activity

OPEN, STOPPED, CLOSED = (event(name, utterance=1) for name in ("utterance_started", "talk_stopped", "utterance_ended"))
ANSWER, HEARD_OUT = event("answer_started", answer=3), event("answer_ended", answer=3)


@pytest.mark.parametrize(
    ("story", "state"),
    [
        ([], "idle"),
        ([moved("connecting")], "connecting"),
        ([moved("backing off")], "offline"),
        ([moved("a new state")], "offline"),
        ([moved("live")], "listening"),
        ([OPEN, moved("connecting"), moved("live")], "listening"),
        ([OPEN, moved("connecting"), STOPPED, CLOSED, moved("live")], "processing"),
        ([moved("live"), OPEN, CLOSED], "processing"),
        ([moved("live"), OPEN, CLOSED, OPEN], "listening"),
        ([moved("live"), event("heard", text="x", final=False)], "listening"),
        ([moved("live"), event("heard", text="x", final=True)], "processing"),
        ([moved("live"), event("typed", text="x")], "processing"),
        ([moved("live"), event("typed", text="x"), event("answer_failed", text="x", hint=None)], "listening"),
        ([moved("live"), CLOSED, ANSWER], "responding"),
        ([moved("live"), CLOSED, ANSWER, HEARD_OUT], "listening"),
        ([moved("live"), ANSWER, HEARD_OUT, event("tool_called", name="x", parameters={})], "processing"),
        # The goodbye is still heard.
        ([moved("live"), ANSWER, moved("asleep")], "responding"),
        ([moved("live"), ANSWER, moved("asleep"), HEARD_OUT], "idle"),
        ([moved("live"), CLOSED, moved("asleep"), moved("live")], "listening"),
        ([event("announcement_started", announcement=3, text="x")], "responding"),
        ([event("announcement_started", announcement=3, text="x"), HEARD_OUT], "responding"),
        (
            [event("announcement_started", announcement=3, text="x"), event("announcement_ended", announcement=3)],
            "idle",
        ),
    ],
)
def test_the_state_in_home_assistants_words(story: list[dict[str, Any]], state: str) -> None:
    activity = Activity()
    activity.begin(STATUS)
    for one in story:
        activity.take(one)
    assert activity.state == state
    assert activity.agent_speaks == (state == "responding")


def test_somebody_speaks_until_the_pause_and_the_snapshot_knows_it() -> None:
    assert Activity().state == "connecting"
    activity = Activity()
    activity.begin({**STATUS, "state": "live", "microphone": {"somebody_speaks": True}})
    spoke = [activity.somebody_speaks]
    activity.take(STOPPED)
    spoke.append(activity.somebody_speaks)
    assert spoke == [True, False]


# ---------------------------------------------------------------- commands


def orders(**settings: Any) -> Orders:
    section = Mqtt(**settings)
    return Orders(section, Translator(section, DEVICE).topics)


def command(name: str, payload: bytes | str = b"", **more: Any) -> Message:
    return message(f"{BASE}/do/{name}", payload.encode() if isinstance(payload, str) else payload, **more)


@pytest.mark.parametrize(
    ("came", "do", "fields"),
    [
        (command("wake"), "wake", {}),
        (command("wake", ' {"anyway": false}'), "wake", {"anyway": False}),
        (command("mute"), "mute", {}),
        (command("mute", '{"on": true}'), "mute", {}),
        (command("mute", '{"on": "no"}'), "mute", {}),
        (command("volume", '{"to": 0.5}'), "volume", {"to": 0.5}),
        (command("say", "What time is it?"), "say", {"text": "What time is it?"}),
        (command("announce", '{"text": "{x}", "now": true}'), "announce", {"text": "{x}", "now": True}),
        (command("context", "x" * 8000), "context", {"text": "x" * 8000}),
        (command("restart", "{}"), "stop", {}),
    ],
)
def test_commands_become_orders(came: Message, do: str, fields: dict[str, Any]) -> None:
    found = orders().order(came)
    assert isinstance(found, Order)
    assert (found.do, found.fields, found.until_s) == (do, fields, 100.0 + COMMAND_S)


@pytest.mark.parametrize(
    ("came", "kind"),
    [
        (command("approve", '{"approval": "1"}'), "unknown_request"),
        (command("run_tool"), "unknown_request"),
        (command("wake/now"), "unknown_request"),
        (command("wake", b"{" + b" " * MAX_PAYLOAD_BYTES), "too_long"),
        (command("wake", b"\xff"), "bad_request"),
        (command("wake", "now"), "bad_request"),
        (command("wake", "{now}"), "bad_request"),
        (command("wake", '{"a":' * 5000), "bad_request"),
        (command("wake", r'{"id": "\ud800"}'), "bad_request"),
        (command("wake", '{"id": NaN}'), "bad_request"),
        (command("volume", '{"to": -Infinity}'), "bad_request"),
        (command("wake", '{"do": "run_tool"}'), "bad_request"),
        (command("wake", '{"self": 1}'), "bad_request"),
        (command("say", "x" * 8001), "too_long"),
        (command("wake", response_topic="$SYS/x"), "bad_request"),
        (command("wake", response_topic="x/+"), "bad_request"),
        (command("wake", response_topic="parleyd/d2/do/wake"), "bad_request"),
        (command("wake", response_topic="parleyd/d2/do/result"), "bad_request"),
        (command("wake", response_topic="parleyd/d2/state"), "bad_request"),
        (command("wake", response_topic="homeassistant/device/x/config"), "bad_request"),
        (command("wake", response_topic="homeassistant"), "bad_request"),
        (command("wake", response_topic=""), "bad_request"),
    ],
)
def test_what_is_no_command_is_refused_with_the_reason(came: Message, kind: str) -> None:
    found = orders().order(came)
    assert isinstance(found, Refused)
    assert found.kind == kind
    # Never where somebody else would take it for something.
    assert found.reply.topic == f"{BASE}/result"
    assert found.answer["error"]["text"]


def test_only_what_is_allowed_is_ordered() -> None:
    allowed = orders(commands=["mute", "say"])
    assert isinstance(allowed.order(command("mute")), Order)
    for refused in (command("mute", '{"on": false}'), command("unmute"), command("wake")):
        found = allowed.order(refused)
        assert isinstance(found, Refused)
        assert found.kind == "not_allowed"


def test_nobody_unmutes_through_the_broker_unless_the_owner_said_so() -> None:
    for came in (command("unmute"), command("unmute", "{}"), command("mute", '{"on": false}')):
        refused = orders().order(came)
        assert isinstance(refused, Refused)
        assert (refused.kind, refused.hint) == ("not_allowed", "mqtt.commands on the device allows it")
        ordered = orders(commands=["unmute"]).order(came)
        assert isinstance(ordered, Order)
        assert ordered.do == "unmute"


@pytest.mark.parametrize("topic", [f"{BASE}/do", "parleyd/group/all/do"])
@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("unmute", ""), ("unmute", "{}"), ("mute", '{"on": false}'),
        ("wake", '{"anyway": true}'), ("wake", '{"anyway": 1}'),
    ],
)  # fmt: skip
def test_neither_device_nor_group_is_unmuted_or_exceeds_its_budget(name: str, payload: str, topic: str) -> None:
    settings = Mqtt(groups=["all"])
    found = Orders(settings, Topics(settings, DEVICE)).order(Message(f"{topic}/{name}", payload.encode(), 0.0))
    assert isinstance(found, Refused)
    assert found.kind == "not_allowed"


def test_too_many_texts_within_a_minute_are_refused_and_orders_are_not() -> None:
    bounded = orders(per_minute=2)
    kinds = []
    for at_s in (0.0, 30.0, 31.0, 59.9, 60.0, 61.0, 90.0):
        found = bounded.order(command("announce", "Dinner", at_s=at_s))
        kinds.append(found.kind if isinstance(found, Refused) else "")
        assert isinstance(bounded.order(command("wake", at_s=at_s)), Order)
    assert kinds == ["", "", "too_many", "too_many", "", "too_many", ""]


def test_a_command_counts_for_as_long_as_its_sender_says() -> None:
    for expires_s, until_s in ((5.0, 105.0), (9999.0, 100.0 + COMMAND_S)):
        found = orders().order(command("wake", expires_s=expires_s))
        assert isinstance(found, Order)
        assert found.until_s == until_s


def test_the_answer_goes_where_the_sender_wants_it() -> None:
    translator = known()
    came = command("volume", '{"to": 0.5, "id": 7}', response_topic="backend/1", correlation=b"\x00\x01")
    order = translator.message(came)[0]
    assert isinstance(order, Order)
    assert order.fields == {"to": 0.5}
    answer = translator.answered(order.reply, {"ok": True, "result": {"volume": 0.5}})[0]
    assert isinstance(answer, Publish)
    assert (answer.topic, answer.correlation, answer.is_retained) == ("backend/1", b"\x00\x01", False)
    assert json.loads(answer.payload) == {"command": "volume", "id": 7, "ok": True, "result": {"volume": 0.5}}
    # MQTT 3.1.1 has no response topic.
    refused = translator.message(command("volumes"))[0]
    assert isinstance(refused, Publish)
    assert (refused.topic, refused.correlation) == (f"{BASE}/result", None)
    assert json.loads(refused.payload)["error"]["kind"] == "unknown_request"
    own = orders().order(command("wake", response_topic="parleyd/backend/result"))
    assert isinstance(own, Order)
    foreign = orders(discovery_prefix=None).order(command("wake", response_topic="homeassistant/x"))
    assert isinstance(foreign, Order)


def test_a_command_that_the_broker_keeps_is_not_carried_out() -> None:
    [found] = known().message(command("mute", is_retained=True))
    assert isinstance(found, Warn)
    assert found.hint == f"delete it: mosquitto_pub -t {BASE}/do/mute -r -n"
    # The topic is the sender's, and the hint is for a shell.
    topic = f"{BASE}/do/it's; rm -r ~{'y' * 900}"
    [found] = known().message(message(topic, is_retained=True))
    assert isinstance(found, Warn)
    assert shlex.split(found.hint.removeprefix("delete it: ")) == ["mosquitto_pub", "-t", topic, "-r", "-n"]
    assert len(found.text) < 200
    [found] = known().message(message(f"{BASE}/do/\x1b[2J", is_retained=True))
    assert isinstance(found, Warn)
    assert (found.text + found.hint).isprintable()
    assert known().message(message(f"{BASE}/state", b"x")) == []


# ---------------------------------------------------------------- the connection


def test_delays_grow_with_jitter_and_a_good_connection_resets_them() -> None:
    patience = Patience("5")
    delays = [patience.failed(Failure.UNREACHABLE, 1.0) for _ in range(9)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert patience.failed(Failure.UNREACHABLE, 0.25) == LONGEST_S / 4
    assert patience.failed(Failure.LOST, 1.0, lasted_s=GOOD_S) == FIRST_S


def test_what_does_not_pass_by_itself_is_tried_seldom() -> None:
    for failure in (Failure.REFUSED, Failure.TAKEN_OVER):
        assert Patience("auto").failed(failure, 1.0) == LASTING_S
        assert Patience("auto").failed(failure, 0.0) == LASTING_S / 2
    assert Patience("5").failed(Failure.VERSION, 1.0) == LASTING_S


def test_a_broker_that_knows_the_older_version_alone_is_asked_in_it() -> None:
    patience = Patience("auto")
    versions: list[str] = [patience.version]
    assert patience.failed(Failure.VERSION, 1.0) == 0.0
    versions.append(patience.version)
    # It does not want that one either: from the beginning, and not without a pause.
    assert patience.failed(Failure.VERSION, 1.0) > 0.0
    versions.append(patience.version)
    # Some end the connection without a word.
    assert patience.failed(Failure.SILENT, 1.0) > 0.0
    versions.append(patience.version)
    patience.connected()
    patience.failed(Failure.SILENT, 1.0)
    versions.append(patience.version)
    assert versions == ["5", "3.1.1", "5", "3.1.1", "3.1.1"]
    assert Patience("3.1.1").version == "3.1.1"
    fixed = Patience("5")
    fixed.failed(Failure.SILENT, 1.0)
    assert fixed.version == "5"


def test_connections_that_end_again_and_again_are_seen() -> None:
    patience = Patience("3.1.1")
    for _ in range(3):
        assert not patience.seems_doubled
        patience.failed(Failure.LOST, 1.0, lasted_s=1.0)
    assert patience.seems_doubled
    patience.failed(Failure.LOST, 1.0, lasted_s=GOOD_S)
    assert not patience.seems_doubled


def test_nothing_is_said_before_it_is_known_what_the_device_is() -> None:
    translator = Translator(Mqtt(), DEVICE)
    translator.connected()
    translator.told({"event": "snapshot", "status": STATUS})
    assert translator.told({"event": "muted", "on": True}) == []
    assert translator.status(STATUS) == []
    assert said(translator.profiles(PROFILES), "state")["muted"] is False, "the newest status"
