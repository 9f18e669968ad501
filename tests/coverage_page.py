"""The tables of a page that lists the messages of a protocol, docs/protocol-coverage.md or docs/openai-coverage.md."""

from __future__ import annotations

import re
from pathlib import Path


def tables(page: Path) -> dict[str, list[list[str]]]:
    """Rows by heading, without the heads of the tables."""
    found: dict[str, list[list[str]]] = {}
    for part in page.read_text(encoding="utf-8").split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        if lines:
            found[part.splitlines()[0]] = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)
