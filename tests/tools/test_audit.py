"""The audit log on a real disk."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parleyd.core.log_fields import NOTICE
from parleyd.tools.audit import (
    DAY_S,
    FILE_NAME,
    FOLD_S,
    HOUR_S,
    MOST_ALIKE,
    OLD_FILES,
    REFUSED_NAME,
    Audit,
    Folding,
    Shares,
    bounded_parameters,
)
from waiting import until


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / FILE_NAME).read_text().splitlines()]


def test_lines_are_for_their_owner_only_and_hold_no_secrets(tmp_path: Path) -> None:
    audit = Audit(tmp_path, 100_000)
    deep = [{"Password": "p", "door_passcode": 1234}]
    parameters = {"api_key": "k", "deep": deep, "text": "with t0ps3cret inside\n\ud800", "n": 1}
    audit.add(what="began", tool="t\n", parameters=bounded_parameters(parameters, ("t0ps3cret",)))
    audit.close()
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    (line,) = lines(tmp_path)
    assert line["parameters"] == {
        "api_key": "********", "deep": [{"Password": "********", "door_passcode": "********"}],
        "text": "with ******** inside\n\ud800", "n": 1,
    }  # fmt: skip
    assert str(line["at"]).endswith("Z")


def test_long_and_deep_parameters_are_cut() -> None:
    shown = bounded_parameters({"api_key": "k", "x": "y" * 10_000})
    assert isinstance(shown, str)
    assert len(shown) <= 2000
    assert shown.startswith('{"api_key": "********", "x": "yyy')
    assert bounded_parameters({"x": "y" * 1_000_000}) == "(of 1000008 bytes)"
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert bounded_parameters({"x": deep}) == "(not JSON)"


def test_it_is_bounded_and_the_newest_stays(tmp_path: Path) -> None:
    audit = Audit(tmp_path, 8000)
    for number in range(100):
        audit.add(what="x", by="person", number=number, pad="p" * 400)
        if number % 20 == 19:
            audit.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [FILE_NAME, *(f"{FILE_NAME}.{number}" for number in range(1, OLD_FILES + 1))]
    assert all(path.stat().st_size <= 8000 for path in tmp_path.iterdir())
    assert lines(tmp_path)[-1]["number"] == 99
    numbers = [
        json.loads(line)["number"] for name in reversed(files) for line in (tmp_path / name).read_text().splitlines()
    ]
    assert numbers == list(range(numbers[0], 100)), "no line lost in between, none twice"


def test_after_a_torn_line_the_next_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b'{"what": "to')
    audit = Audit(tmp_path, 100_000)
    audit.add(what="next")
    audit.close()
    assert json.loads((tmp_path / FILE_NAME).read_text().splitlines()[1])["what"] == "next"


def test_processes_may_write_at_the_same_time(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from parleyd.tools.audit import Audit\n"
        "audit = Audit(Path(sys.argv[1]), 3000)\n"
        "for n in range(100): audit.add(who=sys.argv[2], n=n, by='person')\naudit.close()"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), who]) for who in "ab"]
    assert [child.wait(60) for child in children] == [0, 0]
    for path in tmp_path.iterdir():
        assert all(json.loads(line) for line in path.read_text().splitlines())
    assert len(list(tmp_path.iterdir())) == 1 + OLD_FILES


@pytest.mark.parametrize("obstacle", ["directory", "link", "pipe", "gone"])
def test_a_disk_that_refuses_is_told_once_and_stops_nothing(
    tmp_path: Path, obstacle: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, victim = tmp_path / "state", tmp_path / "victim"
    if obstacle != "gone":
        folder.mkdir()
    if obstacle == "directory":
        (folder / FILE_NAME).mkdir()
    if obstacle == "link":
        (folder / FILE_NAME).symlink_to(victim)
    if obstacle == "pipe":
        os.mkfifo(folder / FILE_NAME)
    audit = Audit(folder, 1000)
    with caplog.at_level(logging.WARNING):
        audit.add(what="x")
        audit.add(what="y")
        audit.close()
    assert sum("cannot be written" in record.message for record in caplog.records) == 1
    assert not victim.exists()


def refused(folder: Path) -> list[dict[str, Any]]:
    path = folder / REFUSED_NAME
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_flood_of_refused_calls_pushes_out_nothing_that_was_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(NOTICE)
    audit = Audit(tmp_path, 8000)
    audit.add(what="began", tool="door_open", call_id="c", parameters={"code": 1})
    for number in range(1050):
        parameters = {"pad": "p" * 1000}
        audit.add(what="refused", outcome="unknown tool", tool=f"none{number}", call_id="c", parameters=parameters)
        audit.add(what="approval", outcome="denied", by="rule", tool="pay", parameters=parameters)
    audit.add(what="approval", outcome="denied", by="person", tool="pay")
    audit.close()
    assert [(line["what"], line["tool"]) for line in lines(tmp_path)] == [("began", "door_open"), ("approval", "pay")]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * 8000 + 1000
    told = [line for line in refused(tmp_path) if "more" in line]
    assert [(line["what"], line["outcome"], line["more"]) for line in told] == [
        ("refused", "unknown tool", 1050 - MOST_ALIKE),
        ("approval", "denied", 1050 - MOST_ALIKE),
    ]
    assert told[0]["first"] <= told[0]["last"] <= told[0]["at"]
    assert "none20, none21" in told[0]["tools"]
    notices = [record.getMessage() for record in caplog.records if record.levelno == NOTICE]
    assert len(notices) == 2 + 2 * MOST_ALIKE + 2
    assert notices[0] == "audit: began: tool door_open, call_id c"
    assert not any("code" in notice or "ppp" in notice for notice in notices)


def entry(number: int, tool: str) -> dict[str, Any]:
    return {"tool": tool, "kind": "built in", "call_id": f"c{number}", "parameters": {"percent": number % 100}}


def test_a_flood_of_allowed_calls_pushes_out_nothing_that_another_tool_did(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(NOTICE)
    audit = Audit(tmp_path, 64 * 1024)
    audit.add(
        what="confirmation", outcome="allowed", by="person", uid=1001, pid=7, role="approve", **entry(0, "door_open")
    )
    written = audit.add(what="began", **entry(0, "door_open"))
    audit.add(written, what="ended", outcome="done", **entry(0, "door_open"))
    interesting = 3
    for number in range(100_000):
        written = audit.add(what="began", **entry(number, "set_volume"))
        audit.add(written, what="ended", outcome="done", result="It is set.", **entry(number, "set_volume"))
        if number % 10 == 0:
            name = f"calendar_{number}"
            audit.add(what="approval", outcome="allowed", by="rule", tool=name, parameters={"x": "y" * 1500})
    audit.close()
    kept = [json.loads(line) for path in sorted(tmp_path.iterdir()) for line in path.read_text().splitlines()]
    assert [line["what"] for line in kept if line["tool"] == "door_open"] == ["confirmation", "began", "ended"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 64 * 1024
    begun = [line["call_id"] for line in kept if line["what"] == "began"]
    assert begun == [line["call_id"] for line in kept if line["what"] == "ended"], "no half of a call"
    counted = {line["tool"]: line for line in kept if line["what"] == "counted"}
    of_volume = sum(line["tool"] == "set_volume" for line in kept) - 1
    assert counted["set_volume"]["more"] == 200_000 - of_volume
    assert counted["set_volume"]["outcomes"] == f"began {100_000 - of_volume // 2}, done {100_000 - of_volume // 2}"
    assert "calendar" not in "".join(counted)
    # The journal, too, has what was done, and no flood; with fields to look for.
    records = [record for record in caplog.records if record.levelno == NOTICE]
    assert len(records) == len(kept)
    assert len(records) < 500 + interesting
    told = records[0].__dict__["fields"]
    assert {name: value for name, value in told.items() if value is not None} == {
        "audit": "confirmation", "tool": "door_open", "outcome": "allowed", "by": "person", "uid": 1001, "pid": 7,
        "role": "approve",
    }  # fmt: skip


def test_a_share_grows_back_over_a_day_and_what_was_counted_is_told_each_hour() -> None:
    shares = Shares(1000)
    taken = [shares.takes(0.0, f"t{number}", "lamp", "began", 300, None) for number in range(5)]
    assert taken == [False, False, False, True, True]
    assert not shares.takes(0.0, "t", "door", "began", 300, None), "each tool has a share of its own"
    assert not shares.takes(1.0, "t", "lamp", "done", 300, is_written=True), "the end of what has begun"
    assert shares.takes(1.0, "t6", "lamp", "done", 300, is_written=False)
    assert shares.over(HOUR_S - 1.0) == []
    assert shares.due_s(HOUR_S - 1.0) == 1.0
    (told,) = shares.over(HOUR_S)
    assert told == {
        "what": "counted", "tool": "lamp", "more": 3, "outcomes": "began 2, done 1", "first": "t3", "last": "t6",
    }  # fmt: skip
    assert shares.due_s(HOUR_S) is None
    # Less than nothing was left: half a day is not enough.
    assert shares.takes(DAY_S / 4, "t", "lamp", "began", 300, None)
    assert not shares.takes(DAY_S, "t", "lamp", "began", 300, None)


def test_what_was_counted_is_written_at_the_end(tmp_path: Path) -> None:
    audit = Audit(tmp_path, 4000)
    for number in range(50):
        audit.add(what="began", **entry(number, "lamp"))
    audit.close()
    written = lines(tmp_path)
    assert written[-1]["what"] == "counted"
    assert written[-1]["more"] == 50 - (len(written) - 1)


def test_what_is_counted_is_written_when_its_minute_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing else comes."""
    monkeypatch.setattr("parleyd.tools.audit.FOLD_S", 0.3)
    audit = Audit(tmp_path, 100_000)
    for _ in range(MOST_ALIKE + 5):
        audit.add(what="refused", outcome="busy", tool="t")
    until("it is not written", lambda: any("more" in line for line in refused(tmp_path)))
    assert sum(line.get("more", 1) for line in refused(tmp_path)) == MOST_ALIKE + 5
    audit.close()


def test_kinds_are_counted_apart_and_begin_anew_each_minute() -> None:
    folding = Folding()
    takes = [folding.takes(0.0, "a", "refused", "busy", "t") for _ in range(MOST_ALIKE + 1)]
    assert takes == [False] * MOST_ALIKE + [True]
    assert not folding.takes(0.0, "a", "refused", "unknown tool", "t")
    assert folding.over(FOLD_S - 1) == []
    assert folding.due_s(FOLD_S - 1) == 1
    (told,) = folding.over(FOLD_S)
    assert (told["outcome"], told["more"]) == ("busy", 1)
    assert folding.due_s(FOLD_S) is None
    assert not folding.takes(FOLD_S, "b", "refused", "busy", "t")
