"""Who takes part in the race (race.py): the daemon, the official SDK, a bare loop. Each is a process of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SDK_VERSION = "2.78.0"

# What no program in Python that listens can well do without: 20 ms of the microphone by PyAudio's callback, a queue,
# the detector. With the word "output" a speaker stands open beside it and plays silence.
BARE = """
import queue, sys
import pyaudio, webrtcvad
pa, frames, vad = pyaudio.PyAudio(), queue.Queue(50), webrtcvad.Vad(2)
def heard(data, count, at, status):
    frames.put(data)
    return None, pyaudio.paContinue
def wanted(data, count, at, status):
    return bytes(2 * count), pyaudio.paContinue
common = dict(format=pyaudio.paInt16, channels=1, rate=16000, frames_per_buffer=320)
stream = pa.open(input=True, stream_callback=heard, **common)
if sys.argv[1:] == ["output"]:
    speaker = pa.open(output=True, stream_callback=wanted, **common)
print("ready", flush=True)
while True:
    vad.is_speech(frames.get(), 16000)
"""

# The SDK as its README shows it, with the audio interface that it brings along. A line on standard input ends the
# session or starts a new one, as a program around a wake word does.
SDK = """
import sys
from elevenlabs.client import ElevenLabs
from elevenlabs.conversational_ai.conversation import Conversation
from elevenlabs.conversational_ai.default_audio_interface import DefaultAudioInterface
client = ElevenLabs(base_url=sys.argv[1])
def converse():
    conversation = Conversation(client, "benchmark", requires_auth=False, audio_interface=DefaultAudioInterface())
    conversation.start_session()
    return conversation
conversation = converse() if sys.argv[2] == "now" else None
print("ready", flush=True)
for line in sys.stdin:
    if line == "start\\n":
        conversation = converse()
    elif conversation is not None:
        conversation.end_session()
        conversation.wait_for_session_end()
"""

SENTENCES = (
    "Could you tell me what the weather is going to be like tomorrow, and whether I should take the bicycle to work or "
    "rather walk to the station? My neighbour said that it was going to rain all day long, but she also said that last "
    "week, and then we had nothing but sunshine until the evening. "
)

CONFIG = """
elevenlabs: {{agent_id: benchmark, base_url: "{url}"}}
audio: {{input: {{device: vmic}}, output: {{device: vspk{speaker}}}}}
session: {{max_s: 86400, idle_timeout_s: 3600, no_person_s: 86400, false_wake_s: 3600}}
control: {{socket: {folder}/control.sock}}
{more}
"""


def as_installed() -> dict[str, str]:
    """This environment, but with bytecode kept: an installed program has it. Without it each start compiles all
    modules, which takes half of the start's processor time, and 2 MiB."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parleyd" / "benchmarks" / "bytecode"
    return kept | {"PYTHONPYCACHEPREFIX": str(cache)}


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended at the end, and waited for."""
    process = subprocess.Popen(command, env=as_installed() | environment, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def bare_loop(card: Any, *words: str, first: str = "") -> Iterator[int]:
    """→ its process id, once it listens. first: what it does before, as Python."""
    command = [sys.executable, "-c", f"{first}\n{BARE}", *words]
    with running(command, card.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


class Running:
    """A racer whose process runs. began_s: when it was started; ready_s: when it said that it was ready. pid: of its
    process. folder: None for the SDK."""

    def __init__(self, process: subprocess.Popen[bytes], began_s: float, folder: Path | None) -> None:
        self.process, self.began_s, self.folder = process, began_s, folder
        self.ready_s = time.monotonic()
        self.pid = process.pid

    @property
    def socket(self) -> Path:
        assert self.folder is not None
        return self.folder / "control.sock"

    def tell(self, word: str) -> None:
        """A line on standard input; for the SDK."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()


