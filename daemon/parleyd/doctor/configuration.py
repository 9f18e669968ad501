"""The configuration file, and the key that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator

from parleyd.core.findings import Finding, Severity, good, misconfigured, warning
from parleyd.doctor.examination import Examination
from parleyd.doctor.run import Probe
from parleyd.host.directories import config_path


def or_defaults(probe: Probe) -> Probe:
    """Makes a check that uses the defaults if there is no valid file. Its errors are then only warnings."""

    def made(examination: Examination) -> Iterator[Finding]:
        for finding in probe(examination):
            if examination.config is None and finding.severity is Severity.ERROR:
                yield warning(f"with the defaults: {finding.text}", finding.hint)
            else:
                yield finding

    return made


def configuration(examination: Examination) -> Iterator[Finding]:
    """Checks the file, and stores the configuration for later checks; the defaults, if there is no file and none was
    named."""
    from parleyd.checks.configuration import ConfigError, load
    from parleyd.checks.this_machine import missing_programs
    from parleyd.config.schema import Config

    path = examination.config_path or config_path()
    if examination.config_path is None and not os.path.lexists(path):
        examination.config = Config()
        text = f"there is no {path} yet; what follows is about the defaults"
        yield warning(text, "parleyd setup makes one; -c FILE names another")
        return
    try:
        loaded = load(path)
    except ConfigError as refusal:
        for problem in refusal.problems:
            place = f"line {problem.line}: " if problem.line is not None else ""
            key = f"{problem.key}: " if problem.key else ""
            yield misconfigured(f"{place}{key}{problem.text}", problem.hint)
        return
    examination.config = loaded.config
    # Other checks cover extra packages, the key and the sound devices.
    warnings = [*loaded.warnings, *map(loaded.placed, missing_programs(loaded.config))]
    for problem in warnings:
        yield warning(f"line {problem.line}: {problem.key}: {problem.text}", problem.hint)
    if not warnings:
        yield good(f"{path} is good")
