"""Settings of a real daemon by its control socket: set, refused, undone, on probation, and over a restart."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_run import read_until, running, write_config, write_wav

from parleyd.app import probation
from parleyd.app.settings import SettingsError, SettingsKeeper
from parleyd.app.settings_files import MOST_BYTES, NAME, SettingsFiles
from parleyd.checks.configuration import ConfigError, Loaded, load
from parleyd.config.changes import Changes, changes, in_force
from parleyd.control.client import Client, RefusedError
from parleyd.core import events
from parleyd.core.health import Grade, Trouble
from parleyd.core.states import State
from parleyd.embedded.recognise import NoEars
from parleyd.embedded.server import LocalAgent
from parleyd.embedded.settings import AgentSettings
from waiting import until

WAIT_S = 60.0
pytestmark = pytest.mark.usefixtures("state")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(folder))
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_wav(tmp_path / "in.wav", bytes(32_000))
    write_config(tmp_path, reconnect="{initial_s: 30}")
    return tmp_path


@contextmanager
def daemon(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with running(folder) as process:
        read_until(process, "runs;")
        yield process


def parleyd(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parleyd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def value(client: Client, key: str) -> dict[str, Any]:
    one: dict[str, Any] = client.ask("config")["values"][key]
    return one


def test_a_setting_is_laid_over_the_file_and_taken_away_again(config: Path) -> None:
    before = (config / "parleyd.yaml").read_text()
    with daemon(config), Client() as client, Client() as watcher:
        watcher.ask("events")
        assert value(client, "gate.hangover_ms")["origin"] == "default"
        result = client.ask("put_config", revision=0, changes={"gate.hangover_ms": 700, "wake": {"greeting": "skip"}})
        assert result["revision"] == 1
        assert sorted(result["now"]) == ["gate.hangover_ms", "wake.greeting"]
        assert value(client, "gate.hangover_ms") == {
            "value": 700, "origin": "settings", "when": "now", "settable": True,
        }  # fmt: skip
        told = next(event for event in watcher.events(WAIT_S) if event["event"] == "settings_changed")
        assert (told["revision"], told["why"]) == (1, "set")
        assert client.ask("status")["settings"]["keys"] == 2
        assert client.ask("put_config", changes={"gate.hangover_ms": None})["now"] == ["gate.hangover_ms"]
        assert value(client, "gate.hangover_ms")["origin"] == "default"
        assert client.ask("undo_config")["revision"] == 3
        assert value(client, "gate.hangover_ms")["value"] == 700
        assert client.ask("config")["versions"] == [2, 1]
        assert client.ask("config", schema=True)["schema"]["title"] == "parleyd.yaml"
    assert (config / "parleyd.yaml").read_text() == before, "the user's file is never rewritten"
    with daemon(config), Client() as client:
        assert value(client, "gate.hangover_ms") == {
            "value": 700, "origin": "settings", "when": "now", "settable": True,
        }  # fmt: skip
        # What the file says returns with a reload, too.
        client.ask("reload")
        assert value(client, "gate.hangover_ms")["value"] == 700


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gate.hangover_ms": 50, "gate.vad": "ears"}, ["gate.hangover_ms: 50 is too small", "gate.vad: ears is none"]),
        ({"gate.hangovr_ms": 700}, ["gate.hangovr_ms: unknown key; did you mean hangover_ms?"]),
        ({"hooks": [{"on": "muted", "run": ["/bin/true"]}]}, ["hooks: this cannot be changed by a setting"]),
        ({"tools": {"command": {"x": {}}}}, ["tools.command: this cannot be changed by a setting"]),
        ({"elevenlabs.base_url": "http://198.51.100.1"}, ["elevenlabs.base_url: this cannot be changed"]),
        ({"elevenlabs.agent_id": "agent_of_somebody_else"}, ["elevenlabs.agent_id: this cannot be changed"]),
        ({"elevenlabs": {"agent_id": "agent_of_somebody_else"}}, ["elevenlabs.agent_id: this cannot be changed"]),
        ({"elevenlabs.api_key": {"env": "HOME"}}, ["elevenlabs.api_key: this cannot be changed"]),
        ({"elevenlabs.dynamic_variables": {"a": {"command": ["id"]}}}, ["this cannot be changed by a setting"]),
        ({"transcript.enabled": True}, ["transcript.enabled: this cannot be changed by a setting"]),
        ({"audio.output.device": "wav:/tmp/x.wav"}, ["audio.output.device: a setting cannot name a file"]),
        ({"earcons.error": "/etc/shadow"}, ["earcons.error: a setting cannot name a file"]),
        ({"openai.instructions": {"file": "/etc/shadow"}}, ["openai.instructions: a setting cannot name a file"]),
        ({"announce.local_voice": "../../tmp/x"}, ["announce.local_voice: a setting cannot name a file"]),
        ({"announce.local_voice": "a\0b"}, ["announce.local_voice: "]),
        ({"earcons.error": "foo.wav"}, ["earcons.error: a setting cannot name a file"]),
        ({"openai": {"instructions": {"file": "shadow"}}}, ["openai.instructions: a setting cannot name a file"]),
        ({"openai.instructions.file": "shadow"}, ["openai.instructions: a setting cannot name a file"]),
        ({"openai.dynamic_variables": {"a": {"file": "x"}}}, ["openai.dynamic_variables: this cannot be changed"]),
        ({"openai": {"dynamic_variables": {"a": {"env": "HOME"}}}}, ["openai.dynamic_variables: this cannot be"]),
        ({"openai.mcp": {"a": {"url": "https://a.invalid"}}}, ["openai.mcp: this cannot be changed by a setting"]),
        ({"audio": "off"}, ["audio.mode: this cannot be changed by a setting"]),
        ({"profiles": {"a": {"settings": {"hooks": []}}}}, ["profiles: this cannot be changed by a setting"]),
        ({"profiles.a.settings.hooks": []}, ["profiles: this cannot be changed by a setting"]),
        ({"mqtt": {"commands": ["unmute"]}}, ["mqtt.commands: this cannot be changed by a setting"]),
        ({"fallback": "local"}, ["fallback: this cannot be changed by a setting"]),
        ({"local": {"scenario": "x"}}, ["local.scenario: this cannot be changed by a setting"]),
        ({"": {"hooks": []}}, ["unknown key"]),
        ({"hooks\n": []}, ["unknown key"]),
        ({"budget.prices": {"m": {"audio_in": 1}}, "budget.prices.m": 3}, ["budget.prices.m: "]),
        ({"gate.vad.x": 1, "gate.vad": "silero"}, ["gate.vad.x: "]),
        ({"session.max_s": None}, ["session.max_s: there is no such setting"]),
    ],
)
def test_what_cannot_be_set_is_refused_whole(
    changes: dict[str, Any], told: list[str], shared_daemon: Client, shared_state: Path
) -> None:
    with pytest.raises(RefusedError) as caught:
        shared_daemon.ask("put_config", changes=changes | {"barge_in.confirm_ms": 300})
    assert caught.value.kind == "bad_settings"
    for text in told:
        assert text in str(caught.value)
    assert not (shared_state / NAME).exists()
    assert value(shared_daemon, "barge_in.confirm_ms")["origin"] == "default"


def test_a_part_of_a_map_is_taken_away_by_the_key_that_is_listed(config: Path) -> None:
    with daemon(config), Client() as client:
        client.ask("put_config", changes={"budget.prices.m.audio_in": 1})
        listed = {key for key, one in client.ask("config")["values"].items() if one["origin"] == "settings"}
        assert listed == {"budget.prices"}
        # As a program does that takes away what it does not want.
        client.ask("put_config", changes={**dict.fromkeys(listed), "budget.prices.n.audio_in": 2})
        assert list(value(client, "budget.prices")["value"]) == ["n"]
        client.ask("put_config", changes={"budget.prices": None})
        assert value(client, "budget.prices")["origin"] == "default"


@pytest.fixture(scope="module")
def shared_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory, shared_state: Path) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("daemon")
    write_wav(folder / "in.wav", bytes(32_000))
    write_config(folder, reconnect="{initial_s: 30}", control=f"{{socket: {folder}/control.sock}}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIRECTORY", str(shared_state))
        with daemon(folder), Client(folder / "control.sock") as client:
            yield client


def test_a_change_that_is_based_on_an_older_revision_is_refused(config: Path) -> None:
    with daemon(config), Client() as client:
        client.ask("put_config", revision=0, changes={"gate.hangover_ms": 700})
        with pytest.raises(RefusedError) as caught:
            client.ask("put_config", revision=0, changes={"gate.hangover_ms": 800})
        assert caught.value.kind == "stale_revision"
        with pytest.raises(RefusedError) as caught:
            client.ask("undo_config", to=17)
        assert caught.value.kind == "unknown_revision"
        for hangover_ms in range(300, 400, 10):
            client.ask("put_config", changes={"gate.hangover_ms": hangover_ms})
        assert client.ask("config")["versions"] == [10, 9, 8, 7, 6]


def test_a_trial_that_nobody_confirms_goes_back(config: Path) -> None:
    with shortened_daemon(config) as process, Client() as client, Client() as watcher:
        watcher.ask("events")
        result = client.ask("put_config", changes={"gate.hangover_ms": 700}, confirm=True)
        assert result["confirm"]
        changed = (event for event in watcher.events(WAIT_S) if event["event"] == "settings_changed")
        assert next(changed)["why"] == "set"
        assert next(changed)["why"] == "went back: nobody confirmed it within two minutes"
        assert value(client, "gate.hangover_ms")["origin"] == "default"
        # A confirmed one stays.
        client.ask("put_config", changes={"gate.hangover_ms": 800}, confirm=True)
        client.ask("keep_config", revision=client.ask("config")["revision"])
        read_until(process, "are kept")
        assert value(client, "gate.hangover_ms")["value"] == 800
        with pytest.raises(RefusedError, match="on probation"):
            client.ask("keep_config", revision=client.ask("config")["revision"])


@contextmanager
def shortened_daemon(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A daemon whose probation lasts two seconds: everything else is as people have it."""
    program = "import sys; from parleyd.app import probation; probation.PROBATION_S = 2.0; " \
        "from parleyd.cli.main import main; sys.exit(main())"  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", program, "run", "-c", "parleyd.yaml"],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        read_until(process, "runs;")
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def an_agent(folder: Path, *allowed: str) -> Iterator[None]:
    """That of the configuration, with which the daemon talks when it is told to."""
    with LocalAgent(AgentSettings(allowed_overrides=allowed), ears=NoEars()) as agent:
        write_config(folder, agent.base_url, wake="{mode: manual}", reconnect="{initial_s: 30}")
        yield


