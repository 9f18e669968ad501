"""One agent with all that a plan for it needs, and the making of a new one. Blocks."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parleyd.config.agent_section import PromptFile
from parleyd.config.schema import Config
from parleyd.host.directories import state_directory
from parleyd.host.files import read_file
from parleyd.host.lock import HeldError, Lock
from parleyd.platform.carry_out import Done, carry_out
from parleyd.platform.desired import Desired, desired
from parleyd.platform.failures import EX_CONFIGURATION, EX_LEFT, PlatformError
from parleyd.platform.fit import ALL, Plan, Written, fit
from parleyd.platform.own_tools import client_tools
from parleyd.platform.place import Place
from parleyd.platform.rest import Rest, create_agent
from parleyd.platform.state import FILE_NAME, State
from parleyd.platform.tree import put

_MOST_PROMPT_BYTES = 2**20


@dataclass(frozen=True)
class Case:
    agent_id: str
    branch: str | None
    place: Place
    desired: Desired
    state: State
    take: tuple[str, ...]
    prune: bool

    def plan(self) -> Plan:
        written = self.state.of(self.agent_id, self.branch)
        agent, tools = self.place.agent(), self.place.tools()
        plan = fit(self.desired, agent, tools, written, take=self.take, prune=self.prune)
        return dataclasses.replace(plan, doubt=self.place.doubt(plan.made)) if plan.made else plan

    def check(self, plan: Plan) -> None:
        """Raises PlatformError if the plan must not be carried out, because a tool might be made twice."""
        if plan.doubt is not None and plan.doubt.forbids:
            raise PlatformError(plan.doubt.text, plan.doubt.hint, EX_CONFIGURATION)

    def carry_out(self, plan: Plan) -> Done:
        """Writes the plan. Raises PlatformError."""

        def store(written: Written) -> None:
            self.state.store(self.agent_id, self.branch, written)

        written = self.state.of(self.agent_id, self.branch)
        return carry_out(plan, self.desired, self.place, written, f"parleyd, {socket.gethostname()}", store)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other runs away from the record of what was written. Raises PlatformError."""
        path = self.state.path.with_name(f".{self.state.path.name}.lock")
        try:
            lock = Lock(path)
        except HeldError as error:
            raise PlatformError(f"another `parleyd platform` is at work ({error})", "wait for it", EX_LEFT) from None
        except OSError as error:
            text = f"{path} cannot be made: {error.strerror}"
            raise PlatformError(text, "make its folder writable", EX_CONFIGURATION) from None
        try:
            yield
        finally:
            lock.close()


def case_of(config: Config, key: str, agent_id: str, take: tuple[str, ...] = ()) -> Case:
    """An agent on the platform, its main branch. Raises PlatformError."""
    place = Rest(config.elevenlabs.base_url, key, agent_id, None)
    return Case(agent_id, None, place, desired_of(config), state_of(None), take, prune=False)


def create(
    config: Config,
    key: str,
    name: str,
    more: Mapping[tuple[str, ...], object] | None = None,
    made: Callable[[str], None] = lambda _: None,
) -> str:
    """Makes an agent that fits the configuration, and returns its id. more: further values of the new agent, by path.
    made: is told the id as soon as there is one; the agent does not have all of its settings then. Raises
    PlatformError."""
    wanted = desired_of(config)
    body: dict[str, Any] = {"name": name, "conversation_config": {}, "platform_settings": {}}
    for path, value in (more or {}).items():
        put(body, path, value)
    # All wants at once: a language other than English with the default model would be refused.
    first = fit(wanted, body, (), Written())
    for change in first.changes:
        put(body, change.path, change.new)
    body["conversation_config"].setdefault("agent", {})
    agent_id = create_agent(config.elevenlabs.base_url, key, body)
    made(agent_id)
    # Nobody else has set anything on an agent that did not exist before.
    case = case_of(config, key, agent_id, (ALL,))
    try:
        with case.locked():
            case.carry_out(case.plan())
    except PlatformError as error:
        text = f"the agent {agent_id} was made, and then: {error}"
        hint = f"{error.hint}; then: parleyd platform apply --agent {agent_id}"
        raise PlatformError(text, hint, error.exit_code) from None
    return agent_id


def desired_of(config: Config) -> Desired:
    """Raises PlatformError."""
    prompt = config.elevenlabs.agent.prompt
    return desired(config, client_tools(config.tools), _prompt(prompt) if isinstance(prompt, PromptFile) else prompt)


def _prompt(source: PromptFile) -> str:
    hint = "correct elevenlabs.agent.prompt.file"
    try:
        content = read_file(Path(source.file), _MOST_PROMPT_BYTES + 1)
        if len(content) > _MOST_PROMPT_BYTES:
            raise PlatformError(f"{source.file} has more than 1 MiB", hint, EX_CONFIGURATION)
        return content.decode("utf-8-sig").rstrip("\n")
    except OSError as error:
        raise PlatformError(f"{source.file} cannot be read: {error.strerror}", hint, EX_CONFIGURATION) from None
    except UnicodeDecodeError:
        raise PlatformError(f"{source.file} is not UTF-8 text", hint, EX_CONFIGURATION) from None


def state_of(project: Path | None) -> State:
    """The record of what was written; that of a folder lies in it, because a team shares it."""
    if project is not None:
        return State(project / f".parleyd-{FILE_NAME}")
    try:
        return State(state_directory() / FILE_NAME)
    except OSError as error:
        text = f"the state directory cannot be used: {error.strerror}"
        raise PlatformError(text, "run it as the user who owns the configuration", EX_CONFIGURATION) from None
