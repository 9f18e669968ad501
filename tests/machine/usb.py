"""The daemon in the machine while its sound devices are pulled out and put back. Called by scripts/test-usb."""

from __future__ import annotations

import argparse
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from choice import Check, choose
from cores import others_are_to_blame
from missing_card import LOOK, OPEN, Evidence, held

from machine import Entry, Machine, MachineError, boot
from vcard import Listener, VirtualCard

BACK_WITHIN_S = 5.0
TOLD_WITHIN_S = 30.0
SPEAKER, MICROPHONE = "speaker", "microphone"
# A name each, as in qemu and as a user would give them to parleyd.
PLUGS = {SPEAKER: "usb-audio,id=speaker,audiodev=usb,bus=xhci.0", MICROPHONE: "ES1370,id=microphone,audiodev=pci"}
DEVICES = {SPEAKER: "USB Audio", MICROPHONE: "AudioPCI"}
# Linux' driver of the microphone (sound/pci/ens1370.c) counts the cards that it has had since it was loaded, and takes
# no 33rd, however many of them have gone. The driver for USB counts those that are there.
MICROPHONE_DRIVER, ITS_CARDS = "snd_ens1370", 32

# What udev says of the file that parleyd needs, with the card's number.
READY = {
    SPEAKER: r"UDEV .*add +/devices/(?=.*usb)\S*/pcmC(\d+)D0p ",
    MICROPHONE: r"UDEV .*add +/devices/(?=.*pci)\S*/pcmC(\d+)D0c ",
}

AGENT_UNIT = """
[Service]
ExecStart=/opt/parleyd/bin/parleyd agent --json --record /var/tmp/heard --scenario /etc/parleyd/agent.yaml
"""
# An emulated machine is too slow for a recogniser: whatever is said, is answered at length.
AGENT = """\
agent:
  first_message: ''
  ears: none
  replies:
  - {heard: ., say: "Once upon a time there was a small loudspeaker who lived on a shelf above the kitchen table. \
    Every morning it listened to the kettle, and every evening it told the table what the kettle had said. \
    The table had no ears, but it was polite, and it never once complained. \
    One day somebody pulled the plug out of the loudspeaker."}
"""
CONFIG = """\
provider: {provider}
elevenlabs: {{agent_id: any, base_url: "http://127.0.0.1:8765"}}
wake: {{mode: {wake}}}
audio: {{input: {{device: "{microphone}"{input}}}, output: {{device: "{speaker}"{output}}}, echo: {{mode: "off"}}}}
session: {{idle_timeout_s: 3600, false_wake_s: 3600}}
earcons: {{listening: "off", sleeping: "off", error: "off", muted: "off", unmuted: "off"}}
log: {{format: {log}, level: debug}}
"""


class CheckError(Exception):
    """What was expected has not happened."""


class NotJudgedError(Exception):
    """This machine is too busy to tell."""


class NotBackError(CheckError):
    """A card is not back, and the daemon is to blame. found: what the machine looked like."""

    def __init__(self, text: str, found: str) -> None:
        super().__init__(text)
        self.found = found


class EmulationError(Exception):
    """A card is not back, and the emulated machine is to blame. found: what it looked like."""

    def __init__(self, text: str, found: str) -> None:
        super().__init__(text)
        self.found = found


def expect(holds: object, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)


@dataclass(frozen=True)
class Away:
    """told_s: from the pull; back_s: from the plug; since_ready_s: from when the card could be opened."""

    told_s: float
    back_s: float
    since_ready_s: float

    def __str__(self) -> str:
        return (
            f"told {self.told_s:.1f} s after the pull, sound {self.since_ready_s:.1f} s after the card's return "
            f"({self.back_s:.1f} s after the plug)"
        )


