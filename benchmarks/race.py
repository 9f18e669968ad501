"""The race: parleyd and the official Python SDK, on one virtual sound card, against one server that knows neither.

    scripts/bench [--short] [--rounds N] [--only PART]... [--before FOLDER] [--without-sdk] [--out FOLDER] [--list]

Every part is measured for one racer after the other, in rounds, so that whatever else the machine does meets all of
them alike; the tables have the medians over the rounds. The server is plain_agent.py. Absolute figures are this
machine's; what counts are the ratios within a run. --short: one round of the least length, which shows that the parts
run; its figures say nothing. --before: a second daemon, of another checkout, in the same rounds.

Printed as tables; in the folder also race.json, with every single measurement, and pictures where there is matplotlib.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import racers
from counting import cpu_s, measured
from plain_agent import RATE_HZ, SECOND_BYTES, PlainAgent

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
vcard = importlib.import_module("vcard")

from parleyd.control.client import Client  # noqa: E402 - after the path
from parleyd.core.errors import UserError  # noqa: E402
from parleyd.embedded.voice import Voice  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
NOISE_DBFS = -62.0
# The delay of the virtual room. With less the loopback's buffer runs dry, and the echo jumps once a second.
ECHO_MS = 60
# The canceller does not know the room yet in the first seconds of the first answer after a start. A daemon that runs
# for months is measured after them.
FIRST_ANSWER_S = 5.0
# Until openings, first frames and the canceller's first seconds are over.
SETTLE_S = 2.5
CHUNKS_S = (0.1, 0.5, 1.0, 4.0)
LATENCIES_MS = (0, 100, 500)
AWAY_S = 3.0
# A speaker that is closed while nothing sounds, as those are by default that are known to begin at once. The virtual
# one is of an unknown kind.
CLOSED = ", keep_open: off"
# How long the sound of the room is on its way to the virtual microphone. With less the sound server would hand over all
# sound in blocks of that length, to all who listen.
ROOM_MS = 2000
# A burst stands out of the room; the samples of the tone and of speech, too.
LOUD = 1500
QUESTION = "What is the weather going to be like tomorrow?"


@dataclass(frozen=True)
class Length:
    """How long things are measured. trials: in each round, for what is over in a moment."""

    seconds: float
    trials: int
    chunks_s: tuple[float, ...] = CHUNKS_S
    latencies_ms: tuple[int, ...] = LATENCIES_MS
    curve_s: float = 4.0
    all_points: bool = True


FULL = Length(seconds=6.0, trials=5)
SHORT = Length(0.5, 1, chunks_s=(0.1, 0.5), latencies_ms=(0,), curve_s=0.5, all_points=False)


def tone(seconds: float, hz: float = 500.0) -> bytes:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pcm: bytes = np.rint(np.sin(2 * np.pi * hz * t) * 10_000).astype("<i2").tobytes()
    return pcm


class Race:
    """values: part → row → the single measurements, in rounds. notes: part → what has to be known about it."""

    def __init__(self, card: Any, length: Length, before: Path | None, *, with_sdk: bool) -> None:
        self.card, self.length = card, length
        self.before = before
        self.with_sdk = with_sdk
        self.agent = PlainAgent()
        self.url = f"http://127.0.0.1:{self.agent.port}"
        with Voice() as voice:
            self.talk = voice.say(racers.SENTENCES * 4, RATE_HZ)
            self.question = voice.say(QUESTION, RATE_HZ)
        self.agent.voice = self.talk
        self.values: dict[str, dict[str, list[float]]] = {}
        self.notes: dict[str, list[str]] = {}
        self.dice = random.Random(1)

    def add(self, part: str, row: str, value: float) -> None:
        self.values.setdefault(part, {}).setdefault(row, []).append(round(value, 3))

    def daemons(
        self, more: str = "", url: str = "", *, speaker: str = ""
    ) -> Iterator[tuple[str, AbstractContextManager[racers.Running]]]:
        """speaker: see racers.daemon()."""
        if self.before is not None:
            yield "parleyd before", racers.daemon(self.card, url or self.url, more, self.before, speaker)
        yield "parleyd", racers.daemon(self.card, url or self.url, more, speaker=speaker)

    def everybody(self, *, speaker: str = "") -> Iterator[tuple[str, AbstractContextManager[racers.Running]]]:
        yield from self.daemons(speaker=speaker)
        yield from self.sdks()

    def sdks(self) -> Iterator[tuple[str, AbstractContextManager[racers.Running]]]:
        if self.with_sdk:
            yield "SDK", racers.sdk(self.card, self.url)

    @property
    def names(self) -> tuple[str, ...]:
        return ("parleyd", "SDK") if self.with_sdk else ("parleyd",)

    def woken(self, racer: racers.Running, known: int) -> None:
        """Until its session is open. The SDK opens one by itself. known: how many sessions there were."""
        if racer.folder is not None:
            with Client(racer.socket) as client:
                client.ask("wake")
        self.agent.wait_session(known)
        self.agent.wait_sound(len(self.agent.sound_s) - (len(self.agent.sound_s) > known))


# ---------------------------------------------------------------- the parts


def cost(race: Race) -> None:
    """CPU (ms a second), context switches (per second), memory (MiB), in each state"""

    def count(row: str, pid: int, settle_s: float = SETTLE_S) -> None:
        time.sleep(min(settle_s, race.length.seconds * 2))
        found = measured(pid, race.length.seconds)
        race.add("CPU, ms per s", row, found.cpu_ms)
        race.add("context switches per s", row, found.switches)
        race.add("resident memory, MiB", row, found.rss_mib)
        race.add("memory of its own (PSS), MiB", row, found.pss_mib)

    for row, words in (("bare loop", ()), ("bare loop, output open", ("output",))):
        with racers.bare_loop(race.card, *words) as pid:
            count(row, pid)
            if not words:
                continue
            # A sound server hands sound over in smaller blocks then, which costs everybody who listens.
            person = race.card.play(race.talk, rate_hz=RATE_HZ)
            count(f"{row}, the person talks", pid)
            person.terminate()
            person.wait()
            with race.card.loopback(latency_ms=ECHO_MS):
                count(f"{row}, the speaker is heard", pid)
    for name, starting in race.daemons():
        with starting as racer:
            count(f"{name}: asleep, the speaker stays open", racer.pid, 12.0)
    for name, starting in race.everybody(speaker=CLOSED):
        known = len(race.agent.opened_s)
        with starting as racer:
            if racer.folder is not None:
                # The speaker is closed some seconds after the last sound.
                count(f"{name}: asleep", racer.pid, 12.0)
            race.woken(racer, known)
            count(f"{name}: live, silent", racer.pid, 12.0)
            person = race.card.play(race.talk, rate_hz=RATE_HZ)
            count(f"{name}: live, the person talks", racer.pid)
            person.terminate()
            person.wait()
            time.sleep(1.5)
            with race.card.loopback(latency_ms=ECHO_MS):
                race.agent.talks.set()
                time.sleep(FIRST_ANSWER_S)
                count(f"{name}: live, the agent talks", racer.pid)
                race.agent.talks.clear()
                time.sleep(1.0)


def interruption(race: Race) -> None:
    """sound after the server's interruption, ms, by the length of the server's chunks"""
    for name, starting in race.everybody():
        known = len(race.agent.opened_s)
        with starting as racer, race.card.listen() as speaker:
            race.woken(racer, known)
            for chunk_s in race.length.chunks_s:
                for _ in range(race.length.trials):
                    sound = tone(max(4.0, 2 * chunk_s))
                    began_s = race.agent.say(sound, chunk_s)
                    if not speaker.wait_for_sound(began_s, 10.0, LOUD):
                        raise TimeoutError(f"{name} does not play")
                    time.sleep(race.dice.uniform(0.2, 0.6))
                    at_s = race.agent.interrupt()
                    while time.monotonic() - max(speaker.last_sound_s(LOUD), at_s) < 0.3:
                        time.sleep(0.02)
                    race.add(
                        "interruption", f"{name}: chunks of {chunk_s:g} s", 1000 * (speaker.last_sound_s(LOUD) - at_s)
                    )


def answering(race: Race) -> None:
    """from the server's first chunk to the speaker, and from the end of speech to the answer's first sound, ms"""
    for name, starting in race.everybody():
        known = len(race.agent.opened_s)
        with starting as racer, race.card.listen() as speaker, race.card.listen("mic_in.monitor") as microphone:
            race.woken(racer, known)
            for _ in range(race.length.trials):
                time.sleep(0.4)
                began_s = race.agent.say(tone(0.3), 0.1)
                race.add("wire to speaker", name, 1000 * (_first(speaker, began_s, name) - began_s))
            for _ in range(max(1, race.length.trials // 2)):
                time.sleep(1.5)
                race.agent.turn_ended.clear()
                race.agent.reply = tone(0.5)
                began_s = time.monotonic()
                race.card.play(race.question, rate_hz=RATE_HZ).wait()
                if not race.agent.turn_ended.wait(10.0):
                    raise TimeoutError(f"{name}: the server hears no end of a turn")
                spoken_s = microphone.last_sound_s(LOUD)
                race.add("end of speech to answer", name, 1000 * (_first(speaker, spoken_s, name) - spoken_s))


def _first(listener: Any, since_s: float, name: str) -> float:
    if not listener.wait_for_sound(since_s, 10.0, LOUD):
        raise TimeoutError(f"{name} does not play")
    found: float = listener.first_sound_s(since_s, LOUD)
    return found


def hearing(race: Race) -> None:
    """from a sound at the microphone to its arrival at the server, ms (parleyd: gate.uplink open)"""
    bursts = max(4, 4 * race.length.trials)
    silent, loud = np.zeros(round(0.4 * RATE_HZ), "<i2").tobytes(), tone(0.06, 1000.0)
    # The gaps differ, so that bursts meet each phase of a racer's chunks.
    gaps = [silent + bytes(2 * race.dice.randrange(RATE_HZ // 4)) for _ in range(bursts)]
    played = b"".join(gap + loud for gap in gaps) + silent
    for name, starting in (*race.daemons("gate: {uplink: open}"), *race.sdks()):
        known = len(race.agent.opened_s)
        with starting as racer, race.card.listen("mic_in.monitor") as microphone:
            race.woken(racer, known)
            time.sleep(1.0)
            race.agent.pieces.clear()
            race.agent.keep = True
            began_s = time.monotonic()
            race.card.play(played, rate_hz=RATE_HZ).wait()
            time.sleep(1.0)
            race.agent.keep = False
            heard = _onsets(microphone, began_s)
            arrived = _arrivals(race.agent.pieces)
            for at_s, came_s in zip(heard, arrived, strict=False) if len(heard) == len(arrived) else ():
                race.add("microphone to server", name, 1000 * (came_s - at_s))


def _onsets(listener: Any, since_s: float) -> list[float]:
    found: list[float] = []
    at_s = since_s
    while (next_s := listener.first_sound_s(at_s, LOUD)) is not None:
        found.append(next_s)
        at_s = next_s + 0.2
    return found


def _arrivals(pieces: list[tuple[float, bytes]]) -> list[float]:
    """When the first loud sample of each burst arrived: with the whole message in which it was."""
    found: list[float] = []
    position, last = 0, -RATE_HZ
    for arrived_s, sound in pieces:
        for sample in np.flatnonzero(np.abs(np.frombuffer(sound, "<i2").astype(np.int32)) > LOUD):
            if position + int(sample) - last > RATE_HZ // 5:
                found.append(arrived_s)
            last = position + int(sample)
        position += len(sound) // 2
    return found


def starting(race: Race) -> None:
    """from exec to a session, ms: of the clock, and of the processor"""
    for name, start in (*race.daemons("wake: {mode: always}"), *race.sdks()):
        known = len(race.agent.opened_s)
        with start as racer:
            opened_s = race.agent.wait_session(known)
            race.add("exec to session", f"{name}: ms", 1000 * (opened_s - racer.began_s))
            race.add("exec to session", f"{name}: ms of CPU until then or a little later", 1000 * cpu_s(racer.pid))


def waking(race: Race) -> None:
    """from the first sound of a voice to its first byte at the server, ms, by the round trip to it"""
    for latency_ms in race.length.latencies_ms:
        for name in race.names:
            far = racers.FarServer(race.agent.port, latency_ms)
            url = f"http://127.0.0.1:{far.port}"
            if name == "SDK":
                with racers.sdk(race.card, url, now=False) as racer:
                    known, began_s = len(race.agent.sound_s), time.monotonic()
                    racer.tell("start")
                    arrived_s = race.agent.wait_sound(known)
                    row = f"SDK, round trip {latency_ms} ms: from the order to start"
                    race.add("wake to first byte", row, 1000 * (arrived_s - began_s))
            else:
                with racers.daemon(race.card, url) as racer, race.card.listen("mic_in.monitor") as microphone:
                    time.sleep(2.0)
                    known, began_s = len(race.agent.sound_s), time.monotonic()
                    person = race.card.play(race.talk, rate_hz=RATE_HZ)
                    arrived_s = race.agent.wait_sound(known)
                    person.terminate()
                    person.wait()
                    spoke_s = _first(microphone, began_s, "the person")
                    row = f"parleyd, round trip {latency_ms} ms: from the voice"
                    race.add("wake to first byte", row, 1000 * (arrived_s - spoke_s))
            far.close()


def recovery(race: Race) -> None:
    """from the network's return to a session, ms; it was away for some seconds"""
    for name in race.names:
        far = racers.FarServer(race.agent.port, 0)
        url = f"http://127.0.0.1:{far.port}"
        known = len(race.agent.opened_s)
        with (racers.daemon if name == "parleyd" else racers.sdk)(race.card, url) as racer:
            race.woken(racer, known)
            time.sleep(1.0)
            known = len(race.agent.opened_s)
            far.lose()
            time.sleep(min(AWAY_S, 2 * race.length.seconds))
            far.restore()
            back_s = time.monotonic()
            # It has no way to connect again; a while is waited nevertheless.
            with contextlib.suppress(TimeoutError):
                opened_s = race.agent.wait_session(known, 20.0 if name == "parleyd" else 3.0)
                race.add("recovery", name, 1000 * (opened_s - back_s))
        far.close()


