"""The step `provider`: who answers, and the key, which is tried before it is stored."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import msgspec

from parleyd.app.agents import provider_of
from parleyd.config.base import Secret
from parleyd.config.schema import Config
from parleyd.config.secret_store import revealed, store
from parleyd.config.secrets import SecretError, check_key, clean, resolve_key
from parleyd.core.errors import UserError
from parleyd.core.findings import Severity
from parleyd.embedded.errors import EXTRA_HINT
from parleyd.host.directories import SYSTEM_CONFIG, is_of_user
from parleyd.platform.failures import EX_MAY_NOT, PlatformError
from parleyd.platform.rest import AGENTS, ask
from parleyd.setup.dialog import Option, SkippedError
from parleyd.setup.file import finished
from parleyd.setup.state import Setup

_PROVIDERS = (
    Option("elevenlabs", "ElevenLabs", "an agent of an account at elevenlabs.io"),
    Option("openai", "OpenAI", "or any server that speaks its Realtime protocol"),
    Option("local", "local", "the agent inside parleyd: to try it without an account"),
)
_WHERE_TO_FIND = {
    "elevenlabs": "Make one at elevenlabs.io, Settings, API keys, with the permissions ElevenAgents: Write "
    "(convai_write) and Voices: Read (voices_read). It can change agents and read conversations, so give it to this "
    "device alone.",
    "openai": "Make one at platform.openai.com, API keys, for this device alone.",
}
_ANSWER_S = 15.0
_AGAIN, _STORE = "again", "store"


def run(setup: Setup) -> str:
    config = setup.config
    provider = setup.dialog.choose("provider", "Who answers?", _PROVIDERS, config.provider)
    changes: dict[tuple[str, ...], object] = {("provider",): provider}
    if provider == "local":
        setup.key = None
        _look_at_packages(setup)
        setup.write(changes)
        return "the embedded agent"
    base_url = _base_url(setup, provider)
    changes[provider, "base_url"] = base_url
    key, is_new = _key(setup, provider, base_url)
    if is_new and key is not None:
        with finished():
            changes[provider, "api_key"] = _stored(setup, provider, key)
            setup.write(changes)
    else:
        setup.write(changes)
    setup.key = key
    return f"{provider}, {'with a key that works' if key else 'without a key'}"


def known_key(setup: Setup) -> str | None:
    """Returns the key of the configured provider: the one that was given, otherwise the stored one, if this user can
    read it."""
    if setup.key is None and setup.config.provider != "local":
        setup.key = _present(setup.config, setup.config.provider)
    return setup.key


# ---------------------------------------------------------------- the key


def _key(setup: Setup, provider: str, base_url: str) -> tuple[str | None, bool]:
    """Returns (the key, whether it has to be stored); None if there is none."""
    page, dialog = setup.page, setup.dialog
    config = _with(setup.config, provider, base_url)
    present = _present(config, provider)
    path = dialog.answer("key_file")
    if path is not None:
        key = _checked(_first_line(Path(path)))
        _try(config, key)
        page.good("The key works.")
        return key, key != present
    if present is not None:
        try:
            _try(config, present)
        except UserError as error:
            page.problem(f"The key that is stored does not work: {error}", error.hint)
            if not dialog.is_person:
                raise
        else:
            page.good("A key is stored, and it works.")
            if not dialog.is_person or dialog.yes("keep_key", "Keep it?"):
                return present, False
    if not dialog.is_person:
        return None, False
    page.say(_WHERE_TO_FIND[provider])
    return _asked(setup, config, provider)


def _asked(setup: Setup, config: Config, provider: str) -> tuple[str | None, bool]:
    page, dialog = setup.page, setup.dialog
    none = "a public agent" if provider == "elevenlabs" else "a server that wants none"
    while True:
        word = dialog.secret(f"Paste the API key; what you type is not shown (Enter: none, for {none}):")
        if not word:
            return None, False
        if word.casefold() == "skip":
            page.say("A key is never called skip, so this step is left out.")
            raise SkippedError
        try:
            key = _checked(word)
            page.say("Trying it ...")
            _try(config, key)
        except UserError as error:
            page.problem(str(error), _hint(error))
            wrong = Option(_AGAIN, "paste a key again")
            save = Option(_STORE, "keep this key untried", "if the network is down")
            if isinstance(error, SecretError) or dialog.choose("next", "What now?", (wrong, save), _AGAIN) == _AGAIN:
                continue
            return key, True
        page.good("The key works.")
        return key, True


def _hint(error: UserError) -> str | None:
    """Returns the hint for a key that was typed just now, and stands in no configuration yet."""
    if isinstance(error, PlatformError) and error.exit_code == EX_MAY_NOT and "permission" not in str(error):
        return "copy it once more, as a whole, and see that it is a key of the right workspace"
    return error.hint


def _try(config: Config, key: str) -> None:
    """Raises UserError with the reason, if the server does not take the key."""
    if config.provider == "elevenlabs":
        url = config.elevenlabs.base_url
        ask(url, key, "GET", f"{AGENTS}?page_size=1", None, what="the list of agents", timeout_s=_ANSWER_S)
        return
    for check in provider_of(config).agent(config, key).checks(config):
        if check.name == "key":
            for finding in check.probe():
                if finding.severity is Severity.ERROR:
                    raise UserError(finding.text, finding.hint)


def _present(config: Config, provider: str) -> str | None:
    section = config.agent_keys[f"{provider}.api_key"]
    try:
        if isinstance(section, Secret) and section.credential is not None and "CREDENTIALS_DIRECTORY" not in os.environ:
            return revealed(section.credential)
        return resolve_key(section)
    except SecretError:
        return None


def _checked(key: str) -> str:
    """Raises SecretError."""
    key = clean(key, "what was given", "give the key and nothing else, on one line")
    check_key(key, "what was given")
    return key


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"key_file: {path} cannot be read: {error.strerror}", None, os.EX_NOINPUT) from None
    return lines[0] if lines else ""


def _stored(setup: Setup, provider: str, key: str) -> dict[str, str]:
    """The value for api_key. Raises UserError."""
    # systemd's store is for the service of this machine; another file has its key beside it.
    is_of_service = setup.file.path == SYSTEM_CONFIG and Path("/run/systemd/system").is_dir()
    is_usual = is_of_service or is_of_user(setup.file.path)
    try:
        stored = store(provider, key, None if is_usual else setup.file.path.with_name(f"{provider}.key"))
    except OSError as error:
        where = error.filename or provider
        raise UserError(f"the key cannot be stored at {where}: {error.strerror}", None, os.EX_CANTCREAT) from None
    how = "encrypted for this machine" if stored.encrypted else f"readable by {stored.readers} alone"
    setup.page.good(f"stored in {stored.path}, {how}")
    return {"credential": stored.name} if stored.encrypted else {"file": stored.path}


# ---------------------------------------------------------------- the rest


def _base_url(setup: Setup, provider: str) -> str:
    section = setup.config.elevenlabs if provider == "elevenlabs" else setup.config.openai
    given = setup.base_url or setup.dialog.answer("base_url")
    if given is not None or provider == "elevenlabs" or not setup.dialog.is_person:
        return given or section.base_url
    return setup.dialog.text("base_url", "The address of the server, Enter for this one:", section.base_url)


def _with(config: Config, provider: str, base_url: str) -> Config:
    section = msgspec.structs.replace(getattr(config, provider), base_url=base_url)
    return msgspec.structs.replace(config, **{"provider": provider, provider: section})


def _look_at_packages(setup: Setup) -> None:
    missing = [name for name in ("websockets", "pocketsphinx") if importlib.util.find_spec(name) is None]
    if missing:
        setup.page.note(f"The embedded agent needs {' and '.join(missing)}: {EXTRA_HINT}")
    if not (shutil.which("flite") or shutil.which("espeak-ng")):
        setup.page.note("The embedded agent needs a voice: sudo apt install flite")
