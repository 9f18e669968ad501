"""One running daemon, seen from outside: its process, its microphone, its speaker, its control socket and its log."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from chaos import voices

# How far ahead of the daemon's reading something may be written: its file buffer holds 8 KiB, a quarter of a second.
LEAD_S = 0.6
MICROPHONE_S = 600
HEADER_BYTES, BUFFER_BYTES = 44, 8192


@dataclass(frozen=True)
class Load:
    threads: int
    handles: int
    rss_mib: float


class Microphone:
    """A WAV file that the daemon reads in real time, and into which the harness writes just ahead of it."""

    def __init__(self, path: Path, seed: int, seconds: float = MICROPHONE_S) -> None:
        self.path = path
        self._began_s: float | None = None
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(voices.RATE_HZ)
            file.writeframes(voices.room(int(seconds * voices.RATE_HZ), seed).tobytes())

    def began(self, at_s: float) -> None:
        """The first sample sounded at this monotonic time."""
        self._began_s = at_s

    def is_read(self, to_bytes: int) -> None:
        """The daemon has read so much of the file, of which BUFFER_BYTES may not have sounded yet."""
        sounded_s = (to_bytes - HEADER_BYTES - BUFFER_BYTES) / voices.FRAME_BYTES * voices.FRAME_S
        if self._began_s is not None:
            self._began_s = min(self._began_s, time.monotonic() - sounded_s)

    def say(self, pcm: voices.Samples, seed: int) -> tuple[float, voices.Samples, int]:
        """As soon as it can be: → when it begins to sound; the sound itself, whose frames are the daemon's; and its
        first byte in the file."""
        assert self._began_s is not None
        frame = int((time.monotonic() + LEAD_S - self._began_s) / voices.FRAME_S) + 1
        sound = voices.unique(pcm, seed)
        with self.path.open("r+b") as file:
            at_bytes = file.seek(HEADER_BYTES + frame * voices.FRAME_BYTES)
            file.write(sound.tobytes())
        return self._began_s + frame * voices.FRAME_S, sound, at_bytes


def read_bytes(pid: int, path: Path) -> int | None:
    """How much of a file a process has read: the position in its file handle, proc(5). None: it has not opened it, or
    has ended."""
    own = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        for handle in (own / "fd").iterdir():
            with contextlib.suppress(OSError):
                if handle.readlink() == path.resolve():
                    return int((own / "fdinfo" / handle.name).read_text().split()[1])
    return None


class Control:
    """Follows the daemon's events; connects again for as long as it lives.

    heard_s: when it learned that an utterance had been heard.
    """

    def __init__(self, path: Path, acknowledges: Callable[[dict[str, Any]], Sequence[int]]) -> None:
        """acknowledges: the utterances that the daemon knows to be heard since an event."""
        self._path = path
        self._acknowledges = acknowledges
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self.events: list[dict[str, Any]] = []
        self.heard_s: dict[int, float] = {}
        self.state = "asleep"
        self._thread = threading.Thread(target=self._follow, name="control", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._stopped.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(1.0)
                    connection.connect(str(self._path))
                    connection.sendall(b'{"do": "events"}\n')
                    self._read(connection)
            except OSError:
                pass
            self._stopped.wait(0.1)

    def _read(self, connection: socket.socket) -> None:
        buffer = bytearray()
        while not self._stopped.is_set():
            try:
                data = connection.recv(65536)
            except TimeoutError:
                continue
            if not data:
                return
            buffer += data
            *whole, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in whole:
                self._take(json.loads(line))

    def _take(self, told: dict[str, Any]) -> None:
        if "event" not in told:
            return
        with self._changed:
            if told["event"] == "snapshot":
                self.state = told["status"]["state"]
            elif told["event"] == "state_changed":
                self.state = told["after"]
            else:
                for number in self._acknowledges(told):
                    self.heard_s.setdefault(number, told["at_s"])
            self.events.append(told)
            self._changed.notify_all()

    def ask(self, do: str, **fields: object) -> dict[str, Any]:
        """The result. Raises OSError, also for a daemon that does not answer in time."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(15.0)
            connection.connect(str(self._path))
            connection.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                lines.readline()
                answer = json.loads(lines.readline() or b"{}")
        if not answer.get("ok"):
            raise OSError(f"{do}: {answer}")
        return dict(answer["result"])

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(3.0)