@contextlib.contextmanager
def daemon(card: Any, url: str, more: str = "", checkout: Path | None = None, speaker: str = "") -> Iterator[Running]:
    """`parleyd run` in its own environment, once it is READY. checkout: the folder whose daemon it is; None: ours.

    more: further lines of the configuration. speaker: further keys of audio.output, behind a comma.
    """
    with tempfile.TemporaryDirectory(prefix="race-") as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        folder = Path(name)
        told.bind(f"{name}/notify")
        told.settimeout(60)
        text = CONFIG.format(url=url, folder=name, more=more, speaker=speaker)
        (folder / "parleyd.yaml").write_text(text if checkout is None else _without_unknown(text, checkout))
        environment = card.environment | {"NOTIFY_SOCKET": f"{name}/notify", "STATE_DIRECTORY": name, "HOME": name}
        if checkout is not None:
            environment["PYTHONPATH"] = str(checkout / "daemon")
        command = [sys.executable, "-m", "parleyd", "run", "-c", f"{name}/parleyd.yaml"]
        began_s = time.monotonic()
        with (folder / "log").open("wb") as log, running(command, environment, stderr=log) as process:
            try:
                while b"READY=1" not in told.recv(65536):
                    pass
                # A full socket that nobody reads would hold up the daemon when it says that it stops.
                told.close()
                yield Running(process, began_s, folder)
            except BaseException:
                print((folder / "log").read_text(errors="replace"), file=sys.stderr)
                raise


def _without_unknown(text: str, checkout: Path) -> str:
    """A daemon of an older checkout refuses keys that it does not know, and does without what they change."""
    schema = (checkout / "daemon" / "parleyd" / "config" / "schema.py").read_text()
    for entry in (", no_person_s: 86400", ", keep_open: off"):
        key = entry.strip(", ").partition(":")[0]
        text = text if key in schema else text.replace(entry, "")
    return text


def sdk_python() -> Path:
    """The Python of an environment with the official SDK, made once: pip install elevenlabs. PyAudio is Debian's."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parleyd" / "benchmarks"
    folder = cache / f"elevenlabs-{SDK_VERSION}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"race: installing elevenlabs {SDK_VERSION} into {folder} (once)", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", "--system-site-packages", folder], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"elevenlabs=={SDK_VERSION}"], check=True)
        (folder / "complete").touch()
    return python


@contextlib.contextmanager
def sdk(card: Any, url: str, *, now: bool = True) -> Iterator[Running]:
    """The official SDK, once it has been told to connect. now: a session is started at once."""
    began_s = time.monotonic()
    command = [str(sdk_python()), "-c", SDK, url, "now" if now else "later"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with running(command, card.environment, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Running(process, began_s, None)


def children_s() -> float:
    """The processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class FarServer:
    """A relay that makes a server as far away as a round trip of latency_ms, and can lose the line.

    It delays what goes through it by half of that each way, and answers a new connection after one round trip, as the
    three-way handshake would. It does not bound how much is on the way.
    """

    def __init__(self, port: int, latency_ms: float) -> None:
        self._to, self._latency_s = port, latency_ms / 1000
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._away = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self) -> None:
        """The network is away: connections are reset, and new ones end at once."""
        self._away.set()
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def restore(self) -> None:
        self._away.clear()

    def close(self) -> None:
        self.lose()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._away.is_set():
                near.close()
                continue
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        time.sleep(self._latency_s)
        far = socket.create_connection(("127.0.0.1", self._to))
        self._pairs.append((near, far))
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()
            threading.Thread(target=self._read, args=(one, waiting), daemon=True).start()
            threading.Thread(target=self._write, args=(other, waiting), daemon=True).start()

    def _read(self, source: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + self._latency_s / 2, data))

    def _write(self, target: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
        while True:
            due_s, data = waiting.get()
            time.sleep(max(0.0, due_s - time.monotonic()))
            with contextlib.suppress(OSError):
                if data:
                    target.sendall(data)
                    continue
                target.shutdown(socket.SHUT_WR)
            return
