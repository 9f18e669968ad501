"""The kinds of pictures that agents take. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# By the first bytes: the name of a file proves nothing.
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
# The ending of a file's name, by its media type.
ENDINGS: Mapping[str, str] = {"image/png": "png", "image/jpeg": "jpg"}


def media_type(beginning: bytes) -> str | None:
    """The type of a picture by its first bytes; None if it is neither PNG nor JPEG."""
    return next((name for signature, name in _SIGNATURES.items() if beginning.startswith(signature)), None)
