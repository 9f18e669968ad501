"""Shell completion from the commands' own options: `python -m parleyd.cli.completion bash`, or zsh.

Its output is stored in completions/, and a test compares the two; so only a person who changes an option needs shtab.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

from parleyd.cli.commands import COMMANDS
from parleyd.cli.main import parser_for


def completion(shell: str) -> str:
    import shtab

    parser = parser_for(COMMANDS)
    _name_files(parser, shtab.FILE)
    text = str(shtab.complete(parser, shell=shell))
    # docs/control.md says how to install it.
    return re.sub(r"\A(#( .*)?\n)+", "# Made by python -m parleyd.cli.completion.\n", text) if shell == "bash" else text


def _name_files(parser: argparse.ArgumentParser, file: dict[str, Any]) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                _name_files(one, file)
        elif action.metavar in ("FILE", "PATH"):
            # shtab reads this attribute.
            setattr(action, "complete", file)  # noqa: B010 - argparse does not know it


if __name__ == "__main__":
    print(completion(sys.argv[1]), end="")
