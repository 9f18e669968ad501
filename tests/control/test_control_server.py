"""The control socket of a real daemon: real clients, good and bad."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from parleyd.control import messages, protocol
from parleyd.control.client import Client, NotRunningError, RefusedError
from parleyd.control.server import MOST_CLIENTS, MOST_FOR_MUTE, MOST_OF_OWNER
from waiting import until

CONFIG = """
elevenlabs: {agent_id: agent_test, base_url: "http://127.0.0.1:9"}
audio: {input: {device: "null"}, output: {device: "null"}}
reconnect: {initial_s: 30, max_s: 60}
wake: {mode: manual}
"""


@contextmanager
def daemon(folder: Path) -> Iterator[subprocess.Popen[str]]:
    config = folder / "parleyd.yaml"
    if not config.exists():
        config.write_text(CONFIG)
    process = subprocess.Popen(
        [sys.executable, "-m", "parleyd", "run", "-c", str(config)], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "runs;" in line:
                break
        else:
            raise AssertionError("the daemon did not start")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with daemon(tmp_path) as process:
        yield process


def socket_path() -> Path:
    return Path(os.environ["XDG_RUNTIME_DIR"]) / "parleyd" / "control.sock"


def connected() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(60)
    connection.connect(str(socket_path()))
    return connection


def parleyd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parleyd", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_a_whole_acquaintance(running: subprocess.Popen[str], tmp_path: Path) -> None:
    assert stat.S_IMODE(socket_path().stat().st_mode) == 0o660
    with Client() as watcher, Client() as client:
        watcher.ask("events")
        happening = watcher.events(60)
        assert next(happening)["status"]["state"] == "asleep"
        assert client.ask("volume", to=0.25) == {"volume": 0.25}
        assert client.ask("volume", by=-0.5) == {"volume": 0.0}
        assert client.ask("mute") == {"muted": True}
        status = client.ask("status")
        assert status["microphone"]["muted"]
        assert status["health"] == "well"
        assert status["metrics"]["wakes"] == 0
        with pytest.raises(RefusedError) as caught:
            client.ask("context", text="the light is on")
        assert caught.value.kind == "no_session"
        client.ask("say", text="hello")
        seen = [next(happening)["event"] for _ in range(5)]
        assert seen == ["volume_changed", "volume_changed", "muted", "typed", "woken"]
        assert next(event for event in happening if event.get("after") == "backing off")["before"] == "connecting"
        client.ask("sleep")
        asleep = next(event for event in happening if event.get("after") == "asleep")
        assert asleep["reason"] == "sent to sleep"
        client.ask("stop")
        assert running.wait(60) == 0
        with pytest.raises(NotRunningError):
            list(happening)
    assert not socket_path().exists()
    with pytest.raises(NotRunningError, match="not running"):
        Client()
    # The switch is where it was left.
    with daemon(tmp_path), Client() as client:
        assert client.ask("status")["microphone"]["muted"]
        client.ask("unmute")
        assert not client.ask("status")["microphone"]["muted"]


def test_the_transcript_is_that_of_the_running_daemon(tmp_path: Path) -> None:
    nothing = parleyd("transcript")
    assert nothing.returncode == 0
    assert "no daemon runs here" in nothing.stderr
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    now = datetime.now().astimezone()
    # A minute ago, so that `--since 1s` leaves it out however fast the machine is.
    now -= timedelta(minutes=1)
    line = {"time": now.isoformat(), "speaker": "user", "text": "And tomorrow?"}
    (folder / f"{now.date()}.jsonl").write_text(json.dumps(line) + "\n")
    keeps = f"transcript: {{enabled: true, directory: {folder}, keep_days: 30}}\n"
    (tmp_path / "parleyd.yaml").write_text(CONFIG + keeps)
    with daemon(tmp_path):
        there = parleyd("transcript")
        assert "And tomorrow?" in there.stdout
        assert json.loads(parleyd("transcript", "--json").stdout) == line
        assert json.loads(parleyd("transcript", "--json", "--socket", str(socket_path())).stdout) == line
        # Files that this user finds may be those of another daemon.
        nobody = parleyd("transcript", "--socket", str(tmp_path / "no.sock"))
        assert (nobody.returncode, nobody.stdout) == (os.EX_UNAVAILABLE, "")
        assert str(tmp_path / "no.sock") in nobody.stderr
        assert parleyd("transcript", "--since", "1s").stderr == "There is nothing in the transcript since 1s.\n"
        # --follow goes on where the first page ended.
        with subprocess.Popen(
            [sys.executable, "-m", "parleyd", "transcript", "--follow"], stdout=subprocess.PIPE, text=True
        ) as following:
            assert following.stdout is not None
            assert following.stdout.readline().endswith("you    And tomorrow?\n")
            with (folder / f"{now.date()}.jsonl").open("a") as file:
                file.write(json.dumps({**line, "text": "And then?"}) + "\n")
            assert following.stdout.readline().endswith("you    And then?\n")
            following.terminate()
        other = tmp_path / "off.yaml"
        other.write_text(CONFIG)
        named = parleyd("transcript", "-c", str(other))
        assert f"it is switched off: set transcript.enabled to true in {other}" in named.stderr


def test_two_daemons_do_not_share_a_state_directory(running: subprocess.Popen[str], tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG + f"control: {{socket: {tmp_path}/other.sock}}\n")
    second = parleyd("run", "-c", str(other))
    assert second.returncode == os.EX_UNAVAILABLE
    state = Path(os.environ["XDG_STATE_HOME"]) / "parleyd"
    said = " ".join(second.stderr.split())
    assert f"a parleyd is already running (process {running.pid}): it keeps its state in {state}" in said
    assert "STATE_DIRECTORY" in said
    assert "control.socket" in said
    with Client() as client:
        assert client.ask("status")["state"] == "asleep"
    running.send_signal(signal.SIGTERM)
    running.wait(60)
    assert [path.name for path in state.iterdir() if "lock" in path.name] == []


@pytest.mark.usefixtures("running")
def test_a_second_daemon_does_not_take_the_place_of_the_first(tmp_path: Path) -> None:
    second = parleyd("run", "-c", str(tmp_path / "parleyd.yaml"))
    assert second.returncode == os.EX_UNAVAILABLE
    assert "a parleyd is already running" in second.stderr
    with Client() as client:
        assert client.ask("status")["state"] == "asleep"


def test_a_socket_left_by_a_daemon_that_was_killed_is_no_hindrance(tmp_path: Path) -> None:
    with daemon(tmp_path) as first:
        first.kill()
        first.wait()
        assert socket_path().exists()
    with daemon(tmp_path), Client() as client:
        assert client.ask("status")["state"] == "asleep"


def test_nonsense_harms_nobody(running: subprocess.Popen[str]) -> None:
    dice = random.Random(7)
    with Client() as witness, Path("/dev/zero").open("rb") as zeros:
        before = witness.ask("status")
        for _ in range(60):
            with connected() as connection:
                for _ in range(dice.randrange(1, 20)):
                    thing = dice.choice(
                        [
                            dice.randbytes(dice.randrange(200)) + b"\n",
                            b'{"do": "%s", "to": 0.5}\n' % dice.choice([*messages.NAMES[4:-2], "x"]).encode(),
                            b'{"do": "status"}\n',
                            b'{"do": "events"}\n' * dice.randrange(5),
                            b"\n" * dice.randrange(50),
                            b"[" * dice.randrange(5000) + b"\n",
                            b'{"do": "send_file", "name": "../x.png"}\n',
                            b'{"do": "status", "id": "' + b"x" * dice.randrange(70_000),
                        ]
                    )  # fmt: skip
                    try:
                        if thing and dice.random() < 0.2:
                            socket.send_fds(connection, [thing], [zeros.fileno()] * dice.randrange(1, 250))
                        else:
                            connection.sendall(thing)
                    except OSError:
                        break
                # Some leave without reading what they asked for, and some in the middle of a request.
                if dice.random() < 0.5:
                    connection.recv(dice.randrange(1, 5000))
        after = witness.ask("status")
        assert after["health"] == "well"
        assert after["metrics"]["heard_s"] > before["metrics"]["heard_s"]
        # What was sent open is closed again, as soon as the last of them is known to have gone.
        while witness.ask("status")["load"]["handles"] > before["load"]["handles"]:
            pass
    assert running.poll() is None


def test_a_line_without_end_is_cut_off(running: subprocess.Popen[str]) -> None:
    with connected() as connection:
        lines = connection.makefile("rb")
        assert json.loads(lines.readline())["protocol"] == 2
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"x" * 10_000)
        assert json.loads(lines.readline())["error"]["kind"] == "too_long"
        with contextlib.suppress(ConnectionError):
            assert not lines.readline()
    assert running.poll() is None


@pytest.mark.usefixtures("running")
def test_the_last_request_needs_no_line_feed_and_who_says_no_more_still_gets_all_answers() -> None:
    with connected() as connection:
        connection.sendall(b'{"do": "status"}\n' * 200 + b'{"do": "volume", "id": "last"}')
        connection.shutdown(socket.SHUT_WR)
        _, *answers = connection.makefile("rb")
        assert len(answers) == 201
        assert json.loads(answers[-1]) == {"id": "last", "ok": True, "result": {"volume": 1.0}}
    with connected() as connection:
        connection.sendall(b'{"do": "stop"')
        connection.shutdown(socket.SHUT_WR)
        _, answer = connection.makefile("rb")
        assert json.loads(answer)["error"]["kind"] == "not_json"


@pytest.mark.usefixtures("running")
def test_who_does_not_read_is_dropped_and_nobody_waits_for_them() -> None:
    with connected() as sluggard, Client() as client:
        sluggard.sendall(b'{"do": "events"}\n')
        for _ in range(200):
            client.ask("say", text=protocol.MAX_TEXT * "a")
        sluggard.settimeout(60)
        while sluggard.recv(1 << 20):
            pass
        assert client.ask("status")["state"], "others are served"


@pytest.mark.usefixtures("running")
def test_who_asks_a_thousand_things_at_once_waits_while_others_are_answered() -> None:
    with connected() as crowd, Client() as other:
        crowd.sendall(b'{"do": "reload"}\n' * 1500)
        assert read_line(crowd)
        assert read_line(crowd)
        assert other.ask("mute")
        assert crowd.recv(1 << 20, socket.MSG_DONTWAIT).count(b"\n") < 1000


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    diary.write_text("dear diary")
    (tmp_path / "parleyd.yaml").write_text(f"{CONFIG}control: {{socket: {diary}}}\n")
    refused = parleyd("run", "-c", str(tmp_path / "parleyd.yaml"))
    assert refused.returncode == os.EX_UNAVAILABLE
    assert f"{diary} exists and is not a socket; set control.socket to a free name" in refused.stderr
    assert diary.read_text() == "dear diary"


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (f"control: {{socket: /tmp/{'x' * 120}}}", "xxx cannot be opened: AF_UNIX path too long; set control.socket "),
        ("control: {socket: /nowhere/a.sock}", "/nowhere/a.sock cannot be opened: No such file or directory; "),
        ("metrics: {port: PORT}", "metrics.port: 127.0.0.1:PORT cannot be opened: Address already in use; choose "),
    ],
)
def test_a_place_that_cannot_be_had_is_one_line_at_the_start(section: str, told: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        (tmp_path / "parleyd.yaml").write_text(CONFIG + section.replace("PORT", port) + "\n")
        refused = parleyd("run", "-c", str(tmp_path / "parleyd.yaml"))
    assert refused.returncode == os.EX_UNAVAILABLE
    assert told.replace("PORT", port) in refused.stderr
    assert refused.stderr.count("\n") == 1


def crowd_of(size: int) -> list[socket.socket]:
    """Each has asked something once, so that it is no silent one, and stays."""
    crowd = []
    for _ in range(size):
        crowd.append(connected())
        crowd[-1].sendall(b'{"do": "volume"}\n')
        assert read_line(crowd[-1])
        assert json.loads(read_line(crowd[-1]))["ok"]
    return crowd


@pytest.mark.usefixtures("running")
def test_there_is_a_most_of_clients_and_whoever_wants_to_mute_is_heard_all_the_same() -> None:
    # The tests run as the daemon's own user.
    crowd = crowd_of(MOST_CLIENTS + MOST_OF_OWNER)
    with Client() as late, pytest.raises(RefusedError, match="32 clients already"):
        late.ask("status")
    # Whoever fills with silence what is kept for mute is pushed out of it.
    silent = [connected() for _ in range(MOST_FOR_MUTE + 3)]
    for one in silent[:3]:
        assert read_line(one)
        assert json.loads(read_line(one))["error"]["kind"] == "busy"
    with Client() as late:
        assert late.ask("mute") == {"muted": True}
        with pytest.raises(RefusedError, match="32 clients already"):
            late.ask("unmute")
    for one in [*crowd, *silent]:
        # The daemon's answer to the end of what we send is that it has noticed.
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_WR)
            while one.recv(4096):
                pass
        one.close()
    with Client() as client:
        assert client.ask("status")["microphone"]["muted"]


@pytest.mark.usefixtures("running")
def test_a_place_is_kept_for_the_owner_when_others_fill_all_of_theirs() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    # Members of the group, as a unit makes them (SupplementaryGroups=).
    socket_path().chmod(0o666)
    for folder in (socket_path().parent, Path(os.environ["XDG_RUNTIME_DIR"])):
        folder.chmod(0o755)
    script = (
        "import os, socket, sys; os.setgroups([int(sys.argv[2])]); os.setgid(65534); os.setuid(65534);"
        "crowd = []\n"
        "for n in range(int(sys.argv[3])):\n"
        "    c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); f = c.makefile(); f.readline()\n"
        "    c.sendall(b'{\"do\": \"volume\"}\\n'); print(f.readline(), flush=True, end=''); crowd.append((c, f))\n"
        "sys.stdin.read()"
    )
    group, most = str(socket_path().stat().st_gid), MOST_CLIENTS + 4
    command = [sys.executable, "-c", script, str(socket_path()), group, str(most)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as members:
        assert members.stdout is not None
        assert members.stdin is not None
        told = [json.loads(members.stdout.readline()) for _ in range(most)]
        assert [one["ok"] for one in told] == [True] * MOST_CLIENTS + [False] * 4
        with Client() as client:
            assert client.ask("status")["state"]
            assert client.ask("unmute") == {"muted": False}
        members.stdin.close()


def test_a_stranger_is_sent_away(running: subprocess.Popen[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    socket_path().chmod(0o666)
    socket_path().parent.chmod(0o755)
    Path(os.environ["XDG_RUNTIME_DIR"]).chmod(0o755)
    script = (
        "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "c = socket.socket(socket.AF_UNIX); c.settimeout(60); c.connect(sys.argv[1]); print(flush=True);"
        "f = c.makefile(); f.readline(); print(f.readline(), end='')"
    )
    command = [sys.executable, "-c", script, str(socket_path())]
    as_stranger = (
        "import locale, os, sys, parleyd.cli.main, parleyd.cli.status;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        f"sys.exit(parleyd.cli.main.main(['status', '--socket', {str(socket_path())!r}]))"
    )
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(told.stdout)["error"]["kind"] == "not_allowed"
    told = subprocess.run([command[0], "-c", as_stranger], capture_output=True, text=True, check=False, timeout=60)
    assert told.returncode == os.EX_NOPERM, told.stderr
    assert told.stderr.startswith("parleyd: you are neither root, ")
    # One whom a unit has given the group (SupplementaryGroups=) is admitted, whatever /etc/group says.
    member = script.replace("setgroups([])", f"setgroups([{socket_path().stat().st_gid}])")
    member = member.replace("f.readline(); print", 'f.readline(); c.sendall(b\'{"do": "mute"}\\n\'); print')
    command_of_member = [sys.executable, "-c", member, str(socket_path())]
    told = subprocess.run(command_of_member, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(told.stdout.strip())["ok"]
    # Also when the socket's name has gone before the daemon sees who that is.
    running.send_signal(signal.SIGSTOP)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        socket_path().unlink()
        running.send_signal(signal.SIGCONT)
        assert json.loads(stranger.communicate(timeout=60)[0])["error"]["kind"] == "not_allowed"
    assert running.poll() is None


def test_commands_in_a_terminal(running: subprocess.Popen[str], tmp_path: Path) -> None:
    status = parleyd("status")
    assert status.returncode == 0
    assert status.stdout.startswith("parleyd ")
    assert "asleep" in status.stdout
    assert json.loads(parleyd("status", "--json").stdout)["state"] == "asleep"
    assert parleyd("volume", "up", "5").stdout == "volume 100%\n"
    assert parleyd("volume", "40").stdout == "volume 40%\n"
    assert parleyd("volume", "101").returncode == os.EX_USAGE
    texts = ((" ", "is empty; write some words"), ("x" * 8001, "has 8001 "), ("\udcff", "is not UTF-8; "))
    for refused, why in texts:
        said = parleyd("say", refused)
        assert (said.returncode, said.stderr.startswith(f"parleyd: the text {why}")) == (os.EX_USAGE, True)
    assert json.loads(parleyd("events", "--json").stdout)["event"] == "snapshot"
    answerless = parleyd("say", "--wait", "--timeout", "1.5", "hello")
    assert answerless.returncode == os.EX_TEMPFAIL
    assert "no answer within 1.5 s: no line to the agent" in answerless.stderr
    assert parleyd("status").returncode == 1
    assert parleyd("sleep").returncode == 0
    assert parleyd("feedback", "like").returncode == os.EX_UNAVAILABLE
    config = tmp_path / "parleyd.yaml"
    config.write_text(CONFIG.replace("max_s: 60", "max_s: 50") + "gate: {pre_roll_ms: 900}\n")
    assert parleyd("reload").stdout == "in force now: reconnect.max_s; only after a restart: gate.pre_roll_ms\n"
    config.write_text(CONFIG + "gate: {pre_roll_ms: 1}\n")
    bad = parleyd("reload")
    assert bad.returncode == os.EX_CONFIG
    assert "gate.pre_roll_ms" in bad.stderr
    assert parleyd("stop").returncode == 0
    assert running.wait(60) == 0
    for command in (["status"], ["wake"], ["volume"], ["say", "x"], ["events"], ["reload"]):
        absent = parleyd(*command)
        assert absent.returncode == os.EX_UNAVAILABLE
        assert "systemctl start parleyd" in absent.stderr


@pytest.mark.usefixtures("running")
def test_a_file_comes_open_or_not_at_all(tmp_path: Path) -> None:
    """Else whoever may talk to the daemon could have it read what they may not."""
    private = tmp_path / "private.png"
    private.write_bytes(b"x")

    def handles() -> int:
        with Client() as other:
            return int(other.ask("status")["load"]["handles"])

    with Client() as client:
        with pytest.raises(RefusedError) as caught:
            client.ask("send_file", name=str(private))
        assert caught.value.kind == "no_file"
        with pytest.raises(RefusedError) as caught:
            client.send_file(os.open(tmp_path, os.O_RDONLY), "folder.png")
        assert caught.value.kind == "bad_file"
        before = handles()
        with connected() as hoarder, private.open("rb") as file:
            # Open files with requests that want none, and more than one at a time.
            for _ in range(50):
                socket.send_fds(hoarder, [b'{"do": "status"}\n'], [file.fileno()] * 3)
            for _ in range(51):
                read_line(hoarder)
            # They are closed soon, by threads.
            until("what the hoarder sent stays open", lambda: handles() <= before + 2)
        until("the last one stays open", lambda: handles() <= before)
        descriptor = os.open(private, os.O_RDONLY)
        assert client.send_file(descriptor, "private.png", "look") == 1
        # It is the caller's still.
        os.close(descriptor)


def read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += connection.recv(1)
    return line


def test_a_daemon_without_sound_says_so(tmp_path: Path) -> None:
    (tmp_path / "parleyd.yaml").write_text(
        CONFIG.replace('audio: {input: {device: "null"}, output: {device: "null"}}', "audio: off")
    )
    with daemon(tmp_path), Client() as client:
        for order in ("mute", "unmute", "volume"):
            with pytest.raises(RefusedError) as caught:
                client.ask(order)
            assert caught.value.kind == "no_sound"
        with pytest.raises(RefusedError) as caught:
            client.ask("announce", text="Dinner is ready.")
        assert caught.value.kind == "no_sound"
        done = parleyd("status")
        assert "sound       none (audio.mode: off)" in done.stdout
        assert done.returncode == 0
        assert client.ask("status")["microphone"] is None
