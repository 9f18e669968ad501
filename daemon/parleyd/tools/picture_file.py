"""Runs a camera's program that writes into a file: python3 -I -S -B picture_file.py MOST_BYTES PROGRAM ARGUMENT...

{file} in an argument becomes a file in a new folder below $TMPDIR; what the program has written there goes to standard
output. The program's own output goes to standard error. It runs where the program runs, apart from the daemon, which
could not read the file there. It imports nothing of parleyd.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PLACEHOLDER = "{file}"


def main(most_bytes: int, arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="parleyd-picture-") as folder:
        path = Path(folder, "picture.jpg")
        command = [argument.replace(PLACEHOLDER, str(path)) for argument in arguments]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno())
        except OSError as error:
            print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
            return os.EX_UNAVAILABLE
        if done.returncode:
            return abs(done.returncode)
        try:
            with path.open("rb") as picture:
                # One more, so that a picture that is too large is seen to be.
                sys.stdout.buffer.write(picture.read(most_bytes + 1))
        except OSError as error:
            print(f"it has written no picture to {PLACEHOLDER} ({error.strerror})", file=sys.stderr)
            return os.EX_NOINPUT
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
