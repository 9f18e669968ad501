"""scripts/chaos: faults by the thousand, thrown at running daemons, with books of every 20 ms that was said.

    scripts/chaos                                     3000 faults of all kinds, 8 daemons at a time
    scripts/chaos --minutes 5 --kinds handshake,close --seed 7 --lanes 4 --keep DIR
    scripts/chaos --provider openai                   with the OpenAI Realtime protocol
    scripts/chaos --list                              the kinds, and which of them this machine can have
    scripts/chaos --repeat close-1000:123456          as a fault that failed prints it

With --keep the run can be broken off (Ctrl-C) and gone on with: the same command skips what has been done. As root the
faults of network and disk happen in namespaces of the command's own; as another user they are skipped. Exit code 1:
a promise was broken.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos import kinds as all_kinds
from chaos import report
from chaos.choosing import Life, choose, parse
from chaos.lane import Kind
from chaos.machine import Machine, Unable, faketime
from chaos.outcome import LifeOutcome
from chaos.run import PROVIDERS, Lanes

ROOT = Path(__file__).resolve().parents[2]
MEASUREMENTS = {"elevenlabs": "chaos.md", "openai": "chaos-openai.md"}
PER_LIFE_S = 120.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--provider", choices=PROVIDERS, default="elevenlabs", help="whose protocol is spoken; default: %(default)s"
    )
    parser.add_argument("--faults", type=int, default=3000, metavar="N", help="default: %(default)s")
    parser.add_argument("--kinds", metavar="NAMES", help="beginnings of names, with commas between them")
    parser.add_argument("--seed", type=int, help="the same faults again; default: by chance, and printed")
    parser.add_argument("--lanes", type=int, default=8, metavar="N", help="daemons at a time; default: %(default)s")
    parser.add_argument("--minutes", type=float, metavar="M", help="no fault begins later; default: no limit")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="outcomes, and logs of daemons that failed")
    parser.add_argument("--repeat", metavar="KIND:NUMBER", help="these faults alone, in one daemon, in this order")
    parser.add_argument("--daemon", type=int, metavar="N", help="of this run only the daemon of that number")
    parser.add_argument("--write", action="store_true", help="write docs/measurements/chaos.md, or chaos-openai.md")
    parser.add_argument("--list", action="store_true", help="show the kinds, and end")
    args = parser.parse_args()
    if args.faults < 1 or args.lanes < 1 or (args.minutes is not None and args.minutes <= 0):
        parser.error("--faults, --lanes and --minutes are larger than 0")
    return args


def show_kinds(kinds: dict[str, Kind]) -> None:
    by_row: dict[str, list[str]] = {}
    for kind in kinds.values():
        by_row.setdefault(kind.row, []).append(kind.name)
    for row, names in by_row.items():
        print(row)
        for name in names:
            print(f"    {name}")
    print(f"\n{len(kinds)} kinds in {len(by_row)} rows")
    if os.geteuid() != 0:
        print(f"slow-loss, slow-20-kbit, net-*, disk-*: skipped here: {Machine().why_not}")
    try:
        faketime()
    except Unable as why:
        print(f"clock-*: skipped here: {why} (apt-get install faketime)")


def planned(args: argparse.Namespace, kinds: dict[str, Kind]) -> list[Life]:
    if args.repeat is None:
        seconds = {kind.name: kind.seconds for kind in kinds.values()}
        return choose(args.faults, all_kinds.chosen_from(kinds), seconds, args.seed, PER_LIFE_S, args.lanes)
    choices = parse(args.repeat, list(kinds))
    worlds = {kinds[choice.kind].world for choice in choices}
    if len(worlds) > 1:
        raise ValueError(f"{args.repeat}: these need different daemons ({', '.join(sorted(worlds))})")
    return [Life(1, worlds.pop(), choices)]


class Store:
    """Outcomes in a folder, one life a line, so that a run can be gone on with."""

    def __init__(self, folder: Path, plan: dict[str, object]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "lives.jsonl"
        self._time_path = folder / "seconds"
        plan_path = folder / "plan.json"
        if plan_path.exists() and json.loads(plan_path.read_text()) != plan:
            raise ValueError(f"{folder}: holds another run ({plan_path.read_text().strip()}); choose another folder")
        plan_path.write_text(json.dumps(plan) + "\n")
        self.done: list[LifeOutcome] = []
        if self._path.exists():
            self.done = [LifeOutcome.restored(json.loads(line)) for line in self._path.read_text().splitlines()]

    def spend(self, seconds: float) -> float:
        """→ the time of all runs that have worked on this plan, with this one's."""
        before = float(self._time_path.read_text()) if self._time_path.exists() else 0.0
        self._time_path.write_text(f"{before + seconds}\n")
        return before + seconds

    def add(self, outcome: LifeOutcome) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(outcome.stored()) + "\n")


