"""docs/protocol-coverage.md tells the truth: every message is in it, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from coverage_page import names, tables
from parleyd.agents import commands
from parleyd.agents import events as common
from parleyd.agents.elevenlabs.client_messages import ClientMessage
from parleyd.agents.elevenlabs.codec import ElevenLabsCodec
from parleyd.agents.elevenlabs.server_messages import MESSAGES

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "protocol-coverage.md"
# The message with sound is the only one that names no type.
CLIENT_TYPES = {str(message.__struct_config__.tag or "user_audio_chunk") for message in get_args(ClientMessage)}


def test_every_message_is_listed_once() -> None:
    rows = tables(PAGE)
    for heading, types in (("From the server", MESSAGES.types), ("From the client", CLIENT_TYPES)):
        listed = [names(row[0])[0] for row in rows[heading]]
        assert sorted(listed) == sorted(types)


def test_every_test_that_is_named_exists() -> None:
    known = set()
    for path in HERE.glob("test_*.py"):
        known |= set(re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    for rows in tables(PAGE).values():
        assert rows
        for row in rows:
            assert names(row[-1])
            assert set(names(row[-1])) <= known


def test_every_event_and_method_that_is_named_exists() -> None:
    rows = tables(PAGE)
    for row in rows["From the server"]:
        for name in names(row[1]):
            assert hasattr(common, name) or name in CLIENT_TYPES or name == "end_call"
    for row in rows["From the client"]:
        assert names(row[1])
        for name in names(row[1]):
            assert hasattr(ElevenLabsCodec, name) or hasattr(commands, name)
