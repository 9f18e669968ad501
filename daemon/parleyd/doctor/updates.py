"""The version, and whether apt has a newer one.

Only the Debian package is asked about: an installation by pip or `scripts/install` is updated by those who made it. apt
is asked for what it knows; nothing is fetched.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator

import parleyd
from parleyd.core.findings import Finding, good, note
from parleyd.doctor.examination import Examination
from parleyd.host import python_env, subprocesses

_PATIENCE_S = 6.0
_UPGRADE = "sudo apt update && sudo apt install --only-upgrade parleyd"


def version(_: Examination) -> Iterator[Finding]:
    yield good(f"parleyd {parleyd.__version__}, in {sys.prefix}")
    if sys.prefix == python_env.DEBIAN_PREFIX:
        yield from newer()


def newer() -> Iterator[Finding]:
    """Nothing where there is no apt."""
    program = shutil.which("apt-cache")
    if program is None:
        return
    try:
        done = subprocesses.ask([program, "policy", "parleyd"], timeout_s=_PATIENCE_S, environment={"LC_ALL": "C"})
    except OSError as problem:
        text = f"whether there is a newer version is not known: apt-cache: {problem.strerror}"
        yield note(text, "apt-cache policy parleyd")
        return
    yield from judge(done.output)


def judge(policy: str) -> Iterator[Finding]:
    """policy: what `apt-cache policy parleyd` prints in English. Nothing, if apt has no newer version."""
    facts = dict(re.findall(r"^  (Installed|Candidate): (\S+)$", policy, re.MULTILINE))
    installed, candidate = facts.get("Installed", "(none)"), facts.get("Candidate", "(none)")
    # Version, priority, share; newest first. The stars mark what is installed.
    table = re.findall(r"^ (?:   |\*\*\*) (\d\S*) -?\d+(?: \(phased (\d+)%\))?$", policy, re.MULTILINE)
    above = []
    for name, share in table:
        if name == installed:
            break
        above.append((name, share))
    else:
        # Not installed by apt, or apt says it in words that are not known here.
        return
    if candidate in dict(above):
        share = dict(above)[candidate]
        text = f"apt has a newer version, {candidate}; installed is {installed}"
        yield note(f"{text} (for {share} % of the devices so far)" if share else text, _UPGRADE)
    elif above and above[0][1]:
        name, share = above[0]
        yield note(f"apt has {name} for {share} % of the devices; this one gets it later", "")
