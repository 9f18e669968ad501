"""Sends a file into a running conversation, over HTTP; the message that mentions it is sent over the WebSocket.

Source: the official JavaScript SDK (@elevenlabs/client 1.25): `POST /v1/convai/conversations/{conversation_id}/files`,
multipart field `file`, answered with {"file_id": …}. The service takes images and PDF.
"""

from __future__ import annotations

import json
import secrets
from urllib.parse import quote

from parleyd.agents.elevenlabs.address import post
from parleyd.agents.elevenlabs.endings import judge_http, one_line
from parleyd.agents.provider import Attachment, UploadError
from parleyd.core.endings import DialError

CONVERSATIONS_PATH = "/v1/convai/conversations"


class _Multipart:
    """One field `file`, read piece by piece (RFC 7578)."""

    def __init__(self, attachment: Attachment) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        # Escaped as by browsers: https://html.spec.whatwg.org/#multipart-form-data
        name = attachment.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            f"Content-Type: {attachment.media_type}\r\n\r\n"
        )
        self._head = head.encode("utf-8", "replace")
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._attachment = attachment
        self._left_bytes = attachment.size_bytes
        self.length_bytes = len(self._head) + attachment.size_bytes + len(self._tail)

    def read(self, most_bytes: int = -1) -> bytes:
        if self._head:
            piece, self._head = self._head, b""
            return piece
        if self._left_bytes:
            piece = self._attachment.read(min(self._left_bytes, most_bytes if most_bytes > 0 else self._left_bytes))
            self._left_bytes -= len(piece)
            return piece
        piece, self._tail = self._tail, b""
        return piece


def upload(base_url: str, conversation_id: str, attachment: Attachment, api_key: str | None, timeout_s: float) -> str:
    """Sends the file. Returns the id by which a message names it. timeout_s, and what it raises: see Agent.prepare."""
    body = _Multipart(attachment)
    path = f"{CONVERSATIONS_PATH}/{quote(conversation_id, safe='')}/files"
    try:
        status, answer = post(base_url, path, body, body.length_bytes, body.content_type, api_key, timeout_s)
    except DialError as error:
        raise UploadError(error.ending.reason, error.ending.hint or "try again") from None
    if status not in (200, 201):
        raise _refusal(status, answer, attachment)
    try:
        file_id = json.loads(answer)["file_id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        file_id = None
    if not isinstance(file_id, str) or not file_id:
        raise UploadError("the server answered the upload with something that holds no file id", "try again")
    return file_id


def _refusal(status: int, answer: str, attachment: Attachment) -> UploadError:
    match status:
        case 404:
            return UploadError("the server does not know this conversation", "try again in a new one")
        case 413:
            size = f"{attachment.size_bytes / 2**20:.1f} MiB"
            return UploadError(f"the file is too large for the agent ({size})", "send a smaller one")
        case 400 | 415 | 422:
            said = one_line(_said(answer))
            text = f"the agent does not take this file ({attachment.media_type}){f': {said}' if said else ''}"
            return UploadError(text, "send an image or a PDF")
    ending = judge_http(status, answer)
    return UploadError(ending.reason, ending.hint or "try again")


def _said(answer: str) -> str:
    """The server's words: `detail` is a text, or an object with a message."""
    try:
        detail = json.loads(answer)["detail"]
        said = detail if isinstance(detail, str) else detail["message"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return said if isinstance(said, str) else ""
