"""How the tools, hooks and commands of a configuration are kept apart here: what is unwise, or cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from parleyd.config.problem import KeyProblem
from parleyd.config.programs import programs
from parleyd.config.schema import Config
from parleyd.host.apart import Way, Ways


def look(config: Config, ways: Ways) -> Iterator[KeyProblem]:
    """ways: of the daemon that will run it."""
    runs = list(programs(config))
    for key, run_as in runs:
        if run_as == "daemon":
            text = "it runs with all that the daemon may: its key, its files and its control socket"
            hint = "take run_as away, unless it needs these"
            yield KeyProblem(f"{key}.run_as", text, hint, is_warning=True)
    if ways.way is not Way.NONE or all(run_as == "daemon" for _, run_as in runs):
        return
    if config.tools.apart == "required":
        text = "required, but this machine cannot keep tools and hooks apart from the daemon: none of them is run"
    else:
        text = f"on this machine tools and hooks run {ways.in_words()}"
    yield KeyProblem("tools.apart", text, ways.hint(), is_warning=True)
