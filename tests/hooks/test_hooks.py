"""Hooks with real commands: in order, bounded, and nothing is left of them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parleyd.config.hook_sections import Hook, HookName
from parleyd.core import events
from parleyd.hooks import hooks as hooks_module
from parleyd.hooks.hook_queue import MOST_WAITING
from parleyd.hooks.hooks import MOST_AT_ONCE, Hooks
from parleyd.host import apart
from waiting import until, until_ended

WAIT_S = 60.0


def shell(script: str, *on: HookName, timeout_s: float = WAIT_S, **environment: str) -> Hook:
    return Hook(on=list(on), command=["/bin/sh", "-c", script], timeout_s=timeout_s, environment=environment)


def heard(text: str) -> events.Heard:
    return events.Heard(at_s=time.monotonic(), text=text, final=True)


def muted(on: bool) -> events.Muted:
    return events.Muted(at_s=time.monotonic(), on=on)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextmanager
def running(*hooks: Hook) -> Iterator[tuple[events.Bus, Hooks]]:
    bus = events.Bus()
    hooks_ = Hooks(hooks, bus)
    hooks_.start()
    try:
        yield bus, hooks_
    finally:
        hooks_.begin_stop()
        hooks_.end_stop()


def test_a_command_is_told_what_happened_and_gets_nothing_of_the_daemons_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_secret")
    out = tmp_path / "out"
    hostile = "$(touch pwned); `touch pwned` \n' \" {event} %n"
    with running(shell(f"env > {out}.env; cat > {out}; mv {out} {out}.json", "heard", COLOUR="green")) as (bus, _):
        bus.publish(muted(True))
        bus.publish(heard(hostile))
        until("the hook", lambda: Path(f"{out}.json").exists())
    assert json.loads(Path(f"{out}.json").read_text())["text"] == hostile
    environment = dict(line.split("=", 1) for line in lines(Path(f"{out}.env")))
    assert environment["PARLEYD_EVENT"] == "heard"
    assert environment["COLOUR"] == "green"
    ours = {"PARLEYD_EVENT", "PARLEYD_STATE", "PARLEYD_CONVERSATION_ID", "PARLEYD_PROFILE", "COLOUR"}
    # The shell adds PWD and the like.
    assert set(environment) - ours <= {"PATH", "HOME", "LANG", "TZ", "PWD", "OLDPWD", "SHLVL", "_"}
    assert "sk_secret" not in environment.values()


def test_one_hook_runs_in_order_one_at_a_time_and_several_do_not_wait_for_each_other(tmp_path: Path) -> None:
    out, other, go = tmp_path / "out", tmp_path / "other", tmp_path / "go"
    slow = f"until [ -e {go} ]; do sleep 0.02; done; echo begin >> {out}; cat >> {out}; echo end >> {out}"
    with running(shell(slow, "heard"), shell(f"echo $PARLEYD_EVENT >> {other}", "heard")) as (bus, _):
        for number in range(5):
            bus.publish(heard(str(number)))
        until("the other hook, while the first hangs", lambda: len(lines(other)) == 5)
        assert not out.exists()
        go.touch()
        until("all of the first", lambda: lines(out).count("end") == 5)
    written = lines(out)
    assert written[::3] == ["begin"] * 5
    assert [json.loads(line)["text"] for line in written[1::3]] == list("01234")


def test_what_has_become_untrue_is_not_told_and_a_flood_is_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    script = f"until [ -e {go} ]; do sleep 0.02; done; echo $PARLEYD_EVENT >> {out}"
    with running(shell(script, "muted", "unmuted", "heard")) as (bus, hooks):
        bus.publish(heard("the one that runs"))
        until("the first to run", lambda: hooks._running)
        for number in range(100):
            bus.publish(muted(number % 2 == 0))
        for _ in range(MOST_WAITING + 20):
            bus.publish(heard("again"))
        assert hooks.counts.dropped == 21
        go.touch()
        until("what was kept", lambda: hooks.counts.runs == MOST_WAITING + 1)
    assert lines(out) == ["heard"] * (MOST_WAITING + 1)
    assert len([record for record in caplog.records if "too slow" in record.message]) == 1


def test_what_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM HUP INT; (trap '' TERM; sleep 60) & echo $! $$ > {pids}; yes"
    with running(shell(script, "heard", timeout_s=0.5)) as (bus, hooks):
        bus.publish(heard("x"))
        until("its end", lambda: hooks.counts.failed == 1)
        for pid in pids.read_text().split():
            until_ended(int(pid))
    assert "hooks.1 (sh), run for heard, did not end within 0.5 s and was killed" in caplog.text


def test_trouble_is_told_once_until_it_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = tmp_path / "good"
    script = f"[ -e {good} ] || {{ printf 'no lamp \\033[31m\\n\\n' >&2; exit 3; }}"
    with caplog.at_level(logging.INFO), running(shell(script, "heard")) as (bus, hooks):
        for number in range(1, 4):
            bus.publish(heard("x"))
            until("a run", lambda number=number: hooks.counts.runs == number)  # type: ignore[misc]
        good.touch()
        bus.publish(heard("x"))
        until("a good run", lambda: hooks.counts.runs == 4)
        assert hooks.counts.failed == 3
    told = [record.message for record in caplog.records]
    assert [message for message in told if "failed" in message] == [
        "hooks.1 (sh), run for heard, failed with code 3: no lamp [31m; fix the command; until it has worked again "
        "this is not repeated"
    ]
    assert told[-1] == "hooks.1 (sh) works again"


def test_what_is_closed_to_hooks_that_run_apart_is_told_with_the_hint(caplog: pytest.LogCaptureFixture) -> None:
    if apart.ways().way is apart.Way.NONE:
        pytest.skip("nothing keeps programs apart here")
    with running(shell("echo notes: Permission denied >&2; exit 1", "heard")) as (bus, hooks):
        bus.publish(heard("x"))
        until("a run", lambda: hooks.counts.runs == 1)
    assert "notes: Permission denied; programs run here " in caplog.text
    assert "run_as: daemon" in caplog.text


def test_a_program_that_is_not_there_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    with running(Hook(on=["heard"], command=["/no/such/led"])) as (bus, hooks):
        assert "hooks.1 (led): there is no program /no/such/led; write the whole path" in caplog.text
        bus.publish(heard("x"))
        until("a run", lambda: hooks.counts.failed == 1)
    assert len(caplog.records) == 1


def test_at_the_end_stopped_is_run_for_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow the machine is, what is run for `stopped` is not cut short.
    monkeypatch.setattr(hooks_module, "STOP_S", 60.0)
    out, pids = tmp_path / "out", tmp_path / "pids"
    hang = f"echo $$ >> {pids}; sleep 600"
    # As many as there are threads hang; what was to come after them is not run any more.
    hooks = [shell(hang, "heard") for _ in range(MOST_AT_ONCE)]
    last = shell(f"echo $PARLEYD_EVENT >> {out}", "stopped", "heard")
    with running(*hooks, last) as (bus, service):
        bus.publish(heard("x"))
        until("all to hang", lambda: len(lines(pids)) == MOST_AT_ONCE)
        service.begin_stop()
        assert not all(gone(int(pid)) for pid in lines(pids)), "it has waited for them"
        service.end_stop()
        assert lines(out) == ["stopped"]
        assert all(gone(int(pid)) for pid in lines(pids))
        # Nothing begins any more.
        bus.publish(heard("x"))
        assert service.counts.runs == MOST_AT_ONCE + 1


def test_a_hook_that_hangs_at_the_end_does_not_hold_up_the_daemon(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with running(shell(f"echo $$ > {pid}; sleep 60", "stopped")) as (_, hooks):
        began_s = time.monotonic()
        hooks.begin_stop()
        hooks.end_stop()
        assert time.monotonic() - began_s < 30, "half of what the hook would take"
        assert gone(int(pid.read_text()))


def test_other_hooks_from_a_reload_on(tmp_path: Path) -> None:
    out, go = tmp_path / "out", tmp_path / "go"
    stays = shell(f"until [ -e {go} ]; do sleep 0.02; done; echo stays >> {out}", "heard")
    leaves = shell(f"until [ -e {go} ]; do sleep 0.02; done; echo leaves >> {out}", "heard")
    with running(leaves, stays) as (bus, hooks):
        for _ in range(3):
            bus.publish(heard("x"))
        until("both to run", lambda: len(hooks._running) == 2)
        hooks.reconfigure([stays, shell(f"echo new >> {out}", "muted")])
        bus.publish(muted(True))
        until("the new one", lambda: "new" in lines(out))
        go.touch()
        until("all that waited", lambda: lines(out).count("stays") == 3 and "leaves" in lines(out))
    # What waited for the one that left was forgotten; what ran has ended.
    assert lines(out).count("leaves") == 1