class Bench:
    """The daemon in the machine, its plugs, and what is said and heard outside."""

    def __init__(self, machine: Machine, card: VirtualCard) -> None:
        self.machine = machine
        self.card = card
        self._spoken: dict[str, tuple[bytes, int]] = {}
        self.began = 0
        self.pid = ""
        self._microphones = 1  # since its driver was loaded; the first was there at the start
        self._room: subprocess.Popen[bytes] | None = None
        self.room_sounds(True)

    def room_sounds(self, on: bool) -> None:
        """No room is without a sound; without one, the microphone delivers digital silence."""
        if self._room is not None:
            self._room.terminate()
            self._room.wait(10)
            self._room = None
        if on:
            an_hour = np.random.default_rng(1).integers(-6, 7, 3600 * 8_000, dtype=np.int16)
            self._room = self.card.play(an_hour.tobytes(), rate_hz=8_000)

    # ------------------------------------------------------------ the daemon

    def start(
        self,
        *,
        provider: str = "elevenlabs",
        wake: str = "speech",
        microphone: str = DEVICES[MICROPHONE],
        speaker: str = DEVICES[SPEAKER],
        input: str = "",
        output: str = "",
    ) -> None:
        """With a new agent; what they say is in the journal from here on (`began`).

        input, output: more of audio.input and of audio.output.
        """
        self.machine.run("systemctl stop parleyd agent; systemctl reset-failed parleyd agent; true")
        self.configure(provider=provider, wake=wake, microphone=microphone, speaker=speaker, input=input, output=output)
        self.began = self.machine.mark()
        if provider != "local":
            self.machine.run("systemctl start agent")
            self.machine.wait_for("agent", '"listening"', self.began, timeout_s=90)
        self.machine.run("systemctl start parleyd", timeout_s=180)
        self.pid = self.main_pid()

    def configure(self, *, log: str = "journal", **words: str) -> None:
        given = {
            "provider": "elevenlabs",
            "wake": "speech",
            "microphone": DEVICES[MICROPHONE],
            "speaker": DEVICES[SPEAKER],
            "input": "",
            "output": "",
        }
        self.machine.write("/etc/parleyd/parleyd.yaml", CONFIG.format(log=log, **given | words))

    def main_pid(self) -> str:
        return self.machine.run("systemctl show -P MainPID parleyd").strip()

    def figures(self) -> tuple[int, int, int]:
        """→ threads, file handles, KiB of memory."""
        out = self.machine.run(
            f"ls /proc/{self.pid}/task | wc -l; ls /proc/{self.pid}/fd | wc -l; "
            f"sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{self.pid}/status"
        )
        threads, files, memory = (int(word) for word in out.split())
        return threads, files, memory

    def same_process(self) -> None:
        now = self.main_pid()
        expect(now == self.pid, f"the daemon was process {self.pid}, and is {now} now")

    def same_session(self) -> None:
        self.same_process()
        connected = len(self.machine.told("agent", '"event": "connected"', self.began))
        closed = len(self.machine.told("agent", '"event": "closed"', self.began))
        expect((connected, closed) == (1, 0), f"{connected} sessions began, {closed} ended")

    # ------------------------------------------------------------ plugs

    def unplug(self, which: str) -> None:
        self.machine.monitor(f"device_del {which}")

    def plug(self, which: str) -> None:
        if which == MICROPHONE:
            self._another_microphone()
        # Pulling a card out takes the machine some moments, during which its name is still in use.
        mark, until_s = self.machine.mark(), time.monotonic() + 10
        while True:
            try:
                self.machine.monitor(f"device_add {PLUGS[which]}")
                return
            except MachineError as error:
                if "uplicate" not in str(error):
                    raise
                if time.monotonic() > until_s:
                    self._not_back(which, mark, f"the machine has not let go of the {which} 10 s after the pull")
                time.sleep(0.2)  # The monitor tells nothing by itself.

    def _another_microphone(self) -> None:
        if self._microphones == ITS_CARDS:
            # udev loads it again for the card. It is in use until the card that was pulled out has gone.
            command = f"for n in $(seq 50); do rmmod {MICROPHONE_DRIVER} && exit; sleep 0.2; done; exit 1"
            mark = self.machine.mark()
            try:
                self.machine.run(command, timeout_s=90)
            except MachineError as error:
                self._not_back(MICROPHONE, mark, str(error))
            self._microphones = 0
        self._microphones += 1

    def cycle(self, which: str, away_s: float = 3.0) -> Away:
        """Out, noticed, in, and sound again."""
        mark = self.machine.mark()
        out_s = time.monotonic()
        self.unplug(which)
        gone = self.machine.wait_for("parleyd", f"the {which} '.*' is gone", mark, timeout_s=15)
        # As long as the card is to be away.
        time.sleep(max(0.0, out_s + away_s - time.monotonic()))
        return Away(gone.arrived_s - out_s, *self.back(which))

    def back(self, which: str) -> tuple[float, float]:
        """In, and sound again. → seconds from the plug; from when the machine had made the card's files."""
        mark, waits = self.machine.mark(), self.machine.waits()
        in_s = time.monotonic()
        self.plug(which)
        back = self.told_back(which, mark)
        # What comes before belongs to the kernel and to udev, and to how busy this machine is.
        since_ready_s = back.at_s - self.ready(which, mark).at_s
        self.in_time(f"the {which} was back only {since_ready_s:.1f} s after its return", since_ready_s, waits)
        return back.arrived_s - in_s, since_ready_s

    def in_time(self, otherwise: str, late_s: float, waits: dict[str, float]) -> None:
        """waits: of the machine, when it began. Raises CheckError, or NotJudgedError if other programs are to blame."""
        waited_s = self.machine.waited_s(waits)
        if others_are_to_blame(late_s, waited_s, BACK_WITHIN_S):
            raise NotJudgedError(f"{otherwise}; for {waited_s:.1f} s other programs had this machine's cores")
        expect(late_s <= BACK_WITHIN_S, otherwise)

    def ready(self, which: str, mark: int) -> Entry:
        """The last of the card's files that parleyd needs: udev has given it to the group audio."""
        return self.machine.wait_for("plugs", READY[which], mark)

    def told_back(self, which: str, mark: int) -> Entry:
        """parleyd has said since the mark that it is back. Raises NotBackError or EmulationError if it does not, and
        NotJudgedError if other programs had the cores for more than half of the time."""
        waits = self.machine.waits()
        try:
            return self.machine.wait_for("parleyd", f"the {which} '.*' is back", mark, timeout_s=TOLD_WITHIN_S)
        except MachineError as error:
            if (waited_s := self.machine.waited_s(waits)) > TOLD_WITHIN_S / 2:
                raise NotJudgedError(f"{error}; for {waited_s:.1f} s other programs had this machine's cores") from None
            self._not_back(which, mark, str(error))

    def _not_back(self, which: str, mark: int, text: str) -> NoReturn:
        """mark: before the plug."""
        shown = self.machine.monitor("info pci" if which == MICROPHONE else "info usb")
        looked = self.machine.run(LOOK.replace("{pid}", self.pid), timeout_s=90, check=False)
        ready = self.machine.told("plugs", READY[which], mark)
        card, opened = None, "the card has no files that could be opened\n"
        if ready and (found := re.search(READY[which], ready[-1].text)):
            card = int(found[1])
            program, file = ("aplay", "/dev/zero") if which == SPEAKER else ("arecord", "/dev/null")
            command = OPEN.format(program=program, card=card, file=file) + " && echo opens"
            opened = self.machine.run(command, timeout_s=90, check=False)
        evidence = Evidence(plugged=which in shown, card=card, opens=opened.endswith("opens\n"), held=held(looked))
        found_there = f"== {evidence}\n{looked}== another program\n{opened}"
        if (reason := evidence.fault_of_the_machine()) is not None:
            raise EmulationError(f"{text}; that is the emulated machine's: {reason}", found_there)
        raise NotBackError(text, found_there)

    # ------------------------------------------------------------ talk

    def say(self, text: str) -> None:
        """Into the microphone, and waits until it is over."""
        if text not in self._spoken:
            with tempfile.NamedTemporaryFile(suffix=".wav") as file:
                subprocess.run(["flite", "-voice", "rms", "-t", text, "-o", file.name], check=True)
                with wave.open(file.name) as sound:
                    self._spoken[text] = sound.readframes(sound.getnframes()), sound.getframerate()
        pcm, rate_hz = self._spoken[text]
        self.card.play(pcm, rate_hz=rate_hz).wait(30)

    def ask(self, text: str, listener: Listener | None = None) -> None:
        """Says it until the agent has heard something, three times at most; then waits for its voice at the speaker."""
        waits, began_s = self.machine.waits(), time.monotonic()
        for _ in range(3):
            mark = self.machine.mark()
            asked_s = time.monotonic()
            self.say(text)
            try:
                self.machine.wait_for("agent", '"event": "heard"', mark, timeout_s=25)
                break
            except MachineError:
                continue
        else:
            self._missed(f"the agent did not hear {text!r}", time.monotonic() - began_s, waits)
        if listener is not None:
            self.sounds(listener, asked_s, 30, "the answer does not sound at the speaker")

    def sounds(self, listener: Listener, since_s: float, within_s: float, otherwise: str) -> None:
        """At the speaker, since then. Raises as _missed()."""
        waits = self.machine.waits()
        if not listener.wait_for_sound(since_s, within_s):
            self._missed(otherwise, within_s, waits)

    def _missed(self, text: str, within_s: float, waits: dict[str, float]) -> NoReturn:
        """Raises NotJudgedError if other programs had the cores for more than half of the time, else CheckError."""
        if (waited_s := self.machine.waited_s(waits)) > within_s / 2:
            raise NotJudgedError(f"{text}; for {waited_s:.1f} s other programs had this machine's cores")
        raise CheckError(text)

    def heard(self) -> tuple[float, float]:
        """→ the machine's time, and how much sound the agent has by then, in s. At once: a command may take seconds."""
        file = "/var/tmp/heard/connection-001-received.wav"
        at_s, size = self.machine.run(f"read -r up _ </proc/uptime; echo $up $(stat -c %s {file})").split()
        return float(at_s), int(size) / 32_000

    def went_up(self, since: tuple[float, float]) -> float:
        """Seconds of sound and silence per second, since heard() said that."""
        at_s, sound_s = self.heard()
        return (sound_s - since[1]) / (at_s - since[0])


