"""Values inside nested JSON objects, by their path. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Path = tuple[str, ...]


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


# The value of a path that leads nowhere; null is a value.
MISSING: Final = _Missing()


def dotted(path: Path) -> str:
    return ".".join(path)


def value_at(tree: object, path: Path) -> Any:
    """The value, or MISSING."""
    for name in path:
        if not isinstance(tree, Mapping) or name not in tree:
            return MISSING
        tree = tree[name]
    return tree


def put(tree: dict[str, Any], path: Path, value: object) -> None:
    """Sets the value, and makes the objects on the way; a value on the way that is no object is replaced."""
    *parents, name = path
    for parent in parents:
        inner = tree.get(parent)
        if not isinstance(inner, dict):
            inner = tree[parent] = {}
        tree = inner
    tree[name] = value


def leaves(tree: Mapping[str, Any], path: Path = ()) -> list[tuple[Path, Any]]:
    """Every (path, value) whose value is no object, or an empty one."""
    found: list[tuple[Path, Any]] = []
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            found += leaves(value, (*path, str(name)))
        else:
            found.append(((*path, str(name)), value))
    return found


def holds(remote: object, wanted: object) -> bool:
    """Whether everything in `wanted` is in `remote`, too. The platform adds fields with defaults to objects, and gives
    numbers back in another type (10 and 10.0)."""
    if isinstance(wanted, Mapping):
        if not isinstance(remote, Mapping):
            return False
        return all(name in remote and holds(remote[name], value) for name, value in wanted.items())
    if isinstance(wanted, list | tuple):
        if not isinstance(remote, list | tuple) or len(remote) != len(wanted):
            return False
        return all(holds(one, other) for one, other in zip(remote, wanted, strict=True))
    if isinstance(wanted, bool) or isinstance(remote, bool):
        return wanted is remote
    return bool(remote == wanted)


def is_blank(value: object) -> bool:
    """Whether nobody has set it: nothing of anybody's is lost when it is written."""
    return value is MISSING or value is None or value in ("", [], {})
