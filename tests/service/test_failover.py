"""The fallback answers while the agent is away: with a real agent of each protocol that is killed, frozen or out of
credit in the middle of a sentence, and comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from away import CLOUD, LOCAL, Cloud, sounds, times_heard
from harness import Daemon
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from parleyd.app.agents import Agents
from parleyd.app.fallback import LocalFallback
from parleyd.audio.mixer import MixerError
from parleyd.config.openai_section import InstructionsFile, McpServer, OpenAI
from parleyd.config.retention import Budget
from parleyd.config.schema import Config, ElevenLabs, Local, Reconnect, Session
from parleyd.conversation.session import session
from parleyd.conversation.supervisor import failover
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.states import State
from parleyd.embedded import child
from waiting import until
from web_server import Answer, web_server

QUESTION = "What time is it?"
Protocol = Literal["elevenlabs", "openai"]
PROTOCOLS: tuple[Protocol, ...] = ("elevenlabs", "openai")


def config(base_url: str, folder: Path, protocol: Protocol = "elevenlabs", **sections: Any) -> Config:
    scenario = folder / "home.yaml"
    scenario.write_text(LOCAL)
    settings: dict[str, Any] = {
        "provider": protocol,
        "fallback": "local",
        "local": Local(scenario=str(scenario), protocol=protocol, after_s=3),
        "session": Session(idle_timeout_s=60, false_wake_s=60),
        "reconnect": Reconnect(initial_s=0.1, max_s=1.0),
    }
    if protocol == "elevenlabs":
        settings["elevenlabs"] = ElevenLabs(agent_id="agent_test", base_url=base_url)
    else:
        settings["openai"] = OpenAI(base_url=f"{base_url}/v1", instructions="Be brief.")
    return Config(**{**settings, **sections})


@contextmanager
def daemon(its_config: Config) -> Iterator[Daemon]:
    with (
        Agents(its_config) as agents,
        Daemon(its_config, agent=agents.agent(its_config), fallback=agents.fallback) as one,
    ):
        yield one


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the fallback records its sessions, as only this test wants it."""
    folder = tmp_path / "fallback"
    plain = child.AgentChild.__init__

    def recording(self: child.AgentChild, *args: Any, **more: Any) -> None:
        plain(self, *args, **more)
        self._options += ["--record", str(folder)]

    monkeypatch.setattr(child.AgentChild, "__init__", recording)
    # The agent is tried again soon.
    monkeypatch.setattr(failover, "FIRST_S", 1.0)
    monkeypatch.setattr(failover, "LASTING_S", 1.0)
    return folder


def by_itself(event: events.AnswerText) -> bool:
    return event.text.startswith("By myself")


def by_cloud(event: events.AnswerText) -> bool:
    return event.text.startswith("The cloud")


def heard(folder: Path, sentence: str = QUESTION) -> list[int]:
    """How often each recorded session has heard the sentence."""
    return [times_heard(sound, rate_hz, sentence) for sound, rate_hz in sounds(folder)]


