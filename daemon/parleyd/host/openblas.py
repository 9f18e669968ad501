"""OpenBLAS, numpy's library for matrices, as the daemon needs it: without threads of its own, with its memory.

OpenBLAS starts a thread for each further core when it is loaded, and each waits busily before it sleeps: at the start,
and again after each product that was large enough to be divided. On two cores that was a quarter of the processor time
of the whole start (docs/measurements/light.md). The matrices of a frame are too small to gain anything.

It takes a piece of address space of 32 MiB at the first product of two matrices, of which it uses little, and keeps it.
If it does not get that, it ends the process, and nobody hears why. So it is taken while there is enough.
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


def take_memory() -> None:
    """Has it take its memory now; later calls do nothing."""
    import numpy as np

    # As large as those of a frame, because very small ones need no memory.
    one, other = np.zeros((40, 312), np.float32), np.zeros((312, 8), np.float32)
    np.matmul(one, other)
