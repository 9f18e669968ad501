"""Pictures for the agent, which go into the message itself. Pure, but for reading them.

A picture stands in front of all sound of the microphone on the same connection: four megabytes are five and a half of
text, and half a minute on a slow line.
"""

from __future__ import annotations

from parleyd.agents.commands import Prepared
from parleyd.agents.pictures import media_type
from parleyd.agents.provider import Attachment, UploadError

MOST_BYTES = 4 * 1024 * 1024
MEDIA_TYPES = {"image/png": MOST_BYTES, "image/jpeg": MOST_BYTES}
_PIECE_BYTES = 256 * 1024


def prepare(attachment: Attachment) -> Prepared:
    """Reads a picture. Raises UploadError, and the errors of attachment.read."""
    if attachment.size_bytes > MOST_BYTES:
        raise _too_large(attachment.name, attachment.size_bytes)
    data = bytearray()
    # Not beyond its size: the reader takes that for a file that has become shorter.
    while len(data) < attachment.size_bytes and (
        piece := attachment.read(min(_PIECE_BYTES, attachment.size_bytes - len(data)))
    ):
        data += piece
    found = media_type(bytes(data[:16]))
    if found is None:
        raise UploadError(f"{attachment.name} is neither a PNG nor a JPEG picture", "convert it; other files cannot go")
    return Prepared(attachment.name, found, data=bytes(data), size_bytes=len(data))


def _too_large(name: str, size_bytes: int) -> UploadError:
    size, most = size_bytes / 1024 / 1024, MOST_BYTES // 1024 // 1024
    return UploadError(f"{name} is too large: {size:.1f} MB, at most {most} MB can go", "make the picture smaller")
