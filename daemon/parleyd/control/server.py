"""The control socket: one thread that accepts clients, reads requests, writes answers and events, and waits for nobody.

The Unix socket is in the runtime directory. Root, the daemon's own user and members of the socket's group may connect;
roles.py decides which of them may ask for what. Clients that read too slowly are dropped, clients that send nonsense
get an error, and neither affects the session. A request that may take time (a mixer, a file that is read again, a tool)
is given to a worker thread, and only its own client waits for it.
"""

from __future__ import annotations

import array
import contextlib
import grp
import logging
import os
import selectors
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import parleyd
from parleyd.control import messages
from parleyd.control.messages import AnyRequest, Id, RequestError
from parleyd.control.peer import peer, peer_groups
from parleyd.control.roles import Caller, Roles
from parleyd.core import events
from parleyd.core.errors import UserError
from parleyd.core.health import Pulse
from parleyd.core.no_memory import HINT, in_words
from parleyd.host import handed_over
from parleyd.host.lock import HeldError, Lock

log = logging.getLogger(__name__)

GROUP = "parleyd"
MOST_CLIENTS = 32
# Beyond MOST_CLIENTS there are places for root and the daemon's own user, and places for clients that may only `mute`:
# everybody can always switch the microphone off. The newest of these replaces the oldest.
MOST_OF_OWNER, MOST_FOR_MUTE = 8, 8
# A client that has sent no request within this time is disconnected.
SILENT_S = 30.0
# The most bytes that wait for a client, and the most events that wait for the thread; working readers need far less.
MOST_WAITING_BYTES = 512 * 1024
MOST_WAITING_EVENTS = 2000
MOST_WAITING_CHARS = 4_000_000
# The most requests of one client that are answered before the next client has its turn.
MOST_IN_TURN = 16
# The most descriptors that a message may carry; the kernel closes further ones.
MOST_DESCRIPTORS = 4
ACCEPT_AGAIN_S = 0.1
# The most workers; further requests that take time wait.
MOST_WORKERS = 4

# The requests with which an open file comes.
_WITH_FILE = (messages.SendFile, messages.AnnounceSound)
# The errors of a system that has no memory, or no file handle for a module that is imported at its first use.
_LACKS = (MemoryError, OSError, ImportError)

# Answers a request with a value that messages.plain understands, or raises RequestError. It must not block; only for
# requests for which takes_time returns True it may, on a worker's thread. The number is that of an open file that came
# with the request; the handler closes it. The caller has the role that the request needs.
Handler = Callable[[AnyRequest, int | None, Caller], object]


class _Client:
    def __init__(self, connection: socket.socket, caller: Caller) -> None:
        self.connection = connection
        self.caller = caller
        self.received = bytearray()
        self.waiting = bytearray()
        self.connected_s = time.monotonic()
        self.has_asked = False
        self.only_mute = False  # too many clients were connected already
        self.follows = False
        self.leaving = False  # is disconnected once everything has been written
        self.ended = False  # has closed its sending side
        self.deaf = False  # reads no more; what it sent before is still carried out
        self.served = False  # a worker is busy with its request
        self.watched = 0  # the selector's events
        self.descriptor: int | None = None  # a file that came, for the next request that takes one
        self.missed_file = False  # one came that could not be taken

    @property
    def is_owner(self) -> bool:
        """Returns whether this is root, or the daemon's own user."""
        return self.caller.by in ("root", "daemon")

    @property
    def asks(self) -> bool:
        """Returns whether a whole request waits here for its answer."""
        return not self.leaving and not self.served and b"\n" in self.received

    def keep(self, descriptors: list[int], *, missed: bool) -> None:
        """Keeps the newest descriptor, and closes the others. missed: the kernel has closed some, or all."""
        for descriptor in descriptors:
            self.let_go()
            self.descriptor = descriptor
        if missed or descriptors:
            self.missed_file = missed and not descriptors

    def has_missed(self) -> bool:
        """Returns whether the file that came for this request could not be taken; True once for each."""
        missed, self.missed_file = self.missed_file, False
        return missed

    def let_go(self) -> None:
        if (descriptor := self.take()) is not None:
            handed_over.close(descriptor)

    def take(self) -> int | None:
        descriptor, self.descriptor = self.descriptor, None
        return descriptor


