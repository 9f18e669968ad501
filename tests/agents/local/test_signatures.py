"""Signatures of signed URLs: the same secret, and nothing else, makes one replica take those of another."""

from __future__ import annotations

import pytest

from parleyd.embedded.signatures import SIGNATURE_LIFE_S, Signatures

SECRET = b"the secret of all replicas"
NOW_S = 1_800_000_000.0


def made(*, is_single: bool = False) -> str:
    return Signatures(SECRET).make("agent", NOW_S, "nonce", is_single=is_single)


def test_another_replica_takes_it_until_it_expires() -> None:
    other = Signatures(SECRET)
    assert other.use(made(), "agent", NOW_S)
    assert other.use(made(), "agent", NOW_S + SIGNATURE_LIFE_S - 1)
    assert not other.use(made(), "agent", NOW_S + SIGNATURE_LIFE_S)


def test_it_is_for_its_agent_and_its_secret_alone() -> None:
    assert not Signatures(SECRET).use(made(), "other", NOW_S)
    assert not Signatures(b"another secret altogether").use(made(), "agent", NOW_S)


@pytest.mark.parametrize("at", range(4))
def test_each_part_of_it_is_signed(at: int) -> None:
    parts = made(is_single=True).split(".")
    for changed in (parts[at] + "1", "", "0", "2000000000", "é", "."):
        forged = ".".join([*parts[:at], changed, *parts[at + 1 :]])
        if changed != parts[at]:
            assert not Signatures(SECRET).use(forged, "agent", NOW_S), forged


@pytest.mark.parametrize("text", ["", ".", "...", "a.b.c.d", "1800000900.0.nonce", "\x00"])
def test_what_is_no_signature_is_refused(text: str) -> None:
    assert not Signatures(SECRET).use(text, "agent", NOW_S)


def test_one_for_a_single_conversation_is_used_up() -> None:
    replica = Signatures(SECRET)
    assert replica.use(made(is_single=True), "agent", NOW_S)
    assert not replica.use(made(is_single=True), "agent", NOW_S + 1)
    # It is forgotten when it has expired by itself.
    late = Signatures(SECRET).make("agent", NOW_S + 2 * SIGNATURE_LIFE_S, "later", is_single=True)
    assert replica.use(late, "agent", NOW_S + 2 * SIGNATURE_LIFE_S)
    assert len(replica._used) == 1
