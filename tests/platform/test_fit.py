"""What is planned for an agent, as a table and as rules over generated agents. No network."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.checks.configuration import parse
from parleyd.platform.desired import (
    ALLOWED,
    BASIC_EVENTS,
    CLIENT_EVENTS,
    EXTRA_BODY,
    LANGUAGE,
    MAX_DURATION,
    MODEL,
    PROMPT,
    Desired,
    Want,
    desired,
)
from parleyd.platform.fit import Plan, RemoteTool, Written, fit
from parleyd.platform.own_tools import client_tools
from parleyd.platform.tree import MISSING, Path, dotted, put, value_at

FIRST = ("conversation_config", "agent", "first_message")


def wanted_by(text: str) -> Desired:
    config = parse(f"elevenlabs:\n  agent_id: kitchen\n{text}", "parleyd.yaml").config
    prompt = config.elevenlabs.agent.prompt
    return desired(config, client_tools(config.tools), prompt if isinstance(prompt, str) else None)


def agent_with(*leaves: tuple[Path, object]) -> dict[str, Any]:
    agent: dict[str, Any] = {"agent_id": "kitchen", "conversation_config": {}, "platform_settings": {}}
    for path, value in leaves:
        put(agent, path, value)
    return agent


def carried_out(plan: Plan, agent: Mapping[str, Any]) -> dict[str, Any]:
    after = copy.deepcopy(dict(agent))
    for change in plan.changes:
        put(after, change.path, copy.deepcopy(change.new))
    return after


def new(plan: Plan, path: Path) -> Any:
    return next((change.new for change in plan.changes if change.path == path), MISSING)


# ---------------------------------------------------------------- needs


@pytest.mark.parametrize(
    ("yaml", "path", "value"),
    [
        ("audio: off\n", (*ALLOWED, "conversation", "text_only"), True),
        ("  overrides: {voice_id: abc}\n", (*ALLOWED, "tts", "voice_id"), True),
        ("  overrides: {prompt: Hi}\n", (*ALLOWED, "agent", "prompt", "prompt"), True),
        ("  custom_llm_extra_body: {a: 1}\n", EXTRA_BODY, True),
        ("wake: {greeting: skip}\n", (*ALLOWED, "agent", "first_message"), True),
        ("session: {max_s: 900}\n", MAX_DURATION, 960),
        ("", ("conversation_config", "conversation", "file_input", "enabled"), True),
        (
            "  dynamic_variables: {room: kitchen}\n",
            ("conversation_config", "agent", "dynamic_variables", "dynamic_variable_placeholders", "room"),
            "kitchen",
        ),
        ("  overrides: {language: de}\n", ("conversation_config", "language_presets", "de"), {"overrides": {}}),
        (
            "profiles: {night: {settings: {elevenlabs: {overrides: {speed: 0.8}}}}}\n",
            (*ALLOWED, "tts", "speed"),
            True,
        ),
    ],
)
def test_each_need_reaches_its_field(yaml: str, path: Path, value: object) -> None:
    assert new(fit(wanted_by(yaml), agent_with(), (), Written()), path) == value


def test_a_device_needs_its_events_and_keeps_those_of_others() -> None:
    plan = fit(wanted_by(""), agent_with((CLIENT_EVENTS, ["vad_score", "audio"])), (), Written())
    events = new(plan, CLIENT_EVENTS)
    assert events[:2] == ["vad_score", "audio"]
    assert {
        "audio",
        "interruption",
        "user_transcript",
        "agent_response",
        "agent_response_correction",
        "agent_chat_response_part",
        "agent_tool_response",
        "conversation_initiation_metadata",
        "ping",
        "client_tool_call",
    } <= set(events)


@pytest.mark.parametrize(
    "mcp",
    ["{otherwise: ask}", "{rules: [{tool: 'light*', decision: allow}]}"],
)
def test_approvals_need_the_event_that_asks_for_them(mcp: str) -> None:
    plan = fit(wanted_by(f"tools: {{mcp: {mcp}}}\n"), agent_with(), (), Written())
    assert "mcp_tool_call" in new(plan, CLIENT_EVENTS)


@pytest.mark.parametrize(("yaml", "event"), [("tools: {built_in: []}\n", "client_tool_call"), ("", "mcp_tool_call")])
def test_events_that_nothing_asks_for_are_not_added(yaml: str, event: str) -> None:
    assert event not in new(fit(wanted_by(yaml), agent_with(), (), Written()), CLIENT_EVENTS)


def test_a_longer_duration_stays() -> None:
    plan = fit(wanted_by(""), agent_with((MAX_DURATION, 7200)), (), Written())
    assert new(plan, MAX_DURATION) is MISSING


def test_pruning_removes_what_was_added_and_no_more() -> None:
    agent = agent_with((CLIENT_EVENTS, [*BASIC_EVENTS, "agent_chat_response_part", "mcp_tool_call", "vad_score"]))
    written = Written(added={dotted(CLIENT_EVENTS): ["mcp_tool_call", "audio"]})
    wanted = wanted_by("tools: {built_in: []}\n")
    assert new(fit(wanted, agent, (), written), CLIENT_EVENTS) is MISSING
    kept = new(fit(wanted, agent, (), written, prune=True), CLIENT_EVENTS)
    assert "mcp_tool_call" not in kept
    assert {"audio", "vad_score"} <= set(kept)


# ---------------------------------------------------------------- wants

CONFIG, SETTINGS = "conversation_config", "platform_settings"


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("language", "de", f"{CONFIG}.agent.language"),
        ("model_id", "eleven_flash_v2_5", f"{CONFIG}.tts.model_id"),
        ("voice_id", "abc", f"{CONFIG}.tts.voice_id"),
        ("prompt", "Be brief.", f"{CONFIG}.agent.prompt.prompt"),
        ("first_message", "Hello", f"{CONFIG}.agent.first_message"),
        ("llm", "gemini-2.5-flash", f"{CONFIG}.agent.prompt.llm"),
        ("input_format", "pcm_24000", f"{CONFIG}.asr.user_input_audio_format"),
        ("output_format", "ulaw_8000", f"{CONFIG}.tts.agent_output_audio_format"),
        ("turn_eagerness", "patient", f"{CONFIG}.turn.turn_eagerness"),
        ("keywords", ["Ada", "pantry"], f"{CONFIG}.asr.keywords"),
        ("record_voice", False, f"{SETTINGS}.privacy.record_voice"),
        ("retention_days", 30, f"{SETTINGS}.privacy.retention_days"),
        ("enable_auth", True, f"{SETTINGS}.auth.enable_auth"),
        ("timezone", "Europe/Berlin", f"{CONFIG}.agent.prompt.timezone"),
        ("extra", {"tags": ["home"]}, "tags"),
    ],
)
def test_each_want_has_its_place(field: str, value: object, place: str) -> None:
    wanted = wanted_by(f"  agent: {json.dumps({field: value})}\n")
    expected = value["tags"] if isinstance(value, dict) else value
    assert {dotted(want.path): want.value for want in wanted.wants} == {place: expected}
    plan = fit(wanted, agent_with(), (), Written())
    assert new(plan, wanted.wants[0].path) == expected


@pytest.mark.parametrize("may_hang_up", [True, False])
def test_the_tool_that_hangs_up_is_switched_on_and_off(may_hang_up: bool) -> None:
    (want,) = wanted_by(f"  agent: {{end_call: {json.dumps(may_hang_up)}}}\n").wants
    assert dotted(want.path) == f"{CONFIG}.agent.prompt.built_in_tools.end_call"
    if may_hang_up:
        assert (want.value["type"], want.value["params"]) == ("system", {"system_tool_type": "end_call"})
    else:
        assert want.value is None


@pytest.mark.parametrize(
    ("there", "written", "take", "outcome"),
    [
        pytest.param("Hello", MISSING, (), "in step", id="the same"),
        pytest.param(MISSING, MISSING, (), "written", id="nobody has set it"),
        pytest.param("", MISSING, (), "written", id="it is empty"),
        pytest.param("Old", "Old", (), "written", id="as it was written"),
        pytest.param("Theirs", "Old", (), "conflict", id="changed since"),
        pytest.param("Theirs", MISSING, (), "conflict", id="never written"),
        pytest.param("Theirs", "Old", (dotted(FIRST),), "written", id="taken by its path"),
        pytest.param("Theirs", "Old", ("all",), "written", id="all are taken"),
        pytest.param("Theirs", "Old", (dotted(PROMPT),), "conflict", id="another is taken"),
        pytest.param("", "Old", (), "written", id="emptied since"),
    ],
)
def test_a_want_has_three_sides(there: object, written: object, take: tuple[str, ...], outcome: str) -> None:
    agent = agent_with() if there is MISSING else agent_with((FIRST, there))
    last = Written() if written is MISSING else Written({dotted(FIRST): written})
    plan = fit(Desired(wants=(Want(FIRST, "Hello", "why"),)), agent, (), last, take=take)
    assert (new(plan, FIRST) == "Hello", bool(plan.conflicts)) == {
        "in step": (False, False),
        "written": (True, False),
        "conflict": (False, True),
    }[outcome]


def test_a_language_takes_a_model_that_speaks_it_along() -> None:
    wanted = wanted_by("  agent: {language: de}\n")
    written = Written({dotted(LANGUAGE): "en"})
    plan = fit(wanted, agent_with((LANGUAGE, "en"), (MODEL, "eleven_turbo_v2")), (), written)
    assert (new(plan, LANGUAGE), new(plan, MODEL)) == ("de", "eleven_turbo_v2_5")
    plan = fit(wanted, agent_with((LANGUAGE, "en"), (MODEL, "eleven_v3")), (), written)
    assert (new(plan, LANGUAGE), new(plan, MODEL)) == ("de", MISSING)
    assert new(fit(wanted, agent_with(), (), Written()), MODEL) == "eleven_flash_v2_5"


def test_a_conflict_about_the_language_leaves_the_model_alone() -> None:
    plan = fit(
        wanted_by("  agent: {language: de}\n"),
        agent_with((LANGUAGE, "fr"), (MODEL, "eleven_flash_v2")),
        (),
        Written(),
    )
    assert new(plan, MODEL) is MISSING
    assert [conflict.path for conflict in plan.conflicts] == [LANGUAGE]


# ---------------------------------------------------------------- tools

LAMP = """
tools:
  built_in: []
  command:
    lamp:
      description: Switches the lamp.
      parameters: {type: object, properties: {on: {type: boolean}}, required: [on]}
      run: [echo, "{on}"]
