from __future__ import annotations

import pytest

from chaos.books import Came, Entry, Fate, Gap, Loss, Said, Shape, balance, disorder, missing, shape_of

LOUD = tuple(range(2, 52))


def said(number: int = 1, start_s: float = 10.0) -> Said:
    return Said(number, 0, start_s, start_s + 1.1, LOUD)


def came(session: int, frames: range, ready_s: float = 9.0) -> Came:
    return Came(session, ready_s, tuple(frames))


def entry(
    brought: list[Came], heard_s: float | None = None, losses: tuple[Loss, ...] = (), opened: bool = True
) -> Entry:
    heard = {} if heard_s is None else {1: heard_s}
    return balance([said()], {1: brought}, heard, losses, [10.0] if opened else [], {})[0]


def test_missing_frames_are_told_by_their_place() -> None:
    assert missing(LOUD, range(60)) == (0, 0, 0)
    assert missing(LOUD, range(12, 60)) == (10, 0, 0)
    assert missing(LOUD, [*range(20), *range(25, 60)]) == (0, 5, 0)
    assert missing(LOUD, range(42)) == (0, 0, 10)
    assert missing(LOUD, []) == (50, 0, 0)


@pytest.mark.parametrize(
    ("parts", "shape"),
    [
        ((0, 0, 0), Shape.WHOLE),
        ((1, 0, 0), Shape.WHOLE),
        ((2, 0, 0), Shape.HEAD),
        ((2, 3, 0), Shape.HOLE),
        ((0, 1, 30), Shape.TAIL),
        ((50, 0, 0), Shape.NOTHING),
    ],
)
def test_the_shape_is_that_of_the_largest_part_that_is_missing(parts: tuple[int, int, int], shape: Shape) -> None:
    assert shape_of(LOUD, *parts) is shape


def test_within_a_session_each_frame_comes_once_and_in_order() -> None:
    assert disorder([1, 2, 3]) is None
    assert disorder([1, 2, 2]) == "a frame came twice in one session"
    assert disorder([1, 3, 2]) == "frames came out of their order"


def test_whole_and_acknowledged_is_well() -> None:
    one = entry([came(1, range(60))], heard_s=12.0)
    assert (one.shape, one.fate, one.faults) == (Shape.WHOLE, Fate.ACKNOWLEDGED, [])


def test_two_halves_in_two_sessions_are_one_whole() -> None:
    one = entry([came(1, range(30)), came(2, range(25, 60), ready_s=11.0)], heard_s=14.0)
    assert (one.shape, one.fate, one.sessions) == (Shape.WHOLE, Fate.ACKNOWLEDGED, (1, 2))


def test_what_came_up_and_was_never_acknowledged_is_lost_without_a_word() -> None:
    one = entry([came(1, range(60))])
    assert one.fate is Fate.SILENT
    assert "never sent again" in one.faults[0]


def test_a_hole_is_a_loss_although_the_rest_was_acknowledged() -> None:
    one = entry([came(1, range(20)), came(2, range(30, 60))], heard_s=12.0)
    assert (one.shape, one.fate) == (Shape.HOLE, Fate.SILENT)
    assert "200 ms of it are missing" in one.faults[0]


def test_a_short_head_that_the_gate_cut_is_counted_and_no_broken_promise() -> None:
    one = entry([came(1, range(12, 60))], heard_s=12.0)
    assert (one.shape, one.head_ms, one.faults) == (Shape.HEAD, 200, [])
    assert entry([came(1, range(22, 60))], heard_s=12.0).faults
    assert entry([came(1, range(40))], heard_s=12.0).faults


def test_what_was_told_is_no_broken_promise() -> None:
    one = entry([], losses=(Loss(15.0, 1000),))
    assert (one.fate, one.faults) == (Fate.TOLD, [])


def test_a_telling_covers_only_what_was_said_before_it_and_no_more_than_it_says() -> None:
    utterances = [said(number, 10.0 * number) for number in range(1, 7)]
    opened = [one.start_s for one in utterances]
    entries = balance(utterances, {}, {}, [Loss(55.0, 1600)], opened, {})
    # 1600 ms and the slack are three utterances of a second each.
    assert [one.fate for one in entries] == [Fate.TOLD] * 3 + [Fate.SILENT] * 3
    assert balance([said()], {}, {}, [Loss(9.0, 5000)], [10.0], {})[0].fate is Fate.SILENT


def test_what_the_gate_never_opened_for_is_told_apart() -> None:
    one = entry([], opened=False)
    assert (one.fate, one.faults) == (Fate.GATE, ["the gate did not open for it"])


def test_nothing_comes_again_after_its_acknowledgement_has_arrived() -> None:
    again = entry([came(1, range(60)), came(2, range(60), ready_s=13.0)], heard_s=12.0)
    assert again.faults == ["it came up again after its acknowledgement had arrived"]
    before = entry([came(1, range(60)), came(2, range(60), ready_s=11.5)], heard_s=12.0)
    assert before.faults == []


def test_what_the_fault_had_to_cost_is_excused() -> None:
    assert balance([said()], {}, {}, [], [10.0], {1: "the process stood still"})[0].fate is Fate.EXCUSED


def with_gap(frames: list[int], gap: Gap, heard_s: float | None = 14.0) -> Fate:
    heard = {} if heard_s is None else {1: heard_s}
    return balance([said()], {1: [Came(1, 9.0, tuple(frames))]}, heard, [], [10.0], {}, [gap])[0].fate


def test_a_gap_of_the_microphone_that_was_told_explains_what_is_missing_there_and_nothing_else() -> None:
    hole = [*range(20), *range(33, 60)]
    assert with_gap(hole, Gap(10.4, 260)) is Fate.TOLD
    assert with_gap(hole, Gap(10.4, 180)) is Fate.SILENT, "more is missing than was told"
    assert with_gap(hole, Gap(12.4, 260)) is Fate.SILENT, "it was at another time"
    assert with_gap([*range(20), *range(33, 40)], Gap(10.4, 260)) is Fate.SILENT, "the end is missing, too"
    assert with_gap([], Gap(9.9, 1500), heard_s=None) is Fate.TOLD


def test_gaps_at_the_same_time_do_not_explain_twice_as_much() -> None:
    hole = [*range(20), *range(33, 60)]
    twice = [Gap(10.4, 180), Gap(10.4, 180)]
    assert balance([said()], {1: [Came(1, 9.0, tuple(hole))]}, {1: 14.0}, [], [10.0], {}, twice)[0].fate is Fate.SILENT


def test_an_announcement_explains_what_is_said_into_it_and_not_what_it_is_said_into() -> None:
    head = list(range(30, 60))
    assert with_gap(head, Gap(9.5, 1200, is_announcement=True)) is Fate.TOLD
    tail = list(range(20))
    assert with_gap(tail, Gap(10.4, 2000, is_announcement=True)) is Fate.SILENT


def test_a_gap_does_not_explain_that_nothing_was_acknowledged() -> None:
    assert with_gap([*range(20), *range(33, 60)], Gap(10.4, 260), heard_s=None) is Fate.SILENT
    assert with_gap(list(range(60)), Gap(10.4, 260), heard_s=None) is Fate.SILENT