class Daemon:
    """`parleyd run` in a folder of its own. Start it from the thread that lives longest: it dies with that."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        seed: int,
        environment: dict[str, str],
        state: Path,
        acknowledges: Callable[[dict[str, Any]], Sequence[int]],
    ) -> None:
        self.folder = folder
        self.config_path = folder / "parleyd.yaml"
        self.state_directory = state
        self._environment = environment
        self.speaker_path = folder / "speaker.wav"
        self.log_path = folder / "log"
        self.microphone = Microphone(folder / "microphone.wav", seed)
        self._socket = folder / "c.sock"
        self.config = {
            **config,
            "audio": {
                "input": {"device": f"wav:{self.microphone.path}"},
                "output": {"device": f"wav:{self.speaker_path}"},
                "echo": {"mode": "off"},
            },
            "control": {"socket": str(self._socket)},
            "log": {"format": "json"},
        }
        self.write_config(self.config)
        with self.log_path.open("wb") as log:
            self.process = self.run_beside(log)
        self.control = Control(self._socket, acknowledges)

    def run_beside(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        """Another process with the same configuration."""
        # So that the machine's other work costs no sound.
        first = ["nice", "-n", "-10"] if os.geteuid() == 0 else []
        command = [*first, "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "parleyd", "run", "-c"]
        environment = {**os.environ, **self._environment, "STATE_DIRECTORY": str(self.state_directory)}
        return subprocess.Popen(
            [*command, str(self.config_path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env=environment,
            # Ctrl-C is for the command, which then ends them.
            start_new_session=True,
        )

    def write_config(self, config: dict[str, Any]) -> None:
        # JSON is YAML.
        self.config_path.write_text(json.dumps(config, indent=1))

    def wait_started(self, timeout_s: float = 60.0) -> None:
        """Until ears hear. Raises RuntimeError."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended at its start with {self.process.returncode}: {self.log_tail()}")
            with contextlib.suppress(OSError):
                asked_s = time.monotonic()
                heard_s = self.control.ask("status")["metrics"]["heard_s"]
                if heard_s > 0.2:
                    self.microphone.began(asked_s - heard_s)
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)
        raise RuntimeError(f"the daemon did not start within {timeout_s:.0f} s: {self.log_tail()}")

    def say(self, pcm: voices.Samples, seed: int) -> tuple[float, voices.Samples, bool]:
        """See Microphone.say. → also whether it was written before the daemon read on from there: the harness itself
        may come too late on a busy machine."""
        if (to_bytes := read_bytes(self.process.pid, self.microphone.path)) is not None:
            self.microphone.is_read(to_bytes)
        start_s, sound, at_bytes = self.microphone.say(pcm, seed)
        to_bytes = read_bytes(self.process.pid, self.microphone.path)
        return start_s, sound, to_bytes is None or to_bytes <= at_bytes

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def load(self) -> Load:
        own = Path(f"/proc/{self.process.pid}")
        status = dict(line.split(":", 1) for line in (own / "status").read_text().splitlines() if ":" in line)
        return Load(int(status["Threads"]), len(list((own / "fd").iterdir())), int(status["VmRSS"].split()[0]) / 1024)

    def signal(self, number: int) -> None:
        if self.alive:
            self.process.send_signal(number)

    def stop(self, timeout_s: float = 30.0) -> int | None:
        """SIGTERM, and then SIGKILL. → its exit code; None when it had to be killed."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            code: int | None = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = None
        self.control.stop()
        return code

    def kill(self) -> None:
        if self.alive:
            self.process.kill()
        self.process.wait()
        self.control.stop()

    def log_tail(self, lines: int = 3) -> str:
        return " | ".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])[-500:]

    def log_records(self) -> list[dict[str, Any]]:
        """Lines that are no records, as of the interpreter itself, have only a `message`."""
        records = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
                assert isinstance(record, dict)
            except (ValueError, AssertionError):
                record = {"level": "raw", "message": line}
            records.append(record)
        return records

    def tones_heard(self) -> dict[int, float]:
        return voices.tones_heard(self.speaker_path) if self.speaker_path.exists() else {}


def crashes(records: list[dict[str, Any]]) -> list[str]:
    """What of a log tells of a fault in the program itself."""
    found = []
    for record in records:
        message = str(record.get("message", ""))
        if "traceback" in record or record["level"] == "critical":
            last = (record.get("traceback") or [""])[-1]
            found.append(f"traceback in the log: {message} {last}"[:300])
        elif record["level"] == "raw" and ("Traceback" in message or "Fatal Python error" in message):
            found.append(f"traceback on standard error: {message}"[:300])
    return found
