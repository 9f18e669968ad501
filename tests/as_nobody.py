"""Commands that root's tests run as another user, also from a checkout in a folder that nobody else may enter."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Run as root, in a mount namespace of its own: the checkout stays where it is, and what closes it to others is covered.
OPENED = """
mount --make-rprivate / 2>/dev/null || test -z "$(grep ' shared:' /proc/self/mountinfo)"
mount --bind "$1" "$2"
mount -t tmpfs -o mode=755 none "$3"
mkdir -p "$1"
mount --move "$2" "$1"
shift 3
exec "$@"
"""


def prefix_as_nobody(empty: Path) -> tuple[str, ...]:
    """The beginning of a command, which keeps the process's id. empty: a folder over which something may be mounted.
    Skips the test where nobody cannot run this Python."""
    if shutil.which("setpriv") is None:
        pytest.skip("there is no setpriv here")
    nobody = pwd.getpwnam("nobody")
    prefix: tuple[str, ...] = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    if why := _fails(*prefix):
        checkout = Path(__file__).parents[1]
        closed = [str(folder) for folder in checkout.parents if not folder.stat().st_mode & 0o001]
        if closed:
            folders = (str(checkout), str(empty), closed[-1])
            prefix = ("unshare", "--mount", "--propagation=unchanged", "sh", "-ec", OPENED, "sh", *folders, *prefix)
            why = _fails(*prefix)
        if why:
            pytest.skip(f"nobody cannot run {sys.executable}: {why.splitlines()[-1]}")
    return prefix


def _fails(*prefix: str) -> str:
    command = [*prefix, sys.executable, "-c", "import parleyd, numpy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip() or "it failed" if done.returncode else ""