def curves(race: Race) -> None:
    """what parleyd's CPU (ms a second) and memory (MiB) do as something grows, in a session"""
    known = len(race.agent.opened_s)
    with racers.daemon(race.card, race.url, NAPPING) as racer:
        race.woken(racer, known)
        for count in _points(race, 0, 1, 2, 4, 8):
            with contextlib.ExitStack() as stack, _agent_talks(race, 1.0):
                for _ in range(int(count)):
                    stack.enter_context(_follower(racer.socket))
                _point(race, racer.pid, "control clients that follow, the agent talks", count)
        for rate in _points(race, 0, 10, 50, 200):
            with _events(race.agent, rate):
                _point(race, racer.pid, "events of the agent per second", rate)
        for chunk_s in _points(race, 0.02, 0.1, 0.5, 1, 4):
            with _agent_talks(race, chunk_s):
                _point(race, racer.pid, "length of the agent's chunks, s", chunk_s)
        for queued_s in _points(race, 1, 10, 60, 300):
            race.agent.say(race.talk[:SECOND_BYTES] * int(queued_s + 10), 1.0)
            _point(race, racer.pid, "seconds of the answer that wait", queued_s)
            race.agent.interrupt()
            time.sleep(0.5)
        in_flight = 0
        for calls in _points(race, 0, 1, 4, 16):
            while in_flight < calls:
                race.agent.call_tool("nap")
                in_flight += 1
            _point(race, racer.pid, "tools in flight", calls)