# ---------------------------------------------------------------- the checks


def started(bench: Bench, _cycles: int) -> str:
    bench.start()
    devices = bench.machine.wait_for("parleyd", "^listening on", bench.began)
    return f"as a service, {devices.text}"


def asleep_speaker(bench: Bench, _cycles: int) -> str:
    away = bench.cycle(SPEAKER)
    bench.same_process()
    return f"{away}; same process"


def asleep_microphone(bench: Bench, _cycles: int) -> str:
    away = bench.cycle(MICROPHONE)
    bench.same_process()
    return f"{away}; same process"


def wakes_and_answers(bench: Bench, _cycles: int) -> str:
    with bench.card.listen() as listener:
        bench.ask("What time is it?", listener)
    bench.machine.wait_for("parleyd", "-> live", bench.began)
    bench.same_session()
    return "woken by the microphone that came back, answered through the speaker that came back"


def live_speaker(bench: Bench, _cycles: int) -> str:
    mark = bench.machine.mark()
    away = bench.cycle(SPEAKER, away_s=6)
    bench.same_session()
    expect(not bench.machine.told("parleyd", "the microphone .* is gone", mark), "the microphone was interrupted")
    return f"{away}; same session, the microphone not interrupted"


def live_microphone(bench: Bench, _cycles: int) -> str:
    since = bench.heard()
    time.sleep(8)  # The sound of this time is counted.
    with_it = bench.went_up(since)
    mark, since = bench.machine.mark(), bench.heard()
    away = bench.cycle(MICROPHONE, away_s=8)
    bench.same_session()
    expect(not bench.machine.told("parleyd", "the speaker .* is gone", mark), "the speaker was interrupted")
    # A busy machine is behind now and then, and catches up.
    for _ in range(4):
        share = bench.went_up(since)
        if is_real_time(share):
            break
        time.sleep(4)  # The sound of this time is counted, too.
    else:
        found = f"{share:.2f} s of sound and silence went up per second, {with_it:.2f} s with the microphone there"
        if not is_real_time(with_it):
            raise NotJudgedError(f"{away}; same session; {found}: this machine is too slow for either")
        raise CheckError(found)
    with bench.card.listen() as listener:
        bench.ask("What time is it?", listener)
    return f"{away}; same session, {share:.2f} s of sound and silence went up per second, and it hears again"


