"""The short form of scripts/chaos: a kind of every row, and all that was once broken. CHAOS_SEED chooses others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from chaos import kinds as all_kinds
from chaos import kinds_handshake, kinds_live, kinds_machine, report
from chaos.choosing import sample
from chaos.lane import Kind
from chaos.outcome import LifeOutcome
from chaos.run import PROVIDERS, Lanes

SEED = int(os.environ.get("CHAOS_SEED", "1"))
# Of a world at a time; most of a fault is waiting for sound.
LIVES = 4
# Network, disk and names: these need namespaces of their own.
NAMESPACES = ("slow-loss", "slow-20-kbit", "net-", "disk-")


def _in_namespaces(kind: Kind) -> bool:
    return kind.name.startswith(NAMESPACES)


GROUPS: dict[str, Callable[[str], list[Kind]]] = {
    "before the session": lambda _: list(kinds_handshake.kinds()),
    "in the session": lambda provider: [*kinds_live.kinds(), *all_kinds.OF_PROTOCOL[provider].kinds()],
    "process, clock and TLS": lambda _: [kind for kind in kinds_machine.kinds() if not _in_namespaces(kind)],
    "network and disk": lambda _: [kind for kind in kinds_machine.kinds() if _in_namespaces(kind)],
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("group", GROUPS)
def test_no_fault_breaks_a_promise(group: str, provider: str) -> None:
    chosen = {kind.name: kind for kind in GROUPS[group](provider) if kind.seconds <= all_kinds.SHORT_S}
    seconds = {kind.name: kind.seconds for kind in chosen.values()}
    lives = sample(all_kinds.chosen_from(chosen), seconds, all_kinds.ALWAYS, SEED, LIVES)
    done: list[LifeOutcome] = []
    began_s = time.monotonic()
    with Lanes(len(lives), None, began_s + 300, provider) as lanes:
        lanes.play(lives, done.append)
    failed = {life.number for life in done if life.failures or any(each.failures for each in life.outcomes)}
    if failed:
        # On a busy machine the harness itself may come too late with its sound.
        # What a daemon does wrong, it does again.
        first, done = done, [life for life in done if life.number not in failed]
        print(
            "tried again:", *(line for life in first for each in life.outcomes for line in report.failure_lines(each))
        )
        with Lanes(len(failed), None, time.monotonic() + 300, provider) as lanes:
            lanes.play([life for life in lives if life.number in failed], done.append)
    print(f"CHAOS_SEED={SEED}\n{report.terminal(done, time.monotonic() - began_s)}")
    outcomes = [outcome for life in done for outcome in life.outcomes]
    if outcomes and all(outcome.skipped for outcome in outcomes):
        pytest.skip(outcomes[0].skipped)
    broken = [line for outcome in outcomes if outcome.failures for line in report.failure_lines(outcome)]
    broken += [f"FAILED daemon {life.number}: {failure}" for life in done for failure in life.failures]
    assert not broken, "\n".join(["", *broken])
    assert len(outcomes) == sum(len(life.faults) for life in lives)
