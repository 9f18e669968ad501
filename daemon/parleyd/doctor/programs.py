"""Tools and hooks: are they kept apart from the daemon, and what is weaker here?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from parleyd.core.findings import Finding, error, good, note, warning
from parleyd.doctor.examination import Examination

if TYPE_CHECKING:  # the doctor starts without what these import
    from parleyd.host.apart import Ways


def programs(examination: Examination) -> Iterator[Finding]:
    from parleyd.config.programs import programs as configured
    from parleyd.host.apart import ways_of
    from parleyd.host.directories import SYSTEM_CONFIG, config_path

    config, file = examination.configured(), examination.config_path or config_path()
    is_of_system = file.absolute() == SYSTEM_CONFIG and any(not unit.is_of_user for unit in examination.units)
    yield from judge_programs(
        list(configured(config)),
        ways_of(file),
        is_required=config.tools.apart == "required",
        is_of_system=is_of_system,
    )


def judge_programs(
    runs: list[tuple[str, str]], ways: Ways, *, is_required: bool = False, is_of_system: bool = False
) -> Iterator[Finding]:
    """runs: (key, run_as) of what runs a program. is_of_system: the system service is installed, and reads this
    file."""
    from parleyd.host.apart import SOCKET, Way

    as_daemon = [key for key, run_as in runs if run_as == "daemon"]
    if as_daemon:
        yield note(f"with all that the daemon may: {', '.join(as_daemon)}", "take run_as: daemon away where it can be")
    text = f"{'they run' if runs else 'none is configured; they would run'} {ways.in_a_line()}"
    if ways.way is Way.UNIT:
        yield good(text)
    elif is_of_system:
        start = f"sudo systemctl enable --now {SOCKET.name}; sudo systemctl restart parleyd"
        yield warning(f"{SOCKET.name} does not listen; {text}", start)
    elif ways.way is Way.LANDLOCK:
        yield note(text, ways.hint())
    elif is_required and runs:
        yield error("none of them is run: tools.apart is required, and cannot be had here", ways.hint())
    else:
        yield warning(text, ways.hint())
