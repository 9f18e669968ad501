"""The configuration file, and the key that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator

from parleyd.doctor.examination import Examination
from parleyd.doctor.findings import Finding, good, misconfigured, warning
from parleyd.host.directories import config_path


def configuration(examination: Examination) -> Iterator[Finding]:
    """Leaves the configuration behind; without a file, and none asked for, the defaults."""
    from parleyd.config.loader import ConfigError, load
    from parleyd.config.schema import Config

    path = examination.config_path or config_path()
    if examination.config_path is None and not os.path.lexists(path):
        examination.config = Config()
        text = f"there is no {path} yet; what follows is about the defaults"
        yield warning(text, "copy config/parleyd.yaml there and put the agent's id into it, or use -c FILE")
        return
    try:
        loaded = load(path)
    except ConfigError as refusal:
        for problem in refusal.problems:
            place = f"line {problem.line}: " if problem.line is not None else ""
            key = f"{problem.key}: " if problem.key else ""
            yield misconfigured(f"{place}{key}{problem.text}", problem.mend)
        yield warning("the checks of the sound are made with the defaults", "mend the file, then run this again")
        return
    examination.config = loaded.config
    for problem in loaded.warnings:
        yield warning(f"line {problem.line}: {problem.key}: {problem.text}", problem.mend)
    if not loaded.warnings:
        yield good(f"{path} is good")
