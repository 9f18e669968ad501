"""The tool of docs/home-assistant.md as it stands there, for a house at another address."""

from __future__ import annotations

import re
from pathlib import Path

from parleyd.checks.configuration import parse
from parleyd.core import events
from parleyd.tools.device_tools import DaemonActions, DeviceTools

PAGE = (Path(__file__).parents[2] / "docs" / "home-assistant.md").read_text(encoding="utf-8")


def tools(url: str, folder: Path, token: str, *changes: tuple[str, str]) -> DeviceTools:
    """changes: (what stands on the page, what is put in its place)."""
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    (folder / "token").write_text(token)
    (folder / "token").chmod(0o600)
    text = found[1]
    for old, new in (
        ("http://homeassistant.local:8123", url),
        ("{credential: home-assistant}", f"{{file: {folder / 'token'}}}"),
        *changes,
    ):
        assert old in text
        text = text.replace(old, new)
    config = parse(f"provider: local\n{text}", "parleyd.yaml").config
    host = DaemonActions(lambda _volume: None, lambda _on: None, lambda: None, str, lambda _text: None)
    return DeviceTools(config.tools, host, events.Bus(), None)
