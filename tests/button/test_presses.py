"""Contacts that bounce, with time as given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parleyd.button.presses import Presses


def run(presses: Presses, changes: list[tuple[float, bool]], until_s: float = 100.0) -> list[tuple[str, float]]:
    """→ (press, when it was told), with pass_to() called exactly when it is due, as the loop does."""
    told: list[tuple[str, float]] = []
    for at_s, closed in [*changes, (until_s, False)]:
        while (due_s := presses.due_s) is not None and due_s < at_s:
            told += [(press, due_s) for press in presses.pass_to(due_s)]
        if at_s < until_s:
            told += [(press, at_s) for press in presses.change(closed, at_s)]
    return told


@pytest.mark.parametrize(
    ("long_ms", "changes", "told"),
    [
        (800, [(1.0, True), (1.2, False)], [("short", 1.2)]),
        (800, [(1.0, True), (5.0, False)], [("long", 1.8)]),
        (800, [(1.0, True), (1.8, False)], [("long", 1.8)]),
        (None, [(1.0, True), (5.0, False)], [("short", 1.0)]),
        # Bouncing at both ends, and a contact that settles within the time of bouncing.
        (None, [(1.0, True), (1.002, False), (1.004, True), (1.3, False), (1.305, True), (1.31, False)],
         [("short", 1.0)]),
        (800, [(1.0, True), (1.002, False), (1.004, True), (1.3, False), (1.305, True), (1.31, False)],
         [("short", 1.3)]),
        (800, [(1.0, True), (1.005, False)], [("short", 1.02)]),
        (800, [(1.0, True), (1.2, False), (1.5, True), (1.7, False)], [("short", 1.2), ("short", 1.7)]),
    ],
)  # fmt: skip
def test_what_is_a_press(long_ms: int | None, changes: list[tuple[float, bool]], told: list[tuple[str, float]]) -> None:
    pressed = run(Presses(20, long_ms), changes)
    assert [press for press, _ in pressed] == [press for press, _ in told]
    assert [at_s for _, at_s in pressed] == pytest.approx([at_s for _, at_s in told])


def test_a_button_that_was_pulled_out_while_pressed_is_not_pressed() -> None:
    presses = Presses(20, 800)
    presses.change(True, 1.0)
    presses.lost()
    assert presses.due_s is None
    assert run(presses, [(5.0, True), (5.1, False)]) == [("short", 5.1)]


@given(st.lists(st.floats(0.0001, 0.0099), max_size=20), st.floats(0.1, 0.7), st.integers(0, 20))
def test_however_it_bounces_one_press_is_one_press(gaps_s: list[float], held_s: float, after: int) -> None:
    def bouncing(at_s: float, closed: bool, count: int) -> list[tuple[float, bool]]:
        changes = [(at_s, closed)]
        for gap_s in gaps_s[:count]:
            if changes[-1][0] + gap_s - at_s < 0.0195:
                changes.append((changes[-1][0] + gap_s, not changes[-1][1]))
        return [*changes, (changes[-1][0] + 0.0001, closed)] if changes[-1][1] != closed else changes

    changes = bouncing(1.0, True, 20) + bouncing(1.0 + held_s, False, after)
    assert [press for press, _ in run(Presses(20, 800), changes)] == ["short"]


def test_a_change_that_is_told_twice_is_one_change() -> None:
    presses = Presses(50, 800)
    presses.change(True, 1.0)
    due_s = presses.due_s
    presses.change(True, 1.01)
    assert presses.due_s == due_s
