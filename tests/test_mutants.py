"""The wrong changes that scripts/mutants tries can still be made, each in one place. To try them takes half an hour,
and is no part of the suite."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LISTS = sorted((ROOT / "tests" / "mutants").glob("*.toml"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_each_change_can_be_made_in_one_place_and_has_tests(path: Path) -> None:
    known = tomllib.loads(path.read_text())
    assert known["mutant"]
    for mutant in known["mutant"]:
        text = (ROOT / "daemon" / "parleyd" / mutant["file"]).read_text()
        assert text.count(mutant["old"]) == 1, f"{mutant['file']}: {mutant['change']}"
        assert mutant["new"] != mutant["old"]
        for tests in known["tests"][mutant["file"]]:
            assert (ROOT / "tests" / tests).is_file(), tests
