"""Goes through `parleyd setup` at a terminal, and records it. See scripts/record-setup.

A person is played into the virtual microphone; the words come from flite. Waits are shortened in the cast.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- recording: begin -->", "<!-- recording: end -->"
COLUMNS, ROWS = 80, 30
# A wait without output is shown as long as this at most.
LONGEST_WAIT_S = 1.5
KEY_S, READ_S = 0.06, 0.5
PORT = 8765
API_KEY = "sk_recording0123456789"
RATE_HZ = 16_000
# A card with the names that a real one has, on top of that of the tests.
CARD = """
update-sink-proplist mic_in device.description="Cable of the recording"
load-module module-null-sink sink_name=usb_out rate=48000 channels=2 norewinds=1 \
sink_properties='device.description="USB Speakerphone"'
load-module module-null-sink sink_name=hdmi rate=48000 channels=2 \
sink_properties='device.description="Built-in Audio Digital Stereo (HDMI)"'
load-module module-remap-source source_name=usb_in master=mic_in.monitor \
source_properties='device.description="USB Speakerphone"'
set-default-source usb_in
set-default-sink usb_out
"""


class Terminal:
    """One command at a terminal of its own. events: the output with its time, as the cast has it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.events: list[tuple[float, str]] = []
        self._text = ""
        self._place = 0
        self._shown_s = 0.0
        self._last_s = time.monotonic()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def show(self, text: str) -> None:
        """A text of the recording itself, such as the prompt of a shell."""
        now_s = time.monotonic()
        self._shown_s += min(now_s - self._last_s, LONGEST_WAIT_S)
        self._last_s = now_s
        self.events.append((self._shown_s, text))
        self._text += text

    def sees(self, *texts: str, timeout_s: float = 120.0) -> int:
        """Waits for one of the texts, which may be wrapped."""
        patterns = [re.compile(r"\s+".join(map(re.escape, text.split()))) for text in texts]
        until_s = time.monotonic() + timeout_s
        while True:
            for number, pattern in enumerate(patterns):
                if found := pattern.search(plain(self._text), self._place):
                    self._place = found.end()
                    return number
            if time.monotonic() > until_s or not self._read(until_s):
                raise SystemExit(f"waited for {texts}, and saw:\n{plain(self._text)}")

    def asked(self, question: str, answer: str = "") -> None:
        self.sees(question)
        while not re.search(r"(\]|:|\?) $", self._text):
            self._read(time.monotonic() + 60)
        time.sleep(READ_S)
        for sign in answer:
            os.write(self._master, sign.encode())
            self._read(time.monotonic() + KEY_S)
        os.write(self._master, b"\n")

    def end(self) -> int:
        while self._read(time.monotonic() + 60):
            pass
        return self._process.wait(60)

    def _read(self, until_s: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, until_s - time.monotonic()))[0]:
            return time.monotonic() < until_s
        try:
            more = os.read(self._master, 65_536)
        except OSError:
            return False
        self.show(more.decode("utf-8", "replace"))
        return bool(more)


def plain(text: str) -> str:
    """The text as it stands on the terminal at the end: without colours, and without lines that were written over."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n")
    text = re.sub(r"[^\n]*\x1b\[K", "", text)
    return text.replace("\r", "")


@contextlib.contextmanager
def machine() -> Iterator[tuple[Any, Any, Any, dict[str, str]]]:
    """The card, the account and the person."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "daemon")]
    import numpy as np

    from parleyd.embedded.server import LocalAgent
    from parleyd.embedded.settings import AgentSettings
    from parleyd.embedded.voice import Voice
    from vcard import VirtualCard

    card = VirtualCard(CARD)
    try:
        for name in ("vspk", "vmic"):
            card.remove(name)
        (card.dir / "asound.conf").write_text(
            f'pcm.!default {{ type pulse server "unix:{card.dir}/native" hint {{ show on description "card" }} }}\n'
            f'ctl.!default {{ type pulse server "unix:{card.dir}/native" }}\n'
        )
        # A room is never digitally silent.
        noise = np.random.default_rng(1).normal(0, 12, 600 * RATE_HZ).astype("<i2")
        card.play(noise.tobytes(), rate_hz=RATE_HZ)
        with LocalAgent(AgentSettings(api_key=API_KEY, require_auth=True), port=PORT) as agent, Voice("rms") as voice:
            yield card, agent, voice, os.environ | card.environment
    finally:
        card.stop()


