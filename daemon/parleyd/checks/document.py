"""Writes docs/configuration.md from the schema: python -m parleyd.checks.document > docs/configuration.md"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from inspect import cleandoc

import msgspec
from msgspec import inspect

from parleyd.config.base import Secret
from parleyd.config.keys import Key, keys_of, kind, limits
from parleyd.config.schema import Config
from parleyd.host.directories import SYSTEM_CONFIG

_HEAD = f"""\
<!-- Generated from daemon/parleyd/config/schema.py: python -m parleyd.checks.document > docs/configuration.md -->
# Configuration

*For everybody who edits the configuration: every key, with its values and its default.*

parleyd reads one YAML file, `{SYSTEM_CONFIG}` or the one named by `-c FILE`. Commands of a user other than
root read `~/.config/parleyd/parleyd.yaml`, that of the user service, where it is there. Every key has a default: write
only what you change. [`config/parleyd.yaml`](../config/parleyd.yaml) is a commented example to start from.
The least that works is

```yaml
elevenlabs:
  agent_id: agent_...   # from the agent's page at ElevenLabs
```

or, without any account, `provider: local`.

```
parleyd check -c FILE            # all problems at once, and what this machine lacks of what the file names
parleyd check -c FILE --all      # every key, with the value in force
parleyd check -c FILE --json     # all of that for programs
parleyd check --schema           # a JSON Schema, for completion and checks in editors
```

**Unknown keys** are refused, with the line and the nearest valid name, and so are keys that are given twice. A faulty
file never starts the daemon: it ends with exit code 78 and says what to fix, a line for each problem:

```
parleyd.yaml:12: gate.hangovr_ms: unknown key; did you mean hangover_ms?
```

**Secrets** stay out of this file. `elevenlabs.api_key` says where the key is found, by one of these:

| `api_key:` | what stands there |
|---|---|
{{secrets}}

Environment variables can be seen by other programs of the same user; a credential or a file of mode 0600 is better. The
key itself (`api_key: sk_...`) is accepted with a warning. Wherever configuration is shown, secrets are masked: the
key, and every dynamic variable or extra-body value whose name says that it is one (`secret__...`, or with key, token,
password, secret, authorization or credential in it).

**Values** are read as YAML 1.2 does: only `true` and `false` are truth values (`off`, `no` and `on` are plain text),
0500 is five hundred. Units are the end of a key's name: `_ms` milliseconds, `_s` seconds, `_db` decibels. Paths that
do not begin with `/` count from the directory in which the daemon is started. Anchors and aliases work;
merge keys (`<<`) and tags (`!!python/...`) are refused.
"""


@dataclass(frozen=True)
class Section:
    """path: from the top of the file; empty for the top level. keys: those with a value of their own."""

    path: tuple[str, ...]
    meaning: str
    keys: tuple[Key, ...]


def document() -> str:
    """The whole page, as Markdown."""
    secrets = "\n".join(f"| `{{{key.name}: ...}}` | {key.description} |" for key in keys_of(Secret).values())
    parts = [_HEAD.replace("{secrets}", secrets)]
    for section in sections():
        title = f"`{'.'.join(section.path)}`" if section.path else "Top level"
        meaning = [section.meaning + "\n"] if section.path else []
        parts.append("\n".join([f"## {title}\n", *meaning, *([_table(section.keys)] if section.keys else [])]))
    return "\n".join(parts)


def sections(section: type[msgspec.Struct] = Config, path: tuple[str, ...] = ()) -> Iterator[Section]:
    """All sections in their order, each before those inside it; entries of maps and lists with NAME or N in their
    path."""
    keys = keys_of(section, path)
    own = tuple(key for key in keys.values() if key.section is None)
    if own or path:
        yield Section(path, cleandoc(section.__doc__ or ""), own)
    for key in keys.values():
        if key.section is not None:
            yield from sections(key.section, key.path)
        elif key.entry is not None and key.entry is not Secret:
            yield from sections(key.entry, (*key.path, "NAME" if key.is_map else "N"))


def _table(keys: Iterable[Key]) -> str:
    rows = (
        f"| `{key.name}` | {values(key)} | {default(key)} | {_limits(key)} | {_escaped(key.description)} |\n"
        for key in keys
    )
    return "| key | value | default | limits, unit | meaning |\n|---|---|---|---|---|\n" + "".join(rows)


def values(key: Key) -> str:
    """The values that the key accepts, as Markdown."""
    if key.choices:
        return ("list of " if key.item is not None else "") + ", ".join(f"`{choice}`" for choice in key.choices)
    if key.entry is Secret:
        return "mapping, see Secrets above"
    if key.is_secret:
        return "see Secrets above"
    if key.item is not None:
        return f"list of {_items(key.item)}"
    if key.is_map_of_text:
        return "mapping of text"
    return "text" if key.wording is not None else kind(key)


def _items(item: inspect.Type) -> str:
    if isinstance(item, inspect.StrType):
        return "text"
    return "whole numbers" if isinstance(item, inspect.IntType) else "mappings"


def _limits(key: Key) -> str:
    """The limits of the value, or of each item of a list."""
    item = key.item
    if isinstance(item, inspect.IntType) and item.ge is not None and item.le is not None:
        return f"each {item.ge} to {item.le}"
    return limits(key) or "–"


def default(key: Key) -> str:
    """As Markdown."""
    if key.required:
        return "**required**"
    return "none" if key.default is None else f"`{json.dumps(key.default).strip(chr(34))}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
