"""The whole daemon in conversations over the OpenAI Realtime protocol, with the embedded agent's ears and voice."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from realtime_plays import QUESTION, STORY, config, daemon, embedded, scripted

from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.config.openai_section import McpServer, Transcription, TurnDetection
from parleyd.config.overlay import overlay
from parleyd.config.profile_sections import Profile
from parleyd.config.schema import BargeIn, Session, Wake
from parleyd.config.tool_sections import Mcp, McpRule, Tools
from parleyd.core import events
from parleyd.core.endings import EndingKind
from parleyd.core.states import State
from parleyd.tools.asking import Answerer

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")
TRANSCRIBED = {"transcription": Transcription(mode="on", model="gpt-transcribe")}


def test_a_spoken_question_is_answered_and_acknowledged_and_counted(tmp_path: Path) -> None:
    with embedded() as agent, daemon(config(agent, openai=TRANSCRIBED), state_directory=tmp_path) as one:
        one.say(QUESTION)
        assert one.expect(events.Heard, lambda event: event.final).text == QUESTION
        assert one.expect(events.AnswerText).text.startswith("It is ")
        ended = one.expect(events.AnswerEnded)
        assert ended.finished
        assert ended.heard_ms > 500
        [spent] = [event for event in one.of(events.Spent) if event.tokens]
        assert spent.model == "gpt-realtime-2.1"
        assert spent.tokens["audio_out"] > 0
        assert one.service._outbox.kept_ms == 0
        usage = one.service.usage()
        assert usage["money_today"] > 0
        assert usage["tokens_today"] == {**spent.tokens}
        record = agent.wait_connection()
        assert record.deviations == []
        assert not record.events_of("response.create"), "the server answers speech by itself"
        assert not record.events_of("conversation.item.truncate")


def test_the_server_interrupts_and_is_told_what_was_heard() -> None:
    with embedded() as agent, daemon(config(agent, openai=TRANSCRIBED)) as one:
        one.say(STORY)
        one.expect(events.AnswerStarted)
        one.say("Stop it now, please.", after_ms=1500)
        cut = one.expect(events.BargedIn)
        assert cut.by == "server"
        ended = one.expect(events.AnswerEnded)
        assert not ended.finished
        record = agent.wait_connection()
        truncated = record.wait_event("conversation.item.truncate")
        assert 0 < truncated["audio_end_ms"] <= ended.total_ms
        assert abs(truncated["audio_end_ms"] - cut.heard_ms) <= 1
        assert not record.events_of("response.cancel"), "it would race with the server's own"
        one.expect(events.AnswerEnded, lambda event: event.answer > ended.answer)
        assert record.deviations == []


def test_this_side_interrupts_and_cancels() -> None:
    settings_of = {"barge_in": BargeIn(mode="local", confirm_ms=240)}
    with (
        embedded("agent: {stream_speed: 2}") as agent,
        daemon(config(agent, openai=TRANSCRIBED, **settings_of)) as one,
    ):
        one.say(STORY)
        one.expect(events.AnswerStarted)
        one.say("Stop it now, please. That is enough.", after_ms=1500)
        cut = one.expect(events.BargedIn)
        assert cut.by == "local"
        record = agent.wait_connection()
        truncated = record.wait_event("conversation.item.truncate")
        assert abs(truncated["audio_end_ms"] - cut.heard_ms) <= 1
        asked = record.events_of("session.update")[0]["session"]["audio"]["input"]["turn_detection"]
        assert asked["interrupt_response"] is False
        assert record.wait_event("response.cancel")["response_id"]
        one.expect(events.AnswerEnded, lambda event: event.finished)
        assert record.deviations == []


def test_a_tool_is_declared_and_called_and_its_result_is_spoken() -> None:
    replies = "replies: [{heard: clock, say: 'Done: {result}', tool: {name: get_time}}]"
    with embedded(f"agent: {{{replies}}}") as agent, daemon(config(agent)) as one:
        one.service.say("Read the clock.")
        assert one.expect(events.ToolEnded).name == "get_time"
        assert one.expect(events.AnswerText).text.startswith("Done: ")
        record = agent.wait_connection()
        names = [tool["name"] for tool in record.events_of("session.update")[0]["session"]["tools"]]
        assert "get_time" in names
        assert len(record.events_of("response.create")) == 2
        assert record.deviations == []


def test_a_typed_text_interrupts_and_has_an_answer_of_its_own() -> None:
    with embedded("agent: {stream_speed: 2}") as agent, daemon(config(agent)) as one:
        one.say(STORY)
        started = one.expect(events.AnswerStarted)
        one.service.say(QUESTION)
        ended = one.expect(events.AnswerEnded)
        assert (ended.answer, ended.finished) == (started.answer, False)
        answer = one.expect(events.AnswerText, lambda event: event.text.startswith("It is "))
        assert answer.answer > started.answer
        one.expect(events.AnswerEnded, lambda event: event.answer == answer.answer and event.finished)
        record = agent.wait_connection()
        assert record.events_of("response.cancel")
        assert len(record.events_of("conversation.item.truncate")) == 1
        assert record.deviations == []


def test_a_picture_goes_inline(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with embedded() as agent, daemon(config(agent, wake=Wake(mode="manual"))) as one:
        one.service.wake()
        one.expect(events.SessionOpened)
        one.expect(events.AnswerEnded)
        one.service.send_file(os.open(tmp_path / "a.png", os.O_RDONLY), "a.png", "What is this?")
        one.expect(events.FileSent)
        one.expect(events.AnswerEnded)
        [*_, item] = agent.wait_connection().events_of("conversation.item.create")
        kinds = [part["type"] for part in item["item"]["content"]]
        assert kinds == ["input_image", "input_text"]
        assert agent.connections[-1].deviations == []


def test_the_greeting_is_asked_for() -> None:
    with embedded() as agent, daemon(config(agent, wake=Wake(mode="manual"))) as one:
        one.service.wake()
        greeting = one.expect(events.AnswerText)
        assert greeting.greeting
        [create] = agent.wait_connection().events_of("response.create")
        assert create["response"]["instructions"].startswith("Be brief.")


def test_an_idle_session_is_hung_up() -> None:
    # Longer than an agent on a busy machine takes to answer: until then the session is idle, too.
    with embedded() as agent, daemon(config(agent, session=Session(idle_timeout_s=10, false_wake_s=60))) as one:
        one.say(QUESTION)
        one.expect(events.AnswerEnded)
        one.expect_state(State.ASLEEP)
        assert agent.wait_connection().wait_closed().code == 1000


@pytest.mark.parametrize("step", ["do: drop", "do: reset", "do: close, code: 1011"])
def test_after_a_lost_line_the_conversation_goes_on_with_its_items(step: str) -> None:
    """The second question is asked again, and what was said before is known."""
    text = scripted(f"on: speech, nth: 2, {step}")
    with embedded(text) as agent, daemon(config(agent, openai=TRANSCRIBED)) as one:
        one.say(QUESTION)
        one.expect(events.AnswerEnded)
        one.say("Tell me a story.", after_ms=600)
        again = one.expect(events.SessionOpened, lambda event: event.resent_ms > 0)
        assert again.resent_ms > 500
        one.expect(events.Heard, lambda event: event.final and event.text == STORY)
        items = [
            (message["item"]["role"], message["item"]["content"][0]["type"])
            for message in agent.connections[-1].events_of("conversation.item.create")
        ]
        assert items == [("user", "input_text"), ("assistant", "output_text")]
        assert agent.connections[-1].deviations == []


def test_a_server_that_is_killed_in_mid_answer() -> None:
    text = scripted("on: speaking, after_s: 0.5, do: reset", agent="stream_speed: 2")
    with embedded(text) as agent, daemon(config(agent, openai=TRANSCRIBED)) as one:
        one.say(STORY)
        one.expect(events.AnswerStarted)
        one.expect(events.SessionEnded)
        one.expect(events.SessionOpened)
        one.service.say(QUESTION)
        one.expect(events.AnswerText, lambda event: event.text.startswith("It is "))


@pytest.mark.parametrize(
    ("key", "word"), [("wrong", "key is not accepted"), (None, "key")], ids=["a wrong key", "no key"]
)
def test_a_bad_key_is_final_with_its_hint(key: str | None, word: str) -> None:
    with embedded("agent: {api_key: right}") as agent, daemon(config(agent), key) as one:
        one.say(QUESTION)
        ending = one.expect(events.SessionEnded).ending
        assert ending.kind is EndingKind.FINAL
        assert word in ending.reason
        assert "openai.api_key" in (ending.hint or "")


QUOTA = '{"error": {"code": "insufficient_quota", "message": "You exceeded your current quota."}}'
GONE = "default: {{handshake: {{status: {status}, body: '{body}'}}}}"


@pytest.mark.parametrize(
    ("scenario", "openai", "reason", "hint"),
    [
        ("", {"model": "gpt-nothing"}, "gpt-nothing", "openai.model"),
        (GONE.format(status=429, body=QUOTA), {}, "no credit left", "billing settings"),
        (GONE.format(status=404, body="Not Found"), {}, "HTTP 404", "openai.base_url"),
        ("", {"voice": "nobody"}, "nobody", "openai.voice"),
        (
            "agent: {realtime: {dialect: {turn_detection: [server_vad, none]}}}",
            {"turn_detection": TurnDetection(type="semantic")},
            "turn_detection",
            "openai.turn_detection",
        ),
    ],
    ids=["a wrong model", "no credit", "another protocol", "an unknown voice", "semantic turns that it does not have"],
)
def test_what_only_a_person_can_mend_is_final_with_its_hint_and_keeps_what_was_said(
    scenario: str, openai: dict[str, Any], reason: str, hint: str
) -> None:
    with embedded(scenario) as agent, daemon(config(agent, openai=openai)) as one:
        one.say(QUESTION)
        ending = one.expect(events.SessionEnded).ending
        assert ending.kind is EndingKind.FINAL
        assert reason in ending.reason
        assert hint in (ending.hint or "")
        one.expect(events.TalkStopped)
        assert one.service._outbox.kept_ms > 500
        assert not one.of(events.SpeechLost)


def test_what_was_said_to_a_wrong_model_is_answered_after_a_reload_that_names_another() -> None:
    with embedded() as agent, daemon(config(agent, openai={**TRANSCRIBED, "model": "gpt-nothing"})) as one:
        one.say(QUESTION)
        assert one.expect(events.SessionEnded).ending.kind is EndingKind.FINAL
        one.expect(events.TalkStopped)
        mended = config(agent, openai=TRANSCRIBED)
        changed = one.service.reconfigure(mended, lambda settings: OpenAIAgent(settings.openai, "k"))
        assert "openai.model" in changed.next_session
        assert one.expect(events.SessionOpened).resent_ms > 500
        assert one.expect(events.Heard, lambda event: event.final).text == QUESTION
        one.expect(events.AnswerEnded)
        assert not one.of(events.SpeechLost)


def test_a_session_under_a_profile_has_the_profiles_settings_of_the_agent() -> None:
    with embedded() as agent:
        night = Profile(settings={"openai": {"voice": "cedar", "instructions": "Whisper."}})
        by_day = config(agent, openai={"voice": "marin"}, wake=Wake(mode="manual"), profiles={"night": night})
        with daemon(by_day) as one:
            one.service.wake()
            one.expect(events.AnswerEnded)
            by_night = overlay(by_day, night.settings)
            one.service.reconfigure(by_night, lambda settings: OpenAIAgent(settings.openai, "k"))
            one.service.sleep()
            one.expect_state(State.ASLEEP)
            one.service.wake()
            one.expect(events.AnswerEnded)
        asked = [record.events_of("session.update")[0]["session"] for record in agent.connections]
        assert [session["audio"]["output"]["voice"] for session in asked] == ["marin", "cedar"]
        assert [session["instructions"].split(".")[0] for session in asked] == ["Be brief", "Whisper"]
        assert [record.deviations for record in agent.connections] == [[], []]


def test_a_response_that_fails_is_told_and_asked_for_again() -> None:
    failed = "{status: failed, message: 'Rate limit reached. Please try again in 0.3s.'}"
    with embedded(scripted(more=f"  responses: [{failed}]\n")) as agent, daemon(config(agent)) as one:
        one.service.say(QUESTION)
        told = one.expect(events.AnswerFailed)
        assert "limit" in told.text
        one.expect(events.AnswerText, lambda event: event.text.startswith("It is "))
        one.expect(events.AnswerEnded)


def test_an_answer_that_the_server_cuts_short_is_heard_and_told() -> None:
    cut = "{status: incomplete, reason: max_output_tokens, after_audio_ms: 800}"
    with embedded(scripted(more=f"  responses: [{cut}]\n")) as agent, daemon(config(agent)) as one:
        one.service.say(STORY)
        told = one.expect(events.AnswerIncomplete)
        assert "longest length" in told.text
        assert "openai.max_output_tokens" in (told.hint or "")
        assert one.expect(events.AnswerEnded, lambda event: event.answer == told.answer).finished


def test_calls_of_an_mcp_server_wait_for_a_person() -> None:
    """By the rules of the configuration, or by a person, as with every provider; a refusal is talked about."""
    call = "on: spoken, do: mcp_tool_call, name"
    steps = [f"{call}: read_mail, service: bank", f"{call}: pay, service: bank, parameters: {{amount: 700}}"]
    allowed = McpRule(tool="read_*", decision="allow")
    rules = Tools(mcp=Mcp(rules=[allowed], otherwise="ask"))
    bank = {"bank": McpServer(url="http://127.0.0.1:1", allowed_tools=["read_mail", "pay"])}
    with embedded(scripted(*steps)) as agent, daemon(config(agent, openai={"mcp": bank}, tools=rules)) as one:
        one.service.say(QUESTION)
        asked = one.expect(events.ApprovalWanted)
        assert (asked.name, asked.parameters) == ("pay", {"amount": 700})
        assert one.service.tools.approve(asked.approval, allow=False, who=Answerer(1001, 77, "approve"))
        record = agent.wait_connection()
        record.wait_event("conversation.item.create", 3)
        answers = [item["item"] for item in record.events_of("conversation.item.create")[1:]]
        assert [(item["type"], item["approve"]) for item in answers] == [
            ("mcp_approval_response", True),
            ("mcp_approval_response", False),
        ]
        assert record.deviations == []


def test_a_response_without_credit_is_not_asked_for_again() -> None:
    failed = "{status: failed, code: insufficient_quota, message: 'You exceeded your current quota.'}"
    with embedded(scripted(more=f"  responses: [{failed}]\n")) as agent, daemon(config(agent)) as one:
        one.service.say(QUESTION)
        told = one.expect(events.AnswerFailed)
        assert "credit" in told.text
        assert "credit" in (told.hint or "")


@pytest.mark.parametrize(
    "dialect",
    [
        "null_formats: true, item_events: created, truncated: false, error_codes: false, expires_at: false, "
        "usage: false, models: false",
        "turn_detection: [semantic_vad]",
    ],
)
def test_dialects(dialect: str) -> None:
    text = f"agent: {{realtime: {{dialect: {{{dialect}}}}}}}"
    with embedded(text) as agent, daemon(config(agent)) as one:
        one.say(STORY)
        one.expect(events.AnswerStarted)
        one.service.say(QUESTION)
        one.expect(events.AnswerText, lambda event: event.text.startswith("It is "))
        assert one.service.usage()["refused"] is None


@pytest.mark.parametrize("audio_format", ["pcmu", "pcma"])
def test_formats_for_metered_links(audio_format: str) -> None:
    with embedded() as agent, daemon(config(agent, openai={**TRANSCRIBED, "audio_format": audio_format})) as one:
        one.say(QUESTION)
        assert one.expect(events.Heard, lambda event: event.final).text == QUESTION
        assert one.expect(events.AnswerEnded).heard_ms > 500


def test_a_session_that_nears_its_end_is_exchanged_in_a_pause() -> None:
    """The server told its end at the beginning; what was said is in the next session's items."""
    with embedded("agent: {realtime: {max_session_s: 63}}") as agent, daemon(config(agent)) as one:
        one.service.say(QUESTION)
        one.expect(events.AnswerEnded)
        one.expect(events.SessionEnded)
        one.expect(events.SessionOpened)
        record = agent.connections[-1]
        items = [record.wait_event("conversation.item.create", count) for count in (1, 2)]
        assert [item["item"]["role"] for item in items] == ["user", "assistant"]
        assert State.ASLEEP.value not in [event.after for event in one.of(events.StateChanged)]
