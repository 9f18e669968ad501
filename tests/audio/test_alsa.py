"""What the kernel says of cards, in a folder that stands for /proc/asound and /dev/snd: none can be unplugged here.
scripts/test-usb does it with a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.audio.devices import alsa, portaudio
from parleyd.audio.devices.portaudio import PortAudioOutput, host

HEADSET = "Headset        ]: USB-Audio - Some Headset"
BOARD = "PCH            ]: HDA-Intel - HDA Intel PCH"


class Kernel:
    """plug() and pull() as the kernel and udev do."""

    def __init__(self, folder: Path) -> None:
        self._asound, self._nodes = folder / "asound", folder / "snd"
        self._asound.mkdir()
        self._nodes.mkdir()
        self._cards: dict[int, str] = {}

    def plug(self, number: int, names: str, *, with_nodes: bool = True) -> None:
        self._cards[number] = names
        (self._asound / f"card{number}").mkdir(exist_ok=True)
        if with_nodes:
            for node in (f"controlC{number}", f"pcmC{number}D0p"):
                (self._nodes / node).touch()
        self._write()

    def pull(self, number: int) -> None:
        del self._cards[number]
        (self._asound / f"card{number}").rmdir()
        for node in self._nodes.glob(f"*C{number}*"):
            node.unlink()
        self._write()

    def _write(self) -> None:
        lines = [
            f"{number:2} [{names}\n                      at usb-0000:01:00.0-{number}, high speed\n"
            for number, names in sorted(self._cards.items())
        ]
        (self._asound / "cards").write_text("".join(lines) or "--- no soundcards ---\n")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    monkeypatch.setattr(alsa, "_ASOUND", tmp_path / "asound")
    monkeypatch.setattr(alsa, "_NODES", tmp_path / "snd")
    assert host.refresh(), "a sound stream is still open"
    yield kernel
    host.refresh()


def test_a_card_counts_when_it_may_be_used(kernel: Kernel) -> None:
    assert alsa.cards() == {}
    kernel.plug(0, BOARD)
    kernel.plug(10, HEADSET, with_nodes=False)
    assert alsa.cards() == {0: BOARD}
    kernel.plug(10, HEADSET)
    assert alsa.cards() == {0: BOARD, 10: HEADSET}


def test_a_place_knows_its_card_again(kernel: Kernel) -> None:
    kernel.plug(1, HEADSET)
    place = alsa.place("Some Headset: USB Audio (hw:1,0)")
    assert place is not None
    assert alsa.place("default") is None
    assert alsa.place("Gone: USB Audio (hw:7,0)") is None
    assert (place.is_empty, place.has_the_same_card) == (False, True)
    kernel.pull(1)
    assert (place.is_empty, place.has_the_same_card) == (True, False)
    kernel.plug(1, "Webcam         ]: USB-Audio - Some Webcam")
    assert (place.is_empty, place.has_the_same_card) == (False, False)


@pytest.mark.usefixtures("vcard")
def test_what_is_worth_a_new_list(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel.plug(0, BOARD)
    kernel.plug(1, HEADSET)
    speaker = PortAudioOutput("vspk")
    speaker.open(lambda count: bytes(2 * count))
    speaker._place = alsa.place("Some Headset: USB Audio (hw:1,0)")
    assert speaker.active
    kernel.pull(1)
    assert not speaker.active, "the kernel knows before PortAudio does"
    speaker.close()
    assert speaker.prospect() == "none", "that a card went is no reason to disturb another"
    kernel.plug(2, "Webcam         ]: USB-Audio - Some Webcam")
    assert speaker.prospect() == "new list"
    kernel.pull(2)
    kernel.plug(1, "Webcam         ]: USB-Audio - Some Webcam")
    assert speaker.prospect() == "new list", "another card in its place"
    kernel.plug(1, HEADSET)
    assert speaker.prospect() == "as listed"
    kernel.pull(1)
    monkeypatch.setattr(host, "listed_s", host.listed_s - 2 * portaudio._BELIEVED_S)
    assert speaker.prospect() == "new list", "an old list is not believed for ever"
