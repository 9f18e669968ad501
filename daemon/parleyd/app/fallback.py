"""The embedded agent as the fallback: a child process that is started when it is needed, and gone afterwards."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from parleyd.agents.commands import Prepared
from parleyd.agents.events import AgentError
from parleyd.agents.provider import Address, Agent, Attachment, Capabilities, Check, Codec, Server, SessionWish
from parleyd.config.schema import Config
from parleyd.core.endings import DialError, Ending, EndingKind
from parleyd.core.errors import UserError
from parleyd.embedded.child import AgentChild, AgentChildError

log = logging.getLogger(__name__)

# The least free memory with which the fallback is started: a device without one is better than a device that swaps.
NEEDS_BYTES = 120 << 20
HINT_STARTS = "`parleyd agent` shows what is missing; docs/offline.md"
_STOP_S = 2.0


class LocalFallback:
    """Implements conversation.supervisor.fallback.Fallback, and its agent: agents.provider.Agent. Thread-safe.

    client: makes the client of an agent at this base URL, with this key. close() at the end.
    """

    name = "local"

    def __init__(self, config: Config, client: Callable[[Config, str, str], Agent]) -> None:
        self._config = config
        self._client = client
        # Nobody else on this machine may talk with it.
        self._key = secrets.token_urlsafe(24)
        self._changed = threading.Condition()
        self._is_wanted = False
        self._is_closed = False
        self._thread: threading.Thread | None = None
        # The process that runs. refusal: why there is none.
        self._child: AgentChild | None = None
        self._refusal: Ending | None = None
        # A client of no process, for all that needs none.
        self._made = client(config, "http://127.0.0.1:9", self._key)

    @property
    def agent(self) -> Agent:
        return self

    # ------------------------------------------------------------ the process

    def start(self) -> None:
        self._want(True)

    def stop(self) -> None:
        self._want(False)

    def close(self) -> None:
        """Ends the process, and waits for that."""
        with self._changed:
            self._is_closed = True
        self._want(False)
        with self._changed:
            thread = self._thread
        if thread is not None:
            thread.join(_STOP_S)

    def reconfigure(self, config: Config) -> None:
        """The next session is as this configuration has it. Raises UserError, and then nothing has changed."""
        with self._changed:
            child = self._child
            base_url = "http://127.0.0.1:9" if child is None else child.base_url
            try:
                self._made = self._client(config, base_url, self._key)
            except ValueError as error:
                raise UserError(str(error), None, os.EX_CONFIG) from error
            self._config = config

    def _want(self, is_wanted: bool) -> None:
        with self._changed:
            self._is_wanted = is_wanted and not self._is_closed
            self._changed.notify_all()
            if self._thread is not None or not self._is_wanted:
                return
            self._refusal = None
            self._thread = threading.Thread(target=self._run, name="fallback", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._thread = None
                self._refusal = Ending(EndingKind.RETRY, "the system has no thread left", "see `parleyd status`")

    def _run(self) -> None:
        """Holds the process for as long as it is wanted."""
        free = available_bytes()
        needed = min(NEEDS_BYTES, self._most_bytes)
        if free is not None and free < needed:
            reason = f"{free >> 20} MB of memory are free, and the fallback needs {needed >> 20}"
            self._ends(Ending(EndingKind.RETRY, reason, "stop other programs, or set fallback: off"))
            return
        child = AgentChild(self._config.local.scenario, key=self._key, most_bytes=self._most_bytes)
        try:
            began_s = time.monotonic()
            with child:
                log.info("the fallback runs, after %.1f s", time.monotonic() - began_s)
                with self._changed:
                    self._child, self._made = child, self._client(self._config, child.base_url, self._key)
                    self._changed.notify_all()
                    while self._is_wanted:
                        self._changed.wait()
                    self._child = None
        except (AgentChildError, OSError, ValueError) as error:
            # ValueError: the client, whose instructions may be a file that is gone by now.
            self._ends(Ending(EndingKind.RETRY, f"the fallback does not start: {error}", HINT_STARTS))
            return
        log.info("the fallback is not needed any more, and has ended")
        self._ends(None)

    def _ends(self, refusal: Ending | None) -> None:
        with self._changed:
            self._thread, self._refusal = None, refusal
            again = refusal is None and self._is_wanted
            if refusal is not None:
                self._is_wanted = False
            self._changed.notify_all()
        if again:
            # It was wanted again while it ended.
            self._want(True)

    @property
    def _most_bytes(self) -> int:
        return self._config.local.memory_mb << 20

    # ------------------------------------------------------------ the agent

    @property
    def capabilities(self) -> Capabilities:
        return self._made.capabilities

    def load(self) -> None:
        self._made.load()

    def dial(self, timeout_s: float) -> Address:
        until_s = time.monotonic() + timeout_s
        self._want(True)
        with self._changed:
            self._changed.wait_for(lambda: self._child is not None or self._refusal is not None, timeout_s)
            child, made, refusal = self._child, self._made, self._refusal
        if child is None or not child.wait_up(until_s - time.monotonic()):
            raise DialError(refusal or Ending(EndingKind.RETRY, f"the fallback did not start within {timeout_s:g} s"))
        return made.dial(timeout_s)

    def reach(self, timeout_s: float) -> None:
        self._made.reach(timeout_s)

    def session(self, wish: SessionWish) -> Codec:
        return self._made.session(wish)

    def prepare(self, conversation_id: str, attachment: Attachment, timeout_s: float) -> Prepared:
        return self._made.prepare(conversation_id, attachment, timeout_s)

    def judge_close(self, code: int | None, reason: str, error: AgentError | None) -> Ending:
        return self._made.judge_close(code, reason, error)

    def judge_silence(self, waited_s: float) -> Ending:
        return self._made.judge_silence(waited_s)

    def judge_refusal(self, http_status: int, body: str) -> Ending:
        return self._made.judge_refusal(http_status, body)

    def server(self) -> Server:
        return self._made.server()

    def checks(self, config: Config) -> Sequence[Check]:
        return ()


def available_bytes() -> int | None:
    """The memory that programs can have without swapping: proc(5), MemAvailable; None where it is not known."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    found = next((line.split() for line in lines if line.startswith("MemAvailable:")), None)
    return int(found[1]) * 1024 if found is not None else None