def is_real_time(share: float) -> bool:
    return 0.93 < share < 1.07


def speaking_speaker(bench: Bench, _cycles: int) -> str:
    with bench.card.listen() as listener:
        bench.ask("Tell me a long story.", listener)
        away = bench.cycle(SPEAKER, away_s=2)
        bench.sounds(listener, time.monotonic() - 0.5, BACK_WITHIN_S, "the story does not go on")
    bench.same_session()
    return f"{away}; the story goes on, same session"


def speaking_microphone(bench: Bench, _cycles: int) -> str:
    with bench.card.listen() as listener:
        bench.ask("Tell me a long story.", listener)
        mark = bench.machine.mark()
        away = bench.cycle(MICROPHONE, away_s=2)
        bench.sounds(listener, time.monotonic() - 0.5, 3, "the story has stopped")
        expect(not bench.machine.told("parleyd", "the speaker .* is gone", mark), "the speaker was interrupted")
    bench.same_session()
    return f"{away}; the story goes on all the while, same session"


def both_at_once(bench: Bench, _cycles: int) -> str:
    """Plugged in the other way round, so that they change their numbers."""
    mark = bench.machine.mark()
    for which in PLUGS:
        bench.unplug(which)
    for which in PLUGS:
        bench.machine.wait_for("parleyd", f"the {which} '.*' is gone", mark, timeout_s=15)
    mark, waits = bench.machine.mark(), bench.machine.waits()
    for which in reversed(PLUGS):
        bench.plug(which)
    late_s = 0.0
    for which in PLUGS:
        back = bench.told_back(which, mark)
        late_s = max(late_s, back.at_s - max(bench.ready(each, mark).at_s for each in PLUGS))
    bench.in_time(f"back only {late_s:.1f} s after their return", late_s, waits)
    with bench.card.listen() as listener:
        bench.ask("What time is it?", listener)
    bench.same_session()
    return f"out, and in the other way round: both sound {late_s:.1f} s after their return; it hears and speaks"


