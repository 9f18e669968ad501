"""The models behind speech-to-speech, for scripts/test-openai-peer: PORT FOLDER. It has the embedded agent's ears and
voice, and keeps each recording that it is asked about as FOLDER/NUMBER.wav.

Real: the recognition (pocketsphinx) and the voice. Not real: the language model, which knows four answers.
"""

from __future__ import annotations

import contextlib
import http.server
import io
import itertools
import json
import sys
import threading
import wave
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

from parleyd.audio.resample import Resampler
from parleyd.embedded.recognise import SphinxEars
from parleyd.embedded.voice import Voice

STORY = "Once upon a time there was a small loudspeaker who lived on a shelf above the kitchen table. " * 3
EARS, VOICE = SphinxEars(), Voice("slt")
NUMBERS = itertools.count(1)
# The recogniser takes one recording at a time, and the server asks about several.
LISTENING = threading.Lock()


def words(form: bytes, content_type: str) -> str:
    """The text of the WAV file in a multipart form."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + form)
    for part in message.iter_parts():
        if part.get_param("name", header="content-disposition") == "file":
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            (Path(sys.argv[2]) / f"{next(NUMBERS):03}.wav").write_bytes(content)
            with wave.open(io.BytesIO(content)) as file:
                resampler = Resampler(file.getframerate(), 16_000)
                with LISTENING:
                    return EARS.transcribe(resampler.process(file.readframes(file.getnframes())) + resampler.flush())
    return ""


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """The delta of a chat completion."""
    last = asked["messages"][-1]
    if last["role"] == "tool":
        return {"content": f"The tool says: {last['content']}"}
    # The server joins questions between which nothing was said: the last one counts.
    text = json.dumps(last["content"]).lower()
    subject = max(("time", "clock", "image", "story"), key=text.rfind)
    if subject == "clock" and asked.get("tools"):
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
        return {"tool_calls": [call]}
    return {"content": {"image": "I see a picture.", "story": STORY}.get(subject, "It is noon.")}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/audio/transcriptions"):
            self._send("application/json", json.dumps({"text": words(body, self.headers["Content-Type"])}).encode())
        elif self.path.endswith("/audio/speech"):
            self._send("audio/pcm", VOICE.say(json.loads(body)["input"], 24_000))
        else:
            self._complete(json.loads(body))

    def _complete(self, asked: dict[str, Any]) -> None:
        delta = answer(asked)
        reason = "tool_calls" if "tool_calls" in delta else "stop"
        usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
        about = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "stub"}
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", **delta}, "finish_reason": reason}
            whole = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
            self._send("application/json", json.dumps(whole).encode())
            return
        parts = [
            {**about, "choices": [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}]},
            {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
            {**about, "choices": [], "usage": usage},
        ]
        stream = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
        self._send("text/event-stream", stream.encode())

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        # The server gives up a recording that is no longer the newest.
        with contextlib.suppress(OSError):
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        # The test kills the client of these models; that is no error of theirs.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
