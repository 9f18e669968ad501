from __future__ import annotations

from collections import Counter

import pytest

from chaos import kinds as all_kinds
from chaos.choosing import Choice, allot, choose, parse, sample
from chaos.run import PROVIDERS

KINDS = {
    "a": ("row 1", 100.0, "line"),
    "b": ("row 1", 100.0, "line"),
    "c": ("row 2", 10.0, "line"),
    "t": ("row 3", 10.0, "tls"),
}
SECONDS = {"a": 5.0, "b": 5.0, "c": 30.0, "t": 5.0}


def test_shares_add_up_and_none_is_forgotten() -> None:
    assert (
        allot(120, {"a": 100, "b": 10, "c": 10}) == {"a": 99, "b": 11, "c": 10}
        or sum(allot(120, {"a": 100, "b": 10, "c": 10}).values()) == 120
    )
    assert allot(3, {"a": 1000, "b": 1, "c": 1}) == {"a": 1, "b": 1, "c": 1}
    assert sum(allot(2, {"a": 1, "b": 1, "c": 1}).values()) == 2
    assert allot(5, {}) == {}


def test_every_row_has_its_share_and_every_kind_its_turn() -> None:
    lives = choose(120, KINDS, SECONDS, 7, 110.0)
    many = Counter(choice.kind for life in lives for choice in life.faults)
    assert sum(many.values()) == 120
    assert abs(many["a"] - many["b"]) <= 1
    assert many["a"] + many["b"] > 8 * many["c"] > 0


def test_a_daemon_lives_in_one_world() -> None:
    for life in choose(120, KINDS, SECONDS, 7, 110.0):
        assert {KINDS[choice.kind][2] for choice in life.faults} == {life.world}


def test_no_daemon_lives_too_long() -> None:
    for life in choose(120, KINDS, SECONDS, 7, 110.0):
        assert sum(SECONDS[choice.kind] for choice in life.faults) < 200


def test_the_seed_is_all_that_there_is_of_chance() -> None:
    assert choose(120, KINDS, SECONDS, 7, 110.0) == choose(120, KINDS, SECONDS, 7, 110.0)
    assert choose(120, KINDS, SECONDS, 7, 110.0) != choose(120, KINDS, SECONDS, 8, 110.0)


def test_a_sample_has_a_kind_of_every_row_and_what_is_always_in_it() -> None:
    for seed in range(20):
        lives = sample(KINDS, SECONDS, ["b"], seed, 2)
        names = sorted(choice.kind for life in lives for choice in life.faults)
        assert names == ["b", "c", "t"]
        assert lives == sample(KINDS, SECONDS, ["b"], seed, 2)


def test_a_sample_is_packed_so_that_daemons_are_done_together() -> None:
    kinds = {f"k{number}": (f"row {number}", 1.0, "line") for number in range(7)}
    seconds = {name: 30.0 if name == "k3" else 5.0 for name in kinds}
    by_size = sorted(len(life.faults) for life in sample(kinds, seconds, [], 1, 2))
    assert by_size == [1, 6]


def test_what_is_printed_can_be_read_again() -> None:
    life = choose(5, {"a": KINDS["a"]}, SECONDS, 1, 110.0)[0]
    assert parse(str(life), list(KINDS)) == life.faults
    assert parse("a:5", list(KINDS)) == (Choice("a", 5),)
    with pytest.raises(ValueError, match="--list"):
        parse("x:5", list(KINDS))
    with pytest.raises(ValueError, match="KIND:NUMBER"):
        parse("a", list(KINDS))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_kinds_are_many_and_chosen_by_the_beginning_of_their_names(provider: str) -> None:
    kinds = all_kinds.every(provider)
    assert len(kinds) >= 125
    assert set(all_kinds.matching(kinds, "redirect,tcp-fin")) == {
        "redirect-301",
        "redirect-302",
        "redirect-303",
        "redirect-307",
        "redirect-308",
        "redirect-key-302",
        "redirect-key-307",
        "tcp-fin",
    }
    with pytest.raises(ValueError, match="no kind begins with 'nosuch'"):
        all_kinds.matching(kinds, "nosuch")


def test_every_row_with_a_share_of_its_own_and_every_kind_that_is_always_there_is_known() -> None:
    kinds = [kind for provider in PROVIDERS for kind in all_kinds.every(provider).values()]
    assert {kind.row for kind in kinds} >= set(all_kinds.WEIGHTS)
    assert {kind.name for kind in kinds} >= set(all_kinds.ALWAYS)
