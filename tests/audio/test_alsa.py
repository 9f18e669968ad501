"""What the kernel says of cards, in folders that stand for /sys/class/sound and /dev/snd: none can be unplugged here.
scripts/test-usb does it with a real kernel."""

# What is asserted of a property stands until it is asserted again, mypy thinks.
# mypy: disable-error-code="unreachable"

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from parleyd.audio.devices import alsa, portaudio
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.portaudio import PortAudioOutput
from parleyd.audio.devices.portaudio_host import host

HEADSET, BOARD, WEBCAM = "Headset", "PCH", "Webcam"


class Kernel:
    """plug() and pull() as the kernel and udev do."""

    def __init__(self, folder: Path) -> None:
        self._cards, self._nodes = folder / "cards", folder / "snd"
        self._cards.mkdir()
        self._nodes.mkdir()
        (self._cards / "timer").mkdir()

    def plug(self, number: int, card_id: str, *, with_nodes: bool = True) -> None:
        folder = self._cards / f"card{number}"
        folder.mkdir(exist_ok=True)
        (folder / "id").write_text(f"{card_id}\n")
        if with_nodes:
            for node in (f"controlC{number}", f"pcmC{number}D0p"):
                (self._nodes / node).touch()

    def pull(self, number: int) -> None:
        shutil.rmtree(self._cards / f"card{number}")
        for node in self._nodes.glob(f"*C{number}*"):
            node.unlink()


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    monkeypatch.setattr(alsa, "_CARDS", tmp_path / "cards")
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
    kernel.plug(1, WEBCAM)
    assert (place.is_empty, place.has_the_same_card) == (False, False)


@pytest.mark.usefixtures("vcard")
def test_a_card_that_somebody_holds_is_not_simply_unknown(kernel: Kernel) -> None:
    with pytest.raises(DeviceError, match="no output device is called 'headset'"):
        portaudio.find("headset", "output")
    kernel.plug(1, HEADSET)
    with pytest.raises(DeviceError, match="but the card 'Headset' cannot be opened now") as caught:
        portaudio.find("headset", "output")
    assert "fuser" in str(caught.value.hint)


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
    kernel.plug(2, WEBCAM)
    assert speaker.prospect() == "new list"
    kernel.pull(2)
    kernel.plug(1, WEBCAM)
    assert speaker.prospect() == "new list", "another card in its place"
    kernel.plug(1, HEADSET)
    assert speaker.prospect() == "as listed"
    kernel.pull(1)
    long_ago_s = host.listed_s - 2 * portaudio._BELIEVED_S
    monkeypatch.setattr(host, "listed_s", long_ago_s)
    assert speaker.prospect() == "none", "every list is old when a card goes"
    monkeypatch.setattr(speaker, "_closed_s", long_ago_s)
    assert speaker.prospect() == "new list", "an old list is not believed for ever"
