"""The key, the provider's own checks, and a conversation of a second."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.core.findings import Finding, Severity, error, good, misconfigured, note, skipped, warning
from parleyd.doctor.examination import Examination, our_name
from parleyd.doctor.network import EMBEDDED

if TYPE_CHECKING:  # the doctor starts without what these import
    from parleyd.agents.events import AgentEvent, NotTaken, Ready
    from parleyd.agents.provider import Agent, SessionWish
    from parleyd.config.schema import Config
    from parleyd.conversation.session.session import Session
    from parleyd.core.endings import Ending

_CREDENTIALS = Path("/run/credentials/parleyd.service")
_ANSWER_S = 8.0
# How long to wait after the formats for an agent that refuses the opening message.
_AFTERTHOUGHT_S = 0.7
# The name of the provider's check that follows the search for the key.
_KEY = "key"


# ---------------------------------------------------------------- the key


def key(examination: Examination) -> Iterator[Finding]:
    """Finds the key, stores it for later checks, and has the provider try it."""
    from parleyd.app.agents import provider_of

    config = examination.configured()
    provider = provider_of(config)
    if config.provider == "local":
        yield skipped(EMBEDDED)
        return
    if provider.api_key(config) is not None and provider.is_configured(config):
        yield from _find_key(examination)
        if examination.key is None:
            return
    for check in provider.agent(config, examination.key).checks(config):
        if check.name == _KEY:
            yield from check.probe()


def _find_key(examination: Examination) -> Iterator[Finding]:
    from parleyd.app.agents import provider_of
    from parleyd.config import secrets
    from parleyd.config.base import Secret

    configured = provider_of(examination.configured()).api_key(examination.configured())
    if isinstance(configured, Secret) and configured.credential is not None:
        # systemd passes it only to the service; while the service runs, root may read it there (systemd.exec(5),
        # CREDENTIALS).
        passed = _CREDENTIALS / configured.credential
        if "CREDENTIALS_DIRECTORY" not in os.environ and os.access(passed, os.R_OK):
            configured = Secret(file=str(passed))
    try:
        with _logged(secrets.__name__) as said:
            examination.key = secrets.resolve_key(configured)
    except secrets.SecretError as refusal:
        others = [unit.user for unit in examination.units if unit.user != our_name()]
        if others and isinstance(configured, Secret) and configured.env is not None:
            text = f"{refusal}; it may be in that of the service"
            yield Finding(Severity.SKIPPED, text, f"{configured.env}=... parleyd doctor")
        elif others and ("may not be read" in str(refusal) or "systemd passed no credentials" in str(refusal)):
            hint = "sudo parleyd doctor" if os.geteuid() else "sudo systemctl start parleyd, then try again"
            yield Finding(Severity.SKIPPED, f"the key is for the service's user {others[0]} alone to read", hint)
        else:
            yield misconfigured(str(refusal), refusal.hint)
        return
    for text in said:
        yield warning(*text.split("; hint: ", 1)) if "; hint: " in text else note(text)


@contextlib.contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    """Collects the log messages of the block, and keeps them from the terminal."""
    said: list[str] = []

    class _Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    keeper, logger = _Keeper(), logging.getLogger(name)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(keeper)
    try:
        yield said
    finally:
        logger.removeHandler(keeper)
        logger.propagate = before


# ---------------------------------------------------------------- the provider's own checks


def settings(examination: Examination) -> Iterator[Finding]:
    """The agent's settings, and all else that only the provider knows."""
    from parleyd.app.agents import provider_of

    config = examination.configured()
    if config.provider == "local":
        yield skipped(EMBEDDED)
        return
    for check in provider_of(config).agent(config, examination.key).checks(config):
        if check.name != _KEY:
            yield from check.probe()


# ---------------------------------------------------------------- a conversation


class _Follower:
    """Follows one session: its first formats, what the server did not take, an error, and its end."""

    def __init__(self) -> None:
        self.happened: queue.Queue[Ready | Ending] = queue.Queue()
        self.not_taken: list[NotTaken] = []

    def ready(self, session: Session, ready: Ready) -> None:
        self.happened.put(ready)

    def event(self, session: Session, event: AgentEvent) -> None:
        from parleyd.agents.events import NotTaken

        if isinstance(event, NotTaken):
            self.not_taken.append(event)

    def ended(self, session: Session, ending: Ending) -> None:
        self.happened.put(ending)


