"""The parts of a bug report: facts about the installation, without secrets and without the words of people."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import platform
import re
import socket
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import parleyd
from parleyd.board import facts
from parleyd.checks.configuration import ConfigError, load_without_agent
from parleyd.config.base import Secret
from parleyd.config.nodes import dump
from parleyd.config.schema import Config
from parleyd.config.secrets import HIDDEN, SecretError, is_sensitive_name, masked, resolve
from parleyd.control.client import Client, NotRunningError, RefusedError
from parleyd.core.text import printable
from parleyd.doctor.examination import Examination
from parleyd.doctor.report import facts as doctor_facts
from parleyd.doctor.run import Check, Outcome, examine
from parleyd.host import subprocesses
from parleyd.host.packages import PACKAGES

LOG_LINES = 2000
MOST_LOG_BYTES = 2 * 2**20
# Lines of the level debug may be long: all of LOG_LINES are read, and the newest of them kept.
_MOST_READ_BYTES = 64 * 2**20
MOST_PICTURE_BYTES = 8 * 2**20
_COMMAND_S = 15.0
# A shorter one could be an ordinary word.
_SHORTEST_SECRET = 6

# Keys whose values are texts of people: wishes to the agent, names, what a person is asked about.
_WORDS = frozenset(
    (
        "prompt", "first_message", "instructions", "greeting", "keywords", "user_id", "parameters", "label", "body",
        "description",
    )
)  # fmt: skip
# In the configuration also these; in the status `name` is that of a sound device or of a tool.
_WORDS_OF_THE_CONFIGURATION = _WORDS | {"name", "area", "user"}
# The words of journald before each line, and the beginnings of lines in the formats text and json.
_BY_JOURNALD = r"(?:\S+ \S+\[\d+\]: )?"
_DEBUG_LINE = re.compile(_BY_JOURNALD + r"(?:(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d debug |\{.*?\"level\": \"debug\")")
# A traceback belongs to the line before it.
_GOES_ON = re.compile(_BY_JOURNALD + r" {4}")
_FAILED_PROGRAM = re.compile(
    r"(\bhooks\.\d+ \(.*?\), run for \w+, (?:failed with code|was ended by signal) \d+"
    r"|\bThe tool failed with (?:code|signal) \d+): .*"
)

# Keys whose values have the names of people and rooms behind names of the owner's own.
_NAMED_WORDS = frozenset(("dynamic_variables", "custom_llm_extra_body"))

_LOOKS_SECRET = re.compile(
    r"\bsk[_-][A-Za-z0-9_-]{8,}"  # keys of ElevenLabs and OpenAI
    r"|\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"  # JSON Web Token, RFC 7519
    r"|(?<=Bearer )[A-Za-z0-9._~+/=-]{6,}"
    r"|(?<=Basic )[A-Za-z0-9+/=]{6,}"
    # Up to the last @: a password may contain one.
    r"|(?<=://)[^/\s]+(?=@)",
    re.IGNORECASE,
)
_IN_A_QUERY = re.compile(
    r"([?&](?:[^=&\s\"']*(?:key|token|secret|signature|passw|pwd|auth)[^=&\s\"']*|pass|code|sig)=)[^&\s\"']+",
    re.IGNORECASE,
)
# Such as xi-api-key: KEY, also in quotes.
_IN_A_HEADER = re.compile(r"((?<![\w-])(?:[\w-]+-)?api-key[\"']?[ \t]*[:=][ \t]*[\"']?)[^\s\"',;]{6,}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the report. about: its content, in a few words."""

    name: str
    about: str
    content: bytes

    @property
    def is_text(self) -> bool:
        return not self.name.endswith(".png")