def nothing_lost(one: Daemon) -> None:
    assert not one.of(events.SpeechLost)
    assert one.service.counters.lost == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_sentence_in_which_the_agent_dies_is_answered_by_the_fallback_and_the_next_by_the_agent(
    protocol: Protocol, tmp_path: Path, recorded: Path
) -> None:
    with Cloud(tmp_path) as cloud, daemon(config(cloud.base_url, tmp_path, protocol)) as one:
        one.say(QUESTION)
        one.expect(events.AnswerText, by_cloud)
        one.expect(events.AnswerEnded)
        one.say(QUESTION, after_ms=800)
        one.expect(events.UtteranceStarted)
        cloud.kill()
        began = one.expect(events.FallbackBegan)
        assert began.is_first
        one.expect(events.AnswerText, by_itself)
        one.expect(events.AnswerEnded)
        until("there is no trouble", lambda: [it.part for it in one.service.status().troubles] == ["fallback"])
        cloud.start()
        one.expect(events.FallbackOver)
        back = next(event for event in one.of(events.StateChanged) if event.trigger == "agent is back")
        assert (back.before, back.after) == ("live", "connecting")
        one.say(QUESTION, after_ms=300)
        one.expect(events.AnswerText, by_cloud)
        until("the trouble stays", lambda: not one.service.status().troubles)
        opened = [event.is_fallback for event in one.of(events.SessionOpened)]
        assert opened == [False, True, False]
        one.service.stop()
        # The agent that died had the beginning of the second sentence, at most.
        assert sum(heard(recorded)) == 1
        assert sum(heard(tmp_path / "cloud")) in (2, 3)
        nothing_lost(one)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_agent_that_freezes_in_the_middle_of_a_sentence_is_given_up(
    protocol: Protocol, tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SILENT_S", 1.0)
    with Cloud(tmp_path, CLOUD + "  ping_interval_s: 0.3\n") as cloud:
        quick = Session(idle_timeout_s=60, false_wake_s=60, connect_timeout_s=2)
        with daemon(config(cloud.base_url, tmp_path, protocol, session=quick)) as one:
            one.say(QUESTION)
            one.expect(events.AnswerEnded)
            one.say(QUESTION, after_ms=800)
            one.expect(events.UtteranceStarted)
            cloud.freeze()
            one.expect(events.AnswerText, by_itself)
            one.expect(events.AnswerEnded)
            cloud.thaw()
            one.expect(events.FallbackOver)
            one.say(QUESTION, after_ms=300)
            one.expect(events.AnswerText, by_cloud)
            one.service.stop()
            assert sum(heard(recorded)) == 1
            nothing_lost(one)


QUOTA = "This request exceeds your quota limit."
SPENT = {
    "elevenlabs": f"""
connections:
- steps:
  - {{on: transcript, do: error, shape: flat, message: received 1002 {QUOTA}}}
  - {{on: transcript, do: close, code: 1002, reason: {QUOTA}}}
- steps:
  - {{on: ready, do: close, code: 1002, reason: {QUOTA}}}
default: {{}}
""",
    # The session stays open, and answers nothing.
    "openai": f"""
connections:
- responses:
  - {{status: failed, code: insufficient_quota, message: {QUOTA}}}
default: {{}}
""",
}
TRIALS = {"elevenlabs": 2, "openai": 1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_question_that_was_understood_when_the_credit_ended_is_answered_by_the_fallback(
    protocol: Protocol, tmp_path: Path
) -> None:
    """The agent has it already as words, so that its sound is not sent again."""
    with (
        Cloud(tmp_path, CLOUD + SPENT[protocol]) as cloud,
        daemon(config(cloud.base_url, tmp_path, protocol)) as one,
    ):
        one.say(QUESTION)
        began = one.expect(events.FallbackBegan)
        assert "credit" in began.reason or "quota" in began.reason
        one.expect(events.AnswerText, by_itself)
        one.expect(events.AnswerEnded)
        # The first trial fails again where the whole session is refused.
        for _ in range(TRIALS[protocol]):
            one.expect(events.FallbackOver)
        one.say(QUESTION, after_ms=300)
        one.expect(events.AnswerText, by_cloud)
        assert sum(event.is_first for event in one.of(events.FallbackBegan)) == 1
        nothing_lost(one)


def test_without_a_network_the_first_word_is_for_the_fallback(tmp_path: Path, recorded: Path) -> None:
    with daemon(config("http://no-such-host.invalid", tmp_path)) as one:
        one.say(QUESTION)
        one.expect(events.AnswerText, by_itself)
        one.expect(events.AnswerEnded)
        assert heard(recorded) == [1]
        nothing_lost(one)


def test_an_agent_that_accepts_and_never_begins_is_given_up_after_a_while(tmp_path: Path) -> None:
    with (
        Cloud(tmp_path, CLOUD + "connections:\n- metadata: {send: false}\n") as cloud,
        daemon(config(cloud.base_url, tmp_path)) as one,
    ):
        one.say(QUESTION)
        assert "within 3 s" in one.expect(events.FallbackBegan).reason
        one.expect(events.AnswerText, by_itself)
        nothing_lost(one)


def test_the_login_of_a_guest_network_is_not_the_agent(tmp_path: Path) -> None:
    login = Answer(302, "", {"Location": "http://login.invalid/"})
    with Cloud(tmp_path) as cloud, daemon(config(cloud.base_url, tmp_path)) as one:
        cloud.kill()
        one.service.say(QUESTION)
        one.expect(events.AnswerText, by_itself)
        one.expect(events.AnswerEnded)
        port = int(cloud.base_url.rpartition(":")[2])
        with web_server(lambda _path: login, port) as network:
            until("it is asked twice", lambda: len(network.asked) >= 2)
        assert not [event for event in one.of(events.StateChanged) if event.trigger == "agent is back"]
        cloud.start()
        one.expect(events.FallbackOver)


def test_a_timer_that_the_fallback_sets_rings_and_the_next_agent_is_told_what_was_said(tmp_path: Path) -> None:
    with Cloud(tmp_path) as cloud, daemon(config(cloud.base_url, tmp_path)) as one:
        cloud.kill()
        one.service.say("Set a timer for 2 seconds.")
        assert one.expect(events.ToolCalled).name == "set_timer"
        one.expect(events.TimerWentOff)
        cloud.start()
        one.expect(events.FallbackOver)
        one.service.stop()
    (log,) = sorted((tmp_path / "cloud").rglob("*.jsonl"))[-1:]
    told = log.read_text()
    assert "contextual_update" in told
    assert "Set a timer for 2 seconds." in told


def test_a_fallback_that_dies_in_the_middle_of_a_sentence_comes_back_and_that_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "RESTART_S", 0.2)
    # A session in which it has answered has held.
    monkeypatch.setattr(failover, "STABLE_S", 0.2)
    its_config = config("http://127.0.0.1:9", tmp_path)
    with Agents(its_config) as agents:
        assert agents.fallback is not None
        with Daemon(its_config, agent=agents.agent(its_config), fallback=agents.fallback) as one:
            for _ in range(2):
                one.say(QUESTION, after_ms=800)
                one.expect(events.UtteranceStarted)
                if not one.of(events.FallbackBegan):
                    one.expect(events.FallbackBegan)
                os.kill(pid_of(agents.fallback), signal.SIGKILL)
                one.expect(events.AnswerText, by_itself)
                one.expect(events.AnswerEnded)
            told = [event.text for event in one.of(events.Trouble) if "the fallback" in event.text]
            assert len(told) == 2, "once for each time that it fails, and it has worked in between"
            nothing_lost(one)


def pid_of(fallback: LocalFallback) -> int:
    return child_of(fallback)._process.pid


def child_of(fallback: LocalFallback) -> child.AgentChild:
    its_child = fallback._child
    assert its_child is not None
    return its_child


def test_its_process_is_there_while_it_is_needed_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "KEEP_S", 0.5)
    with Cloud(tmp_path) as cloud:
        its_config = config(cloud.base_url, tmp_path)
        with Agents(its_config) as agents:
            fallback = agents.fallback
            assert fallback is not None
            with Daemon(its_config, agent=agents.agent(its_config), fallback=fallback) as one:
                one.say(QUESTION)
                one.expect(events.AnswerEnded)
                assert fallback._child is None, "nothing runs while the agent answers"
                cloud.kill()
                one.service.say(QUESTION)
                one.expect(events.AnswerText, by_itself)
                pid = pid_of(fallback)
                assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "800"
                assert child.resident_bytes(pid) > 0
                assert fallback._key not in Path(f"/proc/{pid}/cmdline").read_text()
                assert fallback._key not in Path(f"/proc/{pid}/environ").read_text()
                where = child_of(fallback).base_url.replace("http", "ws", 1)
                with (
                    connect(f"{where}/v1/convai/conversation?agent_id=agent_1", proxy=None) as nobody,
                    pytest.raises(ConnectionClosed) as refused,
                ):
                    nobody.recv(10)
                assert refused.value.rcvd is not None
                assert refused.value.rcvd.code == 3000, "whoever has no key does not talk with it"
                cloud.start()
                one.expect(events.FallbackOver)
                until("it stays", lambda: not Path(f"/proc/{pid}").exists())


