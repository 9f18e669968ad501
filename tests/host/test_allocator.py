"""The C library's allocator after it was set: seen in a process of its own, since the setting cannot be taken back."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each thread takes memory of the C library's; malloc_info(3) lists the heaps.
HEAPS = """
import ctypes, sys, threading
from parleyd.host import allocator
if sys.argv[1] == "set":
    allocator.keep_small()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
go = threading.Barrier(5)
def work():
    go.wait()
    for _ in range(100):
        libc.malloc(ctypes.c_size_t(1000))
    go.wait()
for _ in range(4):
    threading.Thread(target=work).start()
go.wait()
go.wait()
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""
# Small pieces, all freed but the last, which keeps the heap from shrinking by itself.
FREED = """
import ctypes
from pathlib import Path
from parleyd.host import allocator
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def resident_kib():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])
pieces = [libc.malloc(ctypes.c_size_t(4000)) for _ in range(5000)]
for piece in pieces:
    ctypes.memset(piece, 1, 4000)
for piece in pieces[:-1]:
    libc.free(ctypes.c_void_p(piece))
before = resident_kib()
allocator.give_back()
print(before - resident_kib())
"""

pytestmark = pytest.mark.skipif(not hasattr(__import__("ctypes").CDLL(None), "malloc_trim"), reason="not glibc")


def run(program: str, *words: str) -> str:
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_all_threads_share_one_heap() -> None:
    assert run(HEAPS, "set").count("<heap nr=") == 1
    assert run(HEAPS, "left alone").count("<heap nr=") > 1


def test_free_memory_goes_back() -> None:
    freed_kib = int(run(FREED))
    assert freed_kib > 10_000
