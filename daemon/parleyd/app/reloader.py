"""Makes a running daemon read its configuration again, on SIGHUP and for the control socket."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from msgspec.structs import replace

from parleyd.app.service import Service
from parleyd.app.settings import SettingsKeeper
from parleyd.checks.configuration import ConfigError, Loaded
from parleyd.config.changes import Changes
from parleyd.host import notify
from parleyd.host.files import read_file
from parleyd.profiles.profiles import ApplyError, Profiles

log = logging.getLogger(__name__)


_SCENARIO = "local.scenario"
# More than the embedded agent reads of it.
_MOST_SCENARIO_BYTES = 2**20 + 1


class ReloadError(Exception):
    """The reload failed, and nothing has changed. The text has one problem per line."""


class Reloader:
    """Call it to reload; it returns the changes, and raises ReloadError. Thread-safe. scenario: the file that the
    embedded agent was started with."""

    def __init__(
        self,
        settings: SettingsKeeper,
        service: Service,
        profiles: Profiles,
        *,
        debug: bool,
        scenario: str | None = None,
    ) -> None:
        self._settings = settings
        self._service = service
        self._profiles = profiles
        self._debug = debug
        self._lock = threading.Lock()
        self._scenario = _content(scenario)

    def __call__(self) -> Changes:
        with self._lock:
            notify.reloading()
            try:
                return self._reload()
            except ReloadError as error:
                for problem in str(error).splitlines():
                    log.error("%s", problem)
                log.error("the new configuration is not taken; the old one stays in force")
                raise
            finally:
                notify.ready(self._service.health)

    def _reload(self) -> Changes:
        try:
            loaded, changed = self._settings.reload(self.take)
        except ConfigError as error:
            raise ReloadError("\n".join(str(problem) for problem in error.problems)) from error
        except ApplyError as error:
            raise ReloadError(error.with_hint) from error
        for warning in loaded.warnings:
            log.warning("%s", warning)
        if _content(loaded.config.local.scenario) != self._scenario and _SCENARIO not in changed.restart:
            # The embedded agent reads the file when it starts.
            changed = replace(changed, restart=(*changed.restart, f"the content of {_SCENARIO}"))
        log.info("the configuration was read again: %s", changed.in_words())
        return changed

    def take(self, loaded: Loaded) -> Changes:
        """Puts a configuration in force that has been read. Raises ApplyError; then nothing has changed."""
        changed = self._profiles.rebase(loaded.config)
        if not self._debug:
            logging.getLogger("parleyd").setLevel(loaded.config.log.level.upper())
        return changed


def _content(scenario: str | None) -> bytes | None:
    """None also for a pipe: the embedded agent has read it, and nothing comes any more."""
    try:
        return None if scenario is None else read_file(Path(scenario), _MOST_SCENARIO_BYTES)
    except (OSError, ValueError):
        return None