"""


def lamp(**changes: object) -> dict[str, Any]:
    (body,) = wanted_by(LAMP).tools
    return {**body["tool_config"], **changes}


def test_a_missing_tool_is_made_and_attached() -> None:
    plan = fit(wanted_by(LAMP), agent_with(), (), Written())
    assert [(tool.name, tool.tool_id) for tool in plan.tools] == [("lamp", None)]
    assert plan.attach == ("lamp",)


def test_a_tool_with_more_fields_is_in_step() -> None:
    remote = RemoteTool("t1", lamp(response_timeout_secs=60, execution_mode="immediate", assignments=[]))
    agent = agent_with((("conversation_config", "agent", "prompt", "tool_ids"), ["t0", "t1"]))
    plan = fit(wanted_by(LAMP), agent, (remote,), Written())
    assert (plan.tools, plan.attach, plan.conflicts) == ((), (), ())


@pytest.mark.parametrize(
    ("field", "value"), [("expects_response", False), ("response_timeout_secs", 2)], ids=["no answer", "too soon"]
)
def test_a_tool_that_cannot_work_is_mended_with_its_other_fields_kept(field: str, value: object) -> None:
    remote = RemoteTool("t1", lamp(**{field: value, "pre_tool_speech": "force"}))
    (change,) = fit(wanted_by(LAMP), agent_with(), (remote,), Written()).tools
    assert change.body == lamp(pre_tool_speech="force")


def test_a_description_that_somebody_wrote_is_a_conflict() -> None:
    remote = RemoteTool("t1", lamp(description="The red one."))
    wanted = wanted_by(LAMP)
    plan = fit(wanted, agent_with(), (remote,), Written())
    assert [dotted(conflict.path) for conflict in plan.conflicts] == ["tools.lamp.description"]
    assert not plan.tools
    known = Written({"tools.lamp.description": "The red one."})
    assert fit(wanted, agent_with(), (remote,), known).tools
    assert fit(wanted, agent_with(), (remote,), Written(), take=["tools.lamp.description"]).tools


def test_a_parameter_that_the_device_does_not_know_is_a_difference() -> None:
    parameters = copy.deepcopy(lamp()["parameters"])
    parameters["properties"]["colour"] = {"type": "string", "description": "colour"}
    plan = fit(wanted_by(LAMP), agent_with(), (RemoteTool("t1", lamp(parameters=parameters)),), Written())
    assert [dotted(conflict.path) for conflict in plan.conflicts] == ["tools.lamp.parameters"]


def test_tools_are_found_by_the_stored_id_then_by_the_agent_then_by_name() -> None:
    twins = (RemoteTool("t1", lamp()), RemoteTool("t2", lamp(expects_response=False)), RemoteTool("t3", lamp()))
    agent = agent_with((("conversation_config", "agent", "prompt", "tool_ids"), ["t3"]))
    (change,) = fit(wanted_by(LAMP), agent, twins, Written(tools={"lamp": "t2"})).tools
    assert change.tool_id == "t2"
    assert fit(wanted_by(LAMP), agent, twins, Written()).attach == ()
    notes = fit(wanted_by(LAMP), agent, twins, Written()).notes
    assert any("3 client tools with the name lamp" in note.text for note in notes)


def test_a_tool_of_another_kind_with_the_same_name_is_not_taken() -> None:
    remote = RemoteTool("t1", {**lamp(), "type": "webhook"})
    assert [tool.tool_id for tool in fit(wanted_by(LAMP), agent_with(), (remote,), Written()).tools] == [None]


def test_tools_are_detached_only_if_they_were_ours_and_pruning_is_wished() -> None:
    agent = agent_with((("conversation_config", "agent", "prompt", "tool_ids"), ["t1", "t9"]))
    wanted, written = wanted_by("tools: {built_in: []}\n"), Written(tools={"lamp": "t1"})
    assert fit(wanted, agent, (), written).detach == ()
    assert fit(wanted, agent, (), written, prune=True).detach == ("t1",)


def test_secrets_of_tools_are_neither_needed_nor_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMP_TOKEN", raising=False)
    wanted = wanted_by(
        """
