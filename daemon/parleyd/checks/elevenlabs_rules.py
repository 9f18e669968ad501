"""The rules of the section `elevenlabs`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import attrgetter

from parleyd.checks import agent_rules
from parleyd.config import signs
from parleyd.config.problem import KeyProblem
from parleyd.config.schema import Config

_EXAMPLES = {"env": "ELEVENLABS_API_KEY", "file": "/etc/parleyd/elevenlabs.key", "credential": "elevenlabs"}
_IDS = {
    "overrides.voice_id": signs.VOICE_ID,
    "overrides.llm": signs.LLM_ID,
    "overrides.language": signs.LANGUAGE,
    "overrides.model_id": signs.MODEL_ID,
    "branch_id": signs.BRANCH_ID,
    "environment": signs.ENVIRONMENT,
}
# Models that speak English alone.
_ENGLISH_MODELS = ("eleven_flash_v2", "eleven_turbo_v2")
_MOST_USER_ID_CHARS = 256
_ADDED = re.compile(r"/v\d+(/convai.*)?/?$")


def check(config: Config, is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """See rules.check."""
    section = config.elevenlabs
    if is_settled("provider") and config.provider == "elevenlabs" and is_settled("elevenlabs.agent_id"):
        yield from _agent_id(section.agent_id)
    if is_settled("elevenlabs.api_key"):
        yield from agent_rules.api_key("elevenlabs.api_key", section.api_key, signs.API_KEY, _EXAMPLES)
    if is_settled("elevenlabs.base_url"):
        example = "https://api.elevenlabs.io"
        yield from agent_rules.base_url("elevenlabs.base_url", section.base_url, example, _ADDED)
    for name, form in _IDS.items():
        key, id_ = f"elevenlabs.{name}", attrgetter(name)(section)
        if is_settled(key) and id_ is not None and (trouble := signs.trouble(id_, form)):
            yield KeyProblem(key, *trouble)
    if is_settled("elevenlabs.user_id"):
        yield from _user_id(section.user_id)
    language, model = section.overrides.language, section.overrides.model_id
    is_other = language is not None and language.partition("-")[0] != "en"
    if model in _ENGLISH_MODELS and is_other and is_settled("elevenlabs.overrides.language"):
        text = f"{model} speaks English alone, and overrides.language is {language}"
        yield KeyProblem("elevenlabs.overrides.model_id", text, f"use {model}_5")
    if is_settled("elevenlabs.dynamic_variables"):
        yield from agent_rules.variables("elevenlabs.dynamic_variables", section.dynamic_variables)


def _user_id(user_id: str) -> Iterator[KeyProblem]:
    if len(user_id) > _MOST_USER_ID_CHARS or not user_id.isprintable():
        text = f"a name has at most {_MOST_USER_ID_CHARS} characters, all of them visible"
        yield KeyProblem("elevenlabs.user_id", text, "write a short name, such as kitchen; auto: the host name")


def _agent_id(agent_id: str | None) -> Iterator[KeyProblem]:
    copy = "copy it from the agent's page at ElevenLabs, or use `provider: local`"
    if agent_id is None:
        yield KeyProblem("elevenlabs.agent_id", "the agent's id is missing", copy)
    elif re.fullmatch(r"(?i)(agent_)?(x+|\.+|…+)|<.*>|your.*", agent_id):
        yield KeyProblem("elevenlabs.agent_id", "this is the example's placeholder, not the id of an agent", copy)
    elif re.search(r"[ \t/?&#]", agent_id):
        text = "an id has neither blanks nor any of / ? & #"
        yield KeyProblem("elevenlabs.agent_id", text, "give the id alone (agent_...), not the address of a page")
    elif found := signs.trouble(agent_id, signs.AGENT_ID):
        yield KeyProblem("elevenlabs.agent_id", *found)
