"""The tokens of a response or a transcription, by kinds that have prices of their own. Pure.

A server counts cached tokens among the input, and reasoning among the text: here no token is counted twice. Servers of
your own may send less, zeros, or nothing.
"""

from __future__ import annotations

from parleyd.agents.events import Spent, Token
from parleyd.agents.openai import server_messages as server
from parleyd.agents.openai.server_messages import decimal, number

# More in one message is a fault of the server's.
_MOST_TOKENS = 10_000_000
_MOST_SECONDS = 86_400.0


def of_response(usage: server.UsagePart | None, model: str) -> Spent | None:
    """The tokens or the seconds that the server has counted; None if it counts nothing."""
    if usage is None:
        return None
    tokens = _input(usage.input_token_details, usage.input_tokens)
    out = usage.output_token_details or server.OutputTokens()
    audio_out, text_out = _count(out.audio_tokens), _count(out.text_tokens)
    tokens[Token.AUDIO_OUT] = audio_out
    # All that is not sound; where the details are missing, all of it.
    tokens[Token.TEXT_OUT] = max(text_out, _count(usage.output_tokens) - audio_out)
    return _spent(model, tokens)


def of_transcription(usage: server.TranscriptionUsage | None, model: str) -> Spent | None:
    """The tokens or the seconds that the server has counted; None if it counts nothing."""
    if usage is None:
        return None
    seconds = decimal(usage.seconds)
    if seconds is not None and 0 < seconds <= _MOST_SECONDS:
        return Spent(model, seconds=seconds)
    tokens = _input(usage.input_token_details, usage.input_tokens)
    tokens[Token.TEXT_OUT] = _count(usage.output_tokens)
    return _spent(model, tokens)


def _input(details: server.InputTokens | None, total: server.Number) -> dict[Token, int]:
    details = details or server.InputTokens()
    cached = details.cached_tokens_details
    text, audio, image = _count(details.text_tokens), _count(details.audio_tokens), _count(details.image_tokens)
    if text + audio + image == 0:
        text = _count(total)
    if cached is not None:
        kept = [_count(cached.text_tokens), _count(cached.audio_tokens), _count(cached.image_tokens)]
    else:
        kept, left = [], _count(details.cached_tokens)
        for have in (text, audio, image):
            kept.append(min(have, left))
            left -= kept[-1]
    tokens: dict[Token, int] = {}
    for have, of_cache, kind, cached_kind in (
        (text, kept[0], Token.TEXT_IN, Token.CACHED_TEXT_IN),
        (audio, kept[1], Token.AUDIO_IN, Token.CACHED_AUDIO_IN),
        (image, kept[2], Token.IMAGE_IN, Token.CACHED_IMAGE_IN),
    ):
        tokens[cached_kind] = min(have, of_cache)
        tokens[kind] = have - tokens[cached_kind]
    return tokens


def _count(value: server.Number) -> int:
    found = number(value)
    return found if found is not None and 0 <= found <= _MOST_TOKENS else 0


def _spent(model: str, tokens: dict[Token, int]) -> Spent | None:
    counted = {kind: count for kind, count in tokens.items() if count}
    return Spent(model, counted) if counted else None
