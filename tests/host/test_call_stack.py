from __future__ import annotations

import resource
from collections.abc import Callable

from parleyd.host.call_stack import roomy

CALLS = 1000
# More frames than 16 KiB hold.
DEEPEST = 300


def leaf() -> int:
    # A frame that is larger than those of deep(), so that at some depth it is the first one that does not fit.
    return max(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def deep(left: int) -> int:
    if left:
        return deep(left - 1)
    return sum(leaf() for _ in range(CALLS))


def at_each_depth() -> int:
    return sum(deep(depth) for depth in range(DEEPEST))


def faults_of(work: Callable[[], int]) -> int:
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    assert work() == DEEPEST * CALLS
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def test_calls_need_no_new_pieces_of_the_stack() -> None:
    """Where they go back and forth over the end of a piece, each call maps one, and the first write to it faults."""
    plain = faults_of(at_each_depth)
    assert plain >= CALLS
    assert faults_of(roomy(lambda: at_each_depth())) < CALLS


def test_a_function_does_the_same_as_before() -> None:
    @roomy
    def divided(one: int, *, by: int = 2) -> float:
        """Its text."""
        return one / by

    assert (divided(5), divided(6, by=3), divided.__name__, divided.__doc__) == (2.5, 2.0, "divided", "Its text.")
