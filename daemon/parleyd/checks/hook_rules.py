"""The rules for hooks that types cannot express. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from parleyd.config.hook_sections import Hook
from parleyd.config.problem import KeyProblem


def check(hooks: Sequence[Hook], is_settled: Callable[[str], bool]) -> Iterator[KeyProblem]:
    """is_settled: see rules.check."""
    for number, hook in enumerate(hooks, 1):
        key = f"hooks.{number}"
        if not hook.on and is_settled(f"{key}.on"):
            yield KeyProblem(f"{key}.on", "this hook is never run", "write when: on: [live, asleep]")
        yield from _command(f"{key}.command", hook.command)
        for name in hook.environment:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                text = "no environment variable can have this name"
                yield KeyProblem(f"{key}.environment", text, "use letters, digits and _")
            elif name.startswith("PARLEYD_"):
                text = f"{name} is one of the names that are set for every hook"
                yield KeyProblem(f"{key}.environment", text, "give it another name")


def _command(key: str, command: Sequence[str]) -> Iterator[KeyProblem]:
    if not command:
        yield KeyProblem(key, "there is no program to run", "write command: [/path/of/program, argument]")
        return
    program = command[0]
    if "/" in program and not program.startswith("/"):
        yield KeyProblem(key, f"{program} counts from nowhere", "give the whole path, from / on")
    elif len(command) == 1 and re.search(r"\s", program):
        hint = f"write each argument on its own: command: [{', '.join(program.split())}]"
        yield KeyProblem(key, "this is one word, the name of a program with a blank in it", hint)