tools:
  built_in: []
  http:
    lamp:
      description: Switches the lamp.
      url: http://127.0.0.1/lamp
      headers: {Authorization: "Bearer {secret:token}"}
      secrets: {token: {env: LAMP_TOKEN}}
"""
    )
    assert "LAMP_TOKEN" not in repr(wanted)


# ---------------------------------------------------------------- notes


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (PROMPT, "You stand in {{room}}.", "supplies no such variable"),
        (("platform_settings", "auth", "require_origin_header"), True, "Origin"),
        (("platform_settings", "auth", "enable_auth"), False, "public"),
        (("platform_settings", "privacy", "record_voice"), True, "recordings"),
        (("platform_settings", "privacy", "retention_days"), -1, "without a limit"),
        (("platform_settings", "call_limits", "bursting_enabled"), True, "double"),
    ],
)
def test_notes_name_what_only_the_owner_can_decide(path: Path, value: object, words: str) -> None:
    plan = fit(wanted_by(""), agent_with((path, value)), (), Written())
    assert [note for note in plan.notes if words in note.text]
    assert not [note for note in fit(wanted_by(""), agent_with(), (), Written()).notes if words in note.text]


@pytest.mark.parametrize(
    ("yaml", "agents_s", "words"),
    [
        ("", 12, "after 12 s in which nobody speaks, and this device after 20 s"),
        ("", 20, None),
        ("", -1, None),
        ("session: {idle_timeout_s: 5}\n", 8, None),
        ("session: {idle_timeout_s: 5}\nprofiles: {night: {settings: {session: {idle_timeout_s: 30}}}}\n", 8, "30 s"),
        ("wake: {mode: always}\n", 600, "and this device never"),
    ],
)
def test_an_agent_that_hangs_up_sooner_than_the_device_is_noted(yaml: str, agents_s: float, words: str | None) -> None:
    path = ("conversation_config", "turn", "silence_end_call_timeout")
    told = [note.text for note in fit(wanted_by(yaml), agent_with((path, agents_s)), (), Written()).notes]
    found = [text for text in told if "hangs up" in text]
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


@pytest.mark.parametrize(
    ("override", "model", "is_noted"),
    [
        ("{language: de}", "eleven_flash_v2", True),
        ("{language: de}", "eleven_flash_v2_5", False),
        ("{language: en-GB}", "eleven_flash_v2", False),
        ("{language: de, model_id: eleven_flash_v2_5}", "eleven_flash_v2", False),
    ],
)
def test_a_language_of_the_device_that_the_agents_model_does_not_speak_is_noted(
    override: str, model: str, is_noted: bool
) -> None:
    plan = fit(wanted_by(f"  overrides: {override}\n"), agent_with((MODEL, model)), (), Written())
    told = [note.hint for note in plan.notes if "speaks English alone" in note.text]
    assert told == (["set elevenlabs.agent.model_id: eleven_flash_v2_5"] if is_noted else [])


def test_variables_of_the_system_and_of_the_device_are_no_note() -> None:
    agent = agent_with((PROMPT, "It is {{system__time}} in {{ room }}."))
    plan = fit(wanted_by("  dynamic_variables: {room: kitchen}\n"), agent, (), Written())
    assert not [note for note in plan.notes if "variable" in note.text]


# ---------------------------------------------------------------- over generated agents

VALUES = st.sampled_from(["", "Hello", "Theirs", "Old"])
EVENTS = st.lists(st.sampled_from([*BASIC_EVENTS, "vad_score", "client_tool_call"]), unique=True)


@given(VALUES, VALUES, EVENTS, st.sampled_from([100, 600, 7200]), st.booleans())
def test_a_second_plan_is_empty_and_nothing_of_others_is_lost(
    first: str, prompt: str, events: list[str], longest_s: int, is_taken: bool
) -> None:
    wanted = wanted_by(f"  agent: {{first_message: Hello, prompt: Mine}}\n{LAMP}")
    agent = agent_with((FIRST, first), (PROMPT, prompt), (CLIENT_EVENTS, events), (MAX_DURATION, longest_s))
    written = Written({dotted(FIRST): "Old", dotted(PROMPT): "Old"})
    take = ("all",) if is_taken else ()
    plan = fit(wanted, agent, (), written, take=take)
    after = carried_out(plan, agent)
    assert [value for value in value_at(after, CLIENT_EVENTS) if value in events] == events
    assert value_at(after, MAX_DURATION) >= longest_s
    for path in (FIRST, PROMPT):
        if value_at(agent, path) == "Theirs" and not is_taken:
            assert value_at(after, path) == "Theirs"
    tools = (RemoteTool("t1", lamp()),)
    put(after, ("conversation_config", "agent", "prompt", "tool_ids"), ["t1"])
    again = fit(wanted, after, tools, written, take=take)
    assert not again.has_work
    assert again.conflicts == plan.conflicts
