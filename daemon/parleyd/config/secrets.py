"""Finds secrets where the configuration says they are, and masks them in texts."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from parleyd.config import signs
from parleyd.config.problem import KeyProblem
from parleyd.core.errors import UserError
from parleyd.core.log_fields import fields
from parleyd.host.files import open_regular, read_file

if TYPE_CHECKING:  # the schema itself needs masked()
    from parleyd.config.base import Secret

HIDDEN = "********"
MAX_SECRET_BYTES = 64 * 1024
_SENSITIVE_NAME = re.compile(r"key|token|pass(word|wd|code|phrase)|secret|authorization|credential", re.IGNORECASE)

# A second line of a file that may be a key. Lines that begin with # are comments.
_MAY_BE_KEY = re.compile(rb"[!-\"$-~][!-~]{11,}")

# The usual names of the providers' keys in systemd's store, those that systemd/parleyd.service loads; the first one is
# the default of `parleyd secret` where no configuration names another provider.
KEY_NAMES = ("elevenlabs", "openai")

_log = logging.getLogger(__name__)


class SecretError(UserError):
    """A secret that cannot be read. The text is one line without the secret; `hint` says what to do about it.

    is_found: there is a text at the place, but it is not a valid secret.
    """

    hint: str

    usual_exit_code = os.EX_CONFIG

    def __init__(self, text: str, hint: str, *, is_found: bool = False) -> None:
        super().__init__(text, hint)
        self.is_found = is_found


def resolve(secret: Secret | str | None) -> str | None:
    """The secret itself; None if none is configured. Reads the environment and files. Raises SecretError."""
    if secret is None:
        return None
    if isinstance(secret, str):
        return clean(secret, "the key in the configuration file", "copy the key again, or use {file: PATH}")
    if secret.credential is not None:
        return _from_credential(secret.credential)
    if secret.file is not None:
        return _from_file(Path(secret.file), f"the secret file {secret.file}")
    if secret.env is not None:
        return _from_environment(secret.env)
    return None


def resolve_key(secret: Secret | str | None, name: str = "the API key") -> str | None:
    """Like resolve(), for a key of the agent's server. name: its configuration key, for the error text."""
    key = resolve(secret)
    if key is not None:
        check_key(key, _what(secret, name))
    return key


def check_key(key: str, what: str) -> None:
    """Checks the form of a key. what: its source, for the error text. Raises SecretError."""
    if found := signs.trouble(key, signs.API_KEY):
        text, hint = found
        raise SecretError(f"{what} holds no key: {text}", hint, is_found=True)


