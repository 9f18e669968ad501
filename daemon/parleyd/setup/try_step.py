"""The step `try`: waits for the first question, and shows what was heard and answered."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from parleyd.config.base import Secret
from parleyd.config.schema import Config
from parleyd.control.client import Client, NotRunningError
from parleyd.core.errors import UserError
from parleyd.core.text import one_line
from parleyd.host import python_env
from parleyd.host.subprocesses import await_end
from parleyd.setup.provider_step import known_key
from parleyd.setup.state import Setup

_START_S = 40.0
_WAIT_S = 60.0
_STOP_S = 10.0
_LOOK_S = 0.1
SENTENCE = "what time is it"


def run(setup: Setup) -> str:
    if not setup.dialog.yes("try", "Try it now?", unattended=False):
        return "left out"
    if setup.config.audio.mode == "off":
        setup.page.say("The conversation is in writing: parleyd chat")
        return "in writing"
    known_key(setup)
    with contextlib.ExitStack() as stack:
        client = _running(stack)
        if client is None:
            setup.page.say("No daemon runs, so one is started for this trial ...")
            client = stack.enter_context(_own(setup))
        return _listen(setup, client)


def daemon_runs() -> bool:
    try:
        Client().__exit__(None, None, None)
    except NotRunningError:
        return False
    return True


def _running(stack: contextlib.ExitStack) -> Client | None:
    try:
        return stack.enter_context(Client())
    except NotRunningError:
        return None


@contextlib.contextmanager
def _own(setup: Setup) -> Iterator[Client]:
    """A daemon for the trial, and its client. Raises UserError with the last line of its log if it does not start."""
    environment = dict(os.environ)
    command = [*python_env.command(), "-m", "parleyd", "run", "-c", str(setup.file.path)]
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as credentials:
        section = setup.config.agent_keys.get(f"{setup.config.provider}.api_key")
        if isinstance(section, Secret) and section.credential is not None and setup.key is not None:
            # systemd passes a credential to the service alone; the directory is this user's alone, too.
            path = Path(credentials, section.credential)
            path.touch(mode=0o600)
            path.write_text(setup.key, encoding="ascii")
            environment["CREDENTIALS_DIRECTORY"] = credentials
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )
        try:
            yield _connected(process, log.fileno())
        finally:
            process.terminate()
            await_end(process, _STOP_S)


def _connected(process: subprocess.Popen[bytes], log: int) -> Client:
    until_s = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < until_s:
        with contextlib.suppress(NotRunningError):
            client = Client()
            if client.ask("status").get("state") is not None:
                return client
        time.sleep(_LOOK_S)
    raise UserError(f"the daemon does not start: {_last_line(log)}", "parleyd doctor finds out more")


def _last_line(log: int) -> str:
    content = os.pread(log, 2**16, 0).decode("utf-8", "replace").splitlines()
    return one_line(content[-1]).removeprefix("parleyd: ") if content else "it said nothing"


def _listen(setup: Setup, client: Client) -> str:
    page = setup.page
    client.ask("events")
    page.say(f"Say: {_first(setup.config)}{SENTENCE}")
    if setup.config.wake.mode == "manual":
        client.ask("wake")
    heard = ""
    for event in client.events_until(time.monotonic() + _WAIT_S):
        match event:
            case {"event": "utterance_started"}:
                page.say("somebody speaks ...", lead="  ")
            case {"event": "heard", "text": str(text), "final": True} if text:
                heard = one_line(text)
                page.good(f"heard: “{heard}”")
            case {"event": "answer_text", "text": str(text), "corrected": False} if heard and text:
                page.good(f"answered: “{one_line(text)}”")
                return f"heard “{heard}”"
            case {"event": "trouble", "text": str(text)}:
                page.problem(one_line(text), one_line(str(event.get("hint") or "")) or None)
    if heard:
        raise UserError("it was heard, and no answer came", "parleyd doctor looks at the agent")
    raise UserError(f"nothing was understood within {_WAIT_S:.0f} s", "parleyd tune shows what the microphone hears")


def _first(config: Config) -> str:
    return f"{config.wake.word.replace('_', ' ')}, " if config.wake.mode == "word" else ""
