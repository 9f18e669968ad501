"""A small Debian in qemu, driven from outside: commands and journal through two virtual serial ports, plugs through
qemu's monitor. Its sound devices play into, and hear, the private sound card of tests/vcard.py."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cores

BOOT_S = 240.0
# The interval in which somebody who waits has a line written into the journal.
NUDGE_S = 5.0

# Everything is emulated: periods shorter than this are not kept up with.
_SOUND = "alsa,id={name},out.dev={out},in.dev={into},timer-period=5000,out.buffer-length=100000,in.buffer-length=100000"


class MachineError(Exception):
    pass


@dataclass(frozen=True)
class Entry:
    """A line of the machine's journal. arrived_s: this process's monotonic clock; at_s: the machine's."""

    arrived_s: float
    at_s: float
    unit: str
    text: str


def boot(folder: Path, run: Path, environment: dict[str, str], devices: list[str]) -> Machine:
    """As Machine; once more if it does not come up, for kernels panic now and then where everything is emulated."""
    try:
        return Machine(folder, run, environment, devices)
    except MachineError:
        return Machine(folder, run, environment, devices)


class Port:
    """Lines of JSON, read on a thread of its own."""

    def __init__(self, path: Path, take: Callable[[Any], None]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._take = take
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        rest = b""
        while data := self._socket.recv(65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    self._take(json.loads(line))

    def send(self, what: object) -> None:
        self._socket.sendall(json.dumps(what).encode() + b"\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Machine:
    """A context manager; the disk stays as it was."""

    def __init__(self, folder: Path, run: Path, environment: dict[str, str], devices: list[str]) -> None:
        """folder: kernel, initrd and disk.img; run: for sockets and logs. environment: the sound card's."""
        self._run = run
        self._changed = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._count = 0
        self.journal: list[Entry] = []
        card = {"out": "vspk", "into": "vmic"}
        words = [
            # It ends with this process, however that ends.
            *("setpriv", "--pdeathsig", "TERM"),
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "pc", "-cpu", "max", "-smp", "2"),
            *("-m", "1024", "-display", "none", "-no-reboot", "-nic", "none", "-nodefaults"),
            *("-kernel", f"{folder}/vmlinuz", "-initrd", f"{folder}/initrd"),
            *("-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1"),
            *("-drive", f"file={folder}/disk.img,if=virtio,format=raw,snapshot=on"),
            *("-serial", f"file:{run}/console.txt", "-monitor", f"unix:{run}/monitor,server,nowait"),
            *("-device", "virtio-serial"),
            *(
                word
                for name in ("commands", "journal")
                for word in (
                    "-chardev",
                    f"socket,id={name},path={run}/{name},server=on,wait=off",
                    "-device",
                    f"virtserialport,chardev={name},name={name}",
                )
            ),
            *("-audiodev", _SOUND.format(name="usb", **card), "-audiodev", _SOUND.format(name="pci", **card)),
            *("-device", "qemu-xhci,id=xhci"),
            *(word for device in devices for word in ("-device", device)),
        ]
        self._log = (run / "qemu.txt").open("wb")
        self._process = subprocess.Popen(
            words, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        self._ports: list[Port] = []
        try:
            self._open()
        except BaseException:
            self.close()
            for name in ("monitor", "commands", "journal"):
                (run / name).unlink(missing_ok=True)
            raise

    def _open(self) -> None:
        until_s = time.monotonic() + BOOT_S
        while not (self._run / "monitor").exists() or not (self._run / "journal").exists():
            self._alive(until_s)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)
        self._monitor = socket.socket(socket.AF_UNIX)
        self._monitor.connect(str(self._run / "monitor"))
        self._monitor.settimeout(30)
        self._prompt()
        self._commands = Port(self._run / "commands", self._answered)
        self._ports = [self._commands, Port(self._run / "journal", self._logged)]
        # Waits for its time in the port until somebody in the machine reads it.
        self.run("true", timeout_s=BOOT_S)

    def _alive(self, until_s: float) -> None:
        if self._process.poll() is not None:
            console = (self._run / "console.txt").read_text(errors="replace")
            said = (self._run / "qemu.txt").read_text(errors="replace").strip()
            raise MachineError(f"qemu has ended: {said}\n{console[-1500:]}")
        if time.monotonic() > until_s:
            console = (self._run / "console.txt").read_text(errors="replace")
            raise MachineError(f"the machine does not come up; its console says at the end:\n{console[-1500:]}")

    # ------------------------------------------------------------ plugs

    def _prompt(self) -> str:
        said = b""
        while not said.endswith(b"(qemu) "):
            piece = self._monitor.recv(65536)
            if not piece:
                raise MachineError("qemu's monitor has closed")
            said += piece
        return said.decode(errors="replace")

    def monitor(self, command: str) -> str:
        """→ what qemu answers."""
        self._monitor.sendall(command.encode() + b"\n")
        said = self._prompt()
        if error := re.search(r"^Error: (.*)", said, re.MULTILINE):
            raise MachineError(f"{command}: {error[1].strip()}")
        # The monitor echoes the command with the codes of a terminal, each key anew.
        return said.replace("\r", "").partition("\n")[2].removesuffix("(qemu) ").strip()

    # ------------------------------------------------------------ commands

    def _answered(self, answer: dict[str, Any]) -> None:
        with self._changed:
            self._answers[answer["id"]] = answer
            self._changed.notify_all()

    def _send(self, command: str) -> int:
        """→ the number under which it is answered, after those before it."""
        self._count += 1
        self._commands.send({"id": self._count, "command": command})
        return self._count

    def run(self, command: str, *, timeout_s: float = 60.0, check: bool = True) -> str:
        """By bash, as root. → what it wrote, errors too."""
        number = self._send(command)
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while number not in self._answers:
                self._alive(until_s)
                self._changed.wait(0.5)
            answer = self._answers.pop(number)
        if check and answer["code"]:
            raise MachineError(f"{command}: ends with {answer['code']}: {answer['out'].strip()}")
        return str(answer["out"])

    def write(self, path: str, content: bytes | str) -> None:
        data = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
        self.run(f"mkdir -p $(dirname {path}); base64 -d >{path} <<'END'\n{data}\nEND")

    # ------------------------------------------------------------ journal

    def _logged(self, fields: dict[str, Any]) -> None:
        text = fields.get("MESSAGE", "")
        if isinstance(text, list):
            text = bytes(text).decode(errors="replace")
        at_s = int(fields.get("_SOURCE_MONOTONIC_TIMESTAMP") or fields["__MONOTONIC_TIMESTAMP"]) / 1e6
        unit = fields.get("_SYSTEMD_UNIT") or fields.get("SYSLOG_IDENTIFIER") or ""
        with self._changed:
            self.journal.append(Entry(time.monotonic(), at_s, str(unit).removesuffix(".service"), str(text or "")))
            self._changed.notify_all()

    def told(self, unit: str, pattern: str, since: int = 0) -> list[Entry]:
        """Of the journal from the entry number `since` on."""
        with self._changed:
            entries = self.journal[since:]
        return [entry for entry in entries if entry.unit == unit and re.search(pattern, entry.text)]

    def mark(self) -> int:
        """A number for `since`."""
        with self._changed:
            return len(self.journal)

    def wait_for(self, unit: str, pattern: str, since: int = 0, *, timeout_s: float = 30.0) -> Entry:
        until_s = time.monotonic() + timeout_s
        nudge_s = time.monotonic() + NUDGE_S
        while not (found := self.told(unit, pattern, since)):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise MachineError(f"{unit} does not say {pattern!r} within {timeout_s:g} s")
            if time.monotonic() >= nudge_s:
                # A line of the journal was once on its way for 30 s, until the next one was written.
                self._send("logger -t machine waiting")
                nudge_s += NUDGE_S
            self._alive(until_s)
            with self._changed:
                self._changed.wait(min(left_s, 0.5))
        return found[0]

    # ------------------------------------------------------------ the cores of this machine

    def waits(self) -> dict[str, float]:
        """For waited_s()."""
        return cores.waits(self._process.pid)

    def waited_s(self, since: dict[str, float]) -> float:
        """How long a thread of qemu's had no core since waits() said that; an emulated processor stood still then."""
        return cores.longest_s(since, self.waits())

    # ------------------------------------------------------------ end

    def close(self) -> None:
        for port in self._ports:
            port.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._log.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
