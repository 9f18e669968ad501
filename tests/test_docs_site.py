"""What scripts/build-docs makes of the pages: all of them in its index, and no link that leads nowhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]


def load() -> Any:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "scripts" / "lib" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


docs_site = load()


def test_every_page_of_the_handbook_is_in_the_index_once(tmp_path: Path) -> None:
    docs_site.sources(ROOT, tmp_path)
    index = (tmp_path / "index.md").read_text(encoding="utf-8")
    named = re.findall(r"^(?:docs/\S+|[A-Z]+)$", index, re.MULTILINE)
    pages = {path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages = {page for page in pages if not page.startswith("docs/examples/")}
    assert sorted(named) == sorted(pages | {"README", "CHANGELOG", "CONTRIBUTING", "SECURITY"})
    assert all((tmp_path / f"{name}.md").is_file() for name in named)
    # The pages link to files of other kinds, too.
    assert (tmp_path / "config" / "parleyd.yaml").is_file()


def test_every_link_of_the_pages_leads_to_a_file_of_the_site(tmp_path: Path) -> None:
    """A repository shows a folder, too; a site of pages cannot, and scripts/build-docs would end there."""
    docs_site.sources(ROOT, tmp_path)
    for page in [*tmp_path.glob("[A-Z]*.md"), *(tmp_path / "docs").rglob("*.md")]:
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s#]+)", text):
            assert ":" in link or (page.parent / unquote(link)).is_file(), f"{page.relative_to(tmp_path)}: {link}"


WHOLE = '<html><body id="top"><a href="other.html#part">x</a><a href="https://example.org">x</a></body></html>'
OTHER = '<html><body><h2 id="part">x</h2><a href="index.html">x</a><img src="p.png"></body></html>'


def site(folder: Path, first: str = WHOLE, second: str = OTHER, style: str = "") -> list[str]:
    (folder / "index.html").write_text(first)
    (folder / "other.html").write_text(second)
    (folder / "style.css").write_text(style)
    (folder / "p.png").write_bytes(b"")
    found: list[str] = docs_site.faults(folder)
    return found


def test_a_whole_site_has_no_faults(tmp_path: Path) -> None:
    assert site(tmp_path) == []


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (WHOLE.replace("other.html", "away.html"), "no such file"),
        (WHOLE.replace("#part", "#parts"), "no such heading"),
        (WHOLE.replace("other.html#part", "#part"), "no such heading"),
        ('<script src="https://example.org/x.js"></script>', "fetched from elsewhere"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "fetched from elsewhere"),
        ('<img src="https://example.org/x.png">', "fetched from elsewhere"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, first: str, words: str) -> None:
    (fault,) = site(tmp_path, first)
    assert words in fault


def test_a_font_from_elsewhere_is_named(tmp_path: Path) -> None:
    (fault,) = site(tmp_path, style="@font-face { src: url('https://example.org/x.woff2') }")
    assert "fetches from elsewhere" in fault
