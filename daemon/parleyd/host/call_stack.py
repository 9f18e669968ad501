"""Room for the frames of Python's functions, which the interpreter takes from pieces of 16 KiB.

When a call does not fit into the last piece, the interpreter maps a new one, and unmaps it when the call returns. Where
calls go back and forth over the border, each costs two calls of the kernel and a page fault. Imports are nested deeply,
and how often it happens in a start is chance: 25 to 3,250 times, by the number of frames beneath
(docs/measurements/light.md).
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# A frame that does not fit gets a piece that is doubled until 1000 values fit in beside it. With so many values, of 8
# bytes each, it is nearly the smallest frame that gets 128 KiB, and leaves 73 of them to those above it. Pages that
# nobody writes to are never there.
_VALUES = 7200


def roomy(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator: all calls under this function have 73 KiB for their frames. It does the same as before."""
    assert isinstance(function, FunctionType)
    code = function.__code__
    function.__code__ = code.replace(co_stacksize=max(code.co_stacksize, _VALUES))
    return function
