"""Announcements without a WebSocket: fetched over HTTP from an OpenAI-compatible server."""

from __future__ import annotations

import pytest
from realtime_plays import config, daemon, embedded

from parleyd.agents.openai.speech import OpenAISpeech
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Announce, Earcons, Session, Wake
from parleyd.core import events

QUIET = Earcons(listening="off", sleeping="off", error="off")
TEXT = "The washing machine is done."


def voice(port: int, key: str | None = "k", name: str = "marin") -> OpenAISpeech:
    return OpenAISpeech(OpenAI(base_url=f"http://127.0.0.1:{port}/v1"), Announce(), name, key)


def announced(scenario: str, **speech: str) -> events.AnnouncementEnded:
    """The end of an announcement, with the server of a scenario."""
    with embedded(scenario) as agent:
        settings = config(agent, earcons=QUIET, wake=Wake(mode="manual"), session=Session(connect_timeout_s=2.0))
        with daemon(settings, speech=voice(agent.port, **speech)) as one:
            one.service.announce(TEXT, now=True)
            ended = one.expect(events.AnnouncementEnded)
            assert bool(one.of(events.AnnouncementStarted)) or not ended.finished
            assert not agent.connections, "no session is opened for it"
        return ended


def test_an_announcement_is_spoken() -> None:
    assert announced("").finished


def test_a_server_that_is_in_trouble_is_asked_again() -> None:
    assert announced("speech: [{handshake: {status: 503}}]").finished


@pytest.mark.parametrize(
    ("scenario", "speech", "word"),
    [
        ("agent: {api_key: right}", {"key": "wrong"}, "key"),
        ("", {"name": "nobody"}, "nobody"),
        ("speech: [{end: {after_chunks: 1}}]", {}, ""),
        ("speech: [{handshake: {delay_s: 30}}, {handshake: {delay_s: 30}}]", {}, "did not"),
    ],
    ids=["a wrong key", "an unknown voice", "cut short", "silent"],
)
def test_an_announcement_that_is_not_spoken_says_why(scenario: str, speech: dict[str, str], word: str) -> None:
    ended = announced(scenario, **speech)
    assert not ended.finished
    assert ended.reason
    assert word in ended.reason
