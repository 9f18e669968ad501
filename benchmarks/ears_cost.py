"""What ears cost: CPU time and memory of the whole ears thread, against a bare loop that reads and calls webrtcvad.

    python benchmarks/ears_cost.py [--seconds S] [--real-time]

Every row is a process of its own, so that memory is its own. The thread is the daemon's: capture's queue, resampling,
echo canceller, measures, detector, gate, outbox; a feeder hands it the microphone's periods of 20 ms and the speaker's,
as the devices' callbacks do, and empties the outbox, as a sender does. The bare loop gets the same periods by the same
kind of queue. CPU time is the thread's alone, by its own clock. By default periods come as fast as they are taken; with
--real-time every 20 ms, with the caches as cold as they are in life.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, cast

PERIOD_MS = 20
# So many periods may wait; capture drops at 50.
MOST_WAITING = 10
# Memory has settled after this share of the sound; what comes on top is growth.
SETTLED = 0.2
# CPU time is that of the median stretch of so many periods: what else the machine does is in the tails.
STRETCH = 50


@dataclass(frozen=True)
class Row:
    """sound: which of the sounds the microphone hears. mode: audio.echo.mode; None: the bare loop."""

    name: str
    sound: str
    mode: str | None = "aec"
    rate_hz: int = 16_000
    vad: str = "webrtcvad"
    wake_word: bool = False


ROWS = (
    Row("bare loop: read, webrtcvad", "talk", mode=None),
    Row("nobody speaks", "quiet"),
    Row("nobody speaks, 48 kHz device", "quiet", rate_hz=48_000),
    Row("the person speaks", "talk"),
    Row("the person speaks, 48 kHz device", "talk", rate_hz=48_000),
    Row("... 44.1 kHz device", "talk", rate_hz=44_100),
    Row("... and gate.vad: silero", "talk", vad="silero"),
    Row("asleep, wake.mode: word", "talk", wake_word=True),
    Row("the agent speaks, half_duplex, 48 kHz", "both", mode="half_duplex", rate_hz=48_000),
    Row("both speak, aec, 16 kHz", "both"),
    Row("both speak, aec, 48 kHz", "both", rate_hz=48_000),
    Row("both speak, aec, 44.1 kHz", "both", rate_hz=44_100),
)


def periods(path: Path, rate_hz: int) -> Iterator[bytes]:
    """Read as they are needed: the sound is no part of the memory that is measured."""
    size = rate_hz * PERIOD_MS // 1000 * 2
    with path.open("rb") as file:
        while len(pcm := file.read(size)) == size:
            yield pcm


def resident_kb(which: str = "VmRSS") -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which))


def cpu_s(thread: threading.Thread) -> float:
    return time.clock_gettime(time.pthread_getcpuclockid(cast(int, thread.ident)))


# ---------------------------------------------------------------- one row, in a process of its own


def feed(
    sound: Path,
    row: Row,
    thread: threading.Thread,
    done: Callable[[], int],
    take: Callable[[int, bytes], None],
    *,
    real_time: bool,
) -> dict[str, float]:
    """Hands over one period after the other; done() says how many have been dealt with."""
    count = sound.stat().st_size // (row.rate_hz * PERIOD_MS // 1000 * 2)
    settled, settled_kb, began_s = int(count * SETTLED), 0, time.monotonic()
    stretches: list[float] = []
    for number, pcm in enumerate(periods(sound, row.rate_hz)):
        if real_time:
            time.sleep(max(0.0, began_s + number * PERIOD_MS / 1000 - time.monotonic()))
        while number - done() > MOST_WAITING:
            time.sleep(0.0005)
        if number == settled:
            settled_kb = resident_kb()
        if number >= settled and (number - settled) % STRETCH == 0:
            stretches.append(cpu_s(thread))
        take(number, pcm)
    # A resampler holds some of it back: the last frame or two may not come.
    deadline_s = time.monotonic() + 5.0
    while done() < count - 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    used_s = [after - before for before, after in pairwise(stretches)]
    return {
        "share": median(used_s) / (STRETCH * PERIOD_MS / 1000),
        "rss_kb": resident_kb(),
        "peak_kb": resident_kb("VmHWM"),
        "growth_kb": resident_kb() - settled_kb,
    }


def bare(row: Row, folder: Path, *, real_time: bool) -> dict[str, float]:
    import webrtcvad

    waiting: queue.Queue[bytes | None] = queue.Queue(50)
    heard = [0]

    def loop() -> None:
        vad = webrtcvad.Vad(2)
        while (pcm := waiting.get()) is not None:
            vad.is_speech(pcm, 16_000)
            heard[0] += 1

    thread = threading.Thread(target=loop)
    thread.start()
    result = feed(
        folder / f"{row.sound}-{row.rate_hz}.heard",
        row,
        thread,
        lambda: heard[0],
        lambda _, pcm: waiting.put(pcm),
        real_time=real_time,
    )
    waiting.put(None)
    thread.join()
    return result


def ears(row: Row, folder: Path, *, real_time: bool) -> dict[str, float]:
    from parleyd.app.ears import Ears
    from parleyd.audio.capture.capture import Capture
    from parleyd.audio.devices.device import Deliver, StreamInfo
    from parleyd.audio.devices.null import NullOutput
    from parleyd.audio.echo.control import EchoControl, NearFrame
    from parleyd.audio.echo.far_end import FarEnd
    from parleyd.audio.gate.gate import Gate
    from parleyd.audio.gate.vad import detector
    from parleyd.audio.gate.wakeword import WakeWord
    from parleyd.audio.pcm import Frame
    from parleyd.audio.playback.mix import Audible
    from parleyd.audio.playback.playback import Playback
    from parleyd.config.schema import Config
    from parleyd.conversation.dialogue.dialogue import Dialogue
    from parleyd.conversation.session.outbox import Outbox
    from parleyd.conversation.session.uplink import Uplink
    from parleyd.core import events
    from parleyd.tools.device_tools import DaemonActions, DeviceTools

    class Microphone:
        name = "fed"
        overflows = 0

        def open(self, deliver: Deliver) -> StreamInfo:
            self.deliver = deliver
            return StreamInfo(row.rate_hz, 1, row.rate_hz * PERIOD_MS // 1000, PERIOD_MS / 1000)

        def close(self) -> None:
            pass

    class Supervisor:
        asleep = row.wake_word
        deaf = False

        def wake(self, *, by_speech: bool) -> None:
            pass

    class Speaking(Playback):
        """Half duplex asks whether the speaker is heard; here it always is."""

        def audible_until(self, now_s: float) -> Audible:
            heard = super().audible_until(now_s)
            return heard._replace(voice_until_s=float("inf")) if row.sound == "both" else heard

    class Counted(EchoControl):
        frames = 0

        def hear(self, frame: Frame) -> NearFrame:
            self.frames += 1
            return super().hear(frame)

    def fail(what: str, error: BaseException) -> None:
        print(f"{what}: {error!r}", file=sys.stderr)
        os._exit(os.EX_SOFTWARE)

    config, bus, far_end, microphone = Config(), events.Bus(), FarEnd(), Microphone()
    outbox = Outbox(Uplink(config.gate.uplink, pre_roll_ms=config.gate.pre_roll_ms, capacity_ms=15_000))
    far_end.start(row.rate_hz, 0.020)
    playback = Speaking(
        NullOutput(),
        volume=1.0,
        duck_db=config.barge_in.duck_db,
        cut=config.barge_in.cut,
        on_started=lambda *_: None,
        on_finished=lambda _: None,
        on_failure=lambda *_: None,
        far_end=far_end,
    )
    nothing = DaemonActions(*(lambda *_: None,) * 3, status=str, tell=lambda _: None)
    tools = DeviceTools(config.tools, nothing, bus, None)
    capture = Capture(microphone)
    echo = Counted(cast(Any, row.mode), config.audio.echo.tail_ms, playback, far_end, bus)
    it = Ears(
        capture,
        echo,
        detector(cast(Any, row.vad), config.gate.aggressiveness),
        Gate(config.gate.pre_roll_ms, config.gate.hangover_ms),
        outbox,
        Dialogue(playback, outbox, bus, config.barge_in, config.continuity, tools),
        Supervisor(),
        bus,
        hold_back=config.gate.uplink != "open",
        wake_on_speech=not row.wake_word,
        on_death=fail,
        wake_word=WakeWord("hey_jarvis") if row.wake_word else None,
    )
    capture.start()
    it.start()
    thread = next(each for each in threading.enumerate() if each.name == "ears")
    far = periods(folder / f"{row.sound}-{row.rate_hz}.far", row.rate_hz)
    began_s = time.monotonic()

    def take(number: int, pcm: bytes) -> None:
        at_s = began_s + number * PERIOD_MS / 1000
        far_end.take(next(far), at_s)
        microphone.deliver(pcm, at_s)
        if number % 50 == 0:
            outbox.forget()

    heard = folder / f"{row.sound}-{row.rate_hz}.heard"
    result = feed(heard, row, thread, lambda: echo.frames, take, real_time=real_time)
    it.stop()
    return result


# ---------------------------------------------------------------- all rows


def write_sounds(folder: Path, seconds: float) -> None:
    import numpy as np
    import samplerate
    from acoustics import RECORDINGS, Room
    from room import scene

    both = scene(Room(seed=1), seconds, 1, RECORDINGS, interrupted=True)
    silence, noise = np.zeros_like(both.far), both.room.noise(len(both.far))
    sounds = {
        "quiet": (silence, noise), "talk": (silence, both.near + noise), "both": (both.far, both.heard),
    }  # fmt: skip
    for name, pair in sounds.items():
        for rate_hz in {row.rate_hz for row in ROWS}:
            for what, sound in zip(("far", "heard"), pair, strict=True):
                if rate_hz != 16_000:
                    sound = samplerate.resample(sound, rate_hz / 16_000, "sinc_fastest")
                pcm = np.clip(np.rint(sound * 32768), -32768, 32767).astype("<i2").tobytes()
                (folder / f"{name}-{rate_hz}.{what}").write_bytes(pcm)


def main() -> int:
    parser = argparse.ArgumentParser(description="What ears cost.")
    parser.add_argument("--seconds", type=float, default=120.0, help="sound for every row (default: %(default)s)")
    parser.add_argument("--real-time", action="store_true", help="a period every 20 ms, not as fast as it goes")
    parser.add_argument("--row", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row is not None:
        row = ROWS[args.row]
        print(json.dumps((ears if row.mode else bare)(row, args.folder, real_time=args.real_time)))
        return os.EX_OK
    with tempfile.TemporaryDirectory() as folder:
        write_sounds(Path(folder), args.seconds)
        how = "in real time" if args.real_time else "as fast as it goes"
        print(f"{args.seconds:.0f} s of sound for every row, {how}; CPU time of the thread; memory of its process")
        print("| | % of a core | µs a frame | to the bare loop | MB | MB more than the bare loop | MB growth |")
        print("|---|---|---|---|---|---|---|")
        floor: dict[str, float] = {}
        for number, row in enumerate(ROWS):
            command = [sys.executable, __file__, "--row", str(number), "--folder", folder]
            child = subprocess.run(
                command + ["--real-time"] * args.real_time, stdout=subprocess.PIPE, check=True, text=True
            )
            got: dict[str, float] = json.loads(child.stdout)
            floor = floor or got
            share, memory = got["share"], got["peak_kb"]
            print(
                f"| {row.name} | {share:.2%} | {share * PERIOD_MS * 1000:.0f} | {share / floor['share']:.1f} "
                f"| {memory / 1024:.0f} | {(memory - floor['peak_kb']) / 1024:.0f} | {got['growth_kb'] / 1024:.1f} |",
                flush=True,
            )
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
