"""The units and the scripts that install them, as far as this machine's systemd can judge them without running them.

scripts/test-service runs them.
"""

from __future__ import annotations

import configparser
import inspect
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from parleyd.config import hook_sections, tool_sections
from parleyd.host import apart

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"system": ROOT / "systemd/parleyd.service", "user": ROOT / "systemd/user/parleyd.service"}
BUTTON = ROOT / "systemd/parleyd-button.service"
MQTT = ROOT / "systemd/parleyd-mqtt.service"
WYOMING = ROOT / "systemd/parleyd-wyoming.service"
TOOLS_UNIT, TOOLS_SOCKET = ROOT / "systemd/parleyd-tools@.service", ROOT / "systemd/parleyd-tools.socket"
NEWER = ROOT / "systemd/parleyd.service.d/newer-systemd.conf"

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing (scripts/test installs systemd)"
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=os.environ | environment, timeout=150
    )


def systemd_version() -> int:
    return int(run("systemd-analyze", "--version").stdout.split()[1])


@pytest.fixture(params=list(UNITS))
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Kind and path of a unit as it is installed here: with a program that exists, and the drop-in where it belongs."""
    text = UNITS[request.param].read_text()
    assert text.count("/usr/bin/parleyd ") == 1
    unit = tmp_path / "parleyd.service"
    unit.write_text(text.replace("/usr/bin/parleyd ", "/bin/true "))
    if systemd_version() >= 254:
        folder = tmp_path / "parleyd.service.d"
        folder.mkdir()
        shutil.copy(NEWER, folder)
    return request.param, unit


@needs_systemd_analyze
def test_systemd_has_nothing_to_say_against_them(installed: tuple[str, Path]) -> None:
    kind, unit = installed
    done = run("systemd-analyze", f"--{kind}", "verify", unit, XDG_RUNTIME_DIR=str(unit.parent))
    # A misspelt key is only a warning, with exit code 0.
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd_analyze
@pytest.mark.parametrize("helper", [BUTTON, MQTT, WYOMING], ids=lambda unit: unit.name)
def test_nor_against_those_of_the_helpers(helper: Path, tmp_path: Path) -> None:
    unit = tmp_path / helper.name
    unit.write_text(helper.read_text().replace("/usr/bin/parleyd ", "/bin/true "))
    done = run("systemd-analyze", "verify", unit)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd_analyze
def test_nor_against_those_of_the_tools(tmp_path: Path) -> None:
    (tmp_path / TOOLS_SOCKET.name).write_text(TOOLS_SOCKET.read_text())
    (tmp_path / TOOLS_UNIT.name).write_text(TOOLS_UNIT.read_text())
    units = [tmp_path / "parleyd-tools.socket", tmp_path / "parleyd-tools@1.service"]
    done = run("systemd-analyze", "verify", *units)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("helper", [MQTT, WYOMING], ids=lambda unit: unit.name)
def test_what_talks_to_the_network_is_neither_the_daemon_nor_a_tool(helper: Path) -> None:
    """It may use the control socket, as a member of the group, and sees no file of the daemon's."""
    users = (ROOT / "systemd/sysusers.d/parleyd.conf").read_text()
    unit, daemon = section(helper), section(UNITS["system"])
    assert unit["User"] not in (daemon["User"], apart.USER)
    assert f"\nu {unit['User']} " in users
    assert unit["SupplementaryGroups"] == daemon["Group"]
    assert "-/var/lib/parleyd" in unit["InaccessiblePaths"].split()
    assert unit["PrivateDevices"] == "yes"


def test_the_units_and_the_daemon_mean_the_same() -> None:
    socket, unit = section(TOOLS_SOCKET, "Socket"), section(TOOLS_UNIT)
    assert socket["ListenStream"] == str(apart.SOCKET)
    # The daemon's alone, and never the tools' user's.
    assert (socket["SocketUser"], socket["SocketMode"]) == (section(UNITS["system"])["User"], "0600")
    assert unit["User"] == apart.USER
    assert apart.USER not in section(UNITS["system"]).values()
    assert unit["ExecStart"].endswith("/usr/lib/parleyd/runner.py")
    # What is left of a call is killed, at the latest behind the longest that the configuration allows.
    assert (unit["KillMode"], unit["KillSignal"]) == ("control-group", "SIGKILL")
    longest = re.search(
        r"timeout_s: Annotated\[\s*float,\s*Meta\(\s*ge=0.1,\s*le=(\d+)", inspect.getsource(hook_sections)
    )
    assert longest is not None
    assert int(unit["RuntimeMaxSec"]) > max(float(longest[1]), tool_sections.MAX_TIMEOUT_S)
    for kept_shut in ("/var/lib/parleyd", "/run/parleyd", "/run/credentials"):
        assert f"-{kept_shut}" in TOOLS_UNIT.read_text()


