"""The step `agent`: an agent of the account, or a new one, and what of it does not fit this device."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import Any

from parleyd.config import signs
from parleyd.core.errors import UserError
from parleyd.platform.case import case_of, create
from parleyd.platform.desired import PROMPT
from parleyd.platform.rest import AGENTS, pages
from parleyd.setup.dialog import Option
from parleyd.setup.fit_table import HEADING, rows
from parleyd.setup.provider_step import known_key
from parleyd.setup.state import Setup
from parleyd.setup.voices import LANGUAGES

_NEW = "new"
_ID: tuple[str, ...] = ("elevenlabs", "agent_id")
_PLACEHOLDER = re.compile(r"(?i)(agent_)?(x+|\.+|…+)|<.*>|your.*")
_ANSWER_S = 20.0
_HELPER = (
    "You are a friendly helper at home. You are heard through a loudspeaker: answer in one to three short sentences, "
    "without lists, links or emoji."
)


def run(setup: Setup) -> str:
    config = setup.config
    if config.provider == "local":
        setup.page.say("The embedded agent needs no choice.")
        return "the embedded agent"
    if config.provider == "openai":
        setup.page.say(
            "With OpenAI the agent consists of keys in the configuration: openai.instructions says who it is."
        )
        return "its instructions are in the configuration"
    present = present_id(setup)
    key = known_key(setup)
    if key is None:
        agent_id = _public(setup, present)
        setup.write({_ID: agent_id})
        return f"{agent_id}, without a key"
    agent_id = _chosen(setup, key, present)
    if agent_id == _NEW:
        return f"{_made(setup, key)}, new"
    setup.write({_ID: agent_id})
    return f"{agent_id}, {_fit(setup, key, agent_id)}"


def present_id(setup: Setup) -> str | None:
    """Returns the id of the agent in the configuration; None if there is none, or only the example's placeholder."""
    agent_id = setup.config.elevenlabs.agent_id
    return None if agent_id is None or _PLACEHOLDER.fullmatch(agent_id) else agent_id


def _public(setup: Setup, present: str | None) -> str:
    setup.page.note("Without a key only a public agent can be used, and its settings cannot be looked at.")
    while True:
        agent_id = setup.dialog.text("agent", "The id of the agent, from its page at ElevenLabs:", present or "")
        trouble = signs.trouble(agent_id, signs.AGENT_ID)
        if trouble is None:
            return agent_id
        if not setup.dialog.is_person:
            raise UserError(f"agent: {trouble[0]}", trouble[1], os.EX_DATAERR)
        setup.page.problem(*trouble)


def _chosen(setup: Setup, key: str, present: str | None) -> str:
    url = setup.config.elevenlabs.base_url
    found = [item for item in pages(url, key, AGENTS, "agents", timeout_s=_ANSWER_S) if item.get("agent_id")]
    options = [_option(item) for item in found]
    if present is not None and present not in {option.value for option in options}:
        options.insert(0, Option(present, present, "of the configuration"))
    if not options and setup.dialog.is_person:
        setup.page.say("The account has no agent yet, so a new one is made.")
        return _NEW
    options.append(Option(_NEW, "a new agent"))
    first = present or options[0].value
    if not setup.dialog.is_person and present is None and setup.dialog.answer("agent") is None:
        raise UserError(
            "agent has no answer", "add agent: to the answers: an agent's id, its name, or new", os.EX_DATAERR
        )
    return setup.dialog.choose("agent", "Which agent?", options, first)


def _option(item: Mapping[str, Any]) -> Option:
    return Option(str(item["agent_id"]), str(item.get("name") or item["agent_id"]), str(item["agent_id"]))


def _made(setup: Setup, key: str) -> str:
    page, dialog = setup.page, setup.dialog
    name = dialog.text("agent_name", "What is it called?", socket.gethostname())
    language = language_of(setup, "en" if dialog.is_person else None)
    page.say("Who is it? The prompt tells the agent how to behave, and can be changed on its page at any time.")
    prompt = dialog.text("agent_prompt", "The prompt, Enter for a helper at home who answers briefly:", "") or _HELPER
    changes: dict[tuple[str, ...], object] = {}
    if language is not None:
        changes["elevenlabs", "agent", "language"] = language
        setup.language = language

    def made(agent_id: str) -> None:
        # The id is written at once, so that an agent that was made is never lost.
        page.good(f"The agent {name} was made: {agent_id}")
        setup.write({**changes, _ID: agent_id})

    page.say("Making it ...")
    agent_id = create(setup.file.preview(changes), key, name, {PROMPT: prompt}, made)
    page.good("It fits this device.")
    return agent_id


def language_of(setup: Setup, default: str | None) -> str | None:
    """Returns the code of a language; None for no change."""
    wanted = (os.environ.get("LC_ALL") or os.environ.get("LANG") or "").partition("_")[0]
    codes = sorted(LANGUAGES, key=lambda code: (code != wanted, code != "en"))
    options = [Option(code, LANGUAGES[code], code) for code in codes]
    if default is None:
        options.insert(0, Option("keep", "keep", "as it is"))
    first = "keep" if default is None else wanted if wanted in LANGUAGES else default
    chosen = setup.dialog.choose("language", "Which language does it speak?", options, first)
    return None if chosen == "keep" else chosen


def _fit(setup: Setup, key: str, agent_id: str) -> str:
    page = setup.page
    case = case_of(setup.config, key, agent_id)
    with case.locked():
        plan = case.plan()
        for note in plan.notes:
            page.note(note.text, note.hint)
        if plan.is_in_step:
            page.good("The agent fits this device.")
            return "it fits"
        page.say("This does not fit this device:")
        page.table(HEADING, rows(plan))
        if not plan.has_work:
            page.note("Nothing is changed: parleyd platform plan shows what somebody else has set.")
            return "it differs"
        if not setup.dialog.yes("fit", "Change it on the agent? It holds for all who use the agent."):
            page.note("It stays as it is; parleyd platform apply changes it later.")
            return "not fitted"
        case.carry_out(plan)
    page.good("It was written, and read back as it was written.")
    if plan.conflicts:
        page.note("What somebody else has set stays: parleyd platform plan says how to decide it.")
    return "fitted"