OVERRIDE = "elevenlabs.overrides.language"


def test_what_the_next_session_uses_waits_for_it_and_goes_back_with_it(config: Path) -> None:
    with an_agent(config, "first_message"), shortened_daemon(config) as process, Client() as client:
        assert client.ask("put_config", changes={OVERRIDE: "de"})["next_session"] == [OVERRIDE]
        assert client.ask("status")["settings"]["probation"]["untried"]
        read_until(process, "no session has used the settings of revision 1 yet")
        assert "used by the next session only" in parleyd("settings").stdout
        assert client.ask("status")["settings"]["probation"]["after_session"]
        with Client() as watcher:
            watcher.ask("events")
            client.ask("wake")
            changed = (event for event in watcher.events(WAIT_S) if event["event"] == "settings_changed")
            assert "does not allow the override" in next(changed)["why"]
        assert value(client, OVERRIDE)["origin"] == "default"


def test_what_the_next_session_uses_is_kept_when_that_stays_well(config: Path) -> None:
    with an_agent(config, "first_message", "language"), shortened_daemon(config) as process, Client() as client:
        client.ask("put_config", changes={OVERRIDE: "de"})
        read_until(process, "no session has used the settings of revision 1 yet")
        client.ask("wake")
        read_until(process, "the settings of revision 1 are kept")
        assert client.ask("status")["settings"] == {"revision": 1, "keys": 1, "probation": None}


