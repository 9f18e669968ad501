"""Settings of the platform for a turn: words that do not interrupt, and what is said while the model thinks. And what
its delay consists of."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

# An extra of its own: the oldest packages that are allowed otherwise have none of it.
pytest.importorskip("openai")
from local_client import Client, Start, spoken
from model_servers import Odd, call, words
from realtime_client import RATE_HZ, RealtimeClient

from parleyd.embedded import agent_file
from parleyd.embedded.backchannels import is_ignored, longest_ms
from parleyd.embedded.fillers import while_waiting
from parleyd.embedded.platform import Platform, whole_agent
from parleyd.embedded.settings import AgentSettings

STORY = "Once upon a time there was a house in a wood, and in it lived a bear. He told long stories of the wood. "
END = {"finish": "stop"}
WRITTEN = {
    "type": "conversation_initiation_client_data",
    "conversation_config_override": {"conversation": {"text_only": True}},
}


def of(server: Odd, agent: str = "", *transcripts: str) -> str:
    heard = f"connections: [{{transcripts: [{', '.join(map(json.dumps, transcripts))}]}}]\n" if transcripts else ""
    mind = f'mind: {{base_url: "{server.base_url}", first_token_s: 60, next_token_s: 60}}'
    return f'{heard}agent: {{first_message: "", stream_speed: 1, guess_after_ms: 0, {agent} {mind}}}'


# ---------------------------------------------------------------- words that do not interrupt

TERMS = "interruption_ignore_terms: [mhm, I see],"


@pytest.mark.parametrize("said", ["Mhm.", "I see!"])
def test_a_word_that_only_shows_that_the_person_listens_does_not_cut(said: str, start: Start) -> None:
    rest = threading.Event()
    with Odd([words(STORY), rest, words("The end."), END]) as server:
        agent = start(of(server, TERMS, "What time is it?", said))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            client.until("audio")
            client.say(spoken("Stop."))
            record = agent.wait_connection()
            record.wait("ignored words", lambda it: it.of_kind("ignored"))
            rest.set()
            answer = client.until("agent_response")["agent_response_event"]["agent_response"]
            assert answer == f"{STORY}The end."
            assert "interruption" not in client.types()
            assert client.types().count("user_transcript") == 1
        assert len(server.asked) == 1, "it is no turn"


def test_any_other_word_cuts_when_it_is_known(start: Start) -> None:
    with Odd([words(STORY), threading.Event(), END], [words("Yes."), END]) as server:
        agent = start(of(server, TERMS, "What time is it?", "Wait."))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            client.until("audio")
            client.say(spoken("Stop."))
            client.until("interruption")
            assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "Wait."
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Yes."
        assert server.left.is_set()


def test_who_speaks_for_longer_than_the_words_take_cuts_at_once(start: Start) -> None:
    with Odd([words(STORY), threading.Event(), END]) as server:
        agent = start(of(server, TERMS, "What time is it?"))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            client.until("audio")
            # Nothing ends this sentence: no silence follows.
            client.say(spoken("Turn on the lamp in the kitchen, please, and turn off the radio", silence_ms=0))
            client.until("interruption")
            assert client.types().count("user_transcript") == 1


def test_into_a_silence_the_same_word_is_a_turn(start: Start) -> None:
    with Odd([words("Yes?"), END]) as server:
        agent = start(of(server, TERMS, "Mhm."))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("Stop."))
            assert client.until("user_transcript")["user_transcription_event"]["user_transcript"] == "Mhm."
            assert client.until("agent_response")["agent_response_event"]["agent_response"] == "Yes?"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Mhm.", True), ("MHM", True), (" i  see! ", True), ("…mhm…", True), ("I see it", False), ("m h m", False),
        ("", False), ("...", False),
    ],
)  # fmt: skip
def test_the_words_are_matched_as_a_whole_in_any_case(text: str, is_one: bool) -> None:
    assert is_ignored(text, ("mhm", "I see", "")) is is_one


def test_longer_words_are_waited_for_longer() -> None:
    assert 0 == longest_ms(()) < longest_ms(("mhm",)) < longest_ms(("mhm", "understood"))


# ---------------------------------------------------------------- what is said while the model thinks

SOON = "soft_timeout_s: 0.05,"


def answers(client: Client) -> list[str]:
    return [one["agent_response_event"]["agent_response"] for one in client.messages if one["type"] == "agent_response"]


def ask(client: Client, text: str) -> str:
    client.send({"type": "user_message", "text": text})
    return str(client.until("agent_response")["agent_response_event"]["agent_response"])


def test_one_filler_is_said_while_the_model_thinks(start: Start) -> None:
    thought = threading.Event()
    with Odd([thought, words("It is noon."), END]) as server:
        agent = start(of(server, SOON))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            client.until("agent_response")
            thought.set()
            client.until("agent_response")
            assert answers(client) == ["One moment, please.", "It is noon."]
            assert "interruption" not in client.types()
        delay = agent.wait_connection().of_kind("delay")
        assert len(delay) == 1, "of the answer, not of the filler"


def test_fillers_are_said_one_after_the_other_and_no_more_than_are_set(start: Start) -> None:
    thought = threading.Event()
    with Odd([thought, words("It is noon."), END]) as server:
        agent = start(of(server, SOON + "soft_timeout_messages: [Hm., Still here.],"))
        with Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client, "What time is it?") == "Hm."
            client.until("agent_response")
            thought.set()
            client.until("agent_response")
            assert answers(client) == ["Hm.", "Still here.", "It is noon."]
            assert ask(client, "Thanks.") == "Yes."
        said = [(one["role"], one["content"]) for one in server.asked[1]["messages"][1:]]
        assert said == [("user", "What time is it?"), ("assistant", "It is noon."), ("user", "Thanks.")]


def test_a_filler_is_said_while_the_model_thinks_about_a_result(start: Start) -> None:
    tool = "tools: [{name: get_light}],"
    thought = threading.Event()
    with Odd([call("c1", "get_light", "{}"), {"finish": "tool_calls"}], [thought, words("It is on."), END]) as server:
        agent = start(of(server, SOON + tool))
        with Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "Is the light on?"})
            asked = client.until("client_tool_call")["client_tool_call"]
            result = {"tool_call_id": asked["tool_call_id"], "result": "on", "is_error": False}
            client.send({"type": "client_tool_result", **result})
            client.until("agent_response", lambda one: "moment" in one["agent_response_event"]["agent_response"])
            thought.set()
            client.until("agent_response", lambda one: one["agent_response_event"]["agent_response"] == "It is on.")


def test_an_answer_in_time_has_no_filler(start: Start) -> None:
    with Odd([words("It is noon."), END]) as server:
        agent = start(of(server, "soft_timeout_s: 3600,"))
        with Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            assert ask(client, "What time is it?") == "It is noon."


def test_a_filler_that_is_cut_is_no_word_of_the_mind(start: Start) -> None:
    with Odd([threading.Event(), END], [words("Noon."), END]) as server:
        long = "Let me think about that for a while, since it is no easy question at all for me."
        agent = start(of(server, f'{SOON} soft_timeout_messages: ["{long}"],'))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            client.until("audio")
            client.send({"type": "user_message", "text": "And now?"})
            client.until("interruption")
            client.until("agent_response", lambda one: one["agent_response_event"]["agent_response"] == "Noon.")
        assert [one["role"] for one in server.asked[1]["messages"]] == ["system", "user", "user"]
        assert server.left.is_set(), "the first answer is given up"


def test_a_filler_that_would_come_after_the_answer_is_left_out() -> None:
    said: list[str] = []

    async def talk() -> str:
        thought = asyncio.Event()

        async def think() -> str:
            await thought.wait()
            return "It is noon."

        async def until_heard() -> None:
            # The answer is there while the first filler is heard.
            if said:
                thought.set()
                await asyncio.sleep(0.1)

        async def say(filler: str) -> None:
            said.append(filler)

        return await while_waiting(think(), ["Hm.", "Still here."], 0.0, until_heard, say)

    assert asyncio.run(talk()) == "It is noon."
    assert said == ["Hm."]


def test_words_before_a_call_were_heard_if_the_call_is_cut(start: Start) -> None:
    tool = "tools: [{name: get_light}],"
    first = [words("I will look. "), call("c1", "get_light", "{}"), {"finish": "tool_calls"}]
    with Odd(first, [words("Yes."), END]) as server:
        agent = start(of(server, tool))
        with Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "Is the light on?"})
            client.until("client_tool_call")
            assert ask(client, "Well?") == "Yes."
        said = [(one["role"], one["content"]) for one in server.asked[1]["messages"][1:]]
        assert said == [
            ("user", "Is the light on?"), ("assistant", "I will look. "), ("tool", "The person interrupted."),
            ("user", "Well?"),
        ]  # fmt: skip


def test_words_before_a_call_were_heard_if_the_answer_after_it_is_cut(start: Start) -> None:
    tool = "tools: [{name: get_light}],"
    first = [words("I will look. "), call("c1", "get_light", "{}"), {"finish": "tool_calls"}]
    with Odd(first, [threading.Event(), END], [words("Yes."), END]) as server:
        agent = start(of(server, tool))
        with Client(agent, WRITTEN) as client:
            client.until("conversation_initiation_metadata")
            client.send({"type": "user_message", "text": "Is the light on?"})
            asked = client.until("client_tool_call")["client_tool_call"]
            server.asked_event.clear()
            result = {"tool_call_id": asked["tool_call_id"], "result": "on", "is_error": False}
            client.send({"type": "client_tool_result", **result})
            assert server.asked_event.wait(60)
            assert ask(client, "Well?") == "Yes."
        said = [(one["role"], one["content"]) for one in server.asked[2]["messages"][1:]]
        assert said == [
            ("user", "Is the light on?"), ("assistant", "I will look. "), ("tool", "on"), ("user", "Well?"),
        ]  # fmt: skip


# ---------------------------------------------------------------- as the platform has them


def settings_of(turn: dict[str, Any], allowed: dict[str, Any] | None = None) -> AgentSettings:
    fields = {
        "conversation_config": {"turn": turn},
        "platform_settings": {"overrides": {"conversation_config_override": {"turn": allowed or {}}}},
    }
    return Platform(AgentSettings(), agents=[whole_agent("a", fields)]).settings_of("a")


@pytest.mark.parametrize(
    ("soft", "after_s", "messages"),
    [
        ({"timeout_seconds": 3.0, "message": "Hm."}, 3.0, ("Hm.",)),
        ({"timeout_seconds": -1, "message": "Hm."}, None, ("Hm.",)),
        ({"timeout_seconds": 2}, 2.0, ("One moment, please.",)),
        (
            {
                "timeout_seconds": 2,
                "message": "Hm.",
                "additional_soft_timeout_messages": ["Wait.", "Still here."],
                "max_soft_timeouts_per_generation": 5,
            },
            2.0,
            ("Hm.", "Wait.", "Still here.", "Still here.", "Still here."),
        ),
        (
            {"timeout_seconds": 2, "message": "Hm.", "additional_soft_timeout_messages": ["Wait."]},
            2.0,
            ("Hm.",),
        ),
    ],
)
def test_soft_timeouts_of_the_platform(soft: dict[str, Any], after_s: float | None, messages: tuple[str, ...]) -> None:
    settings = settings_of({"soft_timeout_config": soft})
    assert (settings.soft_timeout_s, settings.soft_timeout_messages) == (after_s, messages)


def test_words_of_the_platform_that_do_not_interrupt() -> None:
    assert settings_of({"interruption_ignore_terms": ["gotcha"]}).interruption_ignore_terms == ("gotcha",)
    assert settings_of({}).interruption_ignore_terms == ()


@pytest.mark.parametrize("is_allowed", [True, False])
def test_the_message_may_be_overridden_where_that_is_allowed(is_allowed: bool, start: Start) -> None:
    allowed = "" if is_allowed else "allowed_overrides: [text_only],"
    override = {**WRITTEN["conversation_config_override"], "turn": {"soft_timeout_config": {"message": "At {{when}}."}}}  # type: ignore[dict-item]
    opening = {**WRITTEN, "conversation_config_override": override, "dynamic_variables": {"when": "once"}}
    with Odd([threading.Event(), END]) as server:
        agent = start(of(server, SOON + allowed))
        with Client(agent, opening) as client:
            if not is_allowed:
                assert client.until_closed() == (1008, "Override for field 'message' is not allowed by config.")
                return
            client.until("conversation_initiation_metadata")
            assert ask(client, "What time is it?") == "At once."


def test_the_platform_allows_the_override() -> None:
    allowed = settings_of({}, {"soft_timeout_config": {"message": True}}).allowed_overrides
    assert allowed is not None
    assert "message" in allowed


def test_what_has_no_effect_is_named(tmp_path: Any) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(
        "conversation_config:\n  turn:\n"
        "    interruption_ignore_terms: [mhm]\n    merge_with_default_ignore_terms: true\n"
        "    soft_timeout_config: {timeout_seconds: 2, message: Hm., use_llm_generated_message: true}\n"
    )
    assert agent_file.load(path)[1] == [
        "conversation_config.turn.merge_with_default_ignore_terms",
        "conversation_config.turn.soft_timeout_config.use_llm_generated_message",
    ]


# ---------------------------------------------------------------- the delay


def test_the_realtime_protocol_tells_the_same_parts(start: Start) -> None:
    with Odd([words("It is noon."), END]) as server:
        agent = start(of(server))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(spoken("What time is it?", RATE_HZ, 900))
            client.answer()
        delays = agent.wait_connection().of_kind("delay")
        assert [sorted(one.fields) for one in delays] == [
            ["ears_ms", "first_sound_ms", "mind_ms", "silence_ms", "voice_ms"]
        ]
        fields = delays[0].fields
        parts = [fields[f"{part}_ms"] for part in ("silence", "ears", "mind", "voice")]
        assert abs(sum(parts) - fields["first_sound_ms"]) <= 2, "rounded"
        assert all(delay.count == 1 for delay in agent.figures.delays.values())


def test_an_answer_to_typed_words_has_no_delay_of_an_earlier_turn(start: Start) -> None:
    with Odd([words("It is noon."), END], [words("Yes."), END]) as server:
        agent = start(of(server))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.update(output_modalities=["text"])
            client.say(spoken("What time is it?", RATE_HZ, 900))
            client.answer()
            client.update(output_modalities=["audio"])
            client.write("And now?")
            client.answer()
        assert not agent.wait_connection().of_kind("delay")


def test_typed_words_that_cut_an_answer_before_its_sound_have_no_delay(start: Start) -> None:
    with Odd([threading.Event(), END], [words("Yes."), END]) as server:
        agent = start(of(server))
        with Client(agent) as client:
            client.until("conversation_initiation_metadata")
            client.say(spoken("What time is it?"))
            assert server.asked_event.wait(60)
            client.send({"type": "user_message", "text": "Well?"})
            client.until("audio")
            client.until("agent_response")
        assert not agent.wait_connection().of_kind("delay")


def test_a_response_that_is_cancelled_before_its_sound_leaves_no_delay_to_the_next(start: Start) -> None:
    with Odd([threading.Event(), END], [words("Yes."), END]) as server:
        agent = start(of(server))
        with RealtimeClient(agent) as client:
            client.until("session.created")
            client.say(spoken("What time is it?", RATE_HZ, 900))
            assert server.asked_event.wait(60)
            client.send("response.cancel")
            client.until("response.done")
            client.write("And now?")
            client.answer()
        assert not agent.wait_connection().of_kind("delay")