def collect(
    config_file: Path,
    *,
    checks: Sequence[Check],
    picture: Path | None,
    words: bool,
    transcript: Callable[[Config], str],
    began: Callable[[str], None],
) -> list[Part]:
    """Returns the parts of the report. checks: the checks of the doctor; where there are none, its part is left out.
    words: the report also has the words of people: texts of the configuration, and transcript(), which is called for
    nothing else. began: called with each part that takes time."""
    config = _config(config_file)
    clean = Cleaner(secrets_of(config) if isinstance(config, Config) else ())
    texts = [("about.txt", "versions of parleyd, of its packages and of the system", about())]
    texts.append(("configuration.yaml", "every key, secrets masked", configuration(config, words=words)))
    if checks:
        began("the doctor looks at everything; it listens for two seconds, and opens a session of a second")
        texts.append(("doctor.json", "the findings of parleyd doctor", _doctor(checks, config_file)))
    status, usage = _daemon("status"), _daemon("usage")
    texts.append(("status.json", "parleyd status, as JSON", _as_text(status if words else without_words(status))))
    texts.append(("usage.json", "parleyd usage, as JSON", _as_text(usage)))
    began("the log is read")
    texts.append(("log.txt", f"the last {LOG_LINES} lines of the log", _log(debug=words)))
    if words and isinstance(config, Config):
        texts.append(("transcript.txt", "what was said since yesterday", transcript(config)))
    parts = [Part(name, what, clean(text).encode("utf-8", "replace")) for name, what, text in texts if text]
    if picture is not None:
        with contextlib.suppress(OSError):
            if 0 < picture.stat().st_size <= MOST_PICTURE_BYTES:
                parts.append(Part("tune.png", "the picture of parleyd tune: loudness, no words", picture.read_bytes()))
    return parts


class Cleaner:
    """Masks secrets, known ones and what looks like one, and shortens what names this person and machine."""

    def __init__(self, secrets: Iterable[str], home: str | None = None, host: str | None = None) -> None:
        long_enough = {one for one in secrets if len(one) >= _SHORTEST_SECRET}
        # As they are, and as JSON has them.
        forms = long_enough | {json.dumps(one)[1:-1] for one in long_enough}
        self._secrets = sorted(forms, key=len, reverse=True)
        self._home = home if home is not None else str(Path.home())
        self._host = host if host is not None else socket.gethostname()

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        for named in (_IN_A_QUERY, _IN_A_HEADER):
            text = named.sub(rf"\g<1>{HIDDEN}", text)
        text = _LOOKS_SECRET.sub(HIDDEN, text)
        if len(self._home) > len("/root"):
            text = text.replace(self._home, "~")
        if len(self._host) >= 3 and self._host != "localhost":
            text = re.sub(rf"(?<![\w.-]){re.escape(self._host)}(?![\w-])", "HOST", text)
        return text


# ---------------------------------------------------------------- the parts


def about() -> str:
    lines = [
        f"parleyd {parleyd.__version__}",
        f"board: {facts.model()}",
        f"system: {facts.system()}",
        f"kernel: {platform.release()} {platform.version()}",
        f"made: {time.strftime('%Y-%m-%d %H:%M:%S %z')}",
        "",
    ]
    for package in PACKAGES:
        try:
            version = importlib.metadata.version(package.distribution)
        except importlib.metadata.PackageNotFoundError:
            version = "not found under this name"
        lines.append(f"{package.distribution}: {version}")
    lines += ["", *(f"{how}: {', '.join(names)}" for how, names in facts.packages().items())]
    return "\n".join(lines) + "\n"


def configuration(config: Config | str, *, words: bool) -> str:
    """Returns the configuration for the report. config: its problems in words, if it cannot be used."""
    if isinstance(config, str):
        return f"# it cannot be used:\n{config}\n"
    plain = _without_headers(masked(config))
    return dump(plain if words else without_words(_without_arguments(plain), _WORDS_OF_THE_CONFIGURATION))


def _without_headers(value: Any) -> Any:
    """Plain values; any header of a request may be a secret, whatever its name."""
    if isinstance(value, Mapping):
        return {
            name: dict.fromkeys(inner, HIDDEN)
            if name == "headers" and isinstance(inner, Mapping)
            else _without_headers(inner)
            for name, inner in value.items()
        }
    return [_without_headers(one) for one in value] if isinstance(value, list) else value


def _without_arguments(value: Any) -> Any:
    """Plain values, with the programs alone: their arguments may be secrets, and nothing shows which."""
    if isinstance(value, Mapping):
        return {
            name: [inner[0], f"({len(inner) - 1} argument{'s' if len(inner) > 2 else ''})"]
            if name in ("run", "command") and isinstance(inner, list) and len(inner) > 1
            else _without_arguments(inner)
            for name, inner in value.items()
        }
    return [_without_arguments(one) for one in value] if isinstance(value, list) else value