def test_whoever_keeps_what_waits_for_a_session_need_not_wait(config: Path) -> None:
    with shortened_daemon(config) as process, Client() as client:
        client.ask("put_config", changes={OVERRIDE: "de"})
        read_until(process, "no session has used the settings of revision 1 yet")
        assert parleyd("settings", "keep").returncode == 0
        read_until(process, "the settings of revision 1 are kept; no session has used some of them")


def test_a_power_cut_while_nothing_is_watched_takes_nothing_back(config: Path) -> None:
    """Twice, as the second start counts the first one."""
    waits = "no session has used the settings of revision 1 yet"
    with shortened_daemon(config) as process, Client() as client:
        client.ask("put_config", changes={OVERRIDE: "de"})
        read_until(process, waits)
    for _ in range(2):
        with shortened_daemon(config) as process, Client() as client:
            assert value(client, OVERRIDE)["value"] == "de"
            assert client.ask("status")["settings"]["probation"]["untried"]
            read_until(process, waits)


def test_a_crash_with_the_session_that_tries_them_takes_them_back(config: Path, state: Path) -> None:
    with an_agent(config, "first_message", "language"):
        with shortened_daemon(config) as process, Client() as client:
            client.ask("put_config", changes={OVERRIDE: "de"})
            read_until(process, "no session has used the settings of revision 1 yet")
            client.ask("wake")
            note = state / "settings.probation.json"
            until("it is not noted that a session uses them", lambda: json.loads(note.read_text())["starts"] == 1)
        with daemon(config), Client() as client:
            assert value(client, OVERRIDE)["origin"] == "default"
            assert "or of a session, with them" in client.ask("config")["went_back"]["reason"]


