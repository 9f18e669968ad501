"""What parleyd expects of the C libraries that it calls by ctypes, which checks neither names nor parameters.

Each function is tried with the real library. What libpulse tells of sources and sinks is tried in test_channels.py and
in test_portaudio.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from parleyd.audio.devices import alsa
from parleyd.audio.devices.portaudio_host import Host
from vcard import VirtualCard


@pytest.mark.usefixtures("vcard")
@pytest.mark.parametrize("recording", [False, True])
def test_alsa_opens_a_device_that_is_there(recording: bool) -> None:
    assert alsa.opens("default", recording=recording, rate_hz=48000)
    assert not alsa.opens("there is no such device", recording=recording, rate_hz=48000)


@pytest.mark.usefixtures("vcard")
def test_alsa_refuses_a_rate_or_a_direction_that_the_device_does_not_have() -> None:
    assert alsa.opens("stiff", recording=False, rate_hz=48000)
    assert not alsa.opens("stiff", recording=False, rate_hz=44100)
    assert not alsa.opens("stiff", recording=True, rate_hz=48000)


@pytest.mark.usefixtures("vcard")
def test_alsa_finds_the_control_that_makes_a_microphone_louder() -> None:
    assert alsa.has_capture_volume("default")


def child(config: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, whose ALSA knows what stands in config alone."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ALSA_CONFIG_PATH": str(config), "JACK_NO_START_SERVER": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_without_a_mixer_there_is_no_such_control(tmp_path: Path) -> None:
    config = tmp_path / "asound.conf"
    config.write_text("pcm.nothing { type null }\n")
    asked = "from parleyd.audio.devices import alsa; print(alsa.has_capture_volume('nothing'))"
    assert child(config, asked).stdout == "False\n"


_TALK = {
    "ALSA": "import ctypes; ctypes.CDLL('libasound.so.2').snd_pcm_open(ctypes.byref(ctypes.c_void_p()), b'none', 0, 1)",
    # 1: JackNoStartServer.
    "JACK": "import ctypes; ctypes.CDLL('libjack.so.0').jack_client_open(b'parleyd', 1, None)",
}


@pytest.mark.parametrize("library", _TALK)
def test_a_library_that_talks_is_silenced(tmp_path: Path, library: str) -> None:
    config = tmp_path / "asound.conf"
    config.write_text("")
    # PortAudio loads both, as in the daemon.
    load = "import pyaudio; from parleyd.audio.devices.native_output import silence_libraries\n"
    assert child(config, load + _TALK[library]).stderr != ""
    assert child(config, f"{load}silence_libraries()\n{_TALK[library]}").stderr == ""


_CALLED = """
import ctypes, sys
library, called = ctypes.CDLL("libasound.so.2").snd_pcm_open, []
sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_name) if event == "call" else None)
library(ctypes.byref(ctypes.c_void_p()), b"none", 0, 1)
sys.setprofile(None)
print(called)
"""


def test_a_silenced_library_does_not_wait_for_the_interpreter(tmp_path: Path) -> None:
    """ALSA has dozens of lines, and at each a thread would wait until modules that are imported let it run."""
    config = tmp_path / "asound.conf"
    config.write_text("")
    silence = "from parleyd.audio.devices.native_output import silence_libraries; silence_libraries()"
    assert child(config, silence + _CALLED).stdout == "[]\n"


@pytest.mark.parametrize("config", ["elevenlabs: {agent_id: a, no_such_key: 1}\n", "elevenlabs: {agent_id: a}\n"])
def test_a_start_that_portaudio_ends_says_where(config: str, tmp_path: Path) -> None:
    """Without a configuration of ALSA's, PortAudio aborts the process while it lists the devices, or crashes."""
    (tmp_path / "parleyd.yaml").write_text(config)
    done = subprocess.run(
        [sys.executable, "-m", "parleyd", "run", "-c", tmp_path / "parleyd.yaml"],
        env=os.environ | {"ALSA_CONFIG_PATH": str(tmp_path / "nothing"), "STATE_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode in (-signal.SIGABRT, -signal.SIGSEGV):
        assert "Fatal Python error: " in done.stderr
        assert "portaudio_host.py" in done.stderr
    else:
        # A PortAudio that does without.
        assert done.returncode in (os.EX_CONFIG, os.EX_UNAVAILABLE)
        assert "parleyd: " in done.stderr


_UNLOADS = """
import sys, threading
from pathlib import Path
from parleyd.audio.devices.portaudio import PortAudioInput, PortAudioOutput
from parleyd.audio.devices.portaudio_host import host

def libraries():
    paths = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".so" in line}
    return {Path(path).name for path in paths}

def comes(event):
    event.clear()
    assert event.wait(30)

def plays(samples):
    wanted.set()
    return bytes(2 * samples)

heard, wanted = threading.Event(), threading.Event()
microphone, speaker = PortAudioInput("vmic"), PortAudioOutput("vspk")
microphone.open(lambda pcm, at_s: heard.set())
comes(heard)
before = libraries()
host.unload_unused()
after = libraries()
comes(heard)
speaker.open(plays)
comes(wanted)
host.unload_unused()
comes(heard)
comes(wanted)
speaker.close()
# What was unloaded can be loaded again, and the list be made anew.
microphone.close()
assert host.refresh()
assert host.devices()
microphone.open(lambda pcm, at_s: heard.set())
comes(heard)
microphone.close()
print(len(before - after), *sorted(name for name in after if name.startswith("libasound_module")))
"""


def test_libraries_that_only_the_list_of_devices_needed_are_unloaded(vcard: VirtualCard) -> None:
    """PulseAudio's plugin is in use; the package that brings it has others."""
    run = subprocess.run(
        [sys.executable, "-c", _UNLOADS],
        env=os.environ | vcard.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    unloaded, *plugins = run.stdout.split()
    assert int(unloaded) > 10
    assert plugins == ["libasound_module_pcm_pulse.so"]


def test_nothing_is_unloaded_while_a_device_is_being_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The opening may hang, and whoever asks may be the thread that looks after the daemon."""
    asked: list[str] = []
    monkeypatch.setattr(alsa, "unload_unused", lambda: asked.append("asked"))
    host, opens, done = Host(), threading.Event(), threading.Event()

    def opening() -> None:
        with host._lock:
            opens.set()
            done.wait(60)

    thread = threading.Thread(target=opening)
    thread.start()
    try:
        assert opens.wait(60)
        host.unload_unused()
        assert not asked
    finally:
        done.set()
        thread.join()
    host.unload_unused()
    assert asked == ["asked"]
