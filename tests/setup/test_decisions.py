"""The decisions of the set-up: which service, which devices in which order, answers, tables."""

from __future__ import annotations

import importlib.resources
import io
import sys
from pathlib import Path

import pytest

from parleyd.audio.devices.portaudio_host import CardDevice
from parleyd.audio.devices.server_devices import ServerDevice, hdmi_last
from parleyd.core.errors import UserError
from parleyd.doctor.sound_access import Server
from parleyd.platform.desired import CLIENT_EVENTS, MAX_DURATION
from parleyd.platform.fit import Change, Conflict, Plan, ToolChange
from parleyd.platform.tree import MISSING
from parleyd.setup import answers
from parleyd.setup.dialog import Dialog, EndOfInputError
from parleyd.setup.file import ConfigFile
from parleyd.setup.fit_table import rows
from parleyd.setup.fitting import fitting
from parleyd.setup.meter import bar, notes
from parleyd.setup.page import Page
from parleyd.setup.samples import SampleError, decoded
from parleyd.setup.sound_devices import only_hdmi, preferred, sound_devices, standard_of
from parleyd.setup.voices import for_language, read_voices


def name(uid: int) -> str:
    return {0: "root", 1000: "pi", 1001: "anna"}[uid]


@pytest.mark.parametrize(
    ("servers", "uid", "answering", "of_user", "instead"),
    [
        ([], 0, False, False, None),
        ([], 1000, False, False, "sudo parleyd setup"),
        ([Server("pipewire", 1000)], 1000, True, True, None),
        ([Server("pipewire", 1000)], 0, False, True, "as pi, without sudo: parleyd setup"),
        ([Server("pipewire", 1000)], 1001, False, True, "as pi, without sudo: parleyd setup"),
        ([Server("pulseaudio", 120)], 1000, True, True, None),
        ([Server("pulseaudio", 120)], 0, False, False, None),
        ([Server("pulseaudio", 0)], 0, True, False, None),
    ],
)
def test_the_service_that_fits(
    servers: list[Server], uid: int, answering: bool, of_user: bool, instead: str | None
) -> None:
    fit = fitting(servers, uid, name, answers=answering)
    assert (fit.of_user, fit.instead) == (of_user, instead)
    assert fit.text.endswith(".")


def card(index: int, text: str, inputs: int = 0, outputs: int = 0) -> CardDevice:
    return CardDevice(index, text, "ALSA", 48_000, inputs, outputs)


CARDS = [
    card(0, "vc4-hdmi-0: MAI PCM i2s-hifi-0 (hw:0,0)", 0, 8),
    card(1, "USB PnP Sound Device: Audio (hw:1,0)", 1, 2),
    card(2, "sysdefault", 128, 128),
    card(3, "default", 128, 128),
    card(4, "room", 2, 2),
]


def test_cards_by_their_name_without_the_number_and_hdmi_last() -> None:
    found = sound_devices(CARDS, "output", None, None)
    assert [one.label for one in found] == [
        "USB PnP Sound Device: Audio",
        "room",
        "default",
        "vc4-hdmi-0: MAI PCM i2s-hifi-0",
    ]
    assert found[0].spec == "USB PnP Sound Device: Audio"
    first = preferred(found, "default")
    assert first is found[0]
    assert preferred(found, "ROO") is found[1]
    assert preferred([], "default") is None


def test_two_cards_of_the_same_name_keep_their_number() -> None:
    twins = [card(0, "Headset: USB Audio (hw:0,0)", 1), card(1, "Headset: USB Audio (hw:1,0)", 1)]
    assert [one.spec for one in sound_devices(twins, "input", None, None)] == [one.name for one in twins]