def conversation(examination: Examination) -> Iterator[Finding]:
    from parleyd.app.agents import provider_of

    config = examination.configured()
    provider = provider_of(config)
    if config.provider == "local":
        yield from _embedded(examination)
    elif not provider.is_configured(config):
        yield skipped("no agent is configured")
    elif provider.api_key(config) is not None and examination.key is None:
        yield skipped("a session needs the key")
    else:
        agent = provider.agent(config, examination.key)
        yield from _converse(agent, wish_of(config))


def _embedded(examination: Examination) -> Iterator[Finding]:
    from parleyd.app.agents import Agents
    from parleyd.core.errors import UserError

    config = examination.configured()
    try:
        with Agents(config) as agents:
            yield from _converse(agents.agent(config), wish_of(config))
    except UserError as refusal:
        yield error(f"the embedded agent does not start: {refusal}", "parleyd agent")


def wish_of(config: Config) -> SessionWish:
    """The session that the daemon would ask for."""
    from parleyd.agents.provider import SessionWish
    from parleyd.config.secrets import SecretError
    from parleyd.conversation.dialogue.conversation import INTERRUPTS
    from parleyd.core import events
    from parleyd.tools.device_tools import DaemonActions, DeviceTools

    def nothing(*_: object) -> None: ...

    host = DaemonActions(nothing, nothing, nothing, str, nothing)
    try:
        tools = DeviceTools(config.tools, host, events.Bus(), None, camera=config.camera).specs
    except SecretError:
        # Another check tells of it.
        tools = ()
    return SessionWish(
        greet=not config.wake.may_skip_greeting, interrupts=INTERRUPTS[config.barge_in.mode], tools=tools
    )


def _converse(agent: Agent, wish: SessionWish) -> Iterator[Finding]:
    """Opens a session like the daemon: if the agent refuses to be asked for silence, once more without that."""
    from msgspec.structs import replace

    ready, ending, not_taken = converse(agent, wish)
    if not wish.greet and ending is not None and ending.greeting_refused:
        ready, ending, not_taken = converse(agent, replace(wish, greet=True))
    yield judge_conversation(ready, ending)
    for one in not_taken:
        text = f"{one.key}: {one.wanted} was not taken; the session has {one.got}"
        yield warning(text, f"change {one.key}, or see what the server offers")


def converse(agent: Agent, wish: SessionWish) -> tuple[Ready | None, Ending | None, Sequence[NotTaken]]:
    """The session's formats; the reason of its end, unless the doctor has ended it; and what the server says that it
    did not take of the wish and the configuration."""
    from parleyd.agents.events import Ready
    from parleyd.conversation.session.outbox import Outbox
    from parleyd.conversation.session.session import Session
    from parleyd.conversation.session.uplink import Uplink
    from parleyd.core.endings import EndingKind

    follower, faults = _Follower(), queue.Queue[BaseException]()
    session = Session(
        agent,
        Outbox(Uplink("drop", pre_roll_ms=200, capacity_ms=1000)),
        follower,
        wish=lambda: wish,
        timeout_s=_ANSWER_S,
        on_death=lambda _name, fault: faults.put(fault),
    )
    session.start()
    ready: Ready | None = None
    try:
        # Address, handshake and opening have a time limit each.
        while True:
            happened = follower.happened.get(timeout=3 * _ANSWER_S if ready is None else _AFTERTHOUGHT_S)
            if not isinstance(happened, Ready):
                return ready, None if happened.kind is EndingKind.USER else happened, follower.not_taken
            ready = happened
    except queue.Empty:
        session.hang_up("the doctor has seen enough")
        session.wait_over(2.0)
        if not faults.empty():
            raise faults.get() from None
        return ready, None, follower.not_taken


def judge_conversation(ready: Ready | None, ending: Ending | None) -> Finding:
    """ending: the agent's; None if the doctor has ended the session."""
    from parleyd.core.endings import EndingKind

    if ending is not None and ending.kind is EndingKind.AGENT and ready is not None:
        return warning(f"it answers, and hangs up at once: {ending.reason}", "see the agent's settings")
    if ending is not None:
        make = misconfigured if ending.kind is EndingKind.FINAL else error
        return make(ending.reason, ending.hint or "try again later")
    if ready is None:
        return error("no answer", "try again later")
    formats = (f"{one.encoding} {one.rate_hz / 1000:g} kHz" for one in (ready.input_format, ready.output_format))
    return good(f"a session was opened and closed, {' in, '.join(formats)} out")
