"""Faults of the network, the machine, the process and the disk, and of TLS."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from ssl import SSLContext, SSLError

from chaos.kinds_handshake import series
from chaos.lane import KEY, Kind, Lane
from chaos.machine import Unable, run
from chaos.tls import Authority
from chaos.wire import GoneError, Line

# ---------------------------------------------------------------- network


def _rules(lane: Lane, verb: str, *how: str) -> None:
    for side in ("--dport", "--sport"):
        run("iptables", "-w", verb, "INPUT", "-p", "tcp", side, str(lane.server.port), *how, "-j", "DROP")


@contextlib.contextmanager
def dropping(lane: Lane, *how: str) -> Iterator[None]:
    lane.machine.need("iptables")
    _rules(lane, "-A", *how)
    try:
        yield
    finally:
        _rules(lane, "-D", *how)
        lane.back_s = time.monotonic()


def blackhole(lane: Lane, dice: Random) -> None:
    with dropping(lane):
        lane.pause(dice.choice((1.0, 3.0, 6.0, 11.0)))


def loss(lane: Lane, dice: Random) -> None:
    with dropping(lane, "-m", "statistic", "--mode", "random", "--probability", "0.3"):
        lane.pause(dice.uniform(2.0, 4.0))


def link_down(lane: Lane, dice: Random) -> None:
    lane.machine.need("ip")
    run("ip", "link", "set", "lo", "down")
    try:
        lane.pause(dice.choice((1.0, 3.0, 9.0)))
    finally:
        run("ip", "link", "set", "lo", "up")
        lane.back_s = time.monotonic()


def slow_link(lane: Lane, dice: Random) -> None:
    lane.machine.need("tc")
    run(
        "tc",
        "qdisc",
        "add",
        "dev",
        "lo",
        "root",
        "tbf",
        "rate",
        "20kbit",
        "burst",
        "4kb",
        "limit",
        "200kb",
        "mtu",
        "70000",
    )
    try:
        lane.pause(dice.uniform(2.0, 4.0))
    finally:
        run("tc", "qdisc", "del", "dev", "lo", "root")
        lane.back_s = time.monotonic()


def no_names(lane: Lane, dice: Random) -> None:
    lane.machine.need("mount")
    assert lane.machine.hosts is not None
    whole = lane.machine.hosts.read_text()
    lane.machine.hosts.write_text("127.0.0.1 localhost\n")
    try:
        lane.cut()
        lane.pause(dice.uniform(1.0, 4.0))
    finally:
        lane.machine.hosts.write_text(whole)
        lane.back_s = time.monotonic()


# ---------------------------------------------------------------- process


def stopped(seconds: float) -> Callable[[Lane, Random], None]:
    def strike(lane: Lane, _dice: Random) -> None:
        lane.daemon.signal(signal.SIGSTOP)
        until_s = time.monotonic() + seconds
        dice = Random(1)
        while time.monotonic() < until_s - 4:
            said = lane.speak(dice)
            # Speech passes in real time, and so does the pause after it.
            time.sleep(said.end_s - time.monotonic() + 1.5)
        # As long as the process is to be stopped.
        time.sleep(max(0.0, until_s - time.monotonic()))
        lane.daemon.signal(signal.SIGCONT)
        lane.back_s = time.monotonic()

    return strike


def starved(lane: Lane, _dice: Random) -> None:
    """8 % of a core, in slices of 100 ms."""
    until_s = time.monotonic() + 5.0
    try:
        while time.monotonic() < until_s:
            lane.daemon.signal(signal.SIGSTOP)
            time.sleep(0.092)  # The slice that others have.
            lane.daemon.signal(signal.SIGCONT)
            time.sleep(0.008)  # The slice that it has.
    finally:
        lane.daemon.signal(signal.SIGCONT)
        lane.back_s = time.monotonic()


def no_handles(lane: Lane, _dice: Random) -> None:
    pid = lane.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()}
    lowest = next(number for number in count() if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    # Health looks every 5 s.
    lane.pause(6.0)
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    lane.back_s = time.monotonic()
    # With handles left it has a line to lose.
    lane.cut()


def no_memory(lane: Lane, dice: Random) -> None:
    _without_memory(lane, dice, 0, 2.0)


def less_memory(lane: Lane, dice: Random) -> None:
    # Beneath its size not even a thread begins that would find its stack among those that were kept.
    _without_memory(lane, dice, dice.choice((2, 8)), 6.0)


def _without_memory(lane: Lane, dice: Random, less_mib: int, seconds: float) -> None:
    pid = lane.pid
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (size - less_mib * 2**20, before[1]))
    lane.pause(dice.uniform(0.5, 2.0))
    lane.cut()
    lane.pause(seconds)
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, before)
    lane.back_s = time.monotonic()


def _remembers(lane: Lane, dice: Random, end: Callable[[], None]) -> None:
    volume = round(dice.uniform(0.6, 1.0), 2)
    if not lane.order("volume", to=volume):
        raise Unable("the volume could not be set")
    end()
    lane.daemon.process.wait()
    lane.restart()
    kept = lane.control.ask("status")["speaker"]["volume"]
    if abs(kept - volume) > 0.001:
        lane.outcome.failures.append(f"a volume that had been acknowledged is gone: {volume} became {kept}")
    lane.back_s = time.monotonic()


def killed(lane: Lane, dice: Random) -> None:
    _remembers(lane, dice, lane.daemon.process.kill)


def terminated(lane: Lane, dice: Random) -> None:
    def end() -> None:
        code = lane.daemon.stop()
        if code != 0:
            lane.outcome.failures.append(
                "SIGTERM: not ended within 30 s" if code is None else f"SIGTERM: ended with {code}"
            )

    _remembers(lane, dice, end)


def second_daemon(lane: Lane, _dice: Random) -> None:
    with (lane.folder / "second.log").open("wb") as log:
        second = lane.daemon.run_beside(log)
    code = second.wait(60)
    if code != 69:
        lane.outcome.failures.append(f"a second daemon with the same configuration ended with {code}, not with 69")


# ---------------------------------------------------------------- orders


def reload_storm(lane: Lane, dice: Random) -> None:
    daemon = lane.daemon
    other = {**daemon.config, "reconnect": {"initial_s": 0.5, "max_s": 1.5}}
    for _ in range(40):
        choice = dice.randrange(4)
        if choice == 0:
            daemon.config_path.write_text("audio: {output: {volume: loud")
        elif choice == 1:
            daemon.config_path.write_text("")
        else:
            daemon.write_config(other if choice == 2 else daemon.config)
        daemon.signal(signal.SIGHUP)
        time.sleep(0.025)  # So that some come while the last is being read.
    daemon.write_config(daemon.config)
    daemon.signal(signal.SIGHUP)


def bad_clients(lane: Lane, dice: Random) -> None:
    """40 that say nothing, half a line, garbage, too much, or never read what they asked for."""
    clients = []
    for number in range(40):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(0.5)
        with contextlib.suppress(OSError):
            client.connect(str(lane.daemon.folder / "c.sock"))
            said = (b"", b'{"do": "sta', b"\xff\x00garbage\n" * 10, b"x" * 200_000, b'{"do": "events"}\n' * 20)
            client.sendall(said[number % 5])
        clients.append(client)
    lane.pause(dice.uniform(0.5, 1.5))
    for client in clients:
        client.close()


# ---------------------------------------------------------------- disk and clock


def read_only(lane: Lane, dice: Random) -> None:
    _need_small_disk(lane)
    for _ in range(20):
        try:
            run("mount", "-o", "remount,ro", lane.state)
            break
        except Unable:
            # A file is open for writing just now.
            lane.pause(0.1)
    else:
        raise Unable("the file system is busy while the daemon holds its lock there, and cannot be remounted")
    try:
        lane.order("volume", to=0.9)
        lane.pause(dice.uniform(2.0, 4.0))
    finally:
        run("mount", "-o", "remount,rw", lane.state)


def full(lane: Lane, dice: Random) -> None:
    _need_small_disk(lane)
    filler = lane.state / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        lane.order("volume", to=0.9)
        lane.pause(dice.uniform(2.0, 4.0))
    finally:
        filler.unlink()


def _need_small_disk(lane: Lane) -> None:
    if not lane.small_disk:
        lane.machine.need("mount")
        raise Unable("no small disk could be mounted")


def clock_jump(to: str) -> Callable[[Lane, Random], None]:
    def strike(lane: Lane, dice: Random) -> None:
        lane.set_clock(to)
        lane.pause(dice.uniform(1.0, 3.0))
        if dice.random() < 0.5:
            lane.cut()
        lane.set_clock("+0")

    return strike


# ---------------------------------------------------------------- TLS


def _watched(lane: Lane, line: Line, context: SSLContext) -> bool:
    """A server whose certificate proves nothing: not a byte of a request may come."""
    try:
        line.raw.settimeout(4.0)
        line.raw = context.wrap_socket(line.raw, server_side=True)
        # TLS 1.3: the server is done before the client has refused.
        data = line.raw.recv(4096)
        if data:
            lane.heard.leaked.append(f"{len(data)} bytes, {data[:60]!r}")
    except (SSLError, OSError):
        pass
    return True


def redirects_the_key(status: str) -> Callable[[Lane, Line, Random], bool]:
    """A server that has proved its name, and sends whoever asks it with the key to another that has not."""

    def behave(lane: Lane, line: Line, dice: Random) -> bool:
        assert lane.authority is not None
        line.raw.settimeout(4.0)
        with contextlib.suppress(SSLError, OSError):
            line.raw = lane.authority.good.wrap_socket(line.raw, server_side=True)
            line.read_request()
            where = f"{dice.choice(('http', 'ws'))}://127.0.0.1:{lane.server.trap_port}/stolen"
            line.write(f"HTTP/1.1 {status}\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())
            line.wait_gone(0.3)
        return True

    return behave


def unproven(make: Callable[[Authority], SSLContext]) -> Callable[[Lane, Line, Random], bool]:
    def behave(lane: Lane, line: Line, _dice: Random) -> bool:
        assert lane.authority is not None
        return _watched(lane, line, make(lane.authority))

    return behave


def tls_bytes(
    make: Callable[[Authority, bytes, Random], bytes], how: str = "fin"
) -> Callable[[Lane, Line, Random], bool]:
    """In the place of a server's flight. Afterwards the connection ends, or waits."""

    def behave(lane: Lane, line: Line, dice: Random) -> bool:
        assert lane.authority is not None
        hello = line.read_some(4.0)
        came = hello
        try:
            line.write(make(lane.authority, hello, dice))
            if how == "stall":
                until_s = time.monotonic() + 6.0
                while time.monotonic() < until_s:
                    came += line.read_some(0.1)
            elif how == "fin":
                line.raw.shutdown(socket.SHUT_WR)
                for _ in range(5):
                    came += line.read_some(0.1)
        except (GoneError, OSError):
            pass
        if KEY.encode() in came or b"GET " in came or b"HTTP/1.1" in came:
            lane.heard.leaked.append(f"plain text: {came[:60]!r}")
        if how == "reset":
            line.reset()
        return True

    return behave


