"""Recognises the server's texts about limits of the account, of its plan or of the key's permissions, and gives hints.
Pure.

Sessions and text to speech are refused with the same texts, mostly with 401, whatever the real cause is: a 401 alone
says nothing about the key. The texts were observed (elevenlabs-python#119, OWASP/Nest#3859 and #3861,
elevenlabs-mcp#72) and may change; the first matching row decides.
"""

from __future__ import annotations

import re

from msgspec import Struct


class Trouble(Struct, frozen=True):
    """is_passing: another try may succeed without any change."""

    say: str
    hint: str
    is_passing: bool = False


UNUSUAL = Trouble(
    "the account's free use is stopped for unusual activity, which is not about the key",
    "take a paid plan, or connect without VPN and proxy; several free accounts are one cause",
)
PLAN = Trouble(
    "the account's plan does not include this, which is not about the key",
    "choose another voice or model, or a larger plan, at elevenlabs.io under Subscription",
)
UNPAID = Trouble("a payment of the account is due", "pay it at elevenlabs.io under Subscription")
NO_CREDIT = Trouble("the account has no credit left", "add credit to the ElevenLabs account, or raise its quota")
RESIDENCY = Trouble(
    "the key belongs to a workspace in another region",
    "set elevenlabs.base_url to the host of that region, such as https://api.eu.residency.elevenlabs.io; without data "
    "residency it is https://api.elevenlabs.io",
)
BUSY = Trouble("the server has too much to do", "it is tried again by itself", is_passing=True)

_ROWS: tuple[tuple[re.Pattern[str], Trouble], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), trouble)
    for pattern, trouble in (
        (r"system_busy|heavy traffic", BUSY),
        (r"unusual.activity", UNUSUAL),
        (r"(failed|incomplete|overdue|past.due|open) (or \w+ )?(payment|invoice)|payment_issue|unpaid", UNPAID),
        (
            r"payment_required|subscription_required|upgrade (your|the|to)\b.*\b(plan|tier|subscription)\b|"
            r"\bfree (users?|tier|plan)\b|only_for_\w+|"
            r"not available (in|on|for|with) your (current )?(plan|tier|subscription)",
            PLAN,
        ),
        (r"quota|\bcredits?\b", NO_CREDIT),
        (r"data.residency|residency stack|correct api url|is a global server", RESIDENCY),
    )
)
_MISSING = re.compile(
    r"missing the permissions? [\"'`‘“]?(?P<name>[a-z]+(?:_[a-z]+)+)|missing_permissions|missing the permission",
    re.IGNORECASE,
)


def account_trouble(text: str) -> Trouble | None:
    return next((trouble for pattern, trouble in _ROWS if pattern.search(text)), None)


def missing_permission(text: str) -> str | None:
    """The permission that the key lacks, according to the server; "" if the text names none; None if the text is not
    about permissions."""
    found = _MISSING.search(text)
    if found is None:
        return None
    name = found["name"]
    if name is None:
        # "missing_permissions: The API key … is missing the permission convai_write …": the name comes later.
        later = _MISSING.search(text, found.end())
        name = later["name"] if later else None
    return name.lower() if name else ""