def quick(bench: Bench, _cycles: int) -> str:
    mark, waits = bench.machine.mark(), bench.machine.waits()
    bench.unplug(SPEAKER)
    bench.plug(SPEAKER)
    back = bench.told_back(SPEAKER, mark)
    late_s = back.at_s - bench.ready(SPEAKER, mark).at_s
    bench.in_time(f"back only {late_s:.1f} s after its return", late_s, waits)
    with bench.card.listen() as listener:
        bench.ask("What time is it?", listener)
    bench.same_session()
    return f"out and in again at once: sound {late_s:.1f} s after the card's return, and heard"


def many(bench: Bench, cycles: int) -> str:
    times: dict[str, list[float]] = {SPEAKER: [], MICROPHONE: []}
    figures = []
    slow: list[NotJudgedError] = []
    for number in range(cycles + 1):
        for which, some in times.items():
            try:
                some.append(bench.cycle(which, away_s=1.0).since_ready_s)
            except NotJudgedError as reason:
                slow.append(reason)
        if number in (0, cycles):
            figures.append(bench.figures())
    bench.same_session()
    (threads, files, memory), (threads_after, files_after, memory_after) = figures
    expect(threads_after <= threads, f"{threads} threads before, {threads_after} after")
    expect(files_after <= files, f"{files} file handles before, {files_after} after")
    # The heap grows in steps: in 28 cycles asleep by 0.2 MiB, and once by 2.3.
    expect(memory_after - memory < 4096, f"{memory} KiB of memory before, {memory_after} after")
    if not all(times.values()):
        raise NotJudgedError(f"{len(slow)} returns were not judged, such as: {slow[0]}")
    shown = "; ".join(
        f"{which} {statistics.median(some):.1f} s (median), {max(some):.1f} s (longest)"
        for which, some in times.items()
    )
    if slow:
        shown += f"; {len(slow)} returns were not judged, such as: {slow[0]}"
    return (
        f"{cycles} times each, after the return: {shown}; {threads} threads before and {threads_after} after, "
        f"{files} and {files_after} handles, {memory / 1024:.1f} and {memory_after / 1024:.1f} MiB"
    )


