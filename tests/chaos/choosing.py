"""Which faults there are to be, and in which order: the same for the same seed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Choice:
    """One fault to come. token: all that is random in it comes from this number."""

    kind: str
    token: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.token}"


@dataclass(frozen=True)
class Life:
    """What one daemon lives through. world: what kind of daemon and server it takes."""

    number: int
    world: str
    faults: tuple[Choice, ...]

    def __str__(self) -> str:
        return ",".join(str(choice) for choice in self.faults)


def allot(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """total, divided by weight; each gets one at least, where total allows for it. The largest remainders round up."""
    if not weights:
        return {}
    least = 1 if total >= len(weights) else 0
    left = total - least * len(weights)
    whole = sum(weights.values())
    shares = {name: left * weight / whole for name, weight in weights.items()}
    counts = {name: least + int(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: shares[name] - int(shares[name]), reverse=True)
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def choose(
    total: int,
    kinds: Mapping[str, tuple[str, float, str]],
    seconds: Mapping[str, float],
    seed: int,
    per_life_s: float,
    lanes: int = 1,
) -> list[Life]:
    """kinds: name → (row, weight of the row, world). Every row has its share, and within it every kind the same.
    seconds: how long a kind takes; a life is about per_life_s long, or shorter, so that there are `lanes` of them."""
    rows: dict[str, list[str]] = {}
    row_weights: dict[str, float] = {}
    for name, (row, weight, _) in kinds.items():
        rows.setdefault(row, []).append(name)
        row_weights[row] = weight
    dice = Random(seed)
    weights = {name: row_weights[row] / len(rows[row]) for name, (row, _, _) in kinds.items()}
    counts = allot(total, weights)
    whole_s = sum(seconds[name] * many for name, many in counts.items())
    per_life_s = min(per_life_s, whole_s / lanes)
    by_world: dict[str, list[Choice]] = {}
    for name, many in counts.items():
        world = kinds[name][2]
        by_world.setdefault(world, []).extend(Choice(name, dice.getrandbits(32)) for _ in range(many))
    packs = []
    for world, choices in by_world.items():
        dice.shuffle(choices)
        many = max(1, round(sum(seconds[choice.kind] for choice in choices) / per_life_s))
        packs += [(world, tuple(choices[start::many])) for start in range(many) if choices[start::many]]
    dice.shuffle(packs)
    return [Life(number, world, faults) for number, (world, faults) in enumerate(packs, start=1)]


def sample(
    kinds: Mapping[str, tuple[str, float, str]],
    seconds: Mapping[str, float],
    always: Sequence[str],
    seed: int,
    lives: int,
) -> list[Life]:
    """One kind of every row, and those that there are always; of each world `lives` daemons at most, which are done at
    about the same time. seconds: how long a kind takes."""
    dice = Random(seed)
    rows: dict[str, list[str]] = {}
    for name, (row, _, _) in kinds.items():
        rows.setdefault(row, []).append(name)
    wanted = {name for name in always if name in kinds}
    wanted |= {dice.choice(sorted(names)) for names in rows.values() if not wanted & set(names)}
    by_world: dict[str, list[Choice]] = {}
    for name in sorted(wanted, key=lambda name: (-seconds[name], name)):
        by_world.setdefault(kinds[name][2], []).append(Choice(name, dice.getrandbits(32)))
    made = []
    for world, choices in sorted(by_world.items()):
        packs: list[list[Choice]] = [[] for _ in range(min(lives, len(choices)))]
        for choice in choices:
            min(packs, key=lambda pack: sum(seconds[one.kind] for one in pack)).append(choice)
        for pack in packs:
            dice.shuffle(pack)
            made.append((world, tuple(pack)))
    return [Life(number, world, faults) for number, (world, faults) in enumerate(made, start=1)]


def parse(text: str, known: Sequence[str]) -> tuple[Choice, ...]:
    """`kind:token,kind:token`. Raises ValueError."""
    choices = []
    for part in text.split(","):
        kind, _, token = part.strip().partition(":")
        if kind not in known:
            raise ValueError(f"there is no kind {kind!r}; --list shows them")
        if not token.isdigit():
            raise ValueError(f"{part.strip()!r} is not KIND:NUMBER, as a failed fault prints it")
        choices.append(Choice(kind, int(token)))
    return tuple(choices)
