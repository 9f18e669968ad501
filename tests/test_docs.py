"""docs/ is a handbook: each page says for whom it is, the index names every page, and every link leads somewhere."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.checks.configuration import ConfigError, parse
from parleyd.cli.commands import COMMANDS
from parleyd.cli.main import parser_for
from parleyd.config.keys import all_keys
from parleyd.usage.prices import PRICES, cost

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "daemon" / "parleyd"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("measurements/*.md"), *DOCS.glob("zh/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# The listings of these pages are files of other kinds: scenarios of the embedded agent, answers for a set-up.
OTHER_FILES = {"scenarios.md", "setup.md"}
# Links and pictures, of Markdown and of HTML.
LINK = re.compile(r'(?:\]\(|\bsrc(?:set)?=")([^)"\s]+)')
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def text_of(page: Path) -> str:
    """The page without its listings: what looks like a link or a heading there is none."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_says_for_whom_it_is(page: Path) -> None:
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line and not line.startswith("<!--")]
    assert lines[0].startswith("# ")
    if lines[1].startswith("> **"):
        # A translation that has fallen behind.
        del lines[1]
    whom = "*读者：" if page.parent.name == "zh" else "*For "
    assert lines[1].startswith(whom), "the first line below the title is: *For WHOM: what the page tells them.*"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=[*NAMES, "README.md"])
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=[*NAMES, "README.md"])
def test_every_table_is_one(page: Path) -> None:
    """A table needs an empty line before its heading row, and as many cells there as in the line of dashes below it."""
    lines = FENCED.sub("", page.read_text()).splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", line):
            heading, before = lines[number - 1], lines[number - 2]
            assert heading.startswith("|"), f"{page.name}: the heading row of a table: {heading}"
            assert heading.replace("\\|", "").count("|") == line.count("|"), heading
            assert not before.strip(), f"{page.name}: no empty line before the table: {before}"


def test_the_index_names_every_page() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(text_of(index))}
    assert set(PAGES) - {index} <= linked


def test_every_page_that_the_program_names_exists() -> None:
    """Log lines, help texts, comments and examples send readers to docs/PAGE.md."""
    files = [*ROOT.glob("daemon/**/*.py"), *ROOT.glob("config/**/*.yaml"), *ROOT.glob("scripts/*"), ROOT / "README.md"]
    named = {
        (page, file)
        for file in files
        if file.is_file()
        for page in re.findall(r"\bdocs/[\w/-]+\.md", file.read_text(encoding="utf-8"))
    }
    assert {(page, file) for page, file in named if not (ROOT / page).exists()} == set()
    assert len(named) > 20


def test_the_glossary_has_one_entry_for_each_word() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    words = [word for word, _, _ in rows if word not in ("word", "---")]
    assert len(words) > 60
    assert sorted(words) == sorted(set(words))


def test_every_command_that_the_pages_name_exists() -> None:
    """`parleyd status`, in the text and in listings; also in the texts of the program."""
    named: set[str] = set()
    for file in [
        *PAGES,
        *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "config/parleyd.yaml")),
    ]:
        text = file.read_text(encoding="utf-8")
        named |= set(re.findall(r"`(?:sudo )?parleyd ([a-z][a-z-]+)\b", text))
        named |= {
            name for block in FENCED.findall(text) for name in re.findall(r"^(?:sudo )?parleyd ([a-z-]+)", block, re.M)
        }
    assert len(named) > 25
    assert named - {*COMMANDS, "help"} == set()


def refused(text: str, page: Path) -> list[str]:
    """The problems of a configuration from a page; of a whole one, the agent's id is left out as a rule."""
    provider = "" if "provider:" in text else "provider: local\n"
    try:
        parse(provider + text, page.name)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=[*NAMES, "README.md"])
