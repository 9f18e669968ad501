"""Python, and the packages that the daemon imports.

Each package is imported in a separate process, because a wheel for another CPU kills its process (SIGILL).
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping

from parleyd.checks.this_machine import EXTRAS, wanted_extras
from parleyd.core.findings import Finding, error, good, note, warning
from parleyd.doctor.examination import Examination
from parleyd.host import python_env, subprocesses
from parleyd.host.packages import PACKAGES, Package, remedy

# The oldest version of python_requires in setup.cfg, and the newest version on which the tests run.
_OLDEST, _NEWEST = (3, 11), (3, 13)


# The packages whose versions are shown, because they explain most problems.
_SHOWN = ("PyAudio", "webrtcvad-wheels", "websocket-client", "numpy")

_IMPORT = """
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        problem = None
    except BaseException as error:
        problem = f"{type(error).__name__}: {error}"
    print(json.dumps([name, problem]), flush=True)
"""


# ---------------------------------------------------------------- Python


def python(_: Examination) -> Iterable[Finding]:
    return judge_python(sys.version_info[:3], sys.maxsize > 2**32, platform.machine(), sys.prefix)


def judge_python(version: tuple[int, ...], is_64_bit: bool, machine: str, prefix: str) -> Iterator[Finding]:
    text = f"{'.'.join(map(str, version))}, {64 if is_64_bit else 32} bit on {machine}, in {prefix}"
    if version[:2] < _OLDEST:
        yield error(text, f"install Python {_OLDEST[0]}.{_OLDEST[1]} or newer; Raspberry Pi OS bookworm has it")
    elif version[:2] > _NEWEST:
        yield warning(text, f"not tried with Python newer than {_NEWEST[0]}.{_NEWEST[1]}: use one from 3.11 to 3.13")
    else:
        yield good(text)
    if not is_64_bit:
        yield note(
            "there is no echo canceller (pywebrtc-audio) for 32 bits; audio.echo.mode: auto is half_duplex here, that "
            "is, while the agent speaks it hears nobody",
            "use a 64-bit system where the board allows it",
        )


# ---------------------------------------------------------------- packages


def packages(_: Examination) -> Iterable[Finding]:
    problems = import_each(package.module for package in PACKAGES)
    versions = {package.distribution: _version(package) for package in PACKAGES}
    return judge_packages(problems, versions, _has_old_vad(), sys.maxsize > 2**32)


def extras(examination: Examination) -> Iterator[Finding]:
    """The additional packages that this configuration needs."""
    wanted = wanted_extras(examination.configured())
    for reason in wanted:
        modules, distributions = EXTRAS[reason]
        problems = import_each(modules)
        yield from judge_extra(reason, distributions, problems)
    if not wanted:
        yield good("the configuration needs none")


def judge_extra(reason: str, distributions: Iterable[str], problems: Mapping[str, str | None]) -> Iterator[Finding]:
    broken = [f"{module}: {problem}" for module, problem in problems.items() if problem]
    if broken:
        hint = python_env.install(*distributions)
        yield error(f"{reason} needs packages that cannot be imported: {'; '.join(broken)}", hint)
    else:
        yield good(f"{reason}: {', '.join(problems)}")


def judge_packages(
    problems: Mapping[str, str | None], versions: Mapping[str, str | None], has_old_vad: bool, is_64_bit: bool
) -> Iterator[Finding]:
    """problems: why a module could not be imported; None if it could. has_old_vad: webrtcvad itself, not its fork, is
    installed; it imports pkg_resources, which newer setuptools no longer have (py-webrtcvad issues 96 and 97). Without
    is_64_bit there is no pywebrtc-audio to install, as judge_python() tells."""
    if not is_64_bit:
        problems = {module: problem for module, problem in problems.items() if module != "pywebrtc_audio"}
    if has_old_vad:
        text = "the package webrtcvad stands in the place of webrtcvad-wheels; it breaks with newer setuptools"
        again = python_env.install("--force-reinstall", "webrtcvad-wheels")
        hint = f"{again.partition(' install ')[0]} uninstall webrtcvad, then {again}"
        yield (error if problems.get("webrtcvad") else warning)(text, hint)
    for package in PACKAGES:
        problem = problems.get(package.module)
        if not problem or (package.module == "webrtcvad" and has_old_vad):
            continue
        text, hint = f"{package.distribution} cannot be imported: {problem}", remedy(package, problem)
        if package.is_needed:
            yield error(text, hint)
        else:
            yield warning(f"{text}: {package.without}", hint)
    if not any(problems.values()):
        known = [f"{name} {version}" for name in _SHOWN if (version := versions.get(name))]
        yield good(f"all {len(problems)} can be imported: {', '.join(known)}")


def _version(package: Package) -> str | None:
    try:
        return importlib.metadata.version(package.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _has_old_vad() -> bool:
    try:
        importlib.metadata.version("webrtcvad")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def import_each(modules: Iterable[str], timeout_s: float = 30.0) -> dict[str, str | None]:
    """For each module the reason why it cannot be imported; None if it can. timeout_s: how long one may take. A slow
    machine may take longer for all of them."""
    problems: dict[str, str | None] = {}
    waiting = list(modules)
    while waiting:
        command = [*python_env.command(), "-c", _IMPORT, *waiting]
        try:
            done = subprocesses.ask(command, timeout_s=timeout_s)
            told, reason = done.data, f"the import was {_how_it_ended(done.status)}"
        except subprocesses.LateError as late:
            told, reason = late.output, ""
        before = len(problems)
        for line in told.decode(errors="replace").splitlines():
            # Packages may print lines of their own before the result.
            if line.startswith("["):
                name, problem = json.loads(line)
                problems[name] = problem
        waiting = [name for name in waiting if name not in problems]
        if waiting and (reason or len(problems) == before):
            problems[waiting.pop(0)] = reason or f"no result within {timeout_s:g} s"
    return problems


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