@needs_systemd_analyze
def test_a_misspelt_key_would_be_noticed(tmp_path: Path) -> None:
    unit = tmp_path / "parleyd.service"
    text = UNITS["system"].read_text().replace("/usr/bin/parleyd ", "/bin/true ")
    unit.write_text(text.replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in run("systemd-analyze", "verify", unit).stderr


@needs_systemd_analyze
@pytest.mark.parametrize("unit", [UNITS["system"], BUTTON, MQTT, WYOMING, TOOLS_UNIT], ids=lambda unit: unit.name)
def test_exposure_of_what_the_system_runs(unit: Path) -> None:
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit)
    assert done.returncode == 0, done.stdout


@needs_systemd_analyze
def test_exposure_of_what_the_user_runs(tmp_path: Path) -> None:
    """6.3 without namespaces. An empty runtime directory: it stands for that of a user who is logged in."""
    command = ("systemd-analyze", "--user", "security", "--offline=true", "--no-pager", "--threshold=22")
    done = run(*command, UNITS["user"], XDG_RUNTIME_DIR=str(tmp_path))
    assert done.returncode == 0, done.stdout


def test_the_user_s_unit_can_do_without_namespaces() -> None:
    """The drop-in takes back what is an error without them, and nothing else."""
    unit, without = section(UNITS["user"]), section(ROOT / "systemd/user/without-namespaces.conf")
    assert (unit["PrivateUsers"], unit["CapabilityBoundingSet"]) == ("yes", "")
    assert dict(without) == {"PrivateUsers": "no", "CapabilityBoundingSet": "~"}


def section(path: Path, name: str = "Service") -> configparser.SectionProxy:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    return unit[name]


def test_both_are_restarted_watched_and_given_up_on_alike() -> None:
    system, user = (section(path) for path in UNITS.values())
    keys = ["Restart", "RestartSec", "RestartPreventExitStatus", "WatchdogSec", "TimeoutStopSec", "MemoryMax"]
    keys += ["ExecReload", "SystemCallFilter", "RestrictAddressFamilies"]
    assert {key: system[key] for key in keys} == {key: user[key] for key in keys}
    assert system["RestartPreventExitStatus"].split() == [str(os.EX_USAGE), str(os.EX_CONFIG)]


def test_no_secret_travels_by_environment_or_command_line() -> None:
    for path in UNITS.values():
        assert "Environment" not in path.read_text()
        assert "key" not in section(path)["ExecStart"]


def files(folder: Path) -> set[tuple[str, float]]:
    return {(str(path), path.lstat().st_mtime) for path in folder.rglob("*")}


def dry_run(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_DATA_HOME": ""}
    return run(ROOT / "scripts/install", "--dry-run", *words, **environment)


def test_a_dry_run_prints_every_step_and_changes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    before = files(tmp_path)
    done = dry_run("--user", home=home)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path) == before
    for step in (
        f"-m venv --clear --system-site-packages {home}/.local/share/parleyd",
        f"ln -sfn {home}/.local/share/parleyd/bin/parleyd {home}/.local/bin/parleyd",
        f"install -D -m 644 {ROOT}/config/parleyd.yaml {home}/.config/parleyd/parleyd.yaml",
        f"ExecStart={home}/.local/bin/parleyd,",
        "parleyd.service",
    ):
        assert step in done.stdout, step


def test_a_configuration_that_is_there_is_kept(tmp_path: Path) -> None:
    config = tmp_path / ".config/parleyd/parleyd.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("provider: local\n")
    done = dry_run("--user", home=tmp_path)
    assert f"kept: {config}" in done.stderr
    assert "config/parleyd.yaml" not in done.stdout.replace(f"check -c {config}", "")


