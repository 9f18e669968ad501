"""docs/openai-coverage.md tells the truth: every message is in it, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent

from coverage_page import names, tables
from parleyd.agents import events
from parleyd.agents.openai.client_messages import ClientMessage
from parleyd.agents.openai.codec import OpenAICodec
from parleyd.agents.openai.server_messages import MESSAGES

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "openai-coverage.md"
CLIENT_TYPES = {str(message.__struct_config__.tag) for message in get_args(ClientMessage)}
# The official types that this program never sends.
UNSENT = {"input_audio_buffer.clear", "conversation.item.retrieve", "output_audio_buffer.clear"}


def test_every_message_is_listed_once() -> None:
    rows = tables(PAGE)
    for heading, types in (("From the server", MESSAGES.types), ("From the client", CLIENT_TYPES)):
        listed = [names(row[0])[0] for row in rows[heading]]
        assert sorted(listed) == sorted(types)


def test_every_message_of_the_official_client_is_known() -> None:
    def types(union: object) -> set[str]:
        members = get_args(get_args(union)[0])
        return {str(get_args(member.model_fields["type"].annotation)[0]) for member in members}

    assert types(RealtimeServerEvent) <= MESSAGES.types
    assert types(RealtimeClientEvent) - UNSENT == CLIENT_TYPES


def test_every_test_that_is_named_exists() -> None:
    known = set()
    for path in HERE.glob("test_*.py"):
        known |= set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    for rows in tables(PAGE).values():
        for row in rows:
            assert names(row[-1])
            assert set(names(row[-1])) <= known, row


def test_every_event_and_method_that_is_named_exists() -> None:
    rows = tables(PAGE)
    for row in rows["From the server"]:
        for name in names(row[1]):
            assert hasattr(events, name) or name == "mcp_approval_request"
    for row in rows["From the client"]:
        assert names(row[1])
        for name in names(row[1]):
            assert hasattr(OpenAICodec, name)