def test_settings_with_which_the_daemon_never_became_ready_go_back(config: Path) -> None:
    """The daemon is killed on probation after its restart, as a service that fails at every start."""
    with daemon(config), Client() as client:
        result = client.ask("put_config", changes={"audio.stall_s": 7})
        assert result["restart"] == ["audio.stall_s"]
        assert client.ask("status")["settings"]["probation"]["after_restart"]
    with daemon(config) as process, Client() as client:
        assert value(client, "audio.stall_s")["value"] == 7
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT_S)
    with daemon(config), Client() as client:
        assert value(client, "audio.stall_s")["origin"] == "default"
        assert client.ask("status")["settings"] == {"revision": 2, "keys": 0, "probation": None}


def test_what_went_back_is_known_by_its_label_until_others_with_a_label_come(config: Path) -> None:
    """For a program that must not try the same again: over a restart, and after what people change in the meantime."""

    def told(client: Client) -> tuple[str, bool, str | None]:
        listing = client.ask("config")
        went_back = listing["went_back"] or {}
        assert ("never became ready" in went_back.get("reason", "")) == bool(went_back)
        return listing["label"], listing["changed_since"], went_back.get("label")

    with daemon(config), Client() as client:
        with pytest.raises(RefusedError, match="label"):
            client.ask("put_config", changes={"gate.hangover_ms": 700}, label="a\nb: c")
        client.ask("put_config", changes={"gate.hangover_ms": 700}, label="fleet:1")
        assert told(client) == ("fleet:1", False, None)
    with daemon(config), Client() as client:
        client.ask("put_config", changes={"audio.stall_s": 7}, label="fleet:2")
    with daemon(config) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT_S)
    for _ in range(2):
        with daemon(config), Client() as client:
            assert told(client) == ("", False, "fleet:2"), "the first was on probation, too"
    with daemon(config), Client() as client:
        assert "went back: the daemon ended" in parleyd("settings").stdout
        client.ask("put_config", changes={"barge_in.confirm_ms": 300})
        assert told(client) == ("", False, "fleet:2")
        client.ask("put_config", changes={"barge_in.confirm_ms": 400}, label="fleet:3")
        assert told(client) == ("fleet:3", False, None)
        client.ask("put_config", changes={"barge_in.confirm_ms": 500})
        assert told(client) == ("fleet:3", True, None)
        client.ask("undo_config")
        assert told(client) == ("fleet:3", True, None)


def test_an_end_in_order_is_no_failed_start(config: Path) -> None:
    with daemon(config), Client() as client:
        client.ask("put_config", changes={"audio.stall_s": 7})
    for _ in range(2):
        with daemon(config) as process, Client() as client:
            assert value(client, "audio.stall_s")["value"] == 7
            assert not client.ask("status")["settings"]["probation"]["after_restart"]
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_S)


@pytest.mark.parametrize("content", ["gate: {hangover_ms: 5}\n", "gate: [\n", "\xff\xfe", "hooks: [{}]\n", ""])
def test_faulty_settings_do_not_keep_the_daemon_from_running(content: str, config: Path, state: Path) -> None:
    (state / NAME).write_bytes(content.encode("latin-1"))
    with daemon(config), Client() as client:
        assert value(client, "gate.hangover_ms")["origin"] == "default"
        # Whoever sets something else gets rid of it, unless it is readable and wrong.
        if content == "":
            assert client.ask("put_config", changes={"barge_in.confirm_ms": 300})["revision"] == 1


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [40, 340, 900])
def test_a_value_that_is_nested_too_deeply_is_refused(levels: int, shared_daemon: Client) -> None:
    """json.dumps and YAML have limits of their own; the daemon outlives them."""
    with pytest.raises(RefusedError):
        shared_daemon.ask("put_config", changes={"quiet_hours": nested(levels)})
    assert shared_daemon.ask("status")["health"] == "well"


def test_settings_cannot_outgrow_their_file(config: Path) -> None:
    long = "x" * 30_000
    with daemon(config), Client() as client:
        for number, key in enumerate(
            ("prompt", "first_message", "llm", "voice_id", "language", "prompt", "first_message", "llm", "voice_id")
        ):
            key = f"elevenlabs.overrides.{key}"
            with contextlib.suppress(RefusedError):
                client.ask("put_config", changes={key: long + str(number)})
        assert client.ask("status")["health"] == "well"
        revision = client.ask("config")["revision"]
    with daemon(config), Client() as client:
        assert client.ask("config")["revision"] == revision


