"""How long to wait before the next try. Pure but for the random numbers, which can be passed in."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """The first retry comes at once; then full jitter below a bound that doubles from initial_s up to max_s.

    Full jitter after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): a thousand boxes that lost the
    same server do not come back in the same second.
    """

    def __init__(self, initial_s: float, max_s: float, uniform: Callable[[float, float], float] = random.uniform):
        self._initial_s = initial_s
        self._max_s = max_s
        self._uniform = uniform
        self.tries = 0

    def next_s(self) -> float:
        """The delay before the next try."""
        self.tries += 1
        if self.tries == 1:
            return 0.0
        # 2.0 ** 60 is beyond any cap and still a float; an unbounded exponent would overflow after a long outage.
        bound_s = min(self._max_s, self._initial_s * 2.0 ** min(self.tries - 2, 60))
        return self._uniform(0.0, bound_s)

    def longest_s(self) -> float:
        """The delay after a final error: trying soon cannot help."""
        self.tries += 1
        return self._max_s

    def reset(self) -> None:
        self.tries = 0