# A tool that takes longer than it is looked at.
NAPPING = """
tools:
  {at_once: 16, per_minute: 600, command: {nap: {description: Sleeps., run: [/bin/sleep, "100"], at_once: 16,
   timeout_s: 110}}}
"""


@contextlib.contextmanager
def _agent_talks(race: Race, chunk_s: float) -> Iterator[None]:
    race.agent.chunk_s = chunk_s
    race.agent.talks.set()
    try:
        yield
    finally:
        race.agent.talks.clear()
        time.sleep(chunk_s)
        race.agent.interrupt()


@contextlib.contextmanager
def _follower(path: Path) -> Iterator[None]:
    """A client that follows the events, and reads them."""
    with Client(path) as client:
        client.ask("events")
        thread = threading.Thread(target=_read_all, args=(client,), daemon=True)
        thread.start()
        yield
    thread.join(5.0)


def _read_all(client: Client) -> None:
    # The connection is closed beneath it, which is how it ends.
    with contextlib.suppress(UserError, OSError, ValueError):
        for _ in client.events():
            pass


@contextlib.contextmanager
def _events(agent: PlainAgent, rate: float) -> Iterator[None]:
    """So many messages a second that say little: tentative words of the agent."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(1 / rate):
            agent.send(
                {"type": "internal_tentative_agent_response", "tentative_agent_response_internal_event": TENTATIVE}
            )

    thread = threading.Thread(target=send, daemon=True)
    if rate:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if rate:
            thread.join()


TENTATIVE = {"tentative_agent_response": "It is going to be sunny."}


def _points(race: Race, *values: float) -> tuple[float, ...]:
    return values if race.length.all_points else values[:2]


def _point(race: Race, pid: int, curve: str, value: float) -> None:
    time.sleep(min(SETTLE_S, race.length.curve_s))
    found = measured(pid, race.length.curve_s)
    race.add(f"curve: {curve}", f"{value:g}: CPU", found.cpu_ms)
    race.add(f"curve: {curve}", f"{value:g}: MiB", found.rss_mib)


# Each tells its memory itself, at its end: what the kernel tells the parent (ru_maxrss) has the parent's own in it.
COMMAND = """
import sys
try:
    if sys.argv[1:]:
        from parleyd.cli.main import main
        main(sys.argv[1:])
