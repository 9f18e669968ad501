"""Sessions that the device opens of its own accord, because a timer has gone off."""

from __future__ import annotations

import pytest

from parleyd.usage.allowance import MOST_BY_DEVICE, WITHIN_S, ByDevice


@pytest.mark.parametrize(
    ("opened_s", "now_s", "refused"),
    [
        ([], 0.0, False),
        ([0.0] * (MOST_BY_DEVICE - 1), 1.0, False),
        ([0.0] * MOST_BY_DEVICE, 1.0, True),
        ([0.0] * MOST_BY_DEVICE, WITHIN_S - 0.1, True),
        ([0.0] * MOST_BY_DEVICE, WITHIN_S, False),
        ([0.0, *[WITHIN_S - 1.0] * (MOST_BY_DEVICE - 1)], WITHIN_S, False),
        ([0.0, *[WITHIN_S - 1.0] * MOST_BY_DEVICE], WITHIN_S, True),
    ],
)
def test_so_many_within_an_hour(opened_s: list[float], now_s: float, refused: bool) -> None:
    by_device = ByDevice()
    for at_s in opened_s:
        by_device.opens(at_s)
    refusal = by_device.refusal(now_s)
    assert (refusal is not None) is refused
    if refusal is not None:
        assert refusal.cause == "device"
