"""For the tests of a section: a configuration with a single problem."""

from __future__ import annotations

import pytest

from parleyd.checks.configuration import ConfigError, parse


def problem_of(text: str) -> str:
    """Returns the only problem of a configuration: its place, the problem, and the hint."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml")
    assert len(caught.value.problems) == 1
    return str(caught.value)