def muted(bench: Bench, _cycles: int) -> str:
    mark = bench.machine.mark()
    bench.room_sounds(False)
    bench.machine.wait_for("parleyd", "delivers digital silence", mark, timeout_s=20)
    time.sleep(6)  # A dead microphone would be given up within this time.
    bench.room_sounds(True)
    bench.machine.wait_for("parleyd", "the microphone '.*' is back", mark, timeout_s=20)
    expect(not bench.machine.told("parleyd", "is gone", mark), "a muted microphone was taken for a dead one")
    bench.same_session()
    return "told as digital silence, not as gone; back with the first sound"


def no_harm(bench: Bench, _cycles: int) -> str:
    restarts = bench.machine.run("systemctl show -P NRestarts parleyd").strip()
    expect(restarts == "0", f"systemd has restarted the daemon {restarts} times")
    texts = [entry.text for entry in bench.machine.journal[bench.began :] if entry.unit == "parleyd"]
    bad = [text for text in texts if re.search(r"[Aa]ssert|Traceback|Segmentation|core dumped|ALSA lib|\bNone\b", text)]
    expect(not bad, f"the journal has {len(bad)} lines such as {bad[:1]}")
    # PortAudio prints one when it notices the pull before the daemon does.
    chatter = sum(text.startswith("Expression '") for text in texts)
    pulls = sum("' is gone" in text for text in texts)
    expect(chatter <= pulls, f"{chatter} lines of PortAudio's own in the journal")
    return f"no restart, no abort, no traceback; {pulls} pulls left {chatter} lines of PortAudio's own in the journal"


def agent_inside(bench: Bench, _cycles: int) -> str:
    with bench.card.listen() as listener:
        since_s = time.monotonic()
        bench.start(provider="local", wake="always")
        bench.sounds(listener, since_s, 30, "the greeting does not sound")
    away = bench.cycle(SPEAKER)
    bench.same_process()
    expect(len(bench.machine.told("parleyd", "-> live", bench.began)) == 1, "the session did not stay")
    return f"provider: local greets; {away}; same process, same session"


def mixer(bench: Bench, _cycles: int) -> str:
    control = "Audio Output Volume Control"

    def level() -> int:
        shown = bench.machine.run(f"amixer -M -c Audio sget '{control}'")
        return int(re.findall(r"\[(\d+)%\]", shown)[0])

    bench.start(output=f', volume: 0.5, mixer: {{control: "{control}", card: Audio}}')
    at_start = level()
    bench.machine.run("PARLEYD_SOCKET=/run/parleyd/control.sock /opt/parleyd/bin/parleyd volume 30", timeout_s=90)
    moved = level()
    bench.cycle(SPEAKER)
    give_up_s = time.monotonic() + 20
    while (back := level()) != 30 and time.monotonic() < give_up_s:
        pass  # Each look takes a second of the machine.
    expect((at_start, moved) == (50, 30), f"{at_start} % at the start, {moved} % after `parleyd volume 30`")
    expect(back == 30, f"{back} % after the speaker was out and in again, instead of 30 %")
    return f"{at_start} % at the start, {moved} % by command, {back} % after the speaker was out and in again"


