"""OpenBLAS, numpy's library for matrices, as the daemon needs it: without threads of its own.

OpenBLAS starts a thread for each further core when it is loaded, and each waits busily before it sleeps: at the start,
and again after each product that was large enough to be divided. On two cores that was a quarter of the processor time
of the whole start (docs/measurements/light.md). The matrices of a frame are too small to gain anything.
"""

from __future__ import annotations

import os

_VARIABLE = "OPENBLAS_NUM_THREADS"


def start_no_threads() -> None:
    """Call it before numpy is imported for the first time, and before threads are started: other libraries read the
    environment in theirs. A number that the environment has already stays.

    The C library alone knows of it, and os.environ does not. So programs do not inherit it that are started, as all of
    the daemon's are, with an environment made of os.environ.
    """
    if _VARIABLE not in os.environ:
        os.putenv(_VARIABLE, "1")
