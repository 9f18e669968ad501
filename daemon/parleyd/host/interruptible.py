"""A signal ends a blocking call of the main thread, even if it arrived right before the call.

When a signal arrives, the interpreter only makes a note of it; the Python handler runs when the main thread executes
its next instruction. A blocking call is cut short by a signal that arrives during the call. One that arrives between
the last instruction and the call would wait until somebody types a line or connects.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator

# It cuts a blocking call short. A process in which this block has ended ignores it, as every process does by default.
_NUDGE = signal.SIGURG
_AGAIN_S = 0.02


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A block of the main thread in which the Python handlers of signals run at once, whatever it blocks on.

    Raises ValueError outside the main thread.
    """
    main, noticed = threading.get_ident(), False

    def notice(*_: object) -> None:
        # No lock and no event: another handler may interrupt this one anywhere, and raise.
        nonlocal noticed
        noticed = True

    def watch() -> None:
        nonlocal noticed
        with reader:
            while arrived := reader.recv(64):
                if not arrived.strip(bytes([_NUDGE])):
                    continue
                # Handlers run in the order of their numbers, so that of a signal to end runs before that of the nudge.
                noticed = False
                while not noticed:
                    signal.pthread_kill(main, _NUDGE)
                    time.sleep(_AGAIN_S)

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    watcher = threading.Thread(target=watch, name="interruptible", daemon=True)
    old_fd = signal.set_wakeup_fd(-1)
    old_handler = signal.getsignal(_NUDGE)
    # A handler may raise at any step from here on.
    try:
        signal.signal(_NUDGE, notice)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        watcher.start()
        yield
    finally:
        try:
            signal.set_wakeup_fd(old_fd)
        finally:
            writer.close()
            try:
                if watcher.ident is not None:
                    watcher.join()
            finally:
                signal.signal(_NUDGE, old_handler)
