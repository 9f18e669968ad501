"""A tool for parleyd: throws dice.

parleyd has checked the parameters against the schema in its configuration before this is called. What is returned
goes to the agent: text as it is, anything else as JSON. An exception's text goes to the agent as an error.
"""

from __future__ import annotations

import random


def throw_dice(count: int = 1, sides: int = 6) -> dict[str, object]:
    if sides < 2:
        raise ValueError("dice have two sides at least")
    thrown = [random.randint(1, sides) for _ in range(count)]
    # What is printed goes to standard error and disturbs nothing.
    print(f"thrown: {thrown}")
    return {"thrown": thrown, "sum": sum(thrown)}
