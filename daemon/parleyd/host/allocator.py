"""The C library's allocator, set for a process with many threads that each allocate little.

glibc gives each thread a heap of its own, and raises the size from which memory comes straight from the system after
each large piece that is freed. Both save time where many threads allocate at once. Here Python's lock lets
one thread work at a time, and the daemon held 3 MB that were free (docs/measurements/light.md).
"""

from __future__ import annotations

import ctypes

# malloc.h
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
# The value with which glibc begins.
_LARGE_BYTES = 128 * 1024


def keep_small() -> None:
    """All threads share one heap, and what is large goes back to the system when it is freed. Call it before threads
    are started. Does nothing with another C library than glibc."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Gives free memory back to the system: what the start needed and nothing needs any more."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
