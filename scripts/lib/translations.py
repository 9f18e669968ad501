"""Which pages of docs/zh follow the English page as it is now: see scripts/translations.

The first line of a translation names the English page and the revision that it follows, which is a hash of that page's
content: <!-- follows docs/start.md, revision 0123456789ab -->
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(os.environ.get("TRANSLATIONS_ROOT", Path(__file__).parents[2]))
_STAMP = re.compile(r"<!-- follows (\S+), revision (\S+) -->\n")
_NOTICE = "> **本页内容已落后于英文版，请以[英文版]({link})为准。**\n"
# A heading, a row of a table, or an item of a list.
_BEGINS = re.compile(r"#|\||\s*([*-]|\d+\.) ")
_IS_NOTICE = re.compile(r"^> \*\*本页内容已落后于英文版.*\n\n?", re.MULTILINE)


class Translation(NamedTuple):
    """page: the translation, and source: the English page, both from the root. follows: the revision that it names.
    newest: that of the English page. is_marked: whether it says at its top that it is outdated."""

    page: str
    source: str
    follows: str
    newest: str
    is_marked: bool

    @property
    def is_outdated(self) -> bool:
        return self.follows != self.newest


def followed(source: str, text: str) -> str:
    """The part of an English page that is translated, with each paragraph on one line, so that a new line break changes
    nothing. That is all of it, but for the tables of keys of docs/configuration.md, which are generated and are not
    repeated in other languages."""
    return unwrapped(text if source != "docs/configuration.md" else _without_keys(text))


def unwrapped(text: str) -> str:
    lines: list[str] = []
    is_open = is_listing = False
    for line in text.splitlines():
        if line.startswith("```"):
            is_listing, is_open = not is_listing, False
            lines.append(line)
        elif is_open and line.strip() and not _BEGINS.match(line):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
            is_open = not is_listing and bool(line.strip()) and not line.startswith(("#", "|", "<!--"))
    return "\n".join(lines) + "\n"


def _without_keys(text: str) -> str:
    guide, top, sections = text.partition("## Top level\n")
    rows = [line for line in sections.splitlines(keepends=True) if not line.startswith("|")]
    return guide + top + re.sub(r"\n{3,}", "\n\n", "".join(rows))


def revision_of(source: str, text: str) -> str:
    return hashlib.sha256(followed(source, text).encode()).hexdigest()[:12]


def read(page: str) -> Translation:
    """Raises SystemExit if its first line does not say what it follows."""
    text = (ROOT / page).read_text(encoding="utf-8")
    stamp = _STAMP.match(text)
    if stamp is None or not (ROOT / stamp[1]).is_file():
        raise SystemExit(f"{page}: its first line has to be <!-- follows ENGLISH_PAGE, revision new -->")
    newest = revision_of(stamp[1], (ROOT / stamp[1]).read_text(encoding="utf-8"))
    return Translation(page, stamp[1], stamp[2], newest, _IS_NOTICE.search(text) is not None)


def all_pages() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "zh").glob("*.md"))


def rewrite(one: Translation, *, revision: str, marked: bool) -> None:
    """Writes the page with another stamp, and with or without the notice below its title."""
    text = _STAMP.sub("", (ROOT / one.page).read_text(encoding="utf-8"), count=1)
    title, _, rest = _IS_NOTICE.sub("", text, count=1).partition("\n\n")
    link = os.path.relpath(ROOT / one.source, (ROOT / one.page).parent)
    notice = _NOTICE.format(link=link) + "\n" if marked else ""
    stamp = f"<!-- follows {one.source}, revision {revision} -->\n"
    (ROOT / one.page).write_text(f"{stamp}{title}\n\n{notice}{rest}", encoding="utf-8")


def text_at(source: str, revision: str) -> str | None:
    """The English page as it was, from the history; None: it is not there, as in a shallow clone."""
    commits = _git("log", "--format=%H", "--", source).split()
    texts = (_git("show", f"{commit}:{source}") for commit in commits)
    return next((text for text in texts if revision_of(source, text) == revision), None)


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout


def show_difference(one: Translation) -> None:
    old = text_at(one.source, one.follows)
    if old is None:
        print(f"{one.page}: revision {one.follows} of {one.source} is not in the history that is here")
        return
    new = (ROOT / one.source).read_text(encoding="utf-8")
    sides = [followed(one.source, text).splitlines(keepends=True) for text in (old, new)]
    names = (f"{one.source} (followed by {one.page})", f"{one.source} (now)")
    sys.stdout.writelines(difflib.unified_diff(*sides, *names))


def state_of(one: Translation) -> str:
    if not one.is_outdated:
        return (
            "up to date" if not one.is_marked else "up to date, and says that it is not: scripts/translations --restamp"
        )
    return f"{one.source} changed" + (", and the page says so" if one.is_marked else f": revise {one.page}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/translations", description="The pages of docs/zh.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--diff", action="store_true", help="what has changed in English since the revision followed")
    what.add_argument("--restamp", action="store_true", help="the pages follow the English ones as they are now")
    what.add_argument("--mark", action="store_true", help="outdated pages say at their top that they are")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="such as docs/zh/start.md; default: all")
    args = parser.parse_args()
    if args.restamp and not args.pages:
        parser.error("--restamp wants the pages that were revised")
    translations = [read(os.path.relpath(page, ROOT) if Path(page).is_absolute() else page) for page in args.pages]
    translations = translations or [read(page) for page in all_pages()]
    for one in translations:
        if args.diff and one.is_outdated:
            show_difference(one)
        elif args.restamp:
            rewrite(one, revision=one.newest, marked=False)
        elif args.mark and one.is_outdated:
            rewrite(one, revision=one.follows, marked=True)
    if args.diff:
        return 0
    now = [read(one.page) for one in translations]
    for one in now:
        print(f"{one.page}: {state_of(one)}")
    return 1 if any(one.is_outdated != one.is_marked for one in now) else 0


if __name__ == "__main__":
    # A pager that is left early is no fault.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())