def test_a_server_lists_its_own_devices_and_holds_the_cards() -> None:
    server = [ServerDevice("usb", "USB speaker", False), ServerDevice("hdmi", "Built-in HDMI", True)]
    found = sound_devices(CARDS, "output", server, "default")
    assert [(one.label, one.spec, one.server_name) for one in found] == [
        ("USB speaker", "default", "usb"),
        ("room", "room", None),
        ("Built-in HDMI", "default", "hdmi"),
    ]
    chosen = preferred(found, "default")
    assert chosen is not None
    assert chosen.server_name == "hdmi"


def test_after_the_end_of_the_input_an_error_stands_on_its_own_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(EndOfInputError):
        Dialog(Page(sys.stdout), None).yes("tone", "Play two notes?")
    assert capsys.readouterr().out == "Play two notes? [Y/n] \n"


def test_the_answer_default_is_that_of_alsa_or_of_the_server() -> None:
    by_alsa = standard_of(sound_devices(CARDS, "output", None, None))
    assert by_alsa is not None
    assert (by_alsa.spec, by_alsa.server_name) == ("default", None)
    server = [ServerDevice("usb", "USB speaker", False), ServerDevice("hdmi", "Built-in HDMI", True)]
    of_server = standard_of(sound_devices(CARDS, "output", server, "pulse"))
    assert of_server is not None
    assert (of_server.spec, of_server.server_name) == ("pulse", "hdmi")
    assert standard_of(sound_devices(CARDS[:2], "output", None, None)) is None


def test_only_hdmi_is_noticed() -> None:
    assert only_hdmi(sound_devices([CARDS[0], CARDS[3]], "output", None, None))
    assert not only_hdmi(sound_devices(CARDS, "output", None, None))
    assert not only_hdmi([])


def test_the_list_of_parleyd_devices_has_hdmi_last() -> None:
    assert [one.index for one in hdmi_last(CARDS)] == [1, 2, 3, 4, 0]


# ---------------------------------------------------------------- answers


def test_answers_are_texts_whatever_yaml_makes_of_them() -> None:
    assert answers.parse("tone: yes\nlisten: true\nagent: 12\nvoice:\n", "a.yaml") == {
        "tone": "yes",
        "listen": "yes",
        "agent": "12",
        "voice": "",
    }
    assert answers.parse("", "a.yaml") == {}
    assert answers.options(["agent=new", "base_url=http://a?b=c"]) == {"agent": "new", "base_url": "http://a?b=c"}


@pytest.mark.parametrize("text", ["mikrophone: x", "- a", "a: [", "a: {"])
def test_a_wrong_file_of_answers_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        answers.parse(text, "a.yaml")
    assert "a.yaml" in str(refused.value)
    if text.startswith("mikro"):
        assert refused.value.hint == "did you mean microphone?"


def test_the_page_names_every_answer() -> None:
    page = (Path(__file__).parents[2] / "docs/setup.md").read_text(encoding="utf-8")
    for key, about in answers.QUESTIONS.items():
        assert f"| `{key}` | {about} |" in page


# ---------------------------------------------------------------- tables and voices


TEA = Change(("tools", "tea", "description"), "Makes tea", "Brews tea", "-")


def test_a_plan_in_words() -> None:
    plan = Plan(
        (
            Change(CLIENT_EVENTS, ["audio"], ["audio", "ping", "interruption"], "-"),
            Change(MAX_DURATION, 120, 600, "-"),
            Change(
                ("platform_settings", "overrides", "conversation_config_override", "agent", "first_message"),
                MISSING,
                True,
                "-",
            ),
        ),
        (ToolChange("lamp", None, {}), ToolChange("bell", None, {}), ToolChange("tea", "t1", {}, (TEA,))),
        ("lamp", "bell", "dice"),
        (),
        (Conflict(("conversation_config", "agent", "first_message"), "Hi", "Hello", MISSING, "elevenlabs.agent"),),
    )
    assert rows(plan) == [
        ("events that it sends", "1 of them", "also ping, interruption"),
        ("longest conversation", "120", "600"),
        ("device may set first_message", "nothing", "yes"),
        ("tools lamp, bell", "missing", "made, and given to the agent"),
        ("tool dice", "not given to it", "given to the agent"),
        ("tools.tea.description", "Makes tea", "Brews tea"),
        ("agent.first_message", "Hello", "stays; your configuration wants: Hi"),
    ]


