"""Answers a balancer and a monitoring system: whether the server is alive, whether it takes sessions, and its figures.

`/health/live` and `/health/ready` need no key and tell nothing else; `/metrics` needs the key that conversations need.
"""

from __future__ import annotations

from collections.abc import Callable

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from parleyd.embedded.api import json_response, plain_response
from parleyd.embedded.figures import Figures, Refusal
from parleyd.embedded.replica import LIVE_PATH, METRICS_PATH, READY_PATH, Replica
from parleyd.host import python_env

# A balancer asks again at once, another client after this time.
_RETRY_AFTER_S = 2


class Operation:
    """places_taken: the number of sessions, with those whose handshake goes on. has_key: of a request's headers."""

    def __init__(
        self, replica: Replica, figures: Figures, places_taken: Callable[[], int], has_key: Callable[[Headers], bool]
    ) -> None:
        self._replica = replica
        self._figures = figures
        self._places_taken = places_taken
        self._has_key = has_key

    def answer(self, request: Request) -> Response | None:
        """The answer to a request; None: it is for another part of the server."""
        path = request.path.partition("?")[0].rstrip("/")
        if path == LIVE_PATH:
            return plain_response(200, b"alive\n")
        if path == READY_PATH:
            reason = self._reason()
            return plain_response(200, b"ready\n") if reason is None else plain_response(503, f"{reason}\n".encode())
        if path == METRICS_PATH:
            return self._metrics(request)
        return None

    def refusal(self) -> Response | None:
        """Why no session is taken now; None: one is."""
        reason = self._reason()
        if reason is None:
            return None
        self._figures.refused[reason] += 1
        message = "This server is about to end." if reason == "draining" else "All sessions are in use."
        response = json_response(503, {"detail": {"status": "too_many_concurrent_requests", "message": message}})
        response.headers["Retry-After"] = str(_RETRY_AFTER_S)
        return response

    def _reason(self) -> Refusal | None:
        if self._figures.is_draining:
            return "draining"
        most = self._replica.most_sessions
        return "full" if most is not None and self._places_taken() >= most else None

    def _metrics(self, request: Request) -> Response:
        if not self._has_key(request.headers):
            return json_response(401, {"detail": {"status": "invalid_api_key", "message": "Invalid API key"}})
        try:
            # An extra that most devices do not have.
            from parleyd.embedded import exposition
        except ImportError:
            told = f"metrics need the package prometheus_client: {python_env.install('prometheus_client')}\n"
            return plain_response(501, told.encode())
        response = plain_response(200, exposition.text(self._figures))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = exposition.CONTENT_TYPE
        return response
