"""Announcements without a WebSocket: fetched over HTTP from an OpenAI-compatible server."""

from __future__ import annotations

import pytest
from harness import Daemon
from realtime_plays import config, daemon, embedded, scripted

from parleyd.agents.openai.agent import OpenAIAgent
from parleyd.agents.openai.speech import OpenAISpeech
from parleyd.config.openai_section import OpenAI
from parleyd.config.schema import Announce, Earcons, Session, Wake
from parleyd.core import events
from parleyd.embedded.local_speech import LocalSpeech

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


# ---------------------------------------------------------------- the local voice


@pytest.mark.parametrize("how", ["no voice", "a wrong key", "silent"])
def test_the_local_voice_speaks_where_the_providers_does_not(how: str) -> None:
    silent = "speech: [{handshake: {delay_s: 30}}, {handshake: {delay_s: 30}}]"
    scenario = {"no voice": "", "a wrong key": "agent: {api_key: right}"}.get(how, silent)
    with embedded(scenario) as agent:
        settings = config(agent, earcons=QUIET, wake=Wake(mode="manual"), session=Session(connect_timeout_s=1.0))
        speech = None if how == "no voice" else voice(agent.port, "wrong")
        provider = OpenAIAgent(settings.openai, "k")
        with Daemon(settings, speech=speech, agent=provider, local_speech=LocalSpeech(None)) as one:
            one.service.announce(TEXT, now=True)
            assert one.expect(events.AnnouncementStarted).text == TEXT
            assert one.expect(events.AnnouncementEnded).finished
            troubles = [trouble.text.partition(": ")[0] for trouble in one.of(events.Trouble)]
            told = "the voice of announcements failed; the local voice speaks"
            assert troubles == ([] if how == "no voice" else [told]), "it is spoken"


def test_that_the_account_has_no_credit_is_spoken_by_the_local_voice() -> None:
    failed = "responses: [{status: failed, code: insufficient_quota, message: You exceeded your current quota.}]"
    with embedded(scripted(more=f"  {failed}\n")) as agent:
        settings = config(agent, earcons=QUIET, wake=Wake(mode="manual", greeting="skip"))
        provider = OpenAIAgent(settings.openai, "k")
        with Daemon(settings, speech=voice(agent.port), agent=provider, local_speech=LocalSpeech(None)) as one:
            one.service.say("What time is it?")
            told = one.expect(events.AnswerFailed)
            assert (told.without_credit, told.retry_after_s) == (True, None)
            assert one.expect(events.AnnouncementStarted).text == settings.budget.no_credit_text
            assert one.expect(events.AnnouncementEnded).finished
            assert not agent.speeches, "the provider's voice has no credit either"