def test_a_file_that_cannot_be_read_is_kept_and_told(config: Path, state: Path) -> None:
    (state / NAME).write_text("gate: [\n")
    (state / "settings.7.yaml").write_text("# revision: 7\ngate: {hangover_ms: 700}\n")
    with daemon(config), Client() as client:
        assert client.ask("config")["versions"] == [7]
        # The one that cannot be read was the eighth.
        assert client.ask("put_config", changes={"barge_in.confirm_ms": 300})["revision"] == 9
        assert client.ask("config")["versions"] == [8, 7]
        assert client.ask("undo_config", to=7)["now"]
    assert (state / "settings.broken.yaml").read_text() == "gate: [\n"
    assert "hangover_ms: 700" in (state / NAME).read_text()


def test_revisions_never_go_backwards(config: Path, state: Path) -> None:
    """Somebody has deleted the file, or it was set aside at the last start. Revisions that begin anew would overwrite
    older versions, and be deleted as the oldest of them."""
    for revision in range(10, 15):
        (state / f"settings.{revision}.yaml").write_text(f"# revision: {revision}\ngate: {{hangover_ms: 700}}\n")
    with a_keeper(config, state, []) as keeper:
        assert keeper.report.revision == 15
        assert keeper.put(None, {"barge_in.confirm_ms": 300}, confirm=False).revision == 16
        keeper.put(None, {"barge_in.confirm_ms": 310}, confirm=False)
        assert keeper.undo(None, None).revision == 18
        assert keeper.listing(schema=False).values["barge_in.confirm_ms"].value == 300
    assert "confirm_ms: 300" in (state / NAME).read_text()


def test_a_second_change_does_not_confirm_the_first(config: Path) -> None:
    with daemon(config), Client() as client:
        client.ask("put_config", changes={"gate.hangover_ms": 700}, confirm=True)
        assert client.ask("put_config", changes={"barge_in.confirm_ms": 300})["confirm"]
        assert not client.ask("status")["settings"]["probation"]["confirmed"]


@contextmanager
def a_keeper(config: Path, state: Path, ill: list[Trouble], bus: events.Bus | None = None) -> Iterator[SettingsKeeper]:
    """Of a daemon with those troubles, in which each change counts from the next session on."""
    keeper = SettingsKeeper(config / "parleyd.yaml", state, bus or events.Bus())
    keeper.load_first(load(config / "parleyd.yaml"))
    keeper.start(lambda _loaded: Changes(next_session=(OVERRIDE,)), lambda: tuple(ill), lambda: None)
    try:
        yield keeper
    finally:
        keeper.stop(failed=False)


def waits_for_session(keeper: SettingsKeeper) -> bool:
    present = keeper.report.probation
    return present is not None and present.after_session


