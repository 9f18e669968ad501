"""The voices of an account, as a person chooses among them. Pure.

Source: GetVoicesResponse of the official Python SDK (elevenlabs 2.78).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# The languages that the platform's multilingual models speak; people know their names.
LANGUAGES: dict[str, str] = {
    "en": "English", "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "es": "Spanish", "fi": "Finnish", "fil": "Filipino", "fr": "French", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "ms": "Malay",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "pt-br": "Portuguese, Brazil",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sv": "Swedish", "ta": "Tamil", "tr": "Turkish",
    "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


@dataclass(frozen=True)
class AccountVoice:
    """languages: codes for which it is made. kind: gender, accent and category in words. samples: addresses by
    language; "" for the general one."""

    voice_id: str
    name: str
    languages: tuple[str, ...]
    kind: str
    samples: Mapping[str, str]

    def speaks(self, language: str) -> bool:
        base = language.partition("-")[0]
        return any(one.partition("-")[0] == base for one in self.languages)

    def sample(self, language: str) -> str | None:
        base = language.partition("-")[0]
        return self.samples.get(base) or self.samples.get("")


def read_voices(content: object) -> list[AccountVoice]:
    """The voices of an answer; an entry without an id is left out."""
    items = content.get("voices") if isinstance(content, Mapping) else None
    found = [_voice(item) for item in items or () if isinstance(item, Mapping)]
    return [voice for voice in found if voice is not None]


def for_language(voices: Iterable[AccountVoice], language: str) -> list[AccountVoice]:
    """Returns the voices in the order in which they are shown: those that are made for the language come first, by
    name."""
    return sorted(voices, key=lambda voice: (not voice.speaks(language), voice.name.casefold()))


def _voice(item: Mapping[str, Any]) -> AccountVoice | None:
    voice_id = item.get("voice_id")
    if not isinstance(voice_id, str) or not voice_id:
        return None
    labels = item.get("labels")
    labels = labels if isinstance(labels, Mapping) else {}
    verified = [one for one in item.get("verified_languages") or () if isinstance(one, Mapping)]
    languages = [str(one["language"]) for one in verified if one.get("language")]
    if labels.get("language"):
        languages.insert(0, str(labels["language"]))
    samples = {
        str(one["language"]).partition("-")[0]: str(one["preview_url"])
        for one in reversed(verified)
        if one.get("language") and one.get("preview_url")
    }
    if item.get("preview_url"):
        samples[""] = str(item["preview_url"])
    spoken = [LANGUAGES.get(code, code) for code in dict.fromkeys(languages)]
    more = f"{', '.join(spoken[:3])}{' and more' if len(spoken) > 3 else ''}"
    words = [labels.get("gender"), labels.get("accent"), more, item.get("category")]
    kind = ", ".join(str(word).replace("_", " ") for word in words if word)
    return AccountVoice(voice_id, str(item.get("name") or voice_id), tuple(dict.fromkeys(languages)), kind, samples)
