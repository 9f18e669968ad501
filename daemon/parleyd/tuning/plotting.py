"""Where matplotlib is imported: an extra, and a talkative one."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def pyplot() -> Iterator[Any]:
    """matplotlib.pyplot, for drawing into files. Raises ImportError without matplotlib.

    What it has to say about fonts, caches and its own installation (of Debian's package beside pip's it says that
    Axes3D cannot be imported) is no part of an answer: who asked for a picture gets it, or an error.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as its_pyplot

        yield its_pyplot
