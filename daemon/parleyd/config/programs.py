"""Finds the keys of a configuration that run a program of the user. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from parleyd.config.schema import Config, Variable


def programs(config: Config) -> Iterator[tuple[str, str]]:
    """(key, run_as) of everything that runs a program of the user's."""
    for number, hook in enumerate(config.hooks, 1):
        yield f"hooks.{number}", hook.run_as
    for name, command in config.tools.command.items():
        yield f"tools.command.{name}", command.run_as
    for name, python in config.tools.python.items():
        yield f"tools.python.{name}", python.run_as
    if config.camera.is_there:
        yield "camera", config.camera.run_as
    for section, variables in config.dynamic_variables.items():
        for name, variable in variables.items():
            if isinstance(variable, Variable) and variable.command:
                yield f"{section}.{name}", variable.run_as


def runs_programs(config: Config) -> bool:
    return any(True for _ in programs(config))
