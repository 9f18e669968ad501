"""Is the daemon flat? A day of use: memory, objects, threads and file handles, hour by hour.

    python benchmarks/soak.py [--hours 24] [--sessions 300]

The whole daemon runs in this process, but for the sound card: a microphone at which a synthetic voice asks something
now and then, a speaker that swallows, an agent in a process of its own that answers, calls a tool, hangs up, or drops
the line. Transcript, recordings, a hook, a tool's program and its audit, the figures' file: all are written. While
somebody speaks or is answered, time runs as it does; in the quiet between, the clock of this process runs as fast as
ears can follow, so that idle times pass and every frame of the day is heard. Once an hour the daemon is muted,
reloaded, and asked over its control socket; then it is sent to sleep, and counted when the session's threads have gone,
so that the rows can be compared.

It prints a row per hour, and of all hours but the first, which warms up: the range, and by how much it grows in a day
(the median of the slopes between any two hours). Exit code 1 when threads or handles have grown at all, memory (in
HOURS_FOR_MEMORY) by more than MOST_MIB_A_DAY, or health was ever other than well without a line being away.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import wave
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app.prometheus import Exporter
from parleyd.app.service import Service
from parleyd.app.settings import SettingsKeeper
from parleyd.audio.devices.null import NullOutput
from parleyd.audio.pcm import FRAME_BYTES, FRAME_MS, PIPELINE_RATE_HZ
from parleyd.audio.resample import Resampler
from parleyd.checks.configuration import parse
from parleyd.control.client import Client
from parleyd.control.commands import Commands
from parleyd.control.roles import roles_of
from parleyd.control.server import ControlServer
from parleyd.core import events
from parleyd.demo.actor import ActorMicrophone
from parleyd.host import resources
from parleyd.profiles.profiles import Profiles

CONFIG = """
elevenlabs: {{agent_id: soak, base_url: "http://127.0.0.1:{port}"}}
reconnect: {{initial_s: 1, max_s: 30}}
transcript: {{enabled: true}}
debug: {{record: true, record_files: 10}}
hooks: [{{on: [live], command: ["true"]}}]
tools: {{command: {{look: {{description: looks, run: ["true"]}}}}}}
metrics: {{textfile: {folder}/parleyd.prom}}
"""
MOST_MIB_A_DAY = 8.0
# It moves by a MiB or two from one hour to the next; of fewer hours the slope says nothing.
HOURS_FOR_MEMORY = 12
# The microphone's clock is set ahead by LEAD_S when ears have all but REST_S. Their queue holds a second.
LEAD_S, REST_S = 0.5, 0.45
PATIENCE_S = 8.0


class FastClock:
    """In the place of time.monotonic: real time, and what was skipped."""

    def __init__(self) -> None:
        self._real = time.monotonic
        self._skipped_s = 0.0

    def __call__(self) -> float:
        return self._real() + self._skipped_s

    def real_s(self) -> float:
        return self._real()

    def skip(self, seconds: float) -> None:
        self._skipped_s += seconds


class SoakMicrophone(ActorMicrophone):
    """Keeps nothing of what it gave."""

    def __init__(self) -> None:
        super().__init__()
        # A list would grow all day.
        self.given = deque(maxlen=1)  # type: ignore[assignment]


def serve(port: Any) -> None:
    """The agent: answers a second of sound when speech is followed by half a second of silence."""
    from websockets.sync.server import ServerConnection
    from websockets.sync.server import serve as open_server

    calls = iter(range(10**9))
    tone = (8000 * np.sin(np.arange(PIPELINE_RATE_HZ) / 20)).astype("<i2").tobytes()

    def converse(connection: ServerConnection) -> None:
        call = next(calls)
        kind = "conversation_initiation_metadata"
        metadata = {
            "conversation_id": f"conv_{call}",
            "agent_output_audio_format": "pcm_16000",
            "user_input_audio_format": "pcm_16000",
        }
        send({"type": kind, f"{kind}_event": metadata}, connection)
        silent, spoken, turn = 0, 0, 0
        for raw in connection:
            message = json.loads(raw)
            if "user_audio_chunk" not in message:
                continue
            chunk = message["user_audio_chunk"]
            # Zeros are all A in base64.
            is_silent = not chunk.strip("A=")
            silent = silent + len(chunk) if is_silent else 0
            spoken += 0 if is_silent else len(chunk)
            # 16 kHz of 2 bytes, in base64: 42667 characters a second.
            if spoken < 20_000 or silent < 20_000:
                continue
            turn, spoken = turn + 1, 0
            transcript = {"user_transcript": "words " * 20}
            send({"type": "user_transcript", "user_transcription_event": transcript}, connection)
            if call % 7 == 3:
                connection.socket.close()
                return
            if turn % 3 == 1:
                tool = {"tool_name": "look", "tool_call_id": f"{call}-{turn}", "parameters": {}}
                send({"type": "client_tool_call", "client_tool_call": tool}, connection)
            send({"type": "agent_response", "agent_response_event": {"agent_response": "an answer " * 20}}, connection)
            for event_id in range(4):
                part = b64encode(tone[event_id * 8000 : (event_id + 1) * 8000]).decode()
                audio = {"audio_base_64": part, "event_id": turn * 10 + event_id}
                send({"type": "audio", "audio_event": audio}, connection)
            if call % 11 == 5:
                connection.close(1000, "goodbye")
                return

    def send(message: dict[str, Any], connection: ServerConnection) -> None:
        connection.send(json.dumps(message))

    with open_server(converse, "127.0.0.1", 0) as server:
        port.put(server.socket.getsockname()[1])
        server.serve_forever()


def voice() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        subprocess.run(["flite", "-voice", "rms", "-t", "What time is it now?", "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            sound, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    resampler = Resampler(rate_hz, PIPELINE_RATE_HZ)
    sound = resampler.process(sound) + resampler.flush()
    return sound + bytes(-len(sound) % FRAME_BYTES)


def _is_answer_ended(event: events.Event) -> bool:
    return isinstance(event, events.AnswerEnded)


class Day:
    def __init__(self, service: Service, clock: FastClock, bus: events.Bus) -> None:
        self._service = service
        self._clock = clock
        self._happened = threading.Event()
        self._wanted: Callable[[events.Event], bool] = lambda _event: False
        bus.subscribe(self._look)

    def _look(self, event: events.Event) -> None:
        if self._wanted(event):
            self._happened.set()

    def await_event(self, wanted: Callable[[events.Event], bool], cause: Callable[[], None]) -> bool:
        """In real time."""
        self._happened.clear()
        self._wanted = wanted
        cause()
        return self._happened.wait(PATIENCE_S)

    def pass_quietly(self, seconds: float) -> None:
        """As fast as ears follow."""
        began_s, taken_s = self._clock(), self._taken_s
        while (gone_s := self._clock() - began_s) < seconds:
            if gone_s - (self._taken_s - taken_s) < REST_S:
                self._clock.skip(LEAD_S)
            time.sleep(0.003)

    def settle(self) -> None:
        """In real time, until what belongs to a session has gone."""
        until_s = self._clock.real_s() + PATIENCE_S
        passing = ("session-", "tool-", "hooks-", "upload")
        while any(thread.name.startswith(passing) for thread in threading.enumerate()):
            if self._clock.real_s() > until_s:
                break
            time.sleep(0.05)
        gc.collect()

    @property
    def _taken_s(self) -> float:
        """Sound that has reached ears, or was dropped on the way."""
        status = self._service.status()
        assert status.microphone is not None
        return status.metrics.heard_s + status.microphone.overflows * FRAME_MS / 1000


@dataclass(frozen=True)
class Row:
    memory_mib: float
    objects: int
    threads: int
    handles: int


def growth_a_day(values: Sequence[float]) -> float:
    """By the median of the slopes between any two hours (Theil and Sen), which one odd hour does not move."""
    slopes = [(values[j] - values[i]) / (j - i) for i in range(len(values)) for j in range(i + 1, len(values))]
    return 24 * statistics.median(slopes) if slopes else 0.0


def has_grown(values: Sequence[float]) -> bool:
    """All of the last quarter is above all of the first: even one thread that stays behind is seen."""
    quarter = max(1, len(values) // 4)
    return min(values[-quarter:]) > max(values[:quarter])


def verdict(rows: Sequence[Row]) -> bool:
    """Prints it. → whether it is flat."""
    flat = True
    for name in ("memory_mib", "objects", "threads", "handles"):
        values = [float(getattr(row, name)) for row in rows]
        growth = growth_a_day(values)
        if name == "memory_mib":
            good = growth <= MOST_MIB_A_DAY or len(rows) < HOURS_FOR_MEMORY
        else:
            good = name == "objects" or not has_grown(values)
        flat &= good
        words = "" if good else "  NOT FLAT"
        print(f"{name:<11} {min(values):>9.2f} to {max(values):>9.2f}, {growth:+9.2f} a day{words}")
    return flat


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--sessions", type=int, default=300, help="about so many over the whole time")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    ports: Any = multiprocessing.get_context("spawn").Queue()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(ports,), daemon=True)
    server.start()
    config = parse(CONFIG.format(port=ports.get(timeout=30), folder=folder), "soak").config
    clock = FastClock()
    time.monotonic = clock
    bus = events.Bus()
    microphone = SoakMicrophone()
    agent = ElevenLabsAgent(config.elevenlabs, None)
    service = Service(config, agent, microphone, NullOutput(), bus, state_directory=folder)
    profiles = Profiles(config, bus)
    commands = Commands(service, lambda: service.reconfigure(config, lambda _config: agent), lambda: None, profiles,
                        SettingsKeeper(folder / "parleyd.yaml", folder, bus))  # fmt: skip
    roles = roles_of(config.control)
    control = ControlServer(folder / "control.sock", commands, service.status, bus, service.fail, roles)
    exporter = Exporter(config.metrics, service.status)
    service.watch(control.pulse, exporter.pulse)
    control.start()
    exporter.start()
    service.start()
    day = Day(service, clock, bus)
    line = voice()
    dice = random.Random(1)
    began_s = clock.real_s()
    rows: list[Row] = []
    unanswered = 0
    ill: Counter[str] = Counter()
    print("hour  memory MiB  objects  threads  handles  sessions  answers  tools  reconnects")
    try:
        for hour in range(args.hours):
            ends_s = clock() + 3600
            pause_s = 3600 / max(1, args.sessions / args.hours)
            while clock() < ends_s:
                day.pass_quietly(min(ends_s - clock(), dice.uniform(0.4, 1.5) * pause_s))
                ended = day.await_event(_is_answer_ended, lambda: microphone.say(line, after_ms=0))
                unanswered += not ended
                # A line that is away is trouble of which this agent makes some.
                ill.update(trouble.part for trouble in service.status().troubles if trouble.part != "agent")
                if service.failure is not None:
                    raise service.failure
            with Client(folder / "control.sock") as client:
                for order in ("mute", "unmute", "reload", "events", "status", "sleep"):
                    client.ask(order)
            day.settle()
            load, metrics = resources.load(), service.status().metrics
            row = Row(load.memory_bytes / 2**20, len(gc.get_objects()), load.threads, load.handles)
            rows.append(row)
            print(
                f"{hour + 1:4}  {row.memory_mib:10.2f}  {row.objects:7}  {row.threads:7}  {row.handles:7}  "
                f"{metrics.sessions:8}  {metrics.answers:7}  {metrics.tool_calls:5}  {metrics.reconnects:10}",
                flush=True,
            )
    finally:
        service.stop()
        exporter.stop()
        control.stop()
        time.monotonic = clock.real_s
        server.terminate()
        shutil.rmtree(folder)
    flat = verdict(rows[1:] or rows)
    told = ", ".join(f"{part} {many} times" for part, many in ill.items())
    print(f"health at every question: {f'other than well: {told}' if told else 'well'}")
    print(f"{unanswered} questions had no answer (the agent drops the line at every seventh call, and is called again)")
    minutes = (clock.real_s() - began_s) / 60
    print(f"{args.hours} hours in {minutes:.1f} minutes; {os.uname().machine}, {os.cpu_count()} cores")
    return 0 if flat and not ill else 1


if __name__ == "__main__":
    sys.exit(main())
