"""The loop of `parleyd wyoming`: listens for Home Assistant while the daemon is there, and has played what it sends."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import queue
import selectors
import socket
import time
from pathlib import Path

import parleyd
from parleyd.config.wyoming_section import Wyoming
from parleyd.control.follower import Gone, Here
from parleyd.core.errors import UserError
from parleyd.core.log_fields import fields
from parleyd.host.told_once import ToldOnce
from parleyd.wyoming.daemon_link import DaemonLink, Heard
from parleyd.wyoming.target import PLAYED, Play, Refuse, Send, Target, Turns, info
from parleyd.wyoming.wire import Reader, WireError, encoded

log = logging.getLogger(__name__)

# Home Assistant has one, and a second one while it is being set up. A further one takes the place of the one that has
# been silent longest: while its switch Mute is on, Home Assistant says nothing on a line that it still uses.
MOST_CONNECTIONS = 8
# After a minute without an answer the kernel gives up the line of a machine that is gone.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
# From the beginning of an announcement to its last byte.
_RECEIVE_S = 120.0
_READ_BYTES = 64 * 1024
_MOST_WAITING_BYTES = 64 * 1024
_TICK_S = 1.0
_MOST_STRANGERS = 32


class _Connection:
    """A client that may connect. from_: its address."""

    def __init__(self, line: socket.socket, from_: str, target: Target) -> None:
        self.line = line
        self.from_ = from_
        self.target = target
        self.reader = Reader()
        self.waiting = bytearray()
        self.is_leaving = False
        # It reads no more; what it sent before is still looked at.
        self.is_deaf = False
        self.heard_s = time.monotonic()
        self.receives_since_s: float | None = None


class Server:
    """Use run(), which returns after stop(). socket_path: of the daemon; None: it is searched for in the usual
    places."""

    def __init__(self, settings: Wyoming, socket_path: Path | None) -> None:
        self._settings = settings
        self._allowed = [ipaddress.ip_network(one) for one in settings.allow]
        self._info = info(settings, socket.gethostname().partition(".")[0], parleyd.__version__)
        self._turns = Turns(settings.per_minute)
        self._selector = selectors.DefaultSelector()
        self._listening: socket.socket | None = None
        self._connections: dict[socket.socket, _Connection] = {}
        # Whose sound is being played; its connection may have ended.
        self._playing: _Connection | None = None
        self._strangers: set[str] = set()
        self._about_daemon = ToldOnce(log)
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        self._daemon = DaemonLink(socket_path, self._wake)
        self._stopping = False

    def stop(self) -> None:
        """For signal handlers."""
        self._stopping = True
        self._wake()

    def run(self) -> None:
        """Raises UserError if it cannot listen."""
        self._selector.register(self._reading, selectors.EVENT_READ)
        self._daemon.start()
        try:
            while not self._stopping:
                self._step()
        finally:
            self._daemon.stop()
            self._be_away()

    def _wake(self) -> None:
        # If it is full, the loop will wake in any case.
        with contextlib.suppress(OSError):
            self._writing.send(b"\0")

    def _step(self) -> None:
        is_receiving = any(one.target.is_receiving for one in self._connections.values())
        ready = self._selector.select(_TICK_S if is_receiving else None)
        for key, mask in ready:
            if key.fileobj is self._reading:
                with contextlib.suppress(BlockingIOError):
                    self._reading.recv(4096)
            elif key.fileobj is self._listening:
                self._accept()
            elif (connection := self._connections.get(key.fileobj)) is not None:  # type: ignore[call-overload]
                if mask & selectors.EVENT_READ:
                    self._read(connection)
                self._write(connection)
        with contextlib.suppress(queue.Empty):
            while True:
                match self._daemon.news.get_nowait():
                    case Here():
                        self._about_daemon.over("the daemon is there")
                        self._be_here()
                    case Gone(error=error):
                        self._about_daemon.trouble(str(error), error.hint or "see its log: journalctl -u parleyd")
                        self._be_away()
                    case Heard(error=error):
                        self._heard(error)
        self._drop_endless()

    # ------------------------------------------------------------ there and away

    def _be_here(self) -> None:
        if self._listening is not None:
            return
        place = (self._settings.host or "", self._settings.port)
        both = self._settings.host is None and socket.has_dualstack_ipv6()
        is_6 = both or ":" in place[0]
        try:
            self._listening = socket.create_server(
                place, family=socket.AF_INET6 if is_6 else socket.AF_INET, dualstack_ipv6=both, backlog=MOST_CONNECTIONS
            )
        except OSError as error:
            text = f"cannot listen at port {place[1]}: {error.strerror}"
            raise UserError(text, "set wyoming.port, or wyoming.host, to another", os.EX_UNAVAILABLE) from error
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ)
        log.info("listens at port %d for %s", place[1], ", ".join(self._settings.allow))

    def _be_away(self) -> None:
        """Home Assistant then says that the device is not connected, and its announcements fail."""
        if self._listening is not None:
            self._selector.unregister(self._listening)
            self._listening.close()
            self._listening = None
        for connection in list(self._connections.values()):
            self._drop(connection)

    # ------------------------------------------------------------ connections

    def _accept(self) -> None:
        assert self._listening is not None
        try:
            line, (from_, *_) = self._listening.accept()
        except OSError as error:
            log.debug("a connection could not be accepted: %s", error)
            return
        address = ipaddress.ip_address(from_.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if not any(address in network for network in self._allowed):
            line.close()
            if str(address) not in self._strangers and len(self._strangers) < _MOST_STRANGERS:
                self._strangers.add(str(address))
                hint = "if that is Home Assistant, add it to wyoming.allow"
                log.warning("%s may not connect; %s", address, hint, extra=fields(hint=hint))
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            self._drop(min(self._connections.values(), key=lambda one: one.heard_s))
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            line.setsockopt(socket.IPPROTO_TCP, option, value)
        self._connections[line] = _Connection(line, str(address), Target(self._settings, self._info, self._turns))
        self._selector.register(line, selectors.EVENT_READ)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.line.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        connection.heard_s = time.monotonic()
        if connection.is_leaving:
            return
        try:
            for event in connection.reader.feed(data):
                for command in connection.target.take(event, connection.heard_s):
                    if not self._do(connection, command):
                        return
        except WireError as error:
            log.warning("%s does not speak the Wyoming protocol: %s", connection.from_, error)
            self._drop(connection)
            return
        if not connection.target.is_receiving:
            connection.receives_since_s = None
        elif connection.receives_since_s is None:
            connection.receives_since_s = connection.heard_s

    def _do(self, connection: _Connection, command: Send | Play | Refuse) -> bool:
        """Returns whether the connection goes on."""
        match command:
            case Send(event=event):
                connection.waiting += encoded(event)
            case Play():
                log.info("%s sent an announcement of %.1f s", connection.from_, command.length_s)
                self._playing = connection
                self._daemon.play(command)
            case Refuse(text=text, hint=hint):
                log.warning("an announcement was not played: %s; %s", text, hint, extra=fields(reason=text, hint=hint))
                connection.waiting += encoded(command.event)
                connection.is_leaving = command.ends
                return not command.ends
        return True

    def _heard(self, error: UserError | None) -> None:
        connection, self._playing = self._playing, None
        self._turns.give_back()
        if error is not None:
            hint = error.hint or "see its log: journalctl -u parleyd"
            text = str(error)
            log.warning("an announcement was not heard: %s; %s", text, hint, extra=fields(reason=text, hint=hint))
        if connection is None or connection.line not in self._connections:
            return
        if error is None:
            connection.waiting += encoded(PLAYED)
        else:
            connection.waiting += encoded(Refuse(str(error), "").event)
            connection.is_leaving = True
        self._write(connection)

    def _write(self, connection: _Connection) -> None:
        if connection.line not in self._connections:
            return
        try:
            while connection.waiting and not connection.is_deaf:
                del connection.waiting[: connection.line.send(connection.waiting)]
        except BlockingIOError:
            pass
        except OSError:
            connection.is_deaf = True
        if connection.is_deaf:
            connection.waiting.clear()
        if len(connection.waiting) > _MOST_WAITING_BYTES or (connection.is_leaving and not connection.waiting):
            self._drop(connection)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.waiting else 0)
        self._selector.modify(connection.line, wanted)

    def _drop_endless(self) -> None:
        now_s = time.monotonic()
        for connection in list(self._connections.values()):
            since_s = connection.receives_since_s
            if since_s is not None and now_s - since_s >= _RECEIVE_S:
                log.warning("an announcement from %s does not come to its end", connection.from_)
                self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.line, None) is not None:
            self._selector.unregister(connection.line)
            connection.line.close()
            connection.target.over()