def test_a_spent_budget_is_no_silence_and_the_fallback_is_not_in_the_books(tmp_path: Path) -> None:
    with Cloud(tmp_path) as cloud:
        its_config = config(cloud.base_url, tmp_path, budget=Budget(minutes_per_day=0.05))
        with daemon(its_config) as one:
            one.say(QUESTION)
            one.expect(events.AnswerText, by_cloud)
            one.expect(events.BudgetSpent)
            one.expect_state(State.ASLEEP)
            one.say(QUESTION, after_ms=500)
            assert one.expect(events.FallbackBegan).reason == "the budget is spent"
            used = one.service.usage()["session_minutes_today"]
            one.expect(events.AnswerText, by_itself)
            one.expect(events.AnswerEnded)
            assert one.service.usage()["session_minutes_today"] == used
            assert one.service.usage()["refused"] is None


def test_where_memory_is_short_it_is_not_started_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parleyd.app import fallback

    monkeypatch.setattr(fallback, "available_bytes", lambda: 50 << 20)
    with daemon(config("http://127.0.0.1:9", tmp_path)) as one:
        one.say(QUESTION)
        told = one.expect(events.Trouble, lambda event: "the fallback" in event.text)
        assert told.text == "the fallback fails: 50 MB of memory are free, and the fallback needs 120"


