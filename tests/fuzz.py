"""Reads as many broken files as wanted, and stops at the first that a reader does not treat as promised.

python tests/fuzz.py --files 100000
python tests/fuzz.py --atheris -max_total_time=600    # guided by coverage; needs atheris; options are libFuzzer's
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase

sys.path[:0] = [str(Path(__file__).parent / "support")]


def _test(folder: Path, outcomes: Counter[str], examples: int) -> Callable[[], None]:
    fuzzing = importlib.import_module("fuzzing")
    started = time.monotonic()

    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(file=fuzzing.files())
    def test(file: fuzzing.FuzzedFile) -> None:
        outcomes[f"{file.format} {fuzzing.check(file, folder)}"] += 1
        if outcomes.total() % 5000 == 0:
            print(f"{outcomes.total():,} files, {time.monotonic() - started:,.0f} s", file=sys.stderr, flush=True)

    return test  # type: ignore[no-any-return]  # hypothesis does not type what it returns


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other files (default: %(default)s)")
    parser.add_argument("--atheris", action="store_true", help="let atheris choose the files, until it is stopped")
    options, rest = parser.parse_known_args()
    if rest and not options.atheris:
        parser.error(f"unknown option {rest[0]}")
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        if options.atheris:
            atheris = importlib.import_module("atheris")
            with atheris.instrument_imports(include=["toxonnx.io"]):
                importlib.import_module("fuzzing")
            test = _test(Path(folder), outcomes, 1)
            atheris.Setup([sys.argv[0], *rest], test.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
            atheris.Fuzz()
        else:
            hypothesis.seed(options.seed)(_test(Path(folder), outcomes, options.files))()
    print(f"{outcomes.total():,} files: every row accounted for")
    for outcome, count in sorted(outcomes.items()):
        print(f"  {outcome:20} {count:>8,}")


if __name__ == "__main__":
    main()
