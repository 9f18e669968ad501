"""OpenBLAS, numpy's library for matrices, as the daemon needs it: without threads of its own.

OpenBLAS starts a thread for each further core when it is loaded, and each waits busily before it sleeps: at the start,
and again after each product that was large enough to be divided. On two cores that was a quarter of the processor time
of the whole start (docs/measurements/light.md). The matrices of a frame are too small to gain anything.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "OPENBLAS_NUM_THREADS"


@contextlib.contextmanager
def without_threads() -> Iterator[None]:
    """For the first import of numpy, which reads the variable; programs that are started later do not inherit it. A
    number that the environment has already stays."""
    if _VARIABLE in os.environ:
        yield
        return
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
