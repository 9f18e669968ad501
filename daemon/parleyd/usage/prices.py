"""The prices of tokens and seconds, by model. Pure.

The prices are those of the providers' pages in November 2026, in US dollars. The configuration replaces them, for they
change, and for models of other servers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from parleyd.config.retention import Price

_BIG = {
    "text_in": 4.0,
    "audio_in": 32.0,
    "image_in": 5.0,
    "cached_text_in": 0.4,
    "cached_audio_in": 0.4,
    "cached_image_in": 0.5,
    "audio_out": 64.0,
}
PRICES: dict[str, Price] = {
    "gpt-realtime-2.1": Price(text_out=24.0, **_BIG),
    "gpt-realtime-2": Price(text_out=24.0, **_BIG),
    "gpt-realtime-1.5": Price(text_out=16.0, **_BIG),
    "gpt-realtime": Price(text_out=16.0, **_BIG),
    "gpt-realtime-2.1-mini": Price(
        text_in=0.6,
        audio_in=10.0,
        image_in=0.8,
        cached_text_in=0.06,
        cached_audio_in=0.3,
        cached_image_in=0.08,
        text_out=2.4,
        audio_out=20.0,
    ),
    "gpt-realtime-whisper": Price(per_minute=0.017),
}
# The day of a dated variant, such as gpt-realtime-2.1-2026-06-01.
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def price_of(model: str, configured: Mapping[str, Price]) -> Price | None:
    """The price of a model, or of the one of which it is a dated variant; None: not known."""
    undated = _DATE.sub("", model)
    for name in (model, undated):
        for prices in (configured, PRICES):
            if name in prices:
                return prices[name]
    return None


def cost(price: Price, tokens: Mapping[str, float], seconds: float) -> float:
    """tokens: by kind, as the fields of a price are named. seconds: of transcribed sound."""
    per_token = sum(count * getattr(price, kind, 0.0) for kind, count in tokens.items()) / 1_000_000
    return per_token + seconds / 60 * price.per_minute
