"""Facts about the machine: its name, the temperature of its processor, and how its packages were built."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from pathlib import Path

# The packages with machine code, by the names under which they may be installed.
PACKAGES = ("numpy", "pyaudio", "webrtcvad-wheels", "samplerate", "msgspec", "systemd-python", "pywebrtc-audio")


def model(root: Path = Path("/")) -> str:
    """Such as "Raspberry Pi 4 Model B Rev 1.4"; elsewhere the name of the processor, or of its kind."""
    with contextlib.suppress(OSError):
        return (root / "proc/device-tree/model").read_text().strip("\0 \n")
    with contextlib.suppress(OSError):
        for line in (root / "proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def system(root: Path = Path("/")) -> str:
    """Such as "Debian GNU/Linux 12 (bookworm), aarch64, Python 3.11.2"."""
    name = "Linux"
    with contextlib.suppress(OSError):
        for line in (root / "etc/os-release").read_text().splitlines():
            if line.startswith("PRETTY_NAME="):
                name = line.partition("=")[2].strip('"')
    return f"{name}, {platform.machine()}, Python {platform.python_version()}"


def temperature_c(root: Path = Path("/")) -> float | None:
    """The temperature of the warmest zone that the kernel knows; None if it knows none, as in a virtual machine."""
    found = []
    for path in (root / "sys/class/thermal").glob("thermal_zone*/temp"):
        # A zone without a sensor answers with an error.
        with contextlib.suppress(OSError, ValueError):
            found.append(int(path.read_text()) / 1000)
    return max(found, default=None)


def packages() -> dict[str, list[str]]:
    """How they came here (wheel: made elsewhere; compiled: on such a machine; of the system; missing) → names."""
    found: dict[str, list[str]] = {}
    for name in PACKAGES:
        found.setdefault(_how(name), []).append(name)
    return found


def _how(name: str) -> str:
    try:
        wheel = metadata.distribution(name).read_text("WHEEL")
    except metadata.PackageNotFoundError:
        return "missing"
    if wheel is None:
        return "of the system"
    # PEP 600: a wheel for other machines names the C library that it needs; one built here, only the system.
    return "wheel" if any(word in wheel for word in ("manylinux", "musllinux", "-none-any")) else "compiled"