def look_at_key(secret: Secret | str | None, key: str) -> Iterator[KeyProblem]:
    """A rule of the configuration, see rules.check: the problem of the secret that is found there. key: the dotted key.

    A secret that cannot be found is not a problem here: the daemon may run as another user, in another environment.
    """
    if secret is None or isinstance(secret, str):
        return
    try:
        with _quiet():
            resolve_key(secret, key)
    except SecretError as error:
        if error.is_found:
            yield KeyProblem(key, str(error), error.hint)
        return
    path = secret.file
    if secret.credential is not None:
        path = str(Path(os.environ["CREDENTIALS_DIRECTORY"], secret.credential))
    if path is None:
        return
    with contextlib.suppress(OSError):
        others = read_file(Path(path), MAX_SECRET_BYTES).splitlines()[1:]
        if any(_MAY_BE_KEY.fullmatch(other.strip()) for other in others):
            text = f"{_what(secret, key)} holds several keys, of which the first is taken"
            yield KeyProblem(key, text, "leave only the one that is to be used in it", is_warning=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Messages in the log are for the code that uses the secret, not for a check."""
    before, _log.disabled = _log.disabled, True
    try:
        yield
    finally:
        _log.disabled = before


def _what(secret: Secret | str | None, name: str) -> str:
    if secret is None or isinstance(secret, str):
        return name
    if secret.credential is not None:
        return f"the systemd credential {secret.credential}"
    return f"the environment variable {secret.env}" if secret.file is None else f"the secret file {secret.file}"


def _from_credential(name: str) -> str:
    what = f"the systemd credential {name}"
    load = f"store it with: sudo parleyd secret {name}; or name the secret as {{file: PATH}} or {{env: NAME}}"
    if "/" in name or name in (".", ".."):
        raise SecretError(f"{what} is not a name but a path", "use {file: PATH} for a path")
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretError(f"{what} is not there: systemd passed no credentials ($CREDENTIALS_DIRECTORY is unset)", load)
    return _from_file(Path(directory, name), what, load)


def _from_file(path: Path, what: str, hint: str | None = None) -> str:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_SECRET_BYTES)
    except FileNotFoundError:
        raise SecretError(f"{what} does not exist", hint or "create it with the key as its first line") from None
    except PermissionError:
        raise SecretError(
            f"{what} may not be read by this user (uid {os.geteuid()})",
            hint or f"make it readable: chown or chgrp it to the user that runs parleyd, mode 0600 or 0640: {path}",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        raise SecretError(f"{what} cannot be read: {reason}", hint or "name a plain file") from None
    if mode & stat.S_IROTH:
        hint_mode = f"chmod o= {path}"
        _log.warning("%s can be read by every user of this machine; %s", what, hint_mode, extra=fields(hint=hint_mode))
    first = content.splitlines()[0] if content else b""
    try:
        text = first.decode("utf-8-sig")
    except UnicodeDecodeError:
        hint = "its first line must be the key and nothing else"
        raise SecretError(f"{what} does not hold text", hint, is_found=True) from None
    return clean(text, what, "its first line must be the key and nothing else")


def _from_environment(name: str) -> str:
    what = f"the environment variable {name}"
    hint = f"set {name} in the daemon's environment (systemd: EnvironmentFile=), or name the secret as {{file: PATH}}"
    value = os.environ.get(name)
    if value is None:
        raise SecretError(f"{what} is not set", hint)
    return clean(value, what, hint)


def clean(text: str, what: str, hint: str) -> str:
    """The secret without the whitespace around it. Raises SecretError for whitespace inside, which an HTTP header could
    not contain.

    what: its source, for the error text.
    """
    text = text.strip()
    if not text:
        raise SecretError(f"{what} is empty", hint, is_found=True)
    if odd := next((sign for sign in text if not "!" <= sign <= "~"), None):
        text = f"{what} is no key: it has blanks, control or non-ASCII characters inside, such as {signs.named(odd)}"
        raise SecretError(text, hint, is_found=True)
    return text


def masked(section: msgspec.Struct) -> dict[str, Any]:
    """A configuration, or a section of it, as plain values with the secrets hidden.

    References (env, file, credential) are shown: they name the place of a secret, not the secret.
    """
    plain: dict[str, Any] = msgspec.to_builtins(section)
    return {name: _mask_key(name, value) for name, value in plain.items()}


def _mask_key(name: str, value: Any) -> Any:
    if name in ("api_key", "password", "authorization") and isinstance(value, str):
        return HIDDEN
    if name in ("dynamic_variables", "custom_llm_extra_body", "environment", "headers", "body", "query"):
        return mask_by_name(value)
    if isinstance(value, Mapping):
        return {key: _mask_key(key, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mask_key("", inner) for inner in value]
    return value


def mask_by_name(value: Any) -> Any:
    """Masks values with names that are not this program's own, if the name looks like that of a secret."""
    if isinstance(value, Mapping):
        return {key: HIDDEN if _is_sensitive(key, inner) else mask_by_name(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [mask_by_name(item) for item in value]
    return value


def _is_sensitive(name: str, value: Any) -> bool:
    if value is None or (name.lower().endswith("tokens") and isinstance(value, int)):
        return False  # names such as max_tokens are counts
    return is_sensitive_name(name)


def is_sensitive_name(name: str) -> bool:
    """Whether a value with this name is usually a secret."""
    return bool(_SENSITIVE_NAME.search(name))
