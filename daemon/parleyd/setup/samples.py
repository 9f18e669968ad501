"""Fetches the sample of a voice, and decodes it. Blocks.

Samples are MP3 files at the real service; a decoder of the system is used if there is one, because none is among the
packages of parleyd.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import shutil
import wave
from urllib.parse import urlsplit

from parleyd.core.errors import UserError
from parleyd.host import authorities, subprocesses
from parleyd.host.proxies import is_this_machine
from parleyd.host.reaching import Deadline
from parleyd.host.requests import open_http

_TIMEOUT_S = 20.0
_MOST_BYTES = 4 * 2**20
# Decoded, it is a dozen times as long.
_MOST_SOUND_BYTES = 64 * 2**20
_RATE_HZ = 24_000
# Each reads MP3 from its input, and writes mono PCM of 16 bits.
_DECODERS = (
    ("mpg123", "-q", "-m", "-r", str(_RATE_HZ), "-e", "s16", "-s", "-"),
    ("ffmpeg", "-v", "error", "-f", "mp3", "-i", "pipe:0", "-f", "s16le", "-ac", "1", "-ar", str(_RATE_HZ), "pipe:1"),
)


class SampleError(UserError):
    """The sample cannot be heard here."""


def sample(url: str) -> tuple[bytes, int]:
    """Returns mono PCM of 16 bits, and its rate. Raises SampleError."""
    return decoded(_fetched(url), url)


def decoded(content: bytes, url: str) -> tuple[bytes, int]:
    """Returns mono PCM of 16 bits, and its rate. content: a WAV or MP3 file. url: its address, for the error. Raises
    SampleError."""
    if content.startswith(b"RIFF"):
        try:
            with wave.open(io.BytesIO(content)) as file:
                if file.getnchannels() == 1 and file.getsampwidth() == 2:
                    return file.readframes(file.getnframes()), file.getframerate()
        except (wave.Error, EOFError):
            pass
        raise SampleError("the sample is in an unknown form of WAV", f"hear it on another device: {url}")
    command = next((list(one) for one in _DECODERS if shutil.which(one[0])), None)
    if command is None:
        hint = f"sudo apt install mpg123, or hear it on another device: {url}"
        raise SampleError("samples are MP3 files, for which this machine has no decoder", hint)
    try:
        done = subprocesses.ask(command, stdin=content, timeout_s=_TIMEOUT_S, most_bytes=_MOST_SOUND_BYTES)
        if done.status:
            raise OSError(done.status, "it failed")
    except OSError:
        raise SampleError(f"{command[0]} cannot decode the sample", f"hear it on another device: {url}") from None
    return done.data[: len(done.data) // 2 * 2], _RATE_HZ


def _fetched(url: str) -> bytes:
    """Only https, and http on this machine; no key is sent."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(host))):
        raise SampleError("the sample has no address that can be used", None)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        with Deadline(_TIMEOUT_S) as deadline:
            way = open_http(parts, (), deadline, tls=authorities.context())
        with contextlib.closing(way.connection) as connection:
            assert connection.sock is not None
            connection.sock.settimeout(_TIMEOUT_S)
            connection.request("GET", way.prefix + (target or "/"), None, {**way.headers, "Connection": "close"})
            with way.answer() as answer:
                if answer.status != 200:
                    raise SampleError(f"the sample cannot be had (HTTP {answer.status})", None)
                return answer.read(_MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise SampleError(f"the sample cannot be had: {error}", "try again later") from None
