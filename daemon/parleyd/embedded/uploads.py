"""Files that clients send into a running conversation: `POST /v1/convai/conversations/{id}/files`, multipart. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import unquote

from parleyd.embedded.posts import Post, RefusedPostError

PATH = re.compile(r"/v1/convai/conversations/(?P<conversation>[^/]+)/files$")


@dataclass(frozen=True, slots=True)
class Upload:
    """conversation_id: of the conversation that gets the file. key: the client's API key."""

    conversation_id: str
    key: str | None
    name: str
    media_type: str
    size_bytes: int


# Returns the file's id; raises RefusedPostError.
Take = Callable[[Upload], str]


def answer(post: Post, take: Take) -> dict[str, str]:
    """Takes the file of a request to PATH. Raises RefusedPostError."""
    found = PATH.search(post.path)
    assert found is not None
    name, media_type, size_bytes = _file(post.header("Content-Type"), post.body)
    key = post.header("xi-api-key") or None
    return {"file_id": take(Upload(unquote(found["conversation"]), key, name, media_type, size_bytes))}


def _file(content_type: str, body: bytes) -> tuple[str, str, int]:
    """Name, media type and size of the field `file`."""
    if not content_type.lower().startswith("multipart/form-data"):
        raise RefusedPostError(415, "multipart/form-data expected")
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    for part in message.iter_parts() if message.is_multipart() else ():
        if part.get_param("name", header="content-disposition") == "file":
            content = part.get_payload(decode=True)
            size_bytes = len(content) if isinstance(content, bytes) else 0
            return part.get_filename("") or "file", part.get_content_type(), size_bytes
    raise RefusedPostError(422, "Field required: file")
