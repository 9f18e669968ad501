"""Imports matplotlib, which is optional and prints warnings."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def pyplot() -> Iterator[Any]:
    """matplotlib.pyplot, for drawing into files. Raises ImportError without matplotlib.

    Its warnings about fonts, caches and its own installation are suppressed (with Debian's package and pip's side by
    side it warns that Axes3D cannot be imported). The user gets a picture, or an error.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as its_pyplot

        yield its_pyplot
