"""Suggests what the user may have meant by a key or a choice that does not exist. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from parleyd.config.keys import Key, all_keys, joined


def unknown_key(name: str, siblings: Iterable[Key], path: tuple[str, ...]) -> tuple[str, Key | None]:
    """A hint for an unknown key below `path`, and the key that was probably meant."""
    dotted = {key.dotted: key for key in all_keys()}
    if "." in name and (key := dotted.get(".".join((*path, name)))):
        outer, _, inner = name.rpartition(".")
        return f"write `{inner}:` below `{outer.replace('.', ': ')}:`, indented", key
    here = {key.name: key for key in siblings}
    elsewhere = [key for key in all_keys() if key.path[:-1] != path]
    same_spelling = [key for key in (*here.values(), *elsewhere) if _plain(key.name) == _plain(name)]
    if same_spelling and same_spelling[0].name in here:
        return f"did you mean {same_spelling[0].name}?", same_spelling[0]
    if same_spelling:
        return _belongs(name, same_spelling), same_spelling[0]
    if close := _closest(name, here):
        return f"did you mean {close}?", here[close]
    if close := _closest(name, {key.name for key in elsewhere}, cutoff=0.8):
        key = next(key for key in elsewhere if key.name == close)
        return f"did you mean {key.dotted}?", key
    return f"the keys {'here' if path else 'at the top of the file'} are {', '.join(here)}", None


def choice(text: str, choices: Iterable[str]) -> str | None:
    """The choice that is most similar to the text, if one is similar enough."""
    return _closest(text, choices)


def _belongs(name: str, keys: list[Key]) -> str:
    sections = (".".join(key.path[:-1]) for key in keys)
    places = joined(f"under {section}" if section else "at the top of the file" for section in sections)
    spelling = "" if keys[0].name == name else f" as {keys[0].name}"
    return f"it belongs {places}{spelling}"


def _closest(text: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    # Imported here, because only who mistypes a name needs it.
    import difflib

    by_spelling = {_plain(name): name for name in names}
    near = difflib.get_close_matches(_plain(text), by_spelling, n=1, cutoff=cutoff)
    return by_spelling[near[0]] if near else None


def _plain(name: str) -> str:
    """The name without case and separators: preRollMs, pre-roll-ms and PRE_ROLL_MS are the same."""
    return re.sub(r"[^a-z0-9]", "", name[:80].lower())
