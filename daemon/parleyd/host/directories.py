"""The directories of the daemon: configuration, state (kept), and runtime (removed at its end): file-hierarchy(7).

systemd names both in the environment of a unit (RuntimeDirectory=, StateDirectory= in systemd.exec(5)); a daemon
started by hand uses the user's XDG base directories.
"""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

SYSTEM_RUNTIME = Path("/run/parleyd")
SYSTEM_STATE = Path("/var/lib/parleyd")
SYSTEM_CONFIG = Path("/etc/parleyd/parleyd.yaml")


def config_path() -> Path:
    """The file that a command uses by default: that of the user's own service if it exists, otherwise the system's."""
    if os.geteuid() == 0:
        return SYSTEM_CONFIG
    try:
        own = user_config_directory() / SYSTEM_CONFIG.name
    except OSError:
        return SYSTEM_CONFIG
    return own if os.path.lexists(own) else SYSTEM_CONFIG


def is_of_user(config: Path) -> bool:
    """Whether it is the file that the user's own service reads."""
    try:
        return config.absolute() == user_config_directory() / SYSTEM_CONFIG.name
    except OSError:
        return False


def user_config_directory() -> Path:
    """Raises OSError."""
    return _of_user("XDG_CONFIG_HOME", ".config")


def state_directory() -> Path:
    """The directory for state; created if necessary, readable by its owner only. Raises OSError."""
    directory = state_place()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def state_place() -> Path:
    """Where it is, or would be. Raises OSError."""
    return _of_unit("STATE_DIRECTORY") or _of_user("XDG_STATE_HOME")


def runtime_directory() -> Path:
    """Made if need be. Raises OSError."""
    directory = runtime_place()
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    return directory


def runtime_place() -> Path:
    """Where it is, or would be. Raises OSError."""
    # Without XDG_RUNTIME_DIR the state directory's parent: a name under /tmp could be somebody else's.
    return _of_unit("RUNTIME_DIRECTORY") or _of_user("XDG_RUNTIME_DIR")


def _of_unit(variable: str) -> Path | None:
    # A unit may have several, with colons between them; ours has one.
    value = os.environ.get(variable, "").split(":")[0]
    return Path(value) if value else None


def _of_user(variable: str, otherwise: str = ".local/state") -> Path:
    value = os.environ.get(variable)
    # The XDG specification says to ignore a relative path.
    if value and value.startswith("/"):
        return Path(value) / "parleyd"
    # An empty or relative HOME (`HOME= parleyd run`) is ignored; the user database has the home directory, too.
    is_told = os.environ.get("HOME", "/").startswith("/")
    try:
        return (Path.home() if is_told else Path(pwd.getpwuid(os.getuid()).pw_dir)) / otherwise / "parleyd"
    except (KeyError, RuntimeError):
        # This happens to a dynamic user of systemd in a unit that names no directories.
        raise FileNotFoundError(errno.ENOENT, "this user has no home directory", f"${variable}") from None
