"""A house that speaks the conversation API of Home Assistant, as far as the handbook's tool uses it. A program of its
own.

It demands the token, asks back for the room, and knows a conversation again by its name alone. The shape of its answers
is that of Home Assistant 2026.11 (POST /api/conversation/process).
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

TOKEN = "house-token-0815"


class House(BaseHTTPRequestHandler):
    asked_back: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = json.loads(self.rfile.read(length))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, "401: Unauthorized")
            return
        if self.path != "/api/conversation/process" or set(request) - {"text", "language", "conversation_id"}:
            self._answer(400, {"message": "unknown"})
            return
        name = request.get("conversation_id")
        if name in self.asked_back:
            self.asked_back.discard(name)
            self._say(name, f"Turned on the light in the {request['text']}.")
        elif name is None:
            name = f"conversation-{len(self.asked_back) + 1}"
            self.asked_back.add(name)
            self._say(name, "Which room?")
        else:
            self._say(name, "I have forgotten what this was about.")

    def _say(self, name: str, text: str) -> None:
        response = {
            "response": {
                "speech": {"plain": {"speech": text, "extra_data": None}},
                "card": {},
                "language": "en",
                "response_type": "action_done",
                "data": {"targets": [], "success": [], "failed": []},
            },
            "conversation_id": name,
            "continue_conversation": text.endswith("?"),
        }
        self._answer(200, response)

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), House)
    print(server.server_port, flush=True)
    server.serve_forever()