def test_the_system_wide_steps_of_a_dry_run() -> None:
    done = run(ROOT / "scripts/install", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "systemd-sysusers /etc/sysusers.d/parleyd.conf" in done.stdout
    assert "/etc/systemd/system/parleyd.service" in done.stdout
    assert "/etc/systemd/system/parleyd-button.service" in done.stdout
    assert "/etc/systemd/system/parleyd-mqtt.service" in done.stdout
    assert "/etc/systemd/system/parleyd-wyoming.service" in done.stdout
    assert "/etc/systemd/system/parleyd-tools@.service" in done.stdout
    assert "systemctl enable --quiet parleyd-tools.socket" in done.stdout
    # Those that run would go on with the older program, whose files are gone.
    assert "systemctl try-restart parleyd-button.service parleyd-mqtt.service parleyd-wyoming.service" in done.stdout
    gone = run(ROOT / "scripts/install", "--dry-run", "--uninstall")
    assert gone.returncode == 0, gone.stderr
    assert "rm -rf /opt/parleyd" in gone.stdout
    assert "/etc/parleyd" not in gone.stdout  # the configuration stays


def test_a_32_bit_board_is_told_before_anything_is_installed_that_it_has_no_canceller(tmp_path: Path) -> None:
    """With a dpkg that says armhf, and else is this machine's."""
    dpkg = tmp_path / "bin/dpkg"
    dpkg.parent.mkdir()
    dpkg.write_text('#!/bin/sh\n[ "$1" = --print-architecture ] && echo armhf && exit\nexec /usr/bin/dpkg "$@"\n')
    dpkg.chmod(0o755)
    done = run(ROOT / "scripts/install", "--dry-run", PATH=f"{dpkg.parent}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "no echo canceller (pywebrtc-audio)" in told
    assert "half_duplex" in told
    # A 32-bit Raspberry Pi OS may have a 64-bit kernel, and pip goes by the kernel's name for the machine.
    assert "pywebrtc-audio" not in done.stdout.replace("/^pywebrtc-audio==/", "")
    assert re.search(r"wheel --no-deps --require-hashes .* -r \S+/armhf.lock$", done.stdout, re.MULTILINE)
    # The sources that one package would fetch without a hash come from Debian.
    assert "FETCHCONTENT_FULLY_DISCONNECTED=ON" in done.stdout


def test_an_uninstall_names_every_secret_that_it_leaves(tmp_path: Path) -> None:
    text = (ROOT / "scripts/install").read_text()
    store = tmp_path / "credstore.encrypted"
    store.mkdir()
    # The folder of the test, since that of this machine is not to be written to.
    script = tmp_path / "scripts/install"
    (tmp_path / "scripts/lib").mkdir(parents=True)
    (tmp_path / "scripts/lib/locked").write_text((ROOT / "scripts/lib/locked").read_text())
    script.write_text(text.replace("/etc/credstore.encrypted", str(store)))
    script.chmod(0o755)
    left: list[str] = []
    for secret in ("", "elevenlabs", "openai", "mqtt"):
        if secret:
            (store / secret).touch()
            left.append(f"install: kept, a secret: {store}/{secret}")
        done = run(script, "--dry-run", "--uninstall")
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stderr.splitlines() if str(store) in line] == left


def test_a_wrong_option_is_refused() -> None:
    assert run(ROOT / "scripts/install", "--purge").returncode == os.EX_USAGE


# What scripts need of the system, beside what the tests put in the place of the rest.
TOOLS = ("bash", "cat", "dirname", "flock", "fold", "grep", "realpath", "sed", "tail", "tr")
REFUSAL = "maker is not in the sudoers file."


def without_rights(tmp_path: Path, script: str, *words: str, sudo: bool) -> subprocess.CompletedProcess[str]:
    """As a user on a machine where nothing is installed, with a sudo that refuses or none."""
    stubs = {"id": "echo 1000", "dpkg-query": "exit 1", "apt-get": "echo apt-get is run >&2; exit 100"}
    if sudo:
        stubs["sudo"] = f"echo '{REFUSAL}' >&2; exit 1"
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    return run(ROOT / "scripts" / script, *words, PATH=str(tmp_path))


@pytest.mark.parametrize("sudo", [True, False])
@pytest.mark.parametrize(
    ("script", "word", "packages"),
    [
        ("setup", "demo", "python3-venv python3-pyaudio python3-systemd flite"),
        ("build-deb", "", "build-essential debhelper python3-venv "),
    ],
)
def test_what_only_root_can_do_is_one_command(
    tmp_path: Path, script: str, word: str, packages: str, sudo: bool
) -> None:
    done = without_rights(tmp_path, script, *filter(None, [word]), sudo=sudo)
    assert done.returncode == os.EX_UNAVAILABLE
    lines = [line for line in done.stderr.splitlines() if line != REFUSAL]
    assert lines[0] == f"{script}: root has to do this once, and then run this again:"
    assert f"apt-get install --no-install-recommends {packages}" in lines[1]
    assert lines[1].startswith("  apt-get ")
    assert len(lines) == 2


@pytest.mark.parametrize(("script", "words"), [("test-service", ["trixie"]), ("test-usb", ["--suite", "trixie"])])
def test_what_only_root_can_run_names_the_whole_command(tmp_path: Path, script: str, words: list[str]) -> None:
    done = without_rights(tmp_path, script, *words, sudo=False)
    assert done.returncode == os.EX_UNAVAILABLE
    assert done.stderr.endswith(f"a Debian of its own: sudo {ROOT}/scripts/{script} {' '.join(words)}\n")


@pytest.mark.parametrize("script", ["build-image", "test-ansible", "test-repository", "test-service"])
def test_a_package_that_is_not_there_is_named_with_its_exit_code(tmp_path: Path, script: str) -> None:
    """Also where its folder is not there either."""
    # The scripts take namespaces of their own first, which wants root, and is not to be had in a chroot.
    own = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "true")
    if subprocess.run(own, capture_output=True, check=False, timeout=60).returncode != 0:
        pytest.skip("no namespaces of its own here")
    missing = tmp_path / "a folder" / "parleyd.deb"
    done = run(ROOT / "scripts" / script, "--package", missing)
    assert (done.returncode, f"{missing}: there is no such file; scripts/build-deb makes it" in done.stderr) == (
        os.EX_NOINPUT,
        True,
    ), done.stderr
    for words in (["--package"], ["--nonsense"]):
        done = run(ROOT / "scripts" / script, *words)
        assert (done.returncode, f"scripts/{script} " in done.stderr) == (os.EX_USAGE, True), done.stderr


