"""Fuzz a reader by hand: `python tests/fuzz/run.py TARGET [--runs 100000] [--seed 0]`.

With atheris (extra `fuzz`) inputs follow what they reach in the code; without it, or with
`--by-lot`, they are mutations of the corpus by lot. Ends at the first input that raises anything
but `InputError`, takes more than a second or more than a gigabyte, and says where it lies.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

SECONDS, BYTES = 1.0, 2**30


def main() -> None:
    """Read the options and fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-lot", action="store_true")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is None or options.by_lot:
        by_lot(options.target, options.runs, options.seed)
        return
    with atheris.instrument_imports(include=["sdfrender", "multiview"]):
        import targets
    check = checked(options.target, targets)
    corpus = str(targets.CORPUS / options.target)
    arguments = [f"-runs={options.runs}", f"-seed={options.seed}", "-max_len=4096", "-timeout=10"]
    with tempfile.TemporaryDirectory() as found:  # what atheris adds does not go into the corpus
        atheris.Setup([sys.argv[0], *arguments, found, corpus], check)
        atheris.Fuzz()


def by_lot(name: str, runs: int, seed: int) -> None:
    """Mutations of the corpus."""
    import targets

    check = checked(name, targets)
    seeds, rng = targets.seeds(name), random.Random(seed)
    accepted, slowest = 0, 0.0
    for _ in range(runs):
        start = time.process_time()
        accepted += check(targets.mutated(rng.choice(seeds), seeds, rng))
        slowest = max(slowest, time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name}: {runs} runs, {accepted} accepted, slowest {slowest:.3f} s, peak {peak:.0f} MB")


def checked(name, targets):  # type: ignore[no-untyped-def]
    """The target, which keeps an input that fails and says where."""
    import warnings

    warnings.simplefilter("error")
    for data in targets.seeds(name):  # what is compiled or imported on the way takes its time once
        targets.run(name, data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def check(data: bytes) -> bool:
        start = time.process_time()
        try:
            accepted: bool = targets.run(name, bytes(data))
            seconds = time.process_time() - start
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
            assert seconds < SECONDS, f"took {seconds:.2f} s"
            assert held < BYTES, f"took {held / 2**20:.0f} MB"
        except BaseException:
            file = Path(tempfile.gettempdir()) / f"failed-{name}"
            file.write_bytes(bytes(data))
            print(f"the input is in {file}", file=sys.stderr)
            raise
        return accepted

    return check


if __name__ == "__main__":
    main()
