"""Fuzzes one reader for as long as it is told to, guided by coverage (atheris, libFuzzer's engine).

    .venv/bin/python tests/fuzz/run.py codec --seconds 3600 [--seed N] [--corpus FOLDER]

Ends with 0 when no promise was broken; else the input is in crash-... in the working directory, and the traceback says
which promise. FOLDER keeps what has reached new code, for the next run. Targets: codec, control, templates, wav, yaml.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "agents" / "elevenlabs")]
# A message of the wire's largest size takes seconds to mutate and finds nothing more.
MOST_BYTES = 8192

with atheris.instrument_imports(include=["parleyd"]):
    from targets import TARGETS, seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as begun:
        for number, seed in enumerate(seeds(args.target)):
            (Path(begun) / str(number)).write_bytes(seed)
        folders = [str(args.corpus), begun] if args.corpus is not None else [begun]
        if args.corpus is not None:
            args.corpus.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={args.seconds}", f"-seed={args.seed}", f"-max_len={MOST_BYTES}", "-timeout=20"]
        atheris.Setup([sys.argv[0], *options, "-verbosity=0", "-print_final_stats=1", *folders], TARGETS[args.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
