"""Inside the machine: runs the shell commands that come down a port, one JSON object per line each way."""

import json
import subprocess
import sys
from pathlib import Path

with Path(sys.argv[1]).open("r+b", buffering=0) as port:
    for line in iter(port.readline, b""):
        wanted = json.loads(line)
        done = subprocess.run(
            ["bash", "-c", wanted["command"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        answer = {"id": wanted["id"], "code": done.returncode, "out": done.stdout.decode(errors="replace")}
        port.write(json.dumps(answer).encode() + b"\n")