class ControlServer:
    """start(), then stop(). status: returns the snapshot with which a stream of events begins. refused: returns why a
    client is refused although its user is admitted; None: it is not."""

    def __init__(
        self,
        path: Path,
        handler: Handler,
        status: Callable[[], object],
        bus: events.Bus,
        on_death: Callable[[str, BaseException], None],
        roles: Roles,
        takes_time: Callable[[AnyRequest], bool] = lambda _request: False,
        refused: Callable[[socket.socket], str | None] = lambda _connection: None,
    ) -> None:
        self.path = path
        self._roles = roles
        self._takes_time = takes_time
        self._refused = refused
        self._handler = handler
        self._status = status
        self._on_death = on_death
        self._clients: dict[socket.socket, _Client] = {}
        self._events: deque[events.Event] = deque()
        self._event_chars = 0
        self._events_lost = 0
        self._queueing = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._listening: socket.socket | None = None
        self._place: Lock | None = None
        self._accepts_from_s: float | None = None  # set while no client is accepted
        self._jobs: deque[tuple[_Client, AnyRequest, int | None]] = deque()
        self._done: deque[tuple[_Client, bytes | Exception]] = deque()
        self._workers = 0
        self._working = threading.Lock()
        self._inode: int | None = None
        self._group: int | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self.pulse = Pulse("control")
        bus.subscribe(self._take)

    def start(self) -> None:
        """Raises UserError."""
        try:
            self._listening, self._place = _listen(self.path)
        except OSError as error:
            # An error about a path that is too long for a socket has no strerror.
            text = f"the control socket {self.path} cannot be opened: {error.strerror or error}"
            hint = "set control.socket to a short path in a folder that this user may write"
            raise UserError(text, hint) from error
        status = self.path.stat()
        self._inode, self._group = status.st_ino, status.st_gid
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """Closes everything. Finished answers are still sent, as far as clients take them at once."""
        self._stopping = True
        self._nudge()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def _take(self, event: events.Event) -> None:
        with self._queueing:
            self._events.append(event)
            self._event_chars += events.text_chars(event)
            while len(self._events) > MOST_WAITING_EVENTS or self._event_chars > MOST_WAITING_CHARS:
                self._event_chars -= events.text_chars(self._events.popleft())
                self._events_lost += 1
        self._nudge()

    def _next_event(self) -> events.Event | None:
        with self._queueing:
            if not self._events:
                return None
            event = self._events.popleft()
            self._event_chars -= events.text_chars(event)
            return event

    def _nudge(self) -> None:
        # If the pipe is full, the thread will wake in any case; if it is closed, there is no thread.
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def _read_nudges(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            self._attend()
        except Exception as error:  # noqa: BLE001 - reported to the owner, who ends the daemon
            self._on_death("control", error)

    def _attend(self) -> None:
        while not self._stopping:
            self.pulse.rest()
            asking = [client for client in self._clients.values() if client.asks]
            ready = self._selector.select(0 if asking else self._wait_s())
            self.pulse.beat()
            # First of all: a nudge says that there is something to find, so none may be read after the search for it.
            # The nudge of an answer that is ready in between would be lost, and its client would wait.
            self._read_nudges()
            self._accept_again()
            self._drop_silent()
            while self._done:
                self._answered(*self._done.popleft())
            for client in asking:
                self._serve(client)
            for key, _ in ready:
                if key.fileobj is self._listening:
                    self._accept()
                elif (client := self._clients.get(key.fileobj)) is not None:  # type: ignore[call-overload]
                    self._read(client)
                    self._serve(client)
            self._spread()
        self._spread()
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
        if self._listening is not None:
            self._listening.close()
        # The socket of another daemon, which may have taken the place, is left alone.
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        if self._place is not None:
            self._place.close()

    def _accept(self) -> None:
        assert self._listening is not None
        try:
            connection, _ = self._listening.accept()
        except OSError as error:
            log.debug("a client of the control socket could not be accepted: %s", error)
            # Without a free file handle the client keeps connecting, and this thread would do nothing else.
            self._selector.unregister(self._listening)
            self._accepts_from_s = time.monotonic() + ACCEPT_AGAIN_S
            return
        connection.setblocking(False)
        who = peer(connection)
        client = _Client(connection, self._roles.caller(who, frozenset({who.gid, *peer_groups(connection)})))
        self._clients[connection] = client
        client.waiting += messages.greeting(parleyd.__version__)
        client.only_mute = self._is_full(client)
        late = [one for one in self._clients.values() if one.only_mute]
        if not _admitted(connection, self._group):
            why = f"you are neither root, nor the daemon's own user, nor a member of the group {GROUP}"
            self._refuse(client, RequestError("not_allowed", why, f"adduser USER {GROUP}, and log in again"))
        elif (own := self._refused(connection)) is not None:
            hint = "run_as: daemon in the configuration admits a tool or hook, and lets it do all that the daemon may"
            self._refuse(client, RequestError("not_allowed", own, hint))
        elif len(late) > MOST_FOR_MUTE:
            self._refuse(late[0], _busy())
            self._write(late[0])
        self._write(client)

    def _is_full(self, client: _Client) -> bool:
        """Returns whether there is no place for this client, which is counted already."""
        others = [one for one in self._clients.values() if one is not client and not one.only_mute]
        if client.is_owner:
            return len(others) >= MOST_CLIENTS + MOST_OF_OWNER
        return len(others) >= MOST_CLIENTS

    def _wait_s(self) -> float | None:
        due_s = [one.connected_s + SILENT_S for one in self._clients.values() if not one.has_asked and not one.leaving]
        if self._accepts_from_s is not None:
            due_s.append(self._accepts_from_s)
        return max(0.0, min(due_s) - time.monotonic()) if due_s else None

    def _drop_silent(self) -> None:
        now_s = time.monotonic()
        for client in list(self._clients.values()):
            if not client.has_asked and not client.leaving and now_s - client.connected_s >= SILENT_S:
                hint = "connect when there is something to ask"
                self._refuse(client, RequestError("silent", f"nothing was asked for {SILENT_S:g} s", hint))
                self._write(client)

    def _accept_again(self) -> None:
        if self._accepts_from_s is not None and time.monotonic() >= self._accepts_from_s:
            assert self._listening is not None
            self._selector.register(self._listening, selectors.EVENT_READ)
            self._accepts_from_s = None

    def _read(self, client: _Client) -> None:
        if client.leaving or client.ended or client.served or client.asks:
            return
        try:
            # Files that may not come are dropped by the kernel, which does not wait for them.
            most = MOST_DESCRIPTORS if handed_over.may_come() else 0
            data, descriptors, missed = _received(client.connection, most)
            client.keep(descriptors, missed=missed)
        except BlockingIOError:
            return
        except OSError:
            # It has gone without reading all answers.
            data = b""
        client.received += data
        if not data:
            # The rest without a line feed is a request, if it is a whole one.
            client.received += b"\n"
            client.ended = True

    def _serve(self, client: _Client) -> None:
        for _ in range(MOST_IN_TURN):
            if client.leaving or client.served:
                break
            end = client.received.find(b"\n")
            if (len(client.received) if end < 0 else end) > messages.MAX_LINE_BYTES:
                most = messages.MAX_LINE_BYTES // 1024
                self._refuse(client, RequestError("too_long", f"a line may have {most} KiB", "send less at once"))
            if end < 0:
                break
            line = bytes(client.received[:end])
            del client.received[: end + 1]
            if line.strip() and not client.leaving:
                client.waiting += self._answer(client, line)
        client.leaving |= client.ended and not client.served and not client.asks
        self._write(client)

    def _work(self) -> None:
        """Runs on a worker's thread until no request waits any more."""
        while True:
            with self._working:
                if not self._jobs:
                    self._workers -= 1
                    return
                client, request, descriptor = self._jobs.popleft()
            try:
                result = self._handler(request, descriptor, client.caller)
                answer: bytes | Exception = messages.answer(request.id, result)
            except RequestError as error:
                error.id = request.id
                answer = messages.refusal(error)
            except _LACKS as error:
                answer = messages.refusal(_lack(error, request.id))
            except Exception as error:  # noqa: BLE001 - raised again on the control thread
                answer = error
            self._done.append((client, answer))
            self._nudge()

    def _hand_over(self, client: _Client, request: AnyRequest) -> None:
        """Gives a request to a worker. Raises RequestError if no worker can be started."""
        with self._working:
            hires = self._workers < MOST_WORKERS
            if hires:
                try:
                    threading.Thread(target=self._work, name="control-worker", daemon=True).start()
                except RuntimeError:
                    if not self._workers:
                        why = "the system has no thread left for it"
                        raise RequestError("busy", why, "try again later; parleyd status tells the tasks") from None
                else:
                    self._workers += 1
            descriptor = client.take() if isinstance(request, _WITH_FILE) else None
            self._jobs.append((client, request, descriptor))
        client.served = True

    def _answered(self, client: _Client, answer: bytes | Exception) -> None:
        if isinstance(answer, Exception):
            raise answer
        client.served = False
        if client.connection in self._clients:
            client.waiting += answer
            self._serve(client)

    def _answer(self, client: _Client, line: bytes) -> bytes:
        try:
            request = messages.request(line)
        except RequestError as error:
            return messages.refusal(error)
        client.has_asked = True
        if client.only_mute and not isinstance(request, messages.Mute):
            client.leaving = True
            busy = _busy()
            busy.id = request.id
            return messages.refusal(busy)
        try:
            self._roles.check(request, client.caller)
            if isinstance(request, _WITH_FILE) and client.has_missed():
                raise _missed()
            if isinstance(request, messages.Events):
                # Earlier events are in the snapshot, and must not be sent again.
                self._spread()
                client.follows = True
                return messages.answer(request.id, {}) + messages.snapshot(self._status())
            if self._takes_time(request):
                self._hand_over(client, request)
                return b""
            descriptor = client.take() if isinstance(request, _WITH_FILE) else None
            return messages.answer(request.id, self._handler(request, descriptor, client.caller))
        except RequestError as error:
            error.id = request.id
            return messages.refusal(error)
        except _LACKS as error:
            return messages.refusal(_lack(error, request.id))

    def _spread(self) -> None:
        """Sends the events that wait to the clients that follow them."""
        with self._queueing:
            lost, self._events_lost = self._events_lost, 0
        if lost:
            log.warning("%d events came too fast: the clients that follow them have missed them", lost)
        while (event := self._next_event()) is not None:
            followers = [client for client in self._clients.values() if client.follows and not client.leaving]
            if not followers:
                continue
            line = messages.event(event)
            for client in followers:
                client.waiting += line
                self._write(client)

    def _refuse(self, client: _Client, error: RequestError) -> None:
        client.waiting += messages.refusal(error)
        client.leaving = True

    def _write(self, client: _Client) -> None:
        if client.connection not in self._clients:
            return
        try:
            while client.waiting and not client.deaf:
                del client.waiting[: client.connection.send(client.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            client.deaf = True
        if client.deaf:
            client.waiting.clear()
        if len(client.waiting) > MOST_WAITING_BYTES:
            log.debug("a client of the control socket reads too slowly and is disconnected")
            self._drop(client)
        elif client.leaving and not client.waiting and not client.served:
            self._drop(client)
        else:
            # While a worker is busy for a client, the client's next request is not read.
            reads = not client.leaving and not client.ended and not client.served
            wanted = selectors.EVENT_READ if reads else 0
            self._watch(client, wanted | (selectors.EVENT_WRITE if client.waiting else 0))

    def _watch(self, client: _Client, wanted: int) -> None:
        if client.watched and not wanted:
            self._selector.unregister(client.connection)
        elif client.watched and wanted != client.watched:
            self._selector.modify(client.connection, wanted)
        elif wanted and not client.watched:
            self._selector.register(client.connection, wanted)
        client.watched = wanted

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection, None) is not None:
            self._watch(client, 0)
            client.connection.close()
            client.leaving = True
            client.let_go()


def _busy() -> RequestError:
    hint = "try again later; parleyd mute is heard all the same"
    return RequestError("busy", f"there are {MOST_CLIENTS} clients already", hint)


def _lack(error: MemoryError | OSError | ImportError, id_: Id) -> RequestError:
    if isinstance(error, MemoryError):
        return RequestError("busy", in_words(error), HINT, id_)
    log.warning("a request could not be carried out: %s", error)
    return RequestError("busy", f"the system refused what it needs: {error}", "see what else runs on this device", id_)


def _missed() -> RequestError:
    text = "the file could not be taken: other files hang, or this daemon has no file handle left"
    return RequestError("bad_file", text, "see whether a disk or the network hangs, and copy the file to this machine")


def _received(connection: socket.socket, most_descriptors: int) -> tuple[bytes, list[int], bool]:
    """Returns the bytes that have come, the descriptors with them, and whether the kernel has closed some of these.
    socket.recv_fds() leaves out the flag that keeps them from programs that are started meanwhile. Raises OSError."""
    found = array.array("i")
    room = socket.CMSG_LEN(most_descriptors * found.itemsize) if most_descriptors else 0
    data, ancillary, flags, _ = connection.recvmsg(65536, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return data, found.tolist(), bool(flags & socket.MSG_CTRUNC)


def _taken(path: Path, pid: int | None = None) -> UserError:
    hint = "stop it (parleyd stop), or give this one a socket of its own with control.socket"
    who = f" (process {pid})" if pid else ""
    return UserError(f"a parleyd is already running{who}: it listens at {path}", hint)


def _listen(path: Path) -> tuple[socket.socket, Lock | None]:
    """Returns the socket, and the lock that keeps other daemons from its path. Raises OSError, and UserError if another
    daemon uses the path."""
    try:
        place = Lock(path.with_name(f"{path.name}.lock"))
    except HeldError as error:
        raise _taken(path, error.pid) from None
    except PermissionError:
        # The lock is another user's file. A running daemon is noticed without it, too.
        place = None
    try:
        return _bound(path), place
    except BaseException:
        if place is not None:
            place.close()
        raise


def _bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(path))
            except FileNotFoundError:
                pass
            except (ConnectionRefusedError, TimeoutError):
                if not stat.S_ISSOCK(path.stat().st_mode):
                    raise UserError(f"{path} exists and is not a socket", "set control.socket to a free name") from None
                path.unlink()
            except BlockingIOError:
                raise _taken(path) from None
            else:
                raise _taken(path)
        # Nobody may connect before the access rights are set.
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)
        path.chmod(0o660)
        listening.listen(MOST_CLIENTS)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _admitted(connection: socket.socket, group: int | None) -> bool:
    """Returns whether the client's user is admitted. group: of the socket. The file's mode has the same rule; this
    check also holds if somebody has changed the mode."""
    client = peer(connection)
    return client.uid in (0, os.geteuid()) or group in (client.gid, *peer_groups(connection))