def test_voices_for_a_language_come_first() -> None:
    content = {
        "voices": [
            {
                "voice_id": "1",
                "name": "Zoe",
                "labels": {"language": "en", "gender": "female"},
                "preview_url": "https://z",
            },
            {"voice_id": "2", "name": "Anton", "verified_languages": [{"language": "de", "preview_url": "https://a"}]},
            {"name": "nobody"},
            7,
        ]
    }
    voices = read_voices(content)
    assert [voice.name for voice in for_language(voices, "en")] == ["Zoe", "Anton"]
    assert [voice.name for voice in for_language(voices, "de")] == ["Anton", "Zoe"]
    assert voices[0].kind == "female, English"
    assert (voices[0].sample("de"), voices[1].sample("de"), voices[1].sample("fr")) == ("https://z", "https://a", None)
    assert read_voices([]) == []


def test_a_sample_that_cannot_be_heard_names_its_address() -> None:
    with pytest.raises(SampleError) as refused:
        decoded(b"RIFF....", "https://a/b")
    assert "https://a/b" in str(refused.value.hint)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_meter_fits_the_terminal(width: int) -> None:
    for level in (-120.0, -60.0, -30.0, -1.0):
        assert len(bar(level, 5.0, width)) < width


def test_the_notes_are_heard_and_do_not_clip() -> None:
    assert 3000 < max(memoryview(notes()).cast("h")) < 20_000


def test_a_pipe_has_no_colours_and_whole_lines() -> None:
    out = io.StringIO()
    page = Page(out)
    page.good("x" * 200)
    page.table(("a", "b"), [("one", "two")])
    assert out.getvalue() == f"✓ {'x' * 200}\na    b\none  two\n"


# ---------------------------------------------------------------- the file


def test_what_is_there_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "parleyd.yaml"
    path.write_text("# mine\nprovider: local\n")
    file = ConfigFile(path)
    before = path.stat()
    assert file.write({("provider",): "local", ("audio", "echo", "mode"): "auto"}) == []
    assert (path.stat().st_mtime_ns, path.read_text()) == (before.st_mtime_ns, "# mine\nprovider: local\n")
    assert not file.kept_as.exists()
    assert file.write({("audio", "echo", "mode"): "aec"}) == ["audio.echo.mode: aec"]
    assert path.read_text() == "# mine\nprovider: local\n\naudio:\n  echo:\n    mode: aec\n"
    assert file.kept_as.read_text() == "# mine\nprovider: local\n"


def test_a_link_and_the_mode_of_the_file_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("provider: local\n")
    real.chmod(0o640)
    link.symlink_to(real)
    ConfigFile(link).write({("audio", "echo", "mode"): "aec"})
    assert link.is_symlink()
    assert "aec" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_value_that_breaks_a_rule_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "parleyd.yaml"
    path.write_text("provider: local\n")
    with pytest.raises(UserError):
        ConfigFile(path).write({("audio", "echo", "mode"): "loud"})
    assert path.read_text() == "provider: local\n"


def test_a_file_that_is_wrong_already_is_named(tmp_path: Path) -> None:
    path = tmp_path / "parleyd.yaml"
    path.write_text("provider: me\n")
    with pytest.raises(UserError, match="provider"):
        ConfigFile(path)


def test_the_example_in_the_package_is_that_of_the_checkout() -> None:
    """Only daemon/ becomes the installed program, so the example is there a second time."""
    example = Path(__file__).parents[2] / "config/parleyd.yaml"
    copy = importlib.resources.files("parleyd.setup").joinpath("parleyd.yaml")
    assert copy.read_bytes() == example.read_bytes(), "cp config/parleyd.yaml daemon/parleyd/setup/"
