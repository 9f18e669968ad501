"""Runs one program for the daemon, and leaves no process of it behind: python3 -I -S -B runner.py

Standard input is a Unix socket, on which one job comes (see Job). This is the first program of parleyd-tools@.service,
or a child process of the daemon; host/subprocesses.py is at the other end. The program runs in a session of its own, in
a Landlock domain of its own where the kernel has Landlock (landlock(7)), and is killed when the other end closes its
side of the socket. All processes that it started are killed with it, also those that have left its session: this
process is their reaper. It is outside their domain, so that they can neither trace nor, from Landlock ABI 6 on, signal
it. It imports nothing of parleyd.
"""

# One of these starts for each call: neither pathlib nor contextlib, which take longer than all the rest.
# ruff: noqa: PTH118, PTH123, PTH208, SIM105
from __future__ import annotations

import _socket
import ctypes
import os
import select
import sys

# Before a job: what follows is one, and how long it is.
MAGIC = b"prl1"
_HEAD_BYTES = 8
# execve(2) takes no more, whatever it is.
MAX_JOB_BYTES = 8 * 2**20

# The answer: one character and a number (see Record).
RECORD_BYTES = 5
STARTED, ENDED, NO_DIRECTORY, NO_PROGRAM, NOT_APART = b"S", b"E", b"D", b"P", b"L"

# How a job is to be held apart by Landlock: not at all, where the kernel has it, or not run without it.
PLAIN, IF_POSSIBLE, REQUIRED = b"", b"if possible", b"required"

# prctl(2)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_PR_CAPBSET_DROP = 24
_SIGKILL = 9
# When memory is short the kernel is to end the program, not the daemon: proc_pid_oom_score_adj(5), -1000 to 1000.
_OOM_SCORE_ADJ = b"500"

# landlock(7), linux/landlock.h; the numbers of the system calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_MAKE_BLOCK = 1 << 11
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
_SCOPES = 1 << 0 | 1 << 1  # abstract Unix sockets, signals
_SCOPES_SINCE_ABI = 6
# With these a process of root looks past Landlock: capabilities(7), DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO,
# SYS_PTRACE, SYS_ADMIN, MKNOD, PERFMON, BPF.
_FORBIDDEN_CAPABILITIES = (2, 16, 17, 19, 21, 27, 38, 39)

# Killing may take that many rounds: what is killed may have started another one meanwhile.
_ROUNDS = 10_000


class Job:
    """arguments, environment (NAME=value) and directory of a program; hidden: absolute paths that it cannot reach;
    apart: PLAIN, IF_POSSIBLE or REQUIRED."""

    def __init__(
        self,
        arguments: list[bytes],
        environment: list[bytes],
        directory: bytes,
        hidden: list[bytes],
        apart: bytes,
    ) -> None:
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
        self.hidden = hidden
        self.apart = apart

    def encoded(self) -> bytes:
        """Raises ValueError for what no program can be given."""
        lists = (self.arguments, self.environment, [self.directory], self.hidden, [self.apart])
        fields = [field for fields in lists for field in (b"%d" % len(fields), *fields)]
        if any(b"\0" in field for field in fields):
            raise ValueError("a NUL")
        body = b"\0".join(fields)
        if len(body) > MAX_JOB_BYTES:
            raise ValueError("too long")
        return MAGIC + len(body).to_bytes(_HEAD_BYTES - len(MAGIC), "big") + body


def _decoded(body: bytes) -> Job:
    fields = iter(body.split(b"\0"))
    lists = [[next(fields) for _ in range(int(next(fields)))] for _ in range(5)]
    arguments, environment, directory, hidden, apart = lists
    return Job(arguments, environment, directory[0], hidden, apart[0])


# ---------------------------------------------------------------- Landlock

_libc = ctypes.CDLL(None, use_errno=True)


