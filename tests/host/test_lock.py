"""One at a time, whatever happens to whom."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from parleyd.host.lock import HeldError, Lock


def test_the_second_is_told_who_has_it_until_the_first_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = Lock(path)
    with pytest.raises(HeldError) as caught:
        Lock(path)
    assert caught.value.pid == os.getpid()
    assert path.stat().st_mode & 0o777 == 0o600
    first.close()
    assert not path.exists()
    Lock(path).close()


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from parleyd.host.lock import Lock; lock = Lock(Path(sys.argv[1])); "
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(HeldError) as caught:
            Lock(path)
        assert caught.value.pid == holder.pid
        holder.kill()
        holder.wait()
    assert path.exists()
    Lock(path).close()


def test_of_many_at_once_one_gets_it_each_time(tmp_path: Path) -> None:
    """Also while others let go and take the file along."""
    path, inside, most, errors = tmp_path / "lock", [0], [0], []
    guard, begin = threading.Lock(), threading.Barrier(4)

    def take() -> None:
        begin.wait()
        got = 0
        while got < 200:
            try:
                lock = Lock(path)
            except HeldError:
                continue
            except OSError as error:
                errors.append(error)
                return
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            got += 1
            with guard:
                inside[0] -= 1
            lock.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert errors == []
    assert most == [1]


def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Lock(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe", 0o600)
    Lock(tmp_path / "pipe").close()
