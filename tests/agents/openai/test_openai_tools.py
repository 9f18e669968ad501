"""Calls of tools and of MCP servers, and what follows from their results."""

from __future__ import annotations

import pytest
from realtime_session import Session

from parleyd.agents import events
from parleyd.agents.commands import (
    Approve,
    ToolDone,
)


def test_results_of_one_answer_are_asked_for_once() -> None:
    found = Session()
    found.created()
    found.call("call_1")
    found.call("call_2")
    assert [call.call_id for call in found.of(events.ToolCall)] == ["call_1", "call_2"]
    [output] = found.send(ToolDone("call_1", "noon"))
    assert output["item"] | {"id": ""} == {
        "type": "function_call_output",
        "id": "",
        "call_id": "call_1",
        "output": "noon",
    }
    found.done()
    assert "response.create" not in found.types()
    found.send(ToolDone("call_2", "warm"))
    assert found.types() == ["conversation.item.create", "conversation.item.create", "response.create"]


def test_a_result_waits_for_the_end_of_the_answer() -> None:
    found = Session()
    found.created()
    found.call()
    found.send(ToolDone("call_1", "noon"))
    assert "response.create" not in found.types()
    found.done()
    assert found.types()[-1] == "response.create"


def test_a_call_is_made_once_however_often_it_is_told() -> None:
    found = Session()
    found.created()
    found.receive(
        "response.function_call_arguments.done",
        response_id="resp_1",
        item_id="fc_call_1",
        call_id="call_1",
        name="get_time",
        arguments="{}",
    )
    assert not found.of(events.ToolCall)
    found.call()
    output = [{"id": "fc_call_1", "type": "function_call", "name": "get_time", "call_id": "call_1", "arguments": "{}"}]
    found.done(output=output)
    assert len(found.of(events.ToolCall)) == 1


@pytest.mark.parametrize("told", ["arguments", "output"])
def test_a_call_that_is_told_only_one_way_is_made(told: str) -> None:
    found = Session()
    found.created()
    fields = {"call_id": "call_1", "name": "get_time", "arguments": '{"a": 1}'}
    if told == "arguments":
        found.receive("response.function_call_arguments.done", response_id="resp_1", item_id="x", **fields)
        found.done()
    else:
        found.done(output=[{"id": "x", "type": "function_call", **fields}])
    assert found.of(events.ToolCall) == [events.ToolCall("get_time", "call_1", {"a": 1})]


def test_an_incomplete_call_of_a_cancelled_answer_is_not_made() -> None:
    found = Session()
    found.created()
    found.audio()
    found.speech()
    fields = {"call_id": "call_1", "name": "get_time", "arguments": '{"a'}
    found.receive("response.function_call_arguments.done", response_id="resp_1", item_id="x", **fields)
    item = {"id": "x", "type": "function_call", "status": "incomplete", **fields}
    found.receive("response.output_item.done", response_id="resp_1", item=item)
    found.done(status="cancelled", output=[item])
    assert not found.of(events.ToolCall)
    assert "conversation.item.create" not in found.types()


@pytest.mark.parametrize("arguments", ["{", "[1]", "1", '"x"', None])
def test_a_call_that_cannot_be_understood_is_answered(arguments: str | None) -> None:
    found = Session()
    found.created()
    item: dict[str, object] = {"id": "x", "type": "function_call", "call_id": "call_1", "arguments": arguments}
    item["name"] = "get_time" if arguments is not None else None
    found.receive("response.output_item.done", response_id="resp_1", item=item)
    assert not found.of(events.ToolCall)
    assert found.codec.refused_calls == 1
    found.done()
    assert found.types() == ["conversation.item.create", "response.create"]


def test_arguments_as_an_object() -> None:
    found = Session()
    found.created()
    item = {"id": "x", "type": "function_call", "name": "f", "call_id": "c", "arguments": {"a": 1}}
    found.receive("response.output_item.done", response_id="resp_1", item=item)
    assert found.of(events.ToolCall) == [events.ToolCall("f", "c", {"a": 1})]


def asked(found: Session) -> None:
    item = {
        "id": "mcpr_1",
        "type": "mcp_approval_request",
        "server_label": "home",
        "name": "light",
        "arguments": '{"on": true}',
    }
    found.receive("conversation.item.added", item=item)
    found.receive("conversation.item.done", item=item)


def test_an_mcp_call_is_allowed_and_its_result_asked_for() -> None:
    found = Session()
    found.created()
    asked(found)
    assert found.of(events.ApprovalAsked) == [events.ApprovalAsked("mcpr_1", "home", "light", "", {"on": True}, None)]
    [given] = found.send(Approve("mcpr_1", is_allowed=True))
    assert given["item"] | {"id": ""} == {
        "type": "mcp_approval_response",
        "id": "",
        "approval_request_id": "mcpr_1",
        "approve": True,
    }
    found.receive("response.mcp_call.in_progress", item_id="mcp_1", output_index=0)
    found.receive("response.mcp_call.completed", item_id="mcp_1", output_index=0)
    assert "response.create" not in found.types()
    found.done()
    assert found.types()[-1] == "response.create"


def test_an_mcp_call_that_is_denied_is_talked_about() -> None:
    found = Session()
    found.created()
    asked(found)
    found.done()
    found.send(Approve("mcpr_1", is_allowed=False))
    assert found.types() == ["conversation.item.create", "response.create"]
    assert found.sent[0]["item"]["approve"] is False
