"""The sound card's mixer through amixer, on the private sound server's ALSA control plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playback_room import Room, SteppingOutput

from parleyd.audio import mixer
from parleyd.audio.mixer import AlsaMixer, MixerError, Volume
from parleyd.config.schema import Mixer
from parleyd.core import events
from parleyd.host.remembered import RememberedVolume
from vcard import VirtualCard
from waiting import until

NOTHING = RememberedVolume(None)
SOFTWARE = Mixer()


@pytest.fixture(autouse=True, scope="module")
def as_it_was(vcard: VirtualCard) -> Iterator[None]:
    yield
    vcard.pactl("set-sink-volume", "vspk", "100%")
    vcard.pactl("set-sink-mute", "vspk", "0")


def shown(card: VirtualCard) -> str:
    words = ["amixer", "-D", "default", "-M", "sget", "Master"]
    return subprocess.run(
        words, env=os.environ | card.environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def test_it_moves_the_mixer_and_not_the_sound(vcard: VirtualCard) -> None:
    its = Room(SteppingOutput())
    vcard.pactl("set-sink-volume", "vspk", "60%")
    volume = Volume(its.playback, Mixer(control="Master"), None, NOTHING)
    volume.start()
    assert volume.value == pytest.approx(0.6, abs=0.01), "without a wish the mixer stays as it stands"
    volume.set(0.35)
    assert "[35%] [on]" in shown(vcard)
    volume.set(0.0)
    assert "[0%] [off]" in shown(vcard)
    assert AlsaMixer("Master", "default").open() == 0.0
    volume.set(1.0)
    assert "[100%] [on]" in shown(vcard)
    assert volume.value == 1.0
    assert its.playback.volume == 1.0
    Volume(its.playback, Mixer(control="Master"), 0.8, NOTHING).start()
    assert "[80%] [on]" in shown(vcard)


@pytest.mark.usefixtures("vcard")
def test_what_is_not_there_is_said_with_what_there_is() -> None:
    with pytest.raises(MixerError, match="card 'default' has no mixer control 'PCM'") as caught:
        AlsaMixer("PCM", "default").open()
    assert caught.value.hint == "audio.output.mixer.control: choose one of 'Master'"
    with pytest.raises(MixerError, match="'Capture' has no playback volume") as caught:
        AlsaMixer("Capture", "default").open()
    assert "'Master'" in (caught.value.hint or "")
    with pytest.raises(MixerError, match="there is no card '99' with a mixer") as caught:
        AlsaMixer("Master", "99").open()
    assert (caught.value.hint or "").startswith("audio.output.mixer.card: ")


def test_a_card_that_hangs_holds_up_nobody_for_long(vcard: VirtualCard, monkeypatch: pytest.MonkeyPatch) -> None:
    its = Room(SteppingOutput())
    volume = Volume(its.playback, Mixer(control="Master"), 0.5, NOTHING)
    volume.start()
    vcard.freeze()
    monkeypatch.setattr(mixer, "TIMEOUT_S", 0.3)
    try:
        # The card hangs until this has returned.
        with pytest.raises(MixerError, match="does not answer"):
            volume.set(0.9)
    finally:
        vcard.thaw()
    assert volume.value == 0.5, "nothing has changed"


def test_without_alsa_utils_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MixerError, match="amixer") as caught:
        AlsaMixer("Master", "default").open()
    assert "alsa-utils" in (caught.value.hint or "")


# Stands in for cards that are not here, in amixer's own format: a mono control with decibels, and one that has a
# capture side as well.
STAND_IN = """#!{python}
import sys
if "sset" in sys.argv:
    open({log!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
print('''Simple mixer control 'PCM',0
  Capabilities: pvolume pvolume-joined cvolume cvolume-joined{switch}
  Playback channels: Mono
  Capture channels: Mono
  Limits: Playback -10239 - 400 Capture 0 - 10
  Mono: Playback -1725 [42%] [-17.25dB]{on} Capture 9 [90%] [3.00dB] [on]''')
"""


@pytest.mark.parametrize(
    ("switch", "on", "found"), [("", "", 0.42), (" pswitch", " [on]", 0.42), (" pswitch", " [off]", 0.0)]
)
def test_controls_with_and_without_a_switch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switch: str, on: str, found: float
) -> None:
    log = tmp_path / "log"
    program = tmp_path / "amixer"
    program.write_text(STAND_IN.format(python=sys.executable, log=str(log), switch=switch, on=on))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    it = AlsaMixer("PCM", "1")
    assert it.open() == found
    it.set(0.0)
    it.set(0.255)
    mute, unmute = (" mute", " unmute") if switch else ("", "")
    head = "-D hw:1 -M sset PCM playback"
    assert log.read_text().splitlines() == [f"{head} 0%{mute}", f"{head} 26%{unmute}"]


def test_the_softwares_volume_is_checked() -> None:
    its = Room(SteppingOutput())
    volume = Volume(its.playback, Mixer(), None, NOTHING)
    volume.start()
    assert volume.value == 1.0
    volume.set(0.25)
    assert its.playback.volume == volume.value == 0.25
    for wrong in (-0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            volume.set(wrong)
    assert its.playback.volume == 0.25


def test_a_speaker_that_is_back_is_as_loud_as_before(vcard: VirtualCard) -> None:
    its = Room(SteppingOutput())
    volume = Volume(its.playback, Mixer(control="Master"), 0.7, NOTHING)
    volume.start()
    vcard.pactl("set-sink-volume", "vspk", "20%")
    volume(events.DeviceBack(at_s=0.0, which="microphone", name="vmic", away_s=1.0))
    assert "[20%]" in shown(vcard)
    volume(events.DeviceBack(at_s=0.0, which="speaker", name="vspk", away_s=1.0))
    until("it stays at what the card came back with", lambda: "[70%]" in shown(vcard))


def test_a_speaker_whose_volume_nobody_has_set_comes_back_with_its_own(vcard: VirtualCard) -> None:
    def back_with(percent: int) -> str:
        vcard.pactl("set-sink-volume", "vspk", f"{percent}%")
        volume(events.DeviceBack(at_s=0.0, which="speaker", name="vspk", away_s=1.0))
        for thread in threading.enumerate():
            if thread.name == "mixer":
                thread.join(60)
        return shown(vcard)

    volume = Volume(Room(SteppingOutput()).playback, Mixer(control="Master"), None, NOTHING)
    vcard.pactl("set-sink-volume", "vspk", "60%")
    volume.start()
    assert "[30%]" in back_with(30)
    volume.set(0.5)
    assert "[50%]" in back_with(30)
    vcard.pactl("set-sink-volume", "vspk", "70%")
    volume.look()
    assert "[30%]" in back_with(30)


def test_buttons_on_the_speaker_are_seen_when_somebody_asks(vcard: VirtualCard) -> None:
    its = Room(SteppingOutput())
    volume = Volume(its.playback, Mixer(control="Master"), 0.333, NOTHING)
    volume.start()
    volume.look()
    assert volume.value == 0.333, "the card has steps of its own, and that is no change"
    vcard.pactl("set-sink-volume", "vspk", "62%")
    volume.look()
    assert volume.value == pytest.approx(0.62, abs=0.01)
    vcard.pactl("set-sink-mute", "vspk", "1")
    volume.look()
    assert volume.value == 0.0


# ---------------------------------------------------------------- over a restart


class Box:
    """Daemons one after the other in one state directory, as far as they have a volume."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def start(self, configured: float | None, mixer: Mixer = SOFTWARE) -> Volume:
        self.playback = Room(SteppingOutput(), volume=1.0 if configured is None else configured).playback
        volume = Volume(self.playback, mixer, configured, RememberedVolume(self._directory))
        volume.start()
        assert mixer.control is not None or self.playback.volume == volume.value
        return volume


@pytest.mark.parametrize("configured", [None, 0.8])
def test_what_was_set_is_so_after_a_restart(tmp_path: Path, configured: float | None) -> None:
    box = Box(tmp_path)
    assert box.start(configured).value == (configured or 1.0)
    box.start(configured).set(0.3)
    assert box.start(configured).value == 0.3
    assert box.start(configured).value == 0.3
    box.start(configured).set(0.0)
    assert box.start(configured).value == 0.0


def test_a_change_of_the_file_counts_more(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.start(0.8).set(0.3)
    assert box.start(0.6).value == 0.6
    assert box.start(None).value == 1.0
    running = box.start(0.8)
    assert running.value == 0.3
    running.configure(0.6)
    assert (running.value, box.start(0.6).value, box.start(0.8).value) == (0.6, 0.6, 0.8)


def test_a_profile_that_comes_and_goes_ends_it_only_where_the_file_names_a_volume(tmp_path: Path) -> None:
    box = Box(tmp_path)
    running = box.start(0.8)
    running.set(0.5)
    running.configure(0.2)
    running.configure(0.8)
    assert (running.value, box.start(0.8).value) == (0.8, 0.8)
    running = box.start(None)
    running.set(0.5)
    running.configure(0.2)
    # Restarted at night; whoever minds the profiles then puts 0.2 in force again, and 0.5 in the morning.
    assert box.start(None).value == 0.5


def test_a_volume_of_the_file_that_cannot_be_moved_changes_nothing(
    vcard: VirtualCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixer, "TIMEOUT_S", 0.3)
    box, master = Box(tmp_path), Mixer(control="Master")
    running = box.start(0.8, master)
    running.set(0.5)
    vcard.freeze()
    try:
        with pytest.raises(MixerError, match="does not answer"):
            running.configure(0.2)
    finally:
        vcard.thaw()
    monkeypatch.undo()
    assert running.value == 0.5
    assert RememberedVolume(tmp_path).under(0.8) == 0.5
    running.configure(0.2)
    assert "[20%]" in shown(vcard)
    assert RememberedVolume(tmp_path).under(0.8) is None


def test_a_mixer_that_is_left_as_it_stands_keeps_its_own(vcard: VirtualCard, tmp_path: Path) -> None:
    box, master = Box(tmp_path), Mixer(control="Master")
    box.start(None, master).set(0.4)
    vcard.pactl("set-sink-volume", "vspk", "70%")
    assert box.start(None, master).value == pytest.approx(0.7, abs=0.01)
    box.start(0.6, master).set(0.4)
    vcard.pactl("set-sink-volume", "vspk", "70%")
    assert box.start(0.6, master).value == 0.4
    assert "[40%]" in shown(vcard)


@pytest.mark.parametrize("content", [b"", b"null", b'{"volume": 7, "configured": null}', b"\xff\xfe", b"0.3"])
def test_a_damaged_memory_is_none(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "volume.json").write_bytes(content)
    volume = Box(tmp_path).start(0.8)
    assert volume.value == 0.8
    assert "volume.json" in caplog.text
    volume.set(0.3)
    assert Box(tmp_path).start(0.8).value == 0.3


def test_a_memory_that_cannot_be_written_is_said_and_the_volume_moves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = Box(tmp_path / "missing").start(0.8)
    volume.set(0.3)
    assert volume.value == 0.3
    assert "will not outlive a restart" in caplog.text


def test_a_volume_set_by_hand_outlives_the_end_of_a_configured_one(tmp_path: Path) -> None:
    its = Room(SteppingOutput())
    volume = Volume(its.playback, SOFTWARE, 0.2, RememberedVolume(tmp_path))
    volume.start()
    volume.set(0.7)
    volume.configure(None)
    assert volume.value == 0.7
    again = Volume(its.playback, SOFTWARE, None, RememberedVolume(tmp_path))
    again.start()
    assert again.value == 0.7