def build_depends(processor: str) -> set[str]:
    """As the scripts read it."""
    words = '. "$0/scripts/lib/packages"; build_depends "$0/packaging/debian/control" "$1"'
    done = run("bash", "-euc", words, ROOT, processor)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_only_32_bits_need_a_compiler_s_packages_to_build_the_package() -> None:
    usual = build_depends("amd64")
    assert usual == build_depends("arm64")
    assert {"debhelper", "python3-venv"} <= usual
    assert build_depends("armhf") - usual == {
        "cmake",
        "libffi-dev",
        "libsamplerate0-dev",
        "pybind11-dev",
        "python3-dev",
    }


def test_the_package_is_built_with_what_it_takes_from_debian_and_nothing_else_of_python() -> None:
    """Whatever else the building machine has must not be seen: it would become a dependency of the package."""
    rules = (ROOT / "packaging/debian/rules").read_text()
    control = (ROOT / "packaging/debian/control").read_text()
    of_debian = re.search(r"^OF_DEBIAN = (.*)$", rules, re.MULTILINE)
    assert of_debian is not None
    assert "Build-Depends: " in control
    wanted = build_depends("amd64")
    assert set(of_debian[1].split()) | {"python3-venv"} == {name for name in wanted if name.startswith("python3-")}
    assert "--system-site-packages" not in rules


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing (scripts/test installs it)")
def test_shell_scripts() -> None:
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.is_file() and "bash" in path.open().readline()]
    maintainer = [*ROOT.glob("packaging/debian/parleyd.p*st*"), *ROOT.glob("packaging/debian/parleyd.pre*")]
    assert len(scripts) >= 6
    assert len(maintainer) == 3
    done = run("shellcheck", "--severity=warning", "--external-sources", f"--source-path={ROOT}", *scripts, *maintainer)
    assert done.returncode == 0, done.stdout


def test_a_script_that_needs_the_environment_of_the_checkout_makes_it() -> None:
    texts = {path.name: path.read_text() for path in (ROOT / "scripts").iterdir() if path.is_file()}
    in_bash = {name: text for name, text in texts.items() if text.startswith("#!/usr/bin/env bash")}
    needing = {name for name, text in in_bash.items() if re.search(r"\.venv/bin/", text)}
    assert len(needing) > 8
    making = {
        name for name, text in in_bash.items() if re.search(r'^ *[^#\n]*scripts/setup|/setup" ', text, re.MULTILINE)
    }
    assert needing - making - {"setup", "build-deb"} == set(), "they fail in a new clone"