def record(folder: Path) -> None:
    with machine() as (card, agent, voice, environment), tempfile.TemporaryDirectory() as home:
        if os.geteuid() == 0:
            # Root's own configuration is that of the machine.
            environment |= dict.fromkeys(("XDG_RUNTIME_DIR", "XDG_STATE_HOME"), home)
        words = ["setup", "--base-url", agent.base_url]
        options = ["-c", f"{home}/parleyd.yaml"] if os.geteuid() == 0 else []
        command = [str(ROOT / ".venv/bin/parleyd"), *words, *options]

        def speak(text: str) -> None:
            card.play(voice.say(text, RATE_HZ) + bytes(2 * RATE_HZ), rate_hz=RATE_HZ)

        at = Terminal(command, environment | {"TERM": "xterm-256color", "LANG": "en_GB.UTF-8"})
        at.show(f"$ {' '.join(['parleyd', *words, *options])}\r\n")
        walk(at, card, speak)
        code = at.end()
    if code:
        raise SystemExit(f"parleyd setup ended with {code}:\n{plain(''.join(text for _, text in at.events))}")
    header = {
        "version": 2,
        "width": COLUMNS,
        "height": ROWS,
        "title": "parleyd setup",
        "env": {"TERM": "xterm-256color"},
    }
    lines = [json.dumps(header), *(json.dumps([round(at_s, 3), "o", text]) for at_s, text in at.events)]
    (folder / "setup.cast").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "setup.txt").write_text(plain("".join(text for _, text in at.events)), encoding="utf-8")
    print(f"{folder}/setup.cast and setup.txt: {at.events[-1][0]:.0f} s")


def walk(at: Terminal, card: Any, speak: Any) -> None:
    """What the person answers."""
    at.asked("Which microphone?")
    at.asked("Hear whether it works?")
    at.sees("Say a sentence or two")
    time.sleep(0.7)
    speak("Good morning. What will the weather be?")
    if at.sees("audio.input.gain_db:", "Which speaker?") == 0:
        at.asked("?", "n")
        at.sees("Which speaker?")
    at.asked(":")
    at.asked("Play two notes?")
    at.asked("Did you hear them?")
    at.asked("Play back what you said?")
    with echo(card):
        at.asked("Measure the echo?")
        at.asked("What shall be done about the echo?")
    at.asked("Who answers?")
    at.asked("Paste the API key", API_KEY.replace("0", "O"))
    at.asked("What now?")
    at.asked("Paste the API key", API_KEY)
    at.asked("What is it called?", "Kitchen")
    at.asked("Which language does it speak?")
    at.asked("The prompt")
    at.asked("Which voice?", "sally")
    at.asked("Hear Sally?")
    at.asked("Take Sally?")
    at.asked("The same voice for announcements")
    at.asked("Try it now?")
    at.sees("Say: what time is it")
    time.sleep(1)
    speak("What time is it?")
    at.sees("answered:")


@contextlib.contextmanager
def echo(card: Any) -> Iterator[None]:
    """The microphone hears the speaker, softly and a little later, as in a room."""
    words = ["pactl", "load-module", "module-loopback", "source=usb_out.monitor", "sink=mic_in", "latency_msec=60"]
    environment = os.environ | card.environment
    number = subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield
    finally:
        subprocess.run(["pactl", "unload-module", number], env=environment, check=True)


def into(page: Path, session: Path) -> None:
    """Puts the session between the two marks of a page."""
    text = page.read_text(encoding="utf-8")
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    listing = "\n".join(line.rstrip() for line in session.read_text(encoding="utf-8").strip().splitlines())
    page.write_text(f"{text[:before]}\n\n```console\n{listing}\n```\n\n{text[after:]}", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--into":
        into(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        record(Path(sys.argv[1]))