def test_a_fallback_without_a_scenario_that_can_be_read_says_so(tmp_path: Path) -> None:
    its_config = config("http://127.0.0.1:9", tmp_path)
    its_config = msgspec.structs.replace(its_config, local=Local(scenario=str(tmp_path / "none.yaml")))
    with daemon(its_config) as one:
        one.say(QUESTION)
        told = one.expect(events.Trouble, lambda event: "the fallback" in event.text)
        assert "none.yaml" in told.text


def test_settings_for_the_server_of_the_agent_are_not_for_that_of_the_fallback(tmp_path: Path) -> None:
    """Its own key is sent in the usual header, for one, and the tokens of other servers are not told to it."""
    openai = OpenAI(
        base_url="http://127.0.0.1:9/v1",
        key_header="X-Own-Key",
        query={"code": "query-secret"},
        model="their-model",
        voice="their-voice",
        flat_session=True,
        audio_format="pcmu",
        mcp={"home": McpServer(url="http://127.0.0.1:9/mcp", authorization="mcp-secret")},
    )
    its_config = config("", tmp_path, "openai", openai=openai)
    with daemon(its_config) as one:
        one.say(QUESTION)
        one.expect(events.AnswerText, by_itself)
        one.expect(events.AnswerEnded)
        one.service.stop()
    told = "".join(path.read_text() for path in (tmp_path / "fallback").rglob("*.jsonl"))
    assert told
    assert "secret" not in told


def test_after_a_reload_the_fallback_has_the_configuration_in_force(tmp_path: Path, recorded: Path) -> None:
    def told_to(words: str) -> Config:
        return config("", tmp_path, "openai", openai=OpenAI(base_url="http://127.0.0.1:9/v1", instructions=words))

    first = told_to("Be brief.")
    with (
        Agents(first) as agents,
        Daemon(first, agent=agents.agent(first), fallback=agents.fallback) as one,
    ):
        one.service.say(QUESTION)
        one.expect(events.AnswerEnded)
        one.service.reconfigure(told_to("Talk like a pirate."), agents.agent)
        # The agent is tried again at once, and is still away.
        one.expect(events.SessionOpened, lambda event: event.is_fallback)
        one.service.say(QUESTION)
        one.expect(events.AnswerEnded)
        one.service.stop()
    before, after = (path.read_text() for path in sorted(recorded.rglob("*.jsonl"))[-2:])
    assert "Be brief." in before
    assert "Talk like a pirate." in after
    assert "Be brief." not in after


def test_a_reload_that_the_fallback_cannot_take_changes_nothing(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("Be brief.")

    def with_file(name: str) -> Config:
        its_config = config("http://127.0.0.1:9", tmp_path, openai=OpenAI(instructions=InstructionsFile(file=name)))
        its_config = msgspec.structs.replace(its_config, budget=Budget(minutes_per_day=1 if name == "gone" else 2))
        return msgspec.structs.replace(its_config, local=msgspec.structs.replace(its_config.local, protocol="openai"))

    first = with_file(str(words))
    with (
        Agents(first) as agents,
        Daemon(first, agent=agents.agent(first), fallback=agents.fallback) as one,
    ):
        with pytest.raises(UserError, match="gone"):
            one.service.reconfigure(with_file("gone"), agents.agent)
        assert one.service._config.budget.minutes_per_day == 2


def test_a_reload_that_the_mixer_refuses_changes_nothing_for_the_fallback_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_config: Config) -> None:
        raise MixerError("the mixer does not answer", "see the card")

    first = config("http://127.0.0.1:9", tmp_path, openai=OpenAI(instructions="Be brief."))
    with (
        Agents(first) as agents,
        Daemon(first, agent=agents.agent(first), fallback=agents.fallback) as one,
    ):
        fallback, sound = agents.fallback, one.service.sound
        assert fallback is not None
        assert sound is not None
        monkeypatch.setattr(sound, "reconfigure", refuses)
        other = config("http://127.0.0.1:9", tmp_path, openai=OpenAI(instructions="Talk like a pirate."))
        with pytest.raises(MixerError):
            one.service.reconfigure(other, agents.agent)
        assert fallback._config.openai.instructions == "Be brief."


def test_instructions_that_are_gone_when_it_starts_are_told_and_do_not_end_the_daemon(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("Be brief.")
    its_config = config("http://127.0.0.1:9", tmp_path, openai=OpenAI(instructions=InstructionsFile(file=str(words))))
    its_config = msgspec.structs.replace(its_config, local=msgspec.structs.replace(its_config.local, protocol="openai"))
    with daemon(its_config) as one:
        words.unlink()
        one.say(QUESTION)
        told = one.expect(events.Trouble, lambda event: "the fallback" in event.text)
        assert "words.txt" in told.text
    with pytest.raises(UserError, match=r"words\.txt"):
        Agents(its_config)
