"""docs/zh: each page names the revision of the English page that it follows, and one that has fallen behind says so."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parleyd.cli.commands import COMMANDS
from parleyd.config.keys import all_keys

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "scripts" / "lib" / "translations.py"
TRANSLATED = ["README.md", *(f"docs/{name}.md" for name in ("start", "configuration", "devices", "doctor"))]
TRANSLATED += ["docs/privacy-and-cost.md"]
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def load() -> Any:
    spec = importlib.util.spec_from_file_location("translations", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


translations = load()
PAGES: list[str] = translations.all_pages()


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def named(text: str) -> set[str]:
    """The commands of parleyd, and the keys of the configuration with the values that a page gives them."""
    keys = {key.dotted for key in all_keys()}
    words = {word for word in re.findall(r"`([^`\n]+)`", text) if word.partition(":")[0] in keys}
    commands = re.findall(r"(?:^|`)(?:sudo )?(parleyd [a-z-]+)", text, re.MULTILINE)
    return words | {name for name in commands if name.partition(" ")[2] in COMMANDS}


def test_the_pages_that_people_begin_with_are_translated() -> None:
    assert {translations.read(page).source for page in PAGES} == set(TRANSLATED)


@pytest.mark.parametrize("page", PAGES)
def test_a_translation_follows_the_page_as_it_is_or_says_that_it_does_not(page: str) -> None:
    one = translations.read(page)
    assert not one.is_outdated or one.is_marked, (
        f"{one.source} changed: revise {page} (scripts/translations --diff {page} shows what changed), and then "
        f"scripts/translations --restamp {page}; or mark it as outdated: scripts/translations --mark {page}"
    )
    assert one.is_outdated or not one.is_marked, f"{page} is up to date: scripts/translations --restamp {page}"


@pytest.mark.parametrize("page", [page for page in PAGES if not translations.read(page).is_outdated])
def test_a_translation_leaves_nothing_out(page: str) -> None:
    """The same headings, listings and tables, the same commands and keys."""
    one = translations.read(page)
    source, translated = (translations.followed(one.source, read(name)) for name in (one.source, page))
    for what, pattern in (("headings", r"^(#+) "), ("listings", r"^(```)"), ("rows", r"^(\|)")):
        # The sections of the reference are rows of one table.
        if one.source == "docs/configuration.md" and what != "listings":
            continue
        # The README sends readers of Chinese there, and the translation lists the pages in Chinese.
        counts = [len(re.findall(pattern, FENCED.sub("```", text) if what != "listings" else text, re.MULTILINE))
                  for text in (source, translated)]  # fmt: skip
        assert counts[0] == counts[1], f"{page}: {what}"
    assert named(source) - named(translated) == set()


def test_every_section_of_the_reference_is_explained_in_chinese() -> None:
    if translations.read("docs/zh/configuration.md").is_outdated:
        pytest.skip("the page says at its top that it is outdated, or the test above fails")
    sections = re.findall(r"^## (`[^`]+`)$", read("docs/configuration.md"), re.MULTILINE)
    assert len(sections) > 30
    assert [section for section in sections if section not in read("docs/zh/configuration.md")] == []


# ---------------------------------------------------------------- the command


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one English page and its translation, which is up to date."""
    (tmp_path / "docs" / "zh").mkdir(parents=True)
    (tmp_path / "docs" / "a.md").write_text("# A\n\nOne.\n")
    (tmp_path / "docs" / "zh" / "a.md").write_text("<!-- follows docs/a.md, revision new -->\n# 甲\n\n一。\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    assert run(tmp_path, "--restamp", "docs/zh/a.md")[0] == 0
    return tmp_path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "a")


def run(folder: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, str(TOOL), *words]
    done = subprocess.run(command, env={"TRANSLATIONS_ROOT": str(folder), "PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_page_that_follows_is_up_to_date(project: Path) -> None:
    assert run(project) == (0, "docs/zh/a.md: up to date\n")


def test_a_change_of_the_english_page_is_told_and_shown(project: Path) -> None:
    commit(project)
    (project / "docs" / "a.md").write_text("# A\n\nTwo.\n")
    assert run(project) == (1, "docs/zh/a.md: docs/a.md changed: revise docs/zh/a.md\n")
    code, shown = run(project, "--diff")
    assert code == 0
    assert [line for line in shown.splitlines() if line[0] in "+-" and line[:3] not in ("+++", "---")] == [
        "-One.",
        "+Two.",
    ]


def test_an_outdated_page_says_so_at_its_top_until_it_is_revised(project: Path) -> None:
    (project / "docs" / "a.md").write_text("# A\n\nTwo.\n")
    assert run(project, "--mark") == (0, "docs/zh/a.md: docs/a.md changed, and the page says so\n")
    marked = (project / "docs" / "zh" / "a.md").read_text().splitlines()
    assert marked[1:3] == ["# 甲", ""]
    assert marked[3].startswith("> **本页内容已落后于英文版")
    assert "(../a.md)" in marked[3]
    assert run(project, "--restamp", "docs/zh/a.md") == (0, "docs/zh/a.md: up to date\n")
    assert (project / "docs" / "zh" / "a.md").read_text().splitlines()[1:] == ["# 甲", "", "一。"]


def test_a_page_that_is_current_after_all_loses_its_notice(project: Path) -> None:
    english = project / "docs" / "a.md"
    before = english.read_text()
    english.write_text("# A\n\nTwo.\n")
    run(project, "--mark")
    english.write_text(before)
    code, shown = run(project)
    assert code == 1
    assert "--restamp" in shown


def test_a_revision_that_is_not_in_the_history_is_said(project: Path) -> None:
    (project / "docs" / "zh" / "a.md").write_text("<!-- follows docs/a.md, revision 0123456789ab -->\n# 甲\n\n一。\n")
    assert "is not in the history" in run(project, "--diff")[1]


def test_keys_that_come_and_go_do_not_make_the_guide_outdated() -> None:
    text = "# C\n\nGuide.\n\n## Top level\n\n| key |\n|---|\n| `a` |\n\n## `b`\n\nWhat b is.\n\n| key |\n"
    same = text.replace("| `a` |\n", "| `a` |\n| `c` |\n")
    assert translations.revision_of("docs/configuration.md", text) == translations.revision_of(
        "docs/configuration.md", same
    )
    other = text.replace("What b is", "What b was")
    assert translations.revision_of("docs/configuration.md", text) != translations.revision_of(
        "docs/configuration.md", other
    )


def test_a_paragraph_that_is_wrapped_anew_is_the_same() -> None:
    text = "# T\n\nOne two\nthree.\n\n* an item\n  of a list\n* another\n\n```\na\n  b\n```\n| a row |\n"
    assert translations.unwrapped(text) == (
        "# T\n\nOne two three.\n\n* an item of a list\n* another\n\n```\na\n  b\n```\n| a row |\n"
    )