def _broken(authority: Authority, hello: bytes, dice: Random) -> bytes:
    flight = bytearray(authority.first_flight(hello))
    for _ in range(8):
        flight[dice.randrange(min(len(flight), 90), len(flight))] ^= 0x55
    return bytes(flight)


def _half(authority: Authority, hello: bytes, _dice: Random) -> bytes:
    flight = authority.first_flight(hello)
    return flight[: len(flight) // 2]


# ---------------------------------------------------------------- all


def kinds() -> Iterator[Kind]:
    row = "latency, loss, 20 kbit/s"
    yield Kind("slow-loss", row, loss)
    yield Kind("slow-20-kbit", row, slow_link, patience_s=45.0)
    row = "blackhole (DROP both ways), link down"
    down = "it was sent into a link that was down"
    yield Kind("net-blackhole", row, blackhole, patience_s=45.0, mutes=down)
    yield Kind("net-link-down", row, link_down, patience_s=45.0, mutes=down)
    yield Kind("net-no-names", "DNS failing", no_names)
    still = "it was sent while the process stood still"
    deaf, dropped = "it was said while the process stood still", "of the microphone's sound is missing"
    yield Kind("process-stop-5", "SIGSTOP 5 s", stopped(5.0), cuts=deaf, tells=dropped, mutes=still, seconds=11.0)
    yield Kind(
        "process-stop-30",
        "SIGSTOP 30 s",
        stopped(30.0),
        cuts=deaf,
        tells=dropped,
        mutes=still,
        patience_s=60.0,
        seconds=45.0,
    )
    yield Kind("process-starved", "CPU starved to 8 % of a core, 5 s", starved, cuts="it was said while CPU was short")
    yield Kind("process-no-handles", "no free file handle, 6 s", no_handles, seconds=14.0)
    yield Kind("process-no-memory", "no further address space, and a reset", no_memory)
    yield Kind("process-less-memory", "less address space than in use, and a reset", less_memory, seconds=11.0)
    gone = "the process was ended"
    yield Kind("process-killed", "SIGKILL, SIGTERM at random moments", killed, cuts=gone, exits=True)
    yield Kind("process-terminated", "SIGKILL, SIGTERM at random moments", terminated, cuts=gone, exits=True)
    yield Kind("process-second", "a second daemon, same configuration", second_daemon)
    yield Kind("orders-reload-storm", "reload storm: 40 SIGHUPs, good, broken and empty files", reload_storm)
    yield Kind("orders-bad-clients", "40 misbehaving control clients", bad_clients)
    yield Kind("disk-read-only", "state directory read-only", read_only)
    yield Kind("disk-full", "disk full", full)
    row = "clock jumps: 1970, a day, 400 days"
    for name, to in (("1970", "-20000d"), ("back", "-1d"), ("on", "+1d"), ("far", "+400d")):
        yield Kind(f"clock-{name}", row, clock_jump(to), world="clock")
    for status in ("302 Found", "307 Temporary Redirect"):
        name, strike = f"redirect-key-{status[:3]}", series(redirects_the_key(status), most=2)
        yield Kind(name, "redirects 301-308", strike, world="tls", live=False)
    row = "TLS: certificates, versions, broken records, no TLS at all"
    for name, behave in (
        ("expired", unproven(Authority.expired)),
        ("not-yet-valid", unproven(Authority.not_yet_valid)),
        ("wrong-host", unproven(Authority.wrong_host)),
        ("unknown-authority", unproven(Authority.unknown)),
        ("old-version", unproven(Authority.old_version)),
        ("truncated", tls_bytes(_half)),
        ("plain-http", tls_bytes(lambda *_: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")),
        ("reset", tls_bytes(lambda *_: b"", how="reset")),
        ("fin", tls_bytes(lambda *_: b"")),
        ("stall", tls_bytes(lambda *_: b"", how="stall")),
        ("garbage", tls_bytes(lambda _authority, _hello, dice: dice.randbytes(2000))),
        ("alert", tls_bytes(lambda *_: bytes((0x15, 3, 3, 0, 2, 2, 40)))),
        ("broken-record", tls_bytes(_broken)),
    ):
        yield Kind(
            f"tls-{name}",
            row,
            series(behave, most=4),
            world="tls",
            live=False,
            seconds=12.0 if name == "stall" else 6.0,
        )