def busy(bench: Bench, _cycles: int) -> str:
    bench.machine.run("systemctl stop parleyd")
    bench.configure(log="text")
    out = bench.machine.run(
        "card=$(sed -n 's/^ *\\([0-9]\\) .*USB-Audio.*/\\1/p' /proc/asound/cards); "
        # Emulated USB fails now and then.
        "while true; do aplay -q -D hw:$card -f S16_LE -c 2 -r 48000 /dev/zero; done 2>/dev/null & sleep 2; "
        "timeout 60 /opt/parleyd/bin/parleyd run -c /etc/parleyd/parleyd.yaml; echo code $?; kill %1; pkill -x aplay",
        timeout_s=90,
        check=False,
    )
    lines = [line for line in out.splitlines() if line.startswith(("parleyd:", "code"))]
    expect("code 69" in lines and re.search("is busy|cannot be opened now", out), f"it says {out!r}")
    return f"{lines[0].removeprefix('parleyd: ')} (exit code 69)"


def odd_rates(bench: Bench, _cycles: int) -> str:
    """A loopback card: whoever opens its other end first decides rate and channels."""
    machine = bench.machine
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", "rms", "-t", "What time is it?", "-o", file.name], check=True)
        machine.write("/tmp/question.wav", Path(file.name).read_bytes())
    machine.write("/tmp/right.py", RIGHT_ONLY)
    machine.run("modprobe snd-aloop pcm_substreams=2; sleep 1; python3 /tmp/right.py /tmp/question.wav /tmp/right.wav")
    # The speaker's other end takes 44.1 kHz only, and the microphone's gives 48 kHz with the voice on the right.
    # Both are there before the daemon, which takes what is free.
    machine.run(
        "systemctl reset-failed; "
        "systemd-run -q --unit=ear arecord -q -D hw:Loopback,1,1 -f S16_LE -c 2 -r 44100 /tmp/ear.wav; "
        "systemd-run -q --unit=voice bash -c 'while true; do aplay -q -D hw:Loopback,0,0 /tmp/right.wav; done'; sleep 2"
    )
    card = machine.run("sed -n 's/^ *\\([0-9]*\\) \\[Loopback.*/\\1/p' /proc/asound/cards").strip()
    heard = {}
    for channel in (2, 1):
        bench.start(wake="always", microphone=f"(hw:{card},1)", speaker=f"(hw:{card},0)", input=f", channel: {channel}")
        machine.wait_for("parleyd", "-> live", bench.began)
        try:
            machine.wait_for("agent", '"event": "heard"', bench.began, timeout_s=45)
            heard[channel] = True
            # For the answer.
            machine.wait_for("parleyd", "the agent answers", bench.began)
            time.sleep(5)  # The length of the answer, which the speaker takes in real time.
        except MachineError:
            heard[channel] = False
    machine.run("systemctl stop parleyd ear voice; true")
    peak = int(machine.run("python3 /tmp/right.py --peak /tmp/ear.wav"))
    expect(heard == {2: True, 1: False}, f"heard by channel: {heard}")
    expect(peak > 1000, f"the answer's peak at 44.1 kHz is {peak}")
    return "48 kHz in, the voice on channel 2: heard with channel 2, not with channel 1; answer out at 44.1 kHz"


RIGHT_ONLY = """\
import array, sys, wave
if sys.argv[1] == "--peak":
    with wave.open(sys.argv[2]) as file:
        sound = file.readframes(file.getnframes())
    print(max(map(abs, array.array("h", sound[: len(sound) & ~1])), default=0))
else:
    with wave.open(sys.argv[1]) as file:
        rate, mono = file.getframerate(), array.array("h", file.readframes(file.getnframes()))
    both = array.array("h")
    for sample in array.array("h", [0] * rate * 2) + mono + array.array("h", [0] * rate * 8):
        both.extend((0, sample) * (48000 // rate))
    with wave.open(sys.argv[2], "wb") as file:
        file.setparams((2, 2, 48000, 0, "NONE", ""))
        file.writeframes(both.tobytes())
"""

# It begins the session.
SPOKEN_TO = "asleep, then spoken to"