def _called(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def landlock_abi() -> int:
    """0: this kernel has no Landlock, or it is switched off, or forbidden to this process."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def _restrict(abi: int, hidden: list[bytes]) -> None:
    """From here on this process and its children reach nothing at and below the hidden paths, and see no process
    outside. Raises OSError."""
    _called(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for capability in _FORBIDDEN_CAPABILITIES:
        # Only root has them, and may give them up.
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    # Something has to be forbidden, or there is no domain; no device can be made anyway.
    rights = _rights(abi) if hidden else _MAKE_BLOCK
    words = [rights] if abi < 4 else [rights, 0] if abi < _SCOPES_SINCE_ABI else [rights, 0, _SCOPES]
    attributes = b"".join(word.to_bytes(8, sys.byteorder) for word in words)
    ruleset = _called(_libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        if hidden:
            _allow_beside(b"/", {os.path.realpath(path) for path in hidden}, ruleset, rights)
        _called(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _rights(abi: int) -> int:
    """All on files and folders that this ABI knows: what is not allowed below is forbidden."""
    known = 13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16
    return (1 << known) - 1


def _allow_beside(folder: bytes, hidden: set[bytes], ruleset: int, rights: int) -> None:
    """Landlock knows no exception from a rule, so every neighbour of what is hidden, and of the folders above it, gets
    a rule of its own. Symbolic links get none: they would stand for what they point to."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        # A folder that cannot be listed cannot be allowed.
        return
    for entry in entries:
        path = entry.path
        if path in hidden or entry.is_symlink():
            continue
        if any(one.startswith(path + b"/") for one in hidden):
            _allow_beside(path, hidden, ruleset, rights)
        else:
            _allow(path, ruleset, rights)


def _allow(path: bytes, ruleset: int, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        is_folder = os.fstat(place).st_mode & 0o170000 == 0o040000
        allowed = rights if is_folder else rights & _OF_FILES
        # packed
        rule = allowed.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
        # Refused for what belongs to the kernel alone; then it stays forbidden.
        _libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


# ---------------------------------------------------------------- the program


def adopt_orphans() -> None:
    """Makes this process the parent of its orphaned descendants: prctl(2), PR_SET_CHILD_SUBREAPER."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _become(job: Job, pipes: tuple[int, int, int], failure: int) -> None:
    """In the child. Returns only when there is no program; then failure has been told why."""
    stage = NO_PROGRAM
    try:
        os.setsid()
        _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        for number, pipe in enumerate(pipes):
            os.dup2(pipe, number)
        _adjust_oom_score()
        stage = NO_DIRECTORY
        os.chdir(job.directory)
        stage = NOT_APART
        if job.apart != PLAIN:
            _hold_apart(job)
        stage = NO_PROGRAM
        _restore_signals()
        environment = dict(one.partition(b"=")[::2] for one in job.environment)
        _execute(job.arguments, environment)
    except OSError as error:
        os.write(failure, stage + (error.errno or 0).to_bytes(4, "big"))
    except BaseException:
        os.write(failure, stage + b"\0\0\0\0")
        raise


def _hold_apart(job: Job) -> None:
    abi = landlock_abi()
    if abi or job.apart == REQUIRED:
        _restrict(abi, job.hidden)


def _adjust_oom_score() -> None:
    try:
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(file, _OOM_SCORE_ADJ)
    except OSError:
        pass
    finally:
        os.close(file)


def _restore_signals() -> None:
    # Python ignores these two, SIGPIPE and SIGXFSZ, and programs would inherit that. By libc, for the module signal
    # takes as long to import as all others here together.
    for number in (13, 25):
        _libc.signal(number, None)


def _execute(arguments: list[bytes], environment: dict[bytes, bytes]) -> None:
    """As execvpe(3). Raises OSError."""
    program = arguments[0]
    if b"/" in program:
        os.execve(program, arguments, environment)
    path = environment.get(b"PATH", os.fsencode(os.defpath))
    refused: OSError | None = None
    for folder in path.split(b":"):
        try:
            os.execve(os.path.join(folder, program), arguments, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = refused or error
    raise refused or FileNotFoundError(2, "there is no such program")


def _end(child: int) -> int:
    """Kills all remaining processes. Returns the program's exit code, or the negative number of a signal."""
    try:
        # It has not been asked for yet, so its number is still that of its group.
        os.killpg(child, _SIGKILL)
    except OSError:
        pass
    _, status = os.waitpid(child, 0)
    for _ in range(_ROUNDS):
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            break
        # A process that has left the group has become a child of this process.
        found = _children()
        for pid in found:
            try:
                os.kill(pid, _SIGKILL)
            except OSError:
                pass
        if not found:
            break
        os.waitpid(found[0], 0)
    return os.waitstatus_to_exitcode(status)


def _children() -> list[int]:
    found = []
    own = os.getpid()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == own:
            found.append(int(name))
    return found


# ---------------------------------------------------------------- the other end


def _read_job() -> Job | None:
    head = _read(_HEAD_BYTES)
    if head is None or head[: len(MAGIC)] != MAGIC:
        return None
    length = int.from_bytes(head[len(MAGIC) :], "big")
    body = _read(length) if length <= MAX_JOB_BYTES else None
    return None if body is None else _decoded(body)


def _read(count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        piece = os.read(0, count - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _tell(record: bytes, number: int) -> None:
    try:
        os.write(0, record + (number & 0xFFFFFFFF).to_bytes(4, "big"))
    except OSError:
        # Nobody waits for it any more.
        pass


def _hand_over(pipes: tuple[int, int, int]) -> bool:
    """The daemon's ends of the pipes, with the word that the program runs."""
    descriptors = b"".join(pipe.to_bytes(4, sys.byteorder) for pipe in pipes)
    connection = _socket.socket(fileno=os.dup(0))
    try:
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)]
        connection.sendmsg([STARTED + b"\0\0\0\0"], ancillary)
    except OSError:
        return False
    finally:
        connection.close()
        for pipe in pipes:
            os.close(pipe)
    return True


def main() -> int:
    adopt_orphans()
    job = _read_job()
    if job is None:
        return 0
    if not any(one.startswith(b"HOME=") for one in job.environment):
        job.environment.append(b"HOME=" + os.environb.get(b"HOME", b"/"))
    # Made here, so that they belong to the user who runs the program, who may open /dev/stdout anew.
    (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
    failed, failure = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _become(job, (stdin, stdout, stderr), failure)
        finally:
            os._exit(127)
    for pipe in (stdin, stdout, stderr, failure):
        os.close(pipe)
    ended = os.pidfd_open(child)
    # Nothing is in it when the program has been started: that closes the pipe.
    why = os.read(failed, RECORD_BYTES)
    if why:
        os.waitpid(child, 0)
        _tell(why[:1], int.from_bytes(why[1:], "big"))
        return 0
    if _hand_over((to_stdin, from_stdout, from_stderr)):
        waiting = select.poll()
        waiting.register(ended, select.POLLIN)
        waiting.register(0, select.POLLIN | select.POLLRDHUP)
        waiting.poll()
    _tell(ENDED, _end(child))
    return 0


if __name__ == "__main__":
    sys.exit(main())
