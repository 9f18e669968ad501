"""Whether the WAV files that the section `earcons` names can serve; looked at only where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from parleyd.config.problem import Finding
from parleyd.config.schema import Earcons


def check(section: Earcons, is_settled: Callable[[str], bool]) -> Iterator[Finding]:
    """As rules.check."""
    for name, choice in msgspec.structs.asdict(section).items():
        key = f"earcons.{name}"
        if not isinstance(choice, str) or choice in ("on", "off") or not is_settled(key):
            continue
        # Reading sound takes numpy, which is slow to load.
        from parleyd.audio.earcons import EarconFileError, from_file

        try:
            from_file(Path(choice))
        except EarconFileError as error:
            yield Finding(key, str(error), error.mend)