finally:
    sys.stderr.write(open("/proc/self/status").read())
"""


def commands(race: Race) -> None:
    """what a command that asks the daemon takes: memory (MiB), and ms of the clock and of the processor"""
    with racers.daemon(race.card, race.url) as racer:
        words = ("--help", "status", "volume 40", "events")
        rows: dict[str, list[str]] = {"python, nothing else": []} | {
            f"command {one}": [*one.split(), *([] if one == "--help" else ["--socket", str(racer.socket)])]
            for one in words
        }
        for _ in range(race.length.trials):
            for name, arguments in rows.items():
                _run_once(race, name, arguments, {})
                if race.before is not None and arguments:
                    path = {"PYTHONPATH": str(race.before / "daemon")}
                    _run_once(race, f"before: {name}", arguments, path)


def _run_once(race: Race, name: str, arguments: list[str], environment: dict[str, str]) -> None:
    began_s, used_before_s = time.monotonic(), racers.children_s()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        env=racers.as_installed() | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    race.add("commands", f"{name}: ms", 1000 * (time.monotonic() - began_s))
    race.add("commands", f"{name}: ms of CPU", 1000 * (racers.children_s() - used_before_s))
    (peak_kib,) = (line.split()[1] for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    race.add("commands", f"{name}: MiB", int(peak_kib) / 1024)


def day(race: Race) -> None:
    """a scripted day, compressed (day.py): minutes of session and megabytes up, against a stream that is always on"""
    import day as scripted

    for row, value in scripted.figures(0.02 if race.length is SHORT else 1.0).items():
        race.add("a day", row, value)


def satellites(race: Race) -> None:
    """what else a Pi owner can install: CPU (ms a second), context switches, memory (MiB), waiting for a wake word"""
    import satellites as others

    for name, found in others.figures(race.card, race.length.seconds).items():
        if isinstance(found, str):
            race.notes.setdefault("satellites", []).append(f"{name}: {found}")
            continue
        race.add("satellites", f"{name}: CPU", found.cpu_ms)
        race.add("satellites", f"{name}: switches per s", found.switches)
        race.add("satellites", f"{name}: MiB", found.rss_mib)


# Those that are measured in every round; and those that are the same each time, or long, once.
PARTS: dict[str, Callable[[Race], None]] = {
    "cost": cost,
    "interruption": interruption,
    "answering": answering,
    "hearing": hearing,
    "starting": starting,
    "waking": waking,
    "recovery": recovery,
    "commands": commands,
}
ONCE: dict[str, Callable[[Race], None]] = {"curves": curves, "day": day, "satellites": satellites}


# ---------------------------------------------------------------- what is written


def tables(race: Race) -> str:
    """A table for each part: the median of all single measurements, the least and the most, and how many there were."""
    lines = []
    for part, rows in race.values.items():
        wide = max(map(len, rows), default=0)
        lines += ["", f"{part:<{wide}}{'median':>11}{'least':>10}{'most':>10}{'n':>5}"]
        for row, values in rows.items():
            middle = statistics.median(values)
            lines.append(f"{row:<{wide}}{middle:>11.1f}{min(values):>10.1f}{max(values):>10.1f}{len(values):>5}")
    for part, notes in race.notes.items():
        lines += ["", part, *(f"  {note}" for note in notes)]
    return "\n".join(lines)


def about() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "date": time.strftime("%F %H:%M UTC", time.gmtime()),
        "commit": commit,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": [round(one, 1) for one in os.getloadavg()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one round of the least length")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", default=[], choices=[*PARTS, *ONCE], help="may be given again")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="a checkout whose daemon is measured beside")
    parser.add_argument(
        "--without-sdk", action="store_true", help="leave out the official SDK, which is installed once"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "measurements", metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="what the parts measure")
    args = parser.parse_args()
    if args.list:
        for name, part in (PARTS | ONCE).items():
            print(f"{name:<14}{part.__doc__}")
        return
    card = vcard.VirtualCard()
    room = None
    try:
        race = Race(card, SHORT if args.short else FULL, args.before, with_sdk=not args.without_sdk)
        noise = np.random.default_rng(1).normal(0.0, 32768.0 * 10 ** (NOISE_DBFS / 20), RATE_HZ * 600)
        quiet = np.rint(noise).astype("<i2").tobytes() * 12
        room = card.play(quiet, rate_hz=RATE_HZ, latency_ms=ROOM_MS)
        for number in range(1 if args.short else args.rounds):
            for name, part in (PARTS | (ONCE if number == 0 else {})).items():
                if not args.only or name in args.only:
                    print(f"race: round {number + 1}: {name}", file=sys.stderr)
                    part(race)
    finally:
        if room is not None:
            room.terminate()
            room.wait()
        card.stop()
    found = about()
    print(", ".join(f"{name}: {value}" for name, value in found.items()))
    print(tables(race))
    args.out.mkdir(parents=True, exist_ok=True)
    kept = {"about": found, "values": race.values, "notes": race.notes}
    (args.out / "race.json").write_text(json.dumps(kept, indent=1) + "\n")
    try:
        from race_pictures import draw
    except ImportError as error:
        print(f"no pictures: {error}", file=sys.stderr)
    else:
        draw(race.values, args.out)


if __name__ == "__main__":
    main()
