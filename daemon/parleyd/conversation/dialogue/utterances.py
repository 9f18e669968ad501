"""The person's utterances as the daemon counts them: numbers in place of the provider's ids. Pure.

Numbers grow over all sessions; ids are those of one session.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

# The number of utterances of one session that are remembered.
MOST = 64


class Utterance(Struct, frozen=True):
    """at_s: when the agent had taken it in."""

    number: int
    at_s: float


class Utterances:
    """Those of the session that is open, of which words are expected or have come."""

    def __init__(self) -> None:
        self._utterances: OrderedDict[str, Utterance] = OrderedDict()
        self._last = 0

    def clear(self) -> None:
        """Another session begins, or none is open: ids mean nothing any more, numbers go on."""
        self._utterances.clear()

    def expect(self, utterance_id: str, now_s: float) -> Utterance:
        self._last += 1
        expected = self._utterances[utterance_id] = Utterance(self._last, now_s)
        if len(self._utterances) > MOST:
            self._utterances.popitem(last=False)
        return expected

    def known(self, utterance_id: str) -> Utterance | None:
        return self._utterances.get(utterance_id)