def test_every_configuration_that_a_page_shows_is_accepted(page: Path) -> None:
    """Listings, and settings in the text such as `audio.echo.mode: off`."""
    if page.name in OTHER_FILES:
        return
    text = page.read_text(encoding="utf-8")
    keys = {key.dotted for key in all_keys()}
    sections = {key.partition(".")[0] for key in keys}
    listings = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    # A listing without any section of the configuration is a file of another program.
    blocks = [listing for listing in listings if sections & set(re.findall(r"^\w+", listing, re.MULTILINE))]
    for key, value in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+): ([^`…]+)`", text_of(page)):
        if key in keys:
            parts = key.split(".")
            blocks.append("".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(parts))[:-1] + f" {value}\n")
    assert [problem for block in blocks for problem in refused(block, page)] == []


def test_the_readme_has_every_command_in_its_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"^## Commands$.*?^## ", readme, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = " ".join(line for line in table[0].splitlines() if line.startswith("| `"))
    assert set(COMMANDS) - set(re.findall(r"[a-z][a-z-]+", rows)) == set()


def test_the_readme_names_every_command_without_json() -> None:
    sentence = re.search(r"accepts\s+`--json`,\s+except\s+(.*?)\.", (ROOT / "README.md").read_text(), re.DOTALL)
    assert sentence is not None

    def without_json(parser: argparse.ArgumentParser) -> Iterator[str]:
        below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in below:
            for deeper in action.choices.values():
                yield from without_json(deeper)
        if not below and "--json" not in parser.format_help():
            yield parser.prog.removeprefix("parleyd ")

    found = {name for command in COMMANDS for name in without_json(parser_for([command]))}
    assert set(re.findall(r"`([a-z ]+)`", sentence[1])) - {"help"} == found


def test_the_packages_that_build_the_debian_package_are_those_of_its_control_file() -> None:
    control = (ROOT / "packaging/debian/control").read_text(encoding="utf-8")
    wanted = re.search(r"^Build-Depends: (.*)$", control, re.MULTILINE)
    assert wanted is not None
    # [armhf]: for 32 bits alone; the script names those.
    of_all = [package for package in wanted[1].split(", ") if "[" not in package]
    packages = {package.split()[0] for package in of_all} - {"debhelper-compat"}
    page = (DOCS / "service.md").read_text(encoding="utf-8")
    command = re.search(
        r"^sudo apt install --no-install-recommends (build-essential.*?) +# once", page, re.M | re.DOTALL
    )
    assert command is not None
    assert set(command[1].replace("\\", " ").split()) == packages | {"build-essential", "debhelper"}


def test_the_example_of_a_days_cost_is_counted_with_the_prices_of_the_program() -> None:
    page = (DOCS / "privacy-and-cost.md").read_text(encoding="utf-8")
    for column, model in enumerate(("gpt-realtime-2.1", "gpt-realtime-2.1-mini"), start=1):
        price = PRICES[model]
        question = cost(price, {"audio_in": 50, "audio_out": 160, "text_in": 1000}, 0)
        talk = cost(price, {"audio_in": 1200, "audio_out": 3600, "cached_audio_in": 68_000}, 0)
        for row, amount in (
            ("a minute of the person", cost(price, {"audio_in": 600}, 0)),
            ("a minute of the agent", cost(price, {"audio_out": 1200}, 0)),
            ("a question of the example", question),
            ("the talk of six minutes", talk),
            ("**a day**", 10 * question + talk),
            ("**30 days**", 30 * (10 * question + talk)),
        ):
            cells = next(line for line in page.splitlines() if line.startswith(f"| {row}")).split(" | ")
            shown = cells[column].strip(" |*")
            digits = len(shown.partition(".")[2])
            assert shown == f"{amount:.{digits}f}", f"{model}, {row}"


def test_every_key_that_the_pages_name_exists() -> None:
    """`gate.hangover_ms`: a section of the configuration and a key in it, or (`audio.gate`) a room of the package."""
    keys = {key.dotted for key in all_keys()}
    sections = {key.partition(".")[0] for key in keys}
    named = {
        (key, str(page.relative_to(ROOT)))
        for page in [*PAGES, ROOT / "README.md", ROOT / "SECURITY.md"]
        # The table of a protocol's messages names those of the protocol, such as `session.update`.
        if not page.name.endswith("-coverage.md")
        for key in re.findall(r"`([a-z_]+\.[a-z_.]+[a-z])(?:: [^`]*)?`", text_of(page))
        # Messages of the Realtime protocol have names with dots too.
        if key.partition(".")[0] in sections and not key.endswith(".json") and page.name != "openai-coverage.md"
    }
    assert len(named) > 60
    rooms = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.glob("*/*")}
    assert {(key, page) for key, page in named if key not in keys | rooms} == set()
