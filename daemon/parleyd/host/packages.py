"""The packages of others that parleyd imports, and what to do about one that is missing or broken. None is loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType

from parleyd.core.errors import UserError
from parleyd.host import python_env


@dataclass(frozen=True)
class Package:
    """module: the name for import. distribution: the name for pip. is_needed: the daemon does not run without it."""

    module: str
    distribution: str
    is_needed: bool = True
    without: str = ""


# The same packages as in setup.cfg.
PACKAGES = (
    Package("numpy", "numpy"),
    Package("pyaudio", "PyAudio"),
    Package("webrtcvad", "webrtcvad-wheels"),
    Package("websocket", "websocket-client"),
    Package("yaml", "PyYAML"),
    Package("msgspec", "msgspec"),
    Package("regex", "regex"),
    Package("jsonschema", "jsonschema"),
    Package("prompt_toolkit", "prompt_toolkit"),
    Package("samplerate", "samplerate"),
    Package("systemd.daemon", "systemd-python"),
    Package("pywebrtc_audio", "pywebrtc-audio", False, "the microphone is closed while the agent speaks"),
)


def remedy(package: Package, problem: str) -> str:
    """The command that mends it. problem: why it cannot be imported."""
    if "killed by" in problem:
        again = python_env.install("--force-reinstall", "--no-binary", ":all:", package.distribution)
        return f"it was built for another CPU: {again}"
    if package.module == "pyaudio":
        return "sudo apt-get install python3-pyaudio (with a virtual environment that has --system-site-packages)"
    if package.module == "systemd.daemon":
        return "sudo apt-get install python3-systemd (with a virtual environment that has --system-site-packages)"
    if package.module == "numpy" and "libopenblas" in problem:
        return "sudo apt-get install libopenblas0-pthread"
    return python_env.install(package.distribution)


def import_failure(error: ImportError) -> UserError | None:
    """The error for the user; None when none of the packages is at fault, but parleyd itself."""
    package = _named(error.name) or _being_imported(error.__traceback__)
    if package is None:
        return None
    # Some packages explain at length, over many lines.
    reason = str(error).strip().partition("\n")[0]
    is_missing = isinstance(error, ModuleNotFoundError) and _named(error.name) is package
    text = f"the package {package.distribution} " + ("is missing" if is_missing else f"cannot be imported: {reason}")
    return UserError(text, remedy(package, str(error)), os.EX_UNAVAILABLE)


def missing_module(error: ImportError) -> str:
    """The name of the package for Python: `websockets`, and not the part of it that was asked for."""
    return (error.name or "").partition(".")[0]


def _named(module: str | None) -> Package | None:
    top = (module or "").partition(".")[0]
    return next((package for package in PACKAGES if package.module.partition(".")[0] == top), None)


def _being_imported(trace: TracebackType | None) -> Package | None:
    """The package whose own code was run: what is missing may be something that it needs, such as a library in C."""
    while trace is not None:
        if package := _named(trace.tb_frame.f_globals.get("__name__")):
            return package
        trace = trace.tb_next
    return None