def test_a_trouble_while_it_waits_is_excused_when_another_change_joins_and_after_a_restart(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may choose another microphone because the present one is gone."""
    monkeypatch.setattr(probation, "PROBATION_S", 0.5)
    ill: list[Trouble] = []
    with a_keeper(config, state, ill) as keeper:
        keeper.put(None, {OVERRIDE: "de"}, confirm=False)
        until("it does not wait for a session", lambda: waits_for_session(keeper))
        ill.append(Trouble("microphone", Grade.TROUBLE, "it is gone"))
        note = state / "settings.probation.json"
        until("the trouble is not noted", lambda: json.loads(note.read_text())["troubled"] == ["microphone"])
        keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
        until("it does not wait any more", lambda: waits_for_session(keeper))
    with a_keeper(config, state, ill) as keeper:
        until("it does not wait after a restart", lambda: waits_for_session(keeper))
        assert keeper.report.revision == 2


def test_what_is_undone_before_a_session_has_used_it_waits_for_none(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probation, "PROBATION_S", 0.5)
    with a_keeper(config, state, []) as keeper:
        keeper.put(None, {OVERRIDE: "de"}, confirm=False)
        until("it does not wait for a session", lambda: waits_for_session(keeper))
        keeper.undo(None, None)
        assert keeper.report.probation is not None
        assert not keeper.report.probation.untried
        until("it is not kept", lambda: keeper.report.probation is None)
        assert keeper.report.revision == 2


def test_a_daemon_that_fails_as_soon_as_a_session_begins_goes_back(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sooner than the thread of the probation looks."""
    monkeypatch.setattr(probation, "PROBATION_S", 0.5)
    bus = events.Bus()
    with a_keeper(config, state, [], bus) as keeper:
        keeper.put(None, {OVERRIDE: "de"}, confirm=False)
        until("it does not wait for a session", lambda: waits_for_session(keeper))
        begins = {"before": State.ASLEEP.value, "after": State.CONNECTING.value, "trigger": "wake", "reason": ""}
        bus.publish(events.StateChanged(at_s=time.monotonic(), **begins))
        keeper.stop(failed=True)
        again = SettingsKeeper(config / "parleyd.yaml", state, events.Bus())
        again.load_first(load(config / "parleyd.yaml"))
        assert again.report.keys == 0


def test_a_daemon_that_fails_on_probation_goes_back(config: Path, state: Path) -> None:
    """It ends because of a fault after it was ready, in order but for that."""
    with daemon(config), Client() as client:
        client.ask("put_config", changes={"audio.stall_s": 7})
    keeper = SettingsKeeper(config / "parleyd.yaml", state, events.Bus())
    alone = load(config / "parleyd.yaml")
    assert keeper.load_first(alone).config.audio.stall_s == 7
    keeper.start(lambda _loaded: Changes(), lambda: (), lambda: None)
    keeper.stop(failed=True)
    again = SettingsKeeper(config / "parleyd.yaml", state, events.Bus())
    assert again.load_first(alone).config.audio.stall_s != 7


def test_a_full_disk_changes_nothing(config: Path, state: Path) -> None:
    with daemon(config), Client() as client:
        (state / f".{NAME}.new").mkdir()
        with pytest.raises(RefusedError) as caught:
            client.ask("put_config", changes={"gate.hangover_ms": 700})
        assert caught.value.kind == "unavailable"
        assert value(client, "gate.hangover_ms")["origin"] == "default"


def test_the_commands(config: Path) -> None:
    with daemon(config):
        assert parleyd("settings").stdout == "no settings: the configuration file alone is in force\n"
        done = parleyd("set", "gate.hangover_ms", "700")
        assert (done.returncode, done.stdout) == (0, "in force now: gate.hangover_ms\n")
        tried = parleyd("set", "wake.greeting", "skip", "--try")
        assert tried.stdout.splitlines()[0] == "in force now: wake.greeting"
        assert "parleyd settings keep" in tried.stdout
        assert parleyd("settings", "keep").stdout == "kept: the settings of revision 2\n"
        listed = parleyd("settings").stdout.splitlines()
        assert {"gate.hangover_ms: 700", "wake.greeting: skip"} <= set(listed)
        assert "gate.aggressiveness: " in parleyd("settings", "--all").stdout
        refused = parleyd("set", "gate.hangover_ms", "50")
        assert (refused.returncode, refused.stdout) == (os.EX_DATAERR, "")
        assert "gate.hangover_ms: 50 is too small" in refused.stderr
        assert parleyd("set", "gate.hangover_ms", "null").returncode == os.EX_USAGE
        assert parleyd("unset", "gate.hangover_ms").stdout == "in force now: gate.hangover_ms\n"
        assert parleyd("settings", "undo").stdout == "in force now: gate.hangover_ms\n"
        assert json.loads(parleyd("settings", "--json").stdout)["values"]["gate.hangover_ms"]["value"] == 700


class RunsWith:
    """A daemon as the keeper of the settings sees it: keys that need a restart stay as they were at the start."""

    def __init__(self, config: Path, state: Path) -> None:
        self._file = config / "parleyd.yaml"
        self.keeper = SettingsKeeper(self._file, state, events.Bus())
        self.in_force = self.keeper.load_first(load(self._file)).config
        self.ill: list[Trouble] = []
        self.restarted = threading.Event()

    def __enter__(self) -> RunsWith:
        self.keeper.start(self.take, lambda: tuple(self.ill), self.restarted.set)
        return self

    def __exit__(self, *_: object) -> None:
        self.keeper.stop(failed=False)

    def take(self, loaded: Loaded) -> Changes:
        changed = changes(self.in_force, loaded.config)
        self.in_force = in_force(self.in_force, loaded.config)
        return changed

    def file_says(self, **audio: int) -> None:
        section: dict[str, object] = {"output": {"device": "null"}, **audio}
        write_config(self._file.parent, audio=json.dumps(section))
        self.keeper.reload(self.take)

    def waits_for_restart(self) -> bool:
        present = self.keeper.report.probation
        return present is not None and present.after_restart


STALL = "audio.stall_s"


def test_what_is_undone_before_a_restart_waits_for_none(config: Path, state: Path) -> None:
    with RunsWith(config, state) as daemon:
        for undo in (lambda: daemon.keeper.undo(None, None), lambda: put(daemon, None)):
            put(daemon, 7)
            assert daemon.waits_for_restart()
            undo()
            assert not daemon.waits_for_restart()
        put(daemon, 7)
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
        assert daemon.waits_for_restart(), "another change has joined"


def put(daemon: RunsWith, stall_s: int | None) -> None:
    daemon.keeper.put(None, {STALL: stall_s}, confirm=False)


def test_a_file_that_says_again_what_is_in_force_ends_the_wait_for_a_restart(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunsWith(config, state) as daemon:
        put(daemon, 7)
    monkeypatch.setattr(probation, "PROBATION_S", 0.5)
    for waits_s in (0.0, 0.5):
        with RunsWith(config, state) as daemon:
            daemon.file_says(stall_s=5)
            put(daemon, None)
            assert daemon.waits_for_restart()
            if waits_s:
                until("the two minutes are not over", lambda: daemon.keeper._probation is None)
                assert daemon.waits_for_restart()
            daemon.file_says(stall_s=7)
            assert not daemon.waits_for_restart()
            put(daemon, 7)


def test_a_key_that_the_file_alone_has_changed_is_no_setting_that_waits(config: Path, state: Path) -> None:
    with RunsWith(config, state) as daemon:
        daemon.file_says(stall_s=7)
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
        assert not daemon.waits_for_restart()


def test_after_the_restart_a_change_that_joins_waits_for_no_further_one_and_goes_back_with_one(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOCATION_ID", "as a service")
    monkeypatch.setattr(probation, "WORSE_S", 0.0)
    with RunsWith(config, state) as daemon:
        put(daemon, 7)
    with RunsWith(config, state) as daemon:
        assert not daemon.waits_for_restart()
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
        assert not daemon.waits_for_restart()
        daemon.ill.append(Trouble("microphone", Grade.TROUBLE, "it is gone"))
        assert daemon.restarted.wait(WAIT_S), "the other stall_s is still in force"
        assert daemon.keeper.report.keys == 0


def test_a_key_that_was_taken_away_with_the_restart_comes_back_with_another_one(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has started without the setting, so that only the older version names it."""
    monkeypatch.setenv("INVOCATION_ID", "as a service")
    monkeypatch.setattr(probation, "WORSE_S", 0.0)
    with RunsWith(config, state) as daemon:
        put(daemon, 7)
        # They are kept.
        daemon.keeper._write_note(None)
    with RunsWith(config, state) as daemon:
        put(daemon, None)
    with RunsWith(config, state) as daemon:
        daemon.ill.append(Trouble("microphone", Grade.TROUBLE, "it is gone"))
        assert daemon.restarted.wait(WAIT_S), "the stall_s of the file is still in force"
        assert daemon.keeper.report.keys == 1


class PowerCutError(BaseException):
    """Nothing of the program runs after it, so nothing may handle it."""


def started_again(config: Path, state: Path, times: int) -> SettingsKeeper:
    """As a service that is killed at each start but the last one, before it is ready."""
    for _ in range(times):
        keeper = SettingsKeeper(config / "parleyd.yaml", state, events.Bus())
        keeper.load_first(load(config / "parleyd.yaml"))
    return keeper


def test_a_change_that_ends_the_process_while_it_is_put_in_force_goes_back(config: Path, state: Path) -> None:
    """It is in the file by then. A first change, which is on probation, goes back with it."""
    for joins in (False, True):
        with RunsWith(config, state) as daemon:
            if joins:
                daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)

            def dies(_loaded: Loaded) -> Changes:
                raise PowerCutError

            daemon.keeper._take = dies
            with pytest.raises(PowerCutError):
                daemon.keeper.put(None, {"barge_in.confirm_ms": 300}, confirm=False)
            # The end of the daemon in order does not happen.
            daemon.keeper._is_ready = False
        assert started_again(config, state, 1).report.keys == (2 if joins else 1)
        assert started_again(config, state, 1).report.keys == 0


def test_a_power_cut_while_a_change_is_stored_leaves_the_one_before_on_probation(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunsWith(config, state) as daemon:
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
        with monkeypatch.context() as patched:
            patched.setattr(SettingsFiles, "write", cut)
            with pytest.raises(PowerCutError):
                daemon.keeper.put(None, {"barge_in.confirm_ms": 300}, confirm=False)
        daemon.keeper._is_ready = False
    assert started_again(config, state, 1).report.keys == 1
    assert started_again(config, state, 1).report.keys == 0


def cut(*_: object, **__: object) -> None:
    raise PowerCutError


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_power_cut_while_settings_go_back_keeps_none_that_are_bad(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunsWith(config, state) as daemon:
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
    started_again(config, state, 1)
    with monkeypatch.context() as patched:
        patched.setattr(SettingsFiles, "write", cut)
        with pytest.raises(PowerCutError):
            started_again(config, state, 1)
    assert started_again(config, state, 1).report.keys == 0


def test_settings_go_back_at_the_start_although_the_disk_is_full(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunsWith(config, state) as daemon:
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
    started_again(config, state, 1)
    with monkeypatch.context() as patched:
        patched.setattr(SettingsFiles, "write", full)
        assert [started_again(config, state, 1).report.keys for _ in range(2)] == [0, 0]
    assert started_again(config, state, 1).report.keys == 0
    assert "hangover_ms" not in (state / NAME).read_text()


def test_settings_go_back_in_a_running_daemon_although_the_disk_is_full(
    config: Path, state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(probation, "WORSE_S", 0.0)
    with RunsWith(config, state) as daemon:
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
        assert daemon.in_force.gate.hangover_ms == 700
        monkeypatch.setattr(SettingsFiles, "write", full)
        daemon.ill.append(Trouble("microphone", Grade.TROUBLE, "it is gone"))
        until("they do not go back", lambda: daemon.in_force.gate.hangover_ms != 700)
        until("it is not told", lambda: "cannot be stored" in caplog.text)
        until("it is not over", lambda: daemon.keeper.report.probation is None)
        assert daemon.keeper.report.keys == 0
        daemon.keeper._is_ready = False
    monkeypatch.undo()
    assert started_again(config, state, 1).report.keys == 0


def test_a_reload_that_cannot_read_the_settings_takes_nothing(config: Path, state: Path) -> None:
    with RunsWith(config, state) as daemon:
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False)
        for spoil in (spoilt_bytes, too_long, a_folder):
            spoil(state / NAME)
            with pytest.raises(ConfigError, match=NAME) as caught:
                daemon.keeper.reload(daemon.take)
            assert caught.value.problems[0].hint
            assert daemon.in_force.gate.hangover_ms == 700


def spoilt_bytes(path: Path) -> None:
    path.write_bytes(b"gate: {hangover_ms: 700} # \xff\n")


def too_long(path: Path) -> None:
    path.write_text("#" + "a" * MOST_BYTES + "\ngate: {hangover_ms: 800}\n")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_what_a_person_has_written_into_the_file_of_the_settings_outlives_the_next_change(
    config: Path, state: Path
) -> None:
    with RunsWith(config, state) as daemon:
        daemon.keeper.put(None, {"gate.hangover_ms": 700}, confirm=False, label="fleet")
        path = state / NAME
        path.write_text(path.read_text().replace("700", "800"))
        daemon.keeper.reload(daemon.take)
        assert daemon.in_force.gate.hangover_ms == 800
        daemon.keeper.put(1, {"barge_in.confirm_ms": 300}, confirm=False)
        assert daemon.in_force.gate.hangover_ms == 800
        assert daemon.keeper.listing(schema=False).changed_since
    assert "hangover_ms: 800" in (state / NAME).read_text()


def test_a_setting_that_could_not_be_read_again_is_refused(config: Path, state: Path) -> None:
    """As text it fits the key; with the next start the whole file would be left out."""
    with RunsWith(config, state) as daemon:
        with pytest.raises(SettingsError, match="too large") as caught:
            daemon.keeper.put(None, {"openai.transcription.model": 10**50}, confirm=False)
        assert caught.value.kind == "bad_settings"
        path = state / NAME
        path.write_text(f"openai: {{transcription: {{model: {10**50}}}}}\n")
        with pytest.raises(ConfigError, match=rf"{NAME}:1"):
            daemon.keeper.reload(daemon.take)
        assert daemon.keeper.report.keys == 0


def test_a_nul_in_a_setting_is_refused_and_ends_no_daemon(config: Path, state: Path) -> None:
    with RunsWith(config, state) as daemon, pytest.raises(SettingsError, match="NUL") as caught:
        daemon.keeper.put(None, {"earcons.timer": "a\0b"}, confirm=False)
    assert caught.value.kind == "bad_settings"