def again(args: argparse.Namespace, number: int) -> str:
    """The command that has one daemon of this run live its life again."""
    if args.repeat:
        return f"scripts/chaos --provider {args.provider} --repeat {args.repeat}"
    kinds = f" --kinds {args.kinds}" if args.kinds else ""
    plan = f"--seed {args.seed} --faults {args.faults} --lanes {args.lanes}{kinds}"
    return f"scripts/chaos --provider {args.provider} {plan} --daemon {number}"


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def machine_class() -> str:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    kernel, python = platform.release().split("-")[0], platform.python_version()
    return f"{platform.machine()}, {os.cpu_count()} cores ({model}), kernel {kernel}, Python {python}"


def main() -> int:
    args = arguments()
    kinds = all_kinds.every(args.provider)
    seed_given = args.seed is not None
    if not seed_given:
        args.seed = int.from_bytes(os.urandom(3), "big")
    try:
        chosen = all_kinds.matching(kinds, args.kinds)
        if args.list:
            show_kinds(chosen)
            return 0
        if args.keep is not None and (args.keep / "plan.json").exists() and not seed_given:
            args.seed = json.loads((args.keep / "plan.json").read_text())["seed"]
        lives = planned(args, kinds if args.repeat else chosen)
        if args.daemon is not None:
            lives = [life for life in lives if life.number == args.daemon]
            if not lives:
                raise ValueError(f"--daemon {args.daemon}: there is no such daemon in this run")
        plan = {
            "provider": args.provider,
            "seed": args.seed,
            "faults": args.faults,
            "kinds": args.kinds,
            "lanes": args.lanes,
            "repeat": args.repeat,
            "daemon": args.daemon,
        }
        keep = args.keep or Path(tempfile.mkdtemp(prefix="chaos-run-"))
        store = Store(keep, plan)
    except ValueError as error:
        print(f"scripts/chaos: {error}", file=sys.stderr)
        return os.EX_USAGE
    # A life's folder and a lane's share the same clock: CLOCK_MONOTONIC is the machine's.
    began_s = time.monotonic()
    until_s = began_s + 60 * args.minutes if args.minutes else began_s + 10**6
    done = list(store.done)
    known = {life.number for life in done}
    left = [life for life in lives if life.number not in known]
    total = sum(len(life.faults) for life in lives)
    print(f"seed {args.seed}: {total} faults in {len(lives)} daemons, {args.lanes} at a time; {keep}")
    if known:
        print(f"{len(known)} daemons have been done before")
    whole = {life.number: len(life.faults) for life in lives}

    def tell(outcome: LifeOutcome) -> None:
        done.append(outcome)
        if len(outcome.outcomes) == whole[outcome.number]:
            store.add(outcome)
        tried = sum(len(life.outcomes) for life in done)
        broken = [one for one in outcome.outcomes if one.failures]
        for one in broken:
            print("\n".join(report.failure_lines(one)))
        for failure in outcome.failures:
            print(
                f"FAILED daemon {outcome.number}\n{report.indented(failure)}\n    again: {again(args, outcome.number)}"
            )
        minutes, seconds = divmod(int(time.monotonic() - began_s), 60)
        words = f"daemon {outcome.number}: {len(outcome.outcomes)} faults, {outcome.said} utterances"
        print(f"{minutes:>3}:{seconds:02} {tried:>5} of {total}  {words}, {len(broken)} failed", flush=True)

    ticks = 0

    def tick(kind: str) -> None:
        """On a terminal one sees that it goes on: books are closed only when a daemon ends."""
        nonlocal ticks
        ticks += 1
        if sys.stdout.isatty():
            print(f"\r{ticks:>5} faults so far; the last: {kind}".ljust(report.WIDTH - 1), end="\r", flush=True)

    broken_off = False
    try:
        with Lanes(min(args.lanes, max(1, len(left))), keep, until_s, args.provider) as lanes:
            lanes.play(left, tell, tick)
    except KeyboardInterrupt:
        broken_off = True
        print("\nbroken off; what was done so far:", file=sys.stderr)
    seconds = store.spend(time.monotonic() - began_s)
    print("\n" + report.terminal(done, seconds))
    if args.write:
        path = ROOT / "docs" / "measurements" / MEASUREMENTS[args.provider]
        when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = (
            f"scripts/chaos --provider {args.provider} --faults {args.faults} --lanes {args.lanes} --seed {args.seed}"
        )
        command += f" --kinds {args.kinds}" if args.kinds else ""
        path.write_text(report.markdown(done, seconds, when, machine_class(), commit(), command, args.provider))
        print(f"written: {path.relative_to(ROOT)}")
    if broken_off:
        return 128 + signal.SIGINT
    return int(any(life.failures or any(one.failures for one in life.outcomes) for life in done))


if __name__ == "__main__":
    sys.exit(main())