CHECKS = [
    Check("started", started),
    Check("asleep, the speaker", asleep_speaker, needs=("started",)),
    Check("asleep, the microphone", asleep_microphone, needs=("started",)),
    Check(SPOKEN_TO, wakes_and_answers, needs=("asleep, the speaker", "asleep, the microphone")),
    Check("live, the speaker", live_speaker, needs=(SPOKEN_TO,)),
    Check("live, the microphone", live_microphone, needs=(SPOKEN_TO,)),
    Check("speaking, the speaker", speaking_speaker, needs=(SPOKEN_TO,)),
    Check("speaking, the microphone", speaking_microphone, needs=(SPOKEN_TO,)),
    Check("both", both_at_once, needs=(SPOKEN_TO,)),
    Check("quick", quick, needs=(SPOKEN_TO,)),
    Check("many", many, needs=(SPOKEN_TO,)),
    Check("muted", muted, needs=(SPOKEN_TO,)),
    Check("no harm", no_harm, needs=("started",)),
    Check("the embedded agent", agent_inside),
    Check("mixer", mixer),
    Check("a busy device", busy),
    Check("odd devices", odd_rates),
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/test-usb")
    parser.add_argument("--machine", type=Path, required=True)
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--only", type=re.compile, default="", help="a regular expression: the checks to be made")
    parser.add_argument("--log", type=Path, help="write the machine's journal there")
    args = parser.parse_args()
    # So that everything is ended on the way out.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    began_s = time.monotonic()
    card = VirtualCard()
    failed = 0
    try:
        with (
            tempfile.TemporaryDirectory(prefix="machine-") as run,
            boot(args.machine, Path(run), card.environment, list(PLUGS.values())) as machine,
        ):
            try:
                bench = Bench(machine, card)
                try:
                    failed = report(bench, args, began_s)
                finally:
                    bench.room_sounds(False)
            finally:
                if args.log is not None:
                    args.log.write_text(
                        "".join(f"{entry.at_s:9.3f} {entry.unit}: {entry.text}\n" for entry in machine.journal)
                    )
    except MachineError as error:
        print(f"FAIL  {error}")
        failed = 1
    finally:
        card.stop()
    return failed


def report(bench: Bench, args: argparse.Namespace, began_s: float) -> int:
    machine = bench.machine
    release = machine.run(". /etc/os-release; echo $PRETTY_NAME, Linux $(uname -r), $(python3 --version)").strip()
    print(f"{release}, emulated; up after {time.monotonic() - began_s:.0f} s")
    machine.write("/etc/systemd/system/agent.service", AGENT_UNIT)
    machine.write("/etc/parleyd/agent.yaml", AGENT)
    machine.run("systemctl daemon-reload; systemd-run -q --unit=plugs udevadm monitor --udev --subsystem-match=sound")
    print(machine.run("/opt/parleyd/bin/parleyd devices", timeout_s=90, check=False).rstrip(), flush=True)
    failed = unjudged = 0
    lost = ""
    checks = choose(CHECKS, args.only)
    for check in checks:
        if lost:
            unjudged += 1
            print(f"----  {check.name}: not tried: {lost}", flush=True)
            continue
        since_s = time.monotonic()
        found = ""
        try:
            print(f"ok    {check.name}: {check.run(bench, args.cycles)}", flush=True)
            continue
        except NotJudgedError as reason:
            unjudged += 1
            print(f"----  {check.name}: {reason}", flush=True)
            continue
        except EmulationError as reason:
            unjudged += 1
            found, lost = reason.found, f"the emulated machine has lost a card in {check.name!r}"
            print(f"----  {check.name}: {reason}", flush=True)
        except (CheckError, MachineError, AssertionError) as error:
            failed += 1
            found = error.found if isinstance(error, NotBackError) else ""
            print(f"FAIL  {check.name}: {error}", flush=True)
        for entry in machine.journal[-400:]:
            if entry.unit == "parleyd" and entry.arrived_s > since_s - 1:
                print(f"        {entry.at_s:.2f} {entry.text}")
        for line in found.splitlines():
            print(f"        {line}")
    print(f"{len(checks)} checks, {failed} failed, {unjudged} not judged; {time.monotonic() - began_s:.0f} s")
    return 1 if failed else 2 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
