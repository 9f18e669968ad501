"""The parts of scripts/build-docs that are more than a command.

docs_site.py sources ROOT FOLDER    the pages and what they link to, as they lie in the sources, and an index of them
docs_site.py check FOLDER           every link of a built site: does it lead somewhere, is nothing fetched elsewhere?
"""

from __future__ import annotations

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Beside the handbook; the pages link to them.
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r'(?:\]\(|\bsrc(?:set)?=")([^)"\s#]+)')


def sources(root: Path, folder: Path) -> None:
    """Keeps the places of all files, so that every link between them stays right. Raises OSError."""
    pages = [*(root / name for name in TOP), *sorted((root / "docs").rglob("*.md"))]
    for page in pages:
        _copy(page, root, folder)
        for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
            target = (page.parent / unquote(link)).resolve()
            if not urlsplit(link).scheme and target.is_file() and target.suffix != ".md":
                _copy(target, root, folder)
    for picture in (root / "docs" / "pictures").iterdir():
        _copy(picture, root, folder / "extra")
    shutil.copyfile(root / "packaging" / "site" / "conf.py", folder / "conf.py")
    (folder / "index.md").write_text(
        _index((root / "docs" / "README.md").read_text(encoding="utf-8")), encoding="utf-8"
    )


def _copy(file: Path, root: Path, folder: Path) -> None:
    place = folder / file.resolve().relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, place)


def _index(handbook: str) -> str:
    """The headings of docs/README.md, and below each its pages in their order."""
    parts = ["# parleyd\n"]
    _, *chapters = re.split(r"^## ", handbook, flags=re.MULTILINE)
    for chapter in chapters:
        title, _, table = chapter.partition("\n")
        # The first column names the page.
        cells = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
        links = [link for cell in cells for link in re.findall(r"\]\(([^)#]+)", cell)]
        names = dict.fromkeys(re.sub(r"^docs/\.\./", "", f"docs/{link}").removesuffix(".md") for link in links)
        if title == "Start":
            # The list of all pages by what one wants to do.
            names = {"docs/README": None, **names}
        if title == "Inside":
            names |= {"CONTRIBUTING": None, "SECURITY": None, "CHANGELOG": None}
        parts.append(f"```{{toctree}}\n:caption: {title}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n")
    return "\n".join(parts)


class _Page(HTMLParser):
    """links: (tag, address). anchors: the names that a link may point at."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            if name in ("href", "src", "srcset") and value is not None:
                self.links.append((tag, value))


def faults(folder: Path) -> list[str]:
    """One line each; none if the site is whole. Raises OSError."""
    pages: dict[Path, _Page] = {}
    for file in sorted(folder.rglob("*.html")):
        pages[file] = _Page()
        pages[file].feed(file.read_text(encoding="utf-8"))
    found = []
    for file, page in pages.items():
        for tag, link in page.links:
            address = urlsplit(link)
            where = f"{file.relative_to(folder)}: {link}"
            if address.scheme or address.netloc:
                # A reader may follow a link away; the page itself fetches nothing.
                if tag != "a" and address.scheme != "data":
                    found.append(f"{where}: fetched from elsewhere by <{tag}>")
                continue
            target = (file.parent / unquote(address.path)).resolve() if address.path else file
            if not target.is_file():
                found.append(f"{where}: there is no such file")
            elif address.fragment and target in pages and unquote(address.fragment) not in pages[target].anchors:
                found.append(f"{where}: there is no such heading")
    for style in sorted(folder.rglob("*.css")):
        urls = re.findall(r"url\(['\"]?((?:https?:|//)[^)'\"]*)", style.read_text(encoding="utf-8"))
        found += [f"{style.relative_to(folder)}: fetches from elsewhere ({url})" for url in urls]
    return found


def main(arguments: list[str]) -> int:
    match arguments:
        case ["sources", root, folder]:
            sources(Path(root).resolve(), Path(folder))
        case ["check", folder]:
            found = faults(Path(folder).resolve())
            print("\n".join(found), end="\n" if found else "", file=sys.stderr)
            return 1 if found else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 64
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