def without_words(value: Any, keys: Set[str] = _WORDS) -> Any:
    """Plain values, with the length of a text in place of each text of a person's. keys: of these texts, beside those
    that end in _text."""
    if isinstance(value, Mapping):
        return {
            name: _lengths(inner)
            if name in _NAMED_WORDS or ((name in keys or name.endswith("_text")) and not _is_place(inner))
            else without_words(inner, keys)
            for name, inner in value.items()
        }
    return [without_words(one, keys) for one in value] if isinstance(value, list) else value


def _is_place(value: Any) -> bool:
    """Whether a value only says where a text is, such as {file: PATH}, or is one of a fixed choice, or is empty."""
    return value in (None, "", "auto", "off", "skip", "play") or (isinstance(value, Mapping) and set(value) == {"file"})


def _lengths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _lengths(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_lengths(one) for one in value]
    return f"({len(value)} characters)" if isinstance(value, str) and value else value


def secrets_of(config: Config) -> Iterator[str]:
    """Every secret of the configuration that can be read here."""
    yield from _secrets(config)


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, Secret):
        with contextlib.suppress(SecretError):
            yield resolve(value) or ""
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            inner = getattr(value, name)
            if name in ("api_key", "password") and isinstance(inner, str):
                yield inner.strip()
            yield from _secrets(inner)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str) and is_sensitive_name(str(name)):
                yield inner
            yield from _secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner)


def _config(path: Path) -> Config | str:
    try:
        return load_without_agent(path).config
    except ConfigError as error:
        return "\n".join(str(problem) for problem in error.problems)


def _doctor(checks: Sequence[Check], config_file: Path) -> str:
    outcomes: list[Outcome] = list(examine(checks, Examination(config_file)))
    return _as_text(doctor_facts(outcomes))


def _daemon(question: str) -> dict[str, Any]:
    try:
        with Client() as client:
            return client.ask(question)
    except (NotRunningError, RefusedError) as error:
        return {"error": str(error)}


def _log(*, debug: bool) -> str:
    """Returns the log of both units. debug: with the level debug, which has the messages of servers as they came."""
    level = "debug" if debug else "info"
    found = []
    for scope in ((), ("--user",)):
        command = ["journalctl", *scope, "-u", "parleyd", "-n", str(LOG_LINES), "-p", level, "--no-pager"]
        command += ["-o", "short-iso", "--no-hostname", "-q"]
        try:
            written = subprocesses.ask(command, timeout_s=_COMMAND_S, most_bytes=_MOST_READ_BYTES).data
        except OSError:
            continue
        if len(written) > MOST_LOG_BYTES:
            # Without the rest of a line of which the level is not known.
            written = written[-MOST_LOG_BYTES:].partition(b"\n")[2]
        text = printable(written.decode("utf-8", "replace"))
        if not debug:
            text = log_without_words(text)
        if text.strip():
            found.append(text)
    return "\n".join(found) or "nothing, or not for this user to read (sudo parleyd report)\n"


def log_without_words(text: str) -> str:
    """The log without its debug lines, to which journald knows no priority if log.format is text or json, and without
    what hooks and tools wrote: they may quote what was said."""
    kept = []
    # The log may begin within a traceback, of a line of any level.
    is_debug = True
    for line in text.split("\n"):
        if not _GOES_ON.match(line):
            is_debug = _DEBUG_LINE.match(line) is not None
        if not is_debug:
            kept.append(_FAILED_PROGRAM.sub(r"\1: (what it wrote is left out)", line))
    return "\n".join(kept)


def _as_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


# ---------------------------------------------------------------- the archive


def archive(parts: Sequence[Part], folder: str, now_s: float) -> bytes:
    """A tar.gz with the parts in one folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for part in parts:
            entry = tarfile.TarInfo(f"{folder}/{part.name}")
            entry.size, entry.mode, entry.mtime = len(part.content), 0o600, int(now_s)
            tar.addfile(entry, io.BytesIO(part.content))
    return packed.getvalue()
