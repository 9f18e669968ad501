"""A first look at the configuration, before it is read and checked: whether it asks for sound cards."""

from __future__ import annotations

from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode

from parleyd.config.nodes import NodeError, compose
from parleyd.host.files import read_file

_MOST_BYTES = 256 * 1024


def asks_for_cards(path: Path) -> bool:
    """A guess, since profiles and settings may say something else. False of what cannot be read, and of a pipe: opening
    it would take its text away from who reads it next."""
    try:
        if not path.is_file():
            return False
        node = compose(read_file(path, _MOST_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError, NodeError):
        return False
    audio = _value(node, "audio")
    if "off" in (_text(audio), _text(_value(audio, "mode"))):
        return False
    devices = (_text(_value(_value(audio, side), "device")) or "default" for side in ("input", "output"))
    return any(device != "null" and not device.startswith("wav:") for device in devices)


def _value(node: Node | None, key: str) -> Node | None:
    pairs = node.value if isinstance(node, MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _text(node: Node | None) -> str | None:
    return node.value if isinstance(node, ScalarNode) else None
