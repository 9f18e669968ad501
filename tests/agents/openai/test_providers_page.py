"""docs/providers.md says what the capabilities say."""

from __future__ import annotations

from pathlib import Path

from parleyd.app.providers_page import page

PAGE = Path(__file__).parents[3] / "docs" / "providers.md"


def test_the_page_is_generated() -> None:
    told = PAGE.read_text(encoding="utf-8")
    assert told == page(), "run: python -m parleyd.app.providers_page > docs/providers.md"
