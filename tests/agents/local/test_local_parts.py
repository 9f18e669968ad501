"""The pure parts of the embedded agent, its ears and its voice."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from local_client import person, spoken

from parleyd.agents.elevenlabs.formats import parse_format
from parleyd.audio.pcm import level_dbfs
from parleyd.conversation.dialogue.agent_input import ASK
from parleyd.embedded import incoming, opening, replies
from parleyd.embedded.hearing import Hearing, SpeechEnded, SpeechGoesOn, SpeechStarted
from parleyd.embedded.recognise import NOT_UNDERSTOOD, SphinxEars, written
from parleyd.embedded.settings import AgentSettings, ReplyRule, ToolSpec
from parleyd.embedded.spoken import SpokenTurn, sentences
from parleyd.embedded.voice import Voice, VoiceError

NOW = datetime(2026, 3, 4, 15, 7)

# ---------------------------------------------------------------- what has been heard


def test_what_was_heard_is_told_by_the_proportion_of_each_sentence() -> None:
    turn = SpokenTurn(3, "One two three four. Five six.")
    turn.begin(100.0)
    turn.add_sentence("One two three four.", 2.0)
    turn.add_sent(2.0)
    turn.add_sentence("Five six.", 1.0)
    turn.add_sent(1.0)
    turn.is_streaming = False
    assert turn.heard_text(100.0) == ""
    assert turn.heard_text(101.1) == "One two"
    assert turn.heard_text(102.6) == "One two three four. Five"
    assert turn.heard_text(104.0) == "One two three four. Five six."
    assert turn.is_heard(102.9)
    assert not turn.is_heard(103.1)


def test_no_more_is_heard_than_was_sent() -> None:
    turn = SpokenTurn(1, "One two three four.")
    turn.begin(0.0)
    turn.add_sentence("One two three four.", 4.0)
    turn.add_sent(1.0)
    assert turn.heard_text(60.0) == "One"


def test_long_texts_are_cut_into_sentences_that_hold_all_words() -> None:
    text = "Short one. " + "word " * 200 + "x" * 700
    pieces = sentences(text)
    assert pieces[0] == "Short one."
    assert max(map(len, pieces)) <= 240
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


# ---------------------------------------------------------------- replies


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("What time is it?", "It is 3:07 PM."),
        ("What is the date?", "Today is Wednesday, March 4, 2026."),
        ("Stop. What day is it today?", "Today is Wednesday, March 4, 2026."),
        ("Count to five.", "One, two, three, four, five."),
        ("Please count to 3", "One, two, three."),
        ("Count to thirty.", "I can count to twenty."),
        ("Stop.", "All right."),
        ("Purple rain", "You said: Purple rain"),
        (NOT_UNDERSTOOD, "Sorry, I did not understand."),
    ],
)
def test_replies(heard: str, said: str) -> None:
    assert replies.answer(heard, replies.Memory(), (), NOW) == replies.Reply(said)


def test_goodbye_ends_the_call() -> None:
    assert replies.answer("Goodbye.", replies.Memory(), (), NOW).end_call


@pytest.mark.parametrize(
    ("heard", "tool"),
    [
        ("Turn on the kitchen light.", ToolSpec(name="set_light", parameters={"light": "kitchen light", "on": True})),
        ("Turn the lamp off.", ToolSpec(name="set_light", parameters={"light": "lamp", "on": False})),
        ("Turn off the radio.", ToolSpec(name="set_device", parameters={"device": "radio", "on": False})),
        ("Set a timer for five minutes.", ToolSpec(name="set_timer", parameters={"seconds": 300})),
    ],
)
def test_orders_are_tool_calls_and_their_results_are_said(heard: str, tool: ToolSpec) -> None:
    reply = replies.answer(heard, replies.Memory(), (), NOW)
    assert reply.tool == tool
    assert reply.with_result("Done.", is_error=False) == "Done."
    assert reply.with_result("no such tool", is_error=True) == "I could not do that: no such tool"


@pytest.mark.parametrize(
    ("result", "spoken"),
    [
        ('{"left":"3 minutes","is_on":true,"rooms":["hall","pantry"]}',
         "left: 3 minutes, is on: yes, rooms: hall; pantry"),
        ("[]", "nothing"),
        ("{not JSON", "{not JSON"),
        ("It is 21 °C.", "It is 21 °C."),
        ("The door is stuck. Tell the person that this did not work; do not claim that it was done.",
         "The door is stuck."),
        ("That is no zone. Nothing was done. Correct that and call it again; ask the person for what you do not know.",
         "That is no zone."),
        ("Nothing was done.", "Nothing was done."),
    ],
)  # fmt: skip
def test_results_of_tools_are_worded_for_the_ear(result: str, spoken: str) -> None:
    assert replies.for_the_ear(result) == spoken


def test_it_remembers() -> None:
    memory = replies.Memory()
    replies.answer("My name is Ada.", memory, (), NOW)
    assert replies.answer("What is my name?", memory, (), NOW).say == "Your name is Ada."
    assert replies.answer("What did I say before?", memory, (), NOW).say == "You said: What is my name?"


def test_it_says_what_the_device_has_told_it() -> None:
    memory = replies.Memory()
    memory.add_update("Tea is ready: the timer has gone off. Tell the person.", None)
    assert replies.answer(ASK, memory, (), NOW).say == "Tea is ready: the timer has gone off."
    assert replies.answer(ASK, replies.Memory(), (), NOW).say == "Nothing has happened."


def test_contextual_updates_replace_older_ones_with_the_same_id() -> None:
    memory = replies.Memory()
    memory.add_update("off", "light")
    memory.add_update("Ada asked for the time", None)
    memory.add_update("on", "light")
    assert set(memory.updates.values()) == {"on", "Ada asked for the time"}


def test_rules_come_first() -> None:
    rules = (ReplyRule(heard=r"time in (?P<city>\w+)", say=r"Late in \g<city>.", end_call=True),)
    reply = replies.answer("What TIME in Paris?", replies.Memory(), rules, NOW)
    assert reply == replies.Reply("Late in Paris.", end_call=True)


# ---------------------------------------------------------------- the first message


def test_overrides_and_variables() -> None:
    message: dict[str, Any] = {
        "conversation_config_override": {"agent": {"first_message": "Hi {{ name }}."}},
        "dynamic_variables": {"name": "Ada"},
    }
    settings = AgentSettings(prompt="Be {{mood}}.")
    with pytest.raises(opening.RefusedError) as refused:
        opening.read(message, settings, "conv_1", NOW)
    assert refused.value.error_type == "missing_dynamic_variable"
    assert str(refused.value) == "Missing required dynamic variables in prompt: {'mood'}"
    message["dynamic_variables"]["mood"] = "kind"
    read = opening.read(message, settings, "conv_1", NOW)
    assert (read.first_message, read.prompt) == ("Hi Ada.", "Be kind.")


@pytest.mark.parametrize("nested", [True, False])
def test_text_only_is_found_on_both_levels(nested: bool) -> None:
    override: dict[str, object] = {"conversation": {"text_only": True}} if nested else {"text_only": True}
    assert opening.read({"conversation_config_override": override}, AgentSettings(), "c", NOW).is_text_only


def test_overrides_that_are_not_allowed() -> None:
    override = {"tts": {"voice_id": "x"}, "agent": {"first_message": None}}
    with pytest.raises(opening.RefusedError, match=r"^Override for field 'voice_id' is not allowed by config\.$"):
        opening.read({"conversation_config_override": override}, AgentSettings(allowed_overrides=("prompt",)), "c", NOW)


# ---------------------------------------------------------------- the client's messages


@pytest.mark.parametrize("message", ["{", "[]", '"text"', "{}", '{"type": 3}', b"{}"])
def test_messages_that_are_none(message: str | bytes) -> None:
    with pytest.raises(incoming.InvalidMessageError):
        incoming.parse(message)


@pytest.mark.parametrize("chunk", ["@@@@", "AAA", 5, None, "AA=="])
def test_sound_that_is_none(chunk: object) -> None:
    with pytest.raises(incoming.InvalidMessageError):
        incoming.audio({"user_audio_chunk": chunk}, parse_format("pcm_16000"))


@pytest.mark.parametrize(
    ("message", "is_one"),
    [
        ({"type": "client_tool_result", "tool_call_id": "c", "result": {"a": 1}, "is_error": False}, True),
        ({"type": "client_tool_result", "tool_call_id": "c", "result": "1", "is_error": False}, False),
        ({"type": "interrupt"}, True),
        ({"user_audio_chunk": "AA==", "type": "user_audio_chunk"}, True),
    ],
)
def test_deviations(message: dict[str, object], is_one: bool) -> None:
    assert (incoming.deviation(message) is not None) == is_one


# ---------------------------------------------------------------- hearing


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100])
def test_speech_is_found_in_sound_of_any_rate_and_cut_out_whole(rate_hz: int) -> None:
    speech = person().say("Tell me a story.", rate_hz)
    sound = bytes(rate_hz * 2) + speech + bytes(rate_hz * 2)
    hearing = Hearing(rate_hz, end_of_speech_ms=400)
    events = [event for start in range(0, len(sound), 1234) for event in hearing.push(sound[start : start + 1234])]
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded]
    utterance = events[1]
    assert isinstance(utterance, SpeechEnded)
    assert abs(len(utterance.pcm) / 32_000 - len(speech) / rate_hz / 2) < 0.7


def test_a_turn_does_not_end_while_nothing_is_sent() -> None:
    hearing = Hearing(16_000, end_of_speech_ms=400, report_every_ms=200)
    speech = person().say("Tell me a story.", 16_000).rstrip(b"\x00")
    events = hearing.push(speech[: len(speech) * 3 // 4 // 2 * 2])
    assert hearing.is_speech
    assert any(isinstance(event, SpeechGoesOn) for event in events)
    assert not any(isinstance(event, SpeechEnded) for event in events)


def test_noise_that_is_too_quiet_is_no_speech() -> None:
    hearing = Hearing(16_000, end_of_speech_ms=400)
    assert hearing.push(b"\x10\x00\xf0\xff" * 16_000) == []


# ---------------------------------------------------------------- ears and voice


@pytest.mark.parametrize(
    "text",
    [
        "What time is it?",
        "What is the date today?",
        "Tell me a long story.",
        "Please count to ten.",
        "Set a timer for five minutes.",
        "Turn on the kitchen light.",
        "Stop. What day is it today?",
        "What did I say before?",
        "My name is Ada.",
        "Thank you.",
        "Goodbye.",
    ],
)
def test_the_light_ears_understand_what_is_in_the_grammar(sphinx: SphinxEars, text: str) -> None:
    assert sphinx.transcribe(spoken(text)) == text


@pytest.mark.parametrize(
    "text", ["The quick brown fox jumps over the lazy dog.", "My sister went to the market.", "Seven elephants danced."]
)
def test_the_light_ears_say_so_when_they_do_not_understand(sphinx: SphinxEars, text: str) -> None:
    assert sphinx.transcribe(spoken(text)) == NOT_UNDERSTOOD


def test_silence_is_not_understood(sphinx: SphinxEars) -> None:
    assert sphinx.transcribe(bytes(32_000)) == NOT_UNDERSTOOD
    assert sphinx.transcribe(b"") == NOT_UNDERSTOOD


def test_hypotheses_are_written_as_sentences() -> None:
    assert written("hello what time is it") == "Hello. What time is it?"
    assert written("hello there") == "Hello there."
    assert written("okay turn on the light") == "Okay turn on the light."
    assert written("what did i say") == "What did I say?"


def test_the_voice_speaks_at_any_rate_and_not_what_cannot_be_said(agent_voice: Voice) -> None:
    slow, fast = agent_voice.say("Good morning.", 8000), agent_voice.say("Good morning.", 48_000)
    assert level_dbfs(slow) > -35
    assert abs(len(fast) / 6 - len(slow)) < 100
    assert agent_voice.say("...", 16_000) == b""
    # Neither an option nor the end of an argument.
    assert level_dbfs(agent_voice.say("-voice kal \0 $(reboot)", 16_000)) > -35


def test_espeak_speaks_as_well() -> None:
    with Voice("en-gb") as voice:
        assert 0.4 < len(voice.say("Good morning.", 16_000)) / 32_000 < 2.5


@pytest.mark.parametrize("name", ["zz-nothing", "--help"])
def test_a_voice_that_does_not_exist_is_noticed_at_once(name: str) -> None:
    with pytest.raises(VoiceError) as error:
        Voice(name)
    assert "slt" in (error.value.hint or "")


def test_without_a_synthesiser_the_hint_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(VoiceError) as error:
        Voice()
    assert "apt install flite" in (error.value.hint or "")
