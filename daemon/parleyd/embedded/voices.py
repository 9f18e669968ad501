"""The voices of the account: `GET /v1/voices`, and a sample of each.

The shape is GetVoicesResponse of the official Python SDK (elevenlabs 2.78). The real service keeps its samples as MP3
on another host, at addresses that need no key and that nobody can guess. Here they are WAV files of this server; each
address carries a token, which only the list of voices tells, and that wants the key. The agent itself always speaks
with its own voice, whichever is chosen.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import shutil
import wave
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from parleyd.embedded.settings import AgentSettings
from parleyd.embedded.voice import Voice

VOICES_PATH = "/v1/voices"
PERMISSION = "voices_read"
_PREVIEW = re.compile(r"/previews/(?P<voice_id>[^/]+)\.wav$")
_RATE_HZ = 22_050
# (id, which is the synthesiser's name of it, name, language, gender, accent, what it says)
_FLITE = (
    ("slt", "Sally", "en", "female", "american", "Hello, I am Sally. This is how I sound."),
    ("rms", "Robert", "en", "male", "american", "Hello, I am Robert. This is how I sound."),
    ("awb", "Alan", "en", "male", "scottish", "Hello, I am Alan. This is how I sound."),
)
_ESPEAK = (
    ("en-gb", "Grace", "en", "female", "british", "Hello, I am Grace. This is how I sound."),
    ("de", "Dieter", "de", "male", "standard", "Hallo, ich bin Dieter. So klinge ich."),
    ("fr", "Fabien", "fr", "male", "standard", "Bonjour, je suis Fabien. Voici ma voix."),
    ("es", "Elena", "es", "female", "castilian", "Hola, soy Elena. Así suena mi voz."),
)


def is_for(target: str) -> bool:
    path = urlsplit(target).path.rstrip("/")
    return path.endswith(VOICES_PATH) or _PREVIEW.search(path) is not None


def is_preview(target: str) -> bool:
    return _PREVIEW.search(urlsplit(target).path) is not None


def listed(settings: AgentSettings, base_url: str, secret: bytes) -> dict[str, Any]:
    """The content of the list. base_url: of this server, as the client sees it. secret: what the tokens of the samples'
    addresses are made of."""
    return {"voices": [_described(row, base_url, _token(row[0], secret)) for row in _rows(settings)]}


def preview(settings: AgentSettings, target: str, secret: bytes) -> bytes | None:
    """The sample as a WAV file; None: there is no such voice, or its address lacks the token. Takes a tenth of a
    second. Raises VoiceError."""
    address = urlsplit(target)
    found = _PREVIEW.search(address.path)
    assert found is not None
    voice_id = unquote(found["voice_id"])
    given = parse_qs(address.query).get("token", [""])[0]
    if not hmac.compare_digest(given.encode(), _token(voice_id, secret).encode()):
        return None
    row = next((row for row in _rows(settings) if row[0] == voice_id), None)
    if row is None:
        return None
    known = {name for name, *_ in (*_FLITE, *_ESPEAK)}
    with Voice(row[0] if row[0] in known else None) as voice:
        pcm = voice.say(row[-1], _RATE_HZ)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, _RATE_HZ, 0, "NONE", ""))
        file.writeframes(pcm)
    return content.getvalue()


def _rows(settings: AgentSettings) -> Sequence[tuple[str, ...]]:
    if settings.voice_ids is not None:
        return [(one, one, "en", "neutral", "american", f"This is the voice {one}.") for one in settings.voice_ids]
    flite = _FLITE if shutil.which("flite") else ()
    return [*flite, *(_ESPEAK if shutil.which("espeak-ng") else ())]


def _token(voice_id: str, secret: bytes) -> str:
    # Signatures are made with the same secret, of texts that begin with a digit.
    told = f"sample {voice_id}".encode(errors="backslashreplace")
    return hmac.new(secret, told, hashlib.sha256).hexdigest()[:32]


def _described(row: Sequence[str], base_url: str, token: str) -> dict[str, Any]:
    voice_id, name, language, gender, accent, _ = row
    url = f"{base_url}/previews/{quote(voice_id, safe='')}.wav?token={token}"
    return {
        "voice_id": voice_id,
        "name": name,
        "category": "premade",
        "labels": {"language": language, "gender": gender, "accent": accent, "use_case": "conversational"},
        "description": None,
        "preview_url": url,
        "verified_languages": [
            {"language": language, "model_id": "eleven_flash_v2_5", "accent": accent, "preview_url": url}
        ],
    }
