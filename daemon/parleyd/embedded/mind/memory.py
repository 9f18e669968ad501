"""How much of a conversation a model is asked with. For both protocols. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# The words of the person and the answers that are sent along; the oldest are left out together.
MOST_MESSAGES = 60


def shortened(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages of a conversation without the oldest, if there are too many. They begin with words of the person, so
    that no result is without its call. Messages of the role `system` are from the client, and stay."""
    half = MOST_MESSAGES // 2
    # Half of them at once, so that the prefix stays the same for many turns.
    least = max(0, -(-(len(messages) - MOST_MESSAGES) // half)) * half
    if not least:
        return list(messages)
    of_person = [index for index, message in enumerate(messages) if message["role"] == "user"]
    start = next((index for index in of_person if index >= least), of_person[-1] if of_person else 0)
    return [*(message for message in messages[:start] if message["role"] == "system"), *messages[start:]]
