"""The signatures in signed URLs: made and checked with a secret alone, so that each replica takes those of the others.
Pure.

A signature is `EXPIRY.ONCE.NONCE.MAC`: the second of the calendar at which it ends, 1 if it is valid for one
conversation, a random part, and the HMAC-SHA256 of all this and of the agent's id. Nothing has to be kept for it,
except which of those for one conversation have been used: that is known to the replica that was asked, and to no other.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode

# How long a signed URL is valid; 15 minutes, as with the real service.
SIGNATURE_LIFE_S = 900.0


class Signatures:
    """secret: the same for all replicas; `parleyd agent` refuses one that can be guessed."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._used: dict[str, float] = {}

    def make(self, agent_id: str, now_s: float, nonce: str, *, is_single: bool) -> str:
        """A signature for this agent. now_s: of the calendar. nonce: random, without a full stop. is_single: it is
        valid for one conversation."""
        told = f"{int(now_s + SIGNATURE_LIFE_S)}.{int(is_single)}.{nonce}"
        return f"{told}.{self._mac(told, agent_id)}"

    def use(self, signature: str, agent_id: str, now_s: float) -> bool:
        """Whether it is valid for a conversation with this agent now."""
        told, _, mac = signature.rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(told, agent_id).encode()):
            return False
        # A text with the right MAC was made by a replica, and so has the right form.
        expires, is_single, _ = told.split(".")
        if now_s >= int(expires):
            return False
        if is_single == "1":
            self._used = {known: end_s for known, end_s in self._used.items() if now_s < end_s}
            if told in self._used:
                return False
            self._used[told] = float(expires)
        return True

    def _mac(self, told: str, agent_id: str) -> str:
        made = hmac.new(self._secret, f"{told}\n{agent_id}".encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(made).rstrip(b"=").decode()
