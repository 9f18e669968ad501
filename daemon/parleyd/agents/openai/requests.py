"""Asks the server for responses: for one at a time, and for none where another response has answered already. Pure.

A server gives one response at a time. A `response.create` while another one runs is refused, and no `response.done`
follows for it; the refusal is recognised by the event id of the request, or, with servers that do not quote it, by its
code alone. The server also creates responses by itself, after the person's speech and sometimes after a tool's result;
such a response may come between our request and its arrival.

So each wish for a response waits until nothing runs and nobody speaks. It names the items that the response is to
answer. A response that was created after the server had acknowledged them answers them too, whoever asked for it, and
the wish is fulfilled.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Request:
    """A wish for a response.

    items: those that it is to answer and that the server has not acknowledged yet. instructions: for this response
    alone; such a wish is not fulfilled by another response. event_id: once it is sent.
    """

    items: set[str] = field(default_factory=set)
    instructions: str | None = None
    is_greeting: bool = False
    event_id: str = ""

    @property
    def is_answered_by_any(self) -> bool:
        return self.instructions is None and not self.items


class Requests:
    """active: the id of the response that runs; None if none does. person_speaks: requests wait."""

    def __init__(self) -> None:
        self.active: str | None = None
        self.person_speaks = False
        self._waiting: list[Request] = []
        # Sent, and neither created nor refused; and the last one that a created response was taken for, with whether
        # that response would have answered it anyway.
        self._sent: Request | None = None
        self._taken: Request | None = None
        self._taken_was_answered = False
        # The server says that a response runs of which nothing is known here.
        self._is_blocked = False

    def want(self, request: Request) -> None:
        """Without instructions it is joined with those that wait: one response answers all of them."""
        if request.instructions is None:
            for other in self._waiting:
                if other.instructions is None:
                    other.items |= request.items
                    return
        self._waiting.append(request)

    def acknowledged(self, item_id: str) -> None:
        for request in (*self._waiting, self._sent):
            if request is not None:
                request.items.discard(item_id)

    def created(self, response_id: str) -> Request | None:
        """A response has begun. Returns the request that it is taken for; None: the server's own."""
        self.active = response_id
        self.person_speaks = False
        self._is_blocked = False
        self._waiting = [request for request in self._waiting if not request.is_answered_by_any]
        taken, self._sent = self._sent, None
        self._taken, self._taken_was_answered = taken, taken is not None and taken.is_answered_by_any
        return taken

    def done(self, response_id: str | None) -> None:
        """A response is over."""
        if response_id is None or self.active is None or response_id == self.active:
            self.active = None
            self._is_blocked = False
            self._taken = None

    def is_refusal(self, event_id: str | None) -> bool:
        """Whether an error is about a request. event_id: quoted by the error; None: it quotes none."""
        known = [request for request in (self._sent, self._taken) if request is not None]
        return any(event_id is None or request.event_id == event_id for request in known)

    def refused(self, event_id: str | None, *, is_active: bool) -> Request | None:
        """A request was refused. is_active: because a response runs, so that it waits for another try, if that response
        does not answer it. Returns the request if it was taken for a response that is not its own."""
        mistaken = None
        if self._sent is not None and event_id in (None, self._sent.event_id):
            request, self._sent = self._sent, None
            is_answered = False
            self._is_blocked = is_active and self.active is None
        elif self._taken is not None and event_id in (None, self._taken.event_id):
            request = mistaken = self._taken
            is_answered, self._taken = self._taken_was_answered, None
        else:
            return None
        if is_active and not is_answered:
            request.event_id = ""
            self._waiting.insert(0, request)
        return mistaken

    def next(self, event_id: str) -> Request | None:
        """The request to be sent now, if there is one. event_id: for it."""
        if not self._waiting or self._sent or self.active or self._is_blocked or self.person_speaks:
            return None
        self._sent = self._waiting.pop(0)
        self._sent.event_id = event_id
        return self._sent
