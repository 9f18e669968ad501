"""A private sound card: PulseAudio as a plain process, with a virtual microphone and a virtual speaker.

`default`: both. `vmic`: what is played into the sink mic_in. `vspk`: what it plays can be recorded from vspk.monitor.
`stiff`: an output that opens at 48 kHz with two channels only (an AC-3 encoder, so do not listen to it).
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np

# norewinds: else the null sinks sleep in blocks of two seconds.
_PULSE = """
.fail
load-module module-native-protocol-unix socket={dir}/native auth-anonymous=1
load-module module-null-sink sink_name=mic_in rate=48000 channels=1 norewinds=1
load-module module-remap-source source_name=vmic master=mic_in.monitor
load-module module-null-sink sink_name=vspk rate=48000 channels=2 norewinds=1
set-default-source vmic
set-default-sink vspk
"""

# Only this and not the system's configuration: no other cards, no chatter.
_ALSA = """
pcm.!default {{ type pulse server "unix:{dir}/native" fallback "" hint {{ show on description "virtual card" }} }}
ctl.!default {{ type pulse server "unix:{dir}/native" }}
pcm.vmic {{ type pulse server "unix:{dir}/native" device "vmic" }}
pcm.vspk {{ type pulse server "unix:{dir}/native" device "vspk" }}
pcm.stiff {{ type a52 channels 2 rate 48000 format S16_LE slavepcm "vspk" hint {{ show on description "stiff" }} }}
"""


class VirtualCard:
    """Starts the sound server; `environment` is what a process needs in order to hear it.

    more_pulse, more_alsa: lines for its configuration and for ALSA's; {dir} is where the server's socket lies."""

    def __init__(self, more_pulse: str = "", more_alsa: str = "") -> None:
        program = shutil.which("pulseaudio")
        if program is None or shutil.which("parec") is None:
            raise RuntimeError(
                "the virtual sound card needs pulseaudio: apt-get install --no-install-recommends "
                "pulseaudio pulseaudio-utils libasound2-plugins (scripts/test does)"
            )
        # The socket's path must be short.
        self.dir = Path(tempfile.mkdtemp(prefix="vcard-"))
        (self.dir / "pulse.pa").write_text((_PULSE + more_pulse).format(dir=self.dir))
        (self.dir / "asound.conf").write_text((_ALSA + more_alsa).format(dir=self.dir))
        self.environment = {
            "PULSE_SERVER": f"unix:{self.dir}/native",
            "ALSA_CONFIG_PATH": f"{self.dir}/asound.conf",
        }
        self._spawn()
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _spawn(self) -> None:
        program = shutil.which("pulseaudio")
        home = {"HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH"}
        log = (self.dir / "pulse.log").open("wb")
        self._process = subprocess.Popen(
            f"{program} -n --daemonize=no --use-pid-file=no --exit-idle-time=-1 --realtime=no --high-priority=no "
            f"--disable-shm=yes --log-target=stderr -F {self.dir}/pulse.pa".split(),
            env=os.environ | dict.fromkeys(home, str(self.dir)),
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        log.close()

    def _wait(self) -> None:
        give_up_s = time.monotonic() + 60
        while time.monotonic() < give_up_s:
            if (self.dir / "native").exists() and self.pactl("info", check=False) == 0:
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                break
        raise RuntimeError(f"pulseaudio did not start: {(self.dir / 'pulse.log').read_text(errors='replace')[-1500:]}")

    def pactl(self, *words: str, check: bool = True) -> int:
        return subprocess.run(
            ["pactl", *words], env=os.environ | self.environment, check=check, capture_output=True, timeout=60
        ).returncode

    def play(self, pcm: bytes, *, rate_hz: int, latency_ms: int = 20) -> subprocess.Popen[bytes]:
        """Somebody speaks: mono 16-bit sound into the virtual microphone, in the background. latency_ms: the server
        moves sound in blocks of about this length, to all who listen."""
        sound = self.dir / f"speech-{time.monotonic_ns()}.raw"
        sound.write_bytes(pcm)
        return subprocess.Popen(
            [
                "paplay",
                "--device=mic_in",
                f"--latency-msec={latency_ms}",
                "--raw",
                "--format=s16le",
                "--channels=1",
                f"--rate={rate_hz}",
                str(sound),
            ],
            env=os.environ | self.environment,
        )

    @contextlib.contextmanager
    def loopback(self, *, latency_ms: int) -> Iterator[None]:
        """An acoustic echo: the microphone hears the speaker. As in a room the delay stays: the module may not change
        its speed to come closer to latency_ms. With less than 50 ms its buffer runs dry once a second or so, and each
        time the echo jumps."""
        words = f"load-module module-loopback source=vspk.monitor sink=mic_in latency_msec={latency_ms}".split()
        module = subprocess.run(
            ["pactl", *words, "adjust_time=0"],
            env=os.environ | self.environment,
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout.decode()
        try:
            yield
        finally:
            self.pactl("unload-module", module.strip())

    def listen(self, source: str = "vspk.monitor") -> Listener:
        """What the virtual speaker plays; mic_in.monitor: what the virtual microphone hears."""
        return Listener(self.environment, source)

    def freeze(self) -> None:
        """The sound server stands still: calls into it do not return before thaw()."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """The sound server dies, and with it all devices."""
        self._process.kill()
        self._process.wait(60)
        (self.dir / "native").unlink(missing_ok=True)

    def restart(self) -> None:
        """After kill(): the same card in the same place."""
        self._spawn()
        self._wait()

    def remove(self, name: str) -> None:
        """A device is unplugged: vmic or vspk."""
        listed = self._asked("list", "modules", "short").splitlines()
        for line in listed:
            if f"source_name={name}" in line or f"sink_name={name}" in line:
                self.pactl("unload-module", line.split("\t")[0])

    def add(self, name: str) -> None:
        """The device is plugged in again."""
        line = next(line for line in _PULSE.splitlines() if f"_name={name}" in line)
        self.pactl(*line.split())

    def _asked(self, *words: str) -> str:
        return subprocess.run(
            ["pactl", *words], env=os.environ | self.environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def stop(self) -> None:
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(60)
        shutil.rmtree(self.dir, ignore_errors=True)


class Listener:
    """Records a virtual device: mono, 48 kHz. A piece's time is when it arrived here, a few ms after it sounded."""

    RATE_HZ = 48_000

    def __init__(self, environment: dict[str, str], source: str = "vspk.monitor") -> None:
        self._process = subprocess.Popen(
            [
                "parec",
                f"--device={source}",
                "--latency-msec=2",
                "--raw",
                "--format=s16le",
                "--channels=1",
                f"--rate={self.RATE_HZ}",
            ],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
        )
        self._changed = threading.Condition()
        self._pieces: list[tuple[float, np.ndarray]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        # The first sound, silence too, shows that the recorder is there.
        assert self.wait(lambda: bool(self._pieces), 10), f"{source} cannot be recorded"

    def _read(self) -> None:
        stdout = cast(io.BufferedReader, self._process.stdout)
        rest = b""
        while data := stdout.read1(65536):
            data = rest + data
            rest = data[len(data) & ~1 :]
            with self._changed:
                self._pieces.append((time.monotonic(), np.frombuffer(data[: len(data) & ~1], "<i2")))
                self._changed.notify_all()

    def wait(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Until the predicate holds; it is asked again with each piece."""
        with self._changed:
            held: bool = self._changed.wait_for(predicate, timeout_s)
            return held

    def wait_for_sound(self, since_s: float, timeout_s: float, level: int = 500) -> bool:
        return self.wait(lambda: self.last_sound_s(level) > since_s, timeout_s)

    def wait_until(self, at_s: float, timeout_s: float) -> bool:
        """Until what sounded at at_s has certainly arrived."""
        return self.wait(lambda: self._pieces[-1][0] > at_s + 0.1, timeout_s)

    def last_sound_s(self, level: int = 500) -> float:
        """When the last sample louder than level arrived; -inf if none did."""
        for at_s, piece in reversed(self._pieces):
            loud = np.nonzero(np.abs(piece.astype(np.int32)) > level)[0]
            if len(loud):
                return float(at_s - (len(piece) - 1 - int(loud[-1])) / self.RATE_HZ)
        return float("-inf")

    def first_sound_s(self, since_s: float, level: int = 500) -> float | None:
        """When the first sample louder than level arrived after since_s; None if none has."""
        with self._changed:
            pieces = [(at_s, piece) for at_s, piece in self._pieces if at_s > since_s]
        for at_s, piece in pieces:
            for sample in np.flatnonzero(np.abs(piece.astype(np.int32)) > level):
                arrived_s = at_s - (len(piece) - 1 - int(sample)) / self.RATE_HZ
                if arrived_s > since_s:
                    return arrived_s
        return None

    def sound(self) -> np.ndarray:
        with self._changed:
            return np.concatenate([piece for _, piece in self._pieces])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._thread.join(60)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
