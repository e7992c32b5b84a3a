"""Fuzz readers by hand: `python tests/fuzz/run.py TARGET… [--runs 100000]`.

Inputs are mutations of the corpus by lot. One that raises anything but `InputError`, takes more
than a second or more than a gigabyte is kept in the folder of temporary files; of each kind the
first. Each target has a process of its own and ends with a line of figures: executions, accepted,
failed, the slowest, and the memory that the process took beyond what its corpus takes.

With `--guided` inputs follow what they reach in the code: by atheris (extra `fuzz`), which ends at
the first that fails.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "support"
sys.path[:0] = [str(SUPPORT), *(str(SUPPORT / room) for room in ("scenes", "networks"))]

SECONDS, BYTES = 1.0, 2**30
ROOM = 3 * BYTES  # beyond what the process has: asking for more fails at once, and is told
NO_MEMORY = ("MemoryError", "allocate memory", "Unable to allocate")


def main() -> None:
    """Read the options and fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="+", help="names of targets, or all")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guided", action="store_true")
    options = parser.parse_args()
    if options.guided:
        guided(options.targets[0], options.runs, options.seed)
        return
    import targets

    names = list(targets.TARGETS) if options.targets == ["all"] else options.targets
    failed = 0
    for name in names:
        child = os.fork()
        if child == 0:
            os._exit(min(by_lot(name, options.runs, options.seed), 1))
        failed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    sys.exit(failed)


def by_lot(name: str, runs: int, seed: int) -> int:
    """Mutations of the corpus; returns how many failed."""
    import targets

    seeds, rng, check = targets.seeds(name), random.Random(seed), checked(name)
    accepted, slowest, found = 0, 0.0, Counter[str]()
    began = time.process_time()
    for n in range(runs):
        data = targets.mutated(rng.choice(seeds), seeds, rng)
        start = time.process_time()
        try:
            accepted += check(data)
        except Exception as error:
            kind = f"{type(error).__name__}: {str(error).replace(str(n), 'N')[:60]}"
            found[kind] += 1
            if found[kind] == 1:
                print(f"{name}: {error!r:.300}: {keep(name, len(found), data)}", flush=True)
        slowest = max(slowest, time.process_time() - start)
    seconds = time.process_time() - began
    held = (peak() - check.before) / 2**20  # type: ignore[attr-defined]
    print(
        f"{name}: {runs} runs, {accepted} accepted, {sum(found.values())} failed, slowest "
        f"{slowest:.3f} s, {held:.0f} MB more, peak {peak() / 2**20:.0f} MB, {seconds:.0f} s, "
        f"{runs / seconds:.0f} a second",
        flush=True,
    )
    return sum(found.values())


def guided(name: str, runs: int, seed: int) -> None:
    """Inputs of atheris."""
    import atheris

    with atheris.instrument_imports(include=["sdfrender", "multiview", "singleview"]):
        import targets
    check = checked(name)

    def kept(data: bytes) -> None:
        try:
            check(bytes(data))
        except Exception:
            print(f"the input is in {keep(name, 0, bytes(data))}", file=sys.stderr)
            raise

    arguments = [f"-runs={runs}", f"-seed={seed}", "-max_len=4096", "-timeout=10"]
    with tempfile.TemporaryDirectory() as found:  # what atheris adds does not go into the corpus
        atheris.Setup([sys.argv[0], *arguments, found, str(targets.CORPUS / name)], kept)
        atheris.Fuzz()


def checked(name: str) -> Callable[[bytes], bool]:
    """The target, which also raises where an input takes too long or too much memory."""
    import targets

    warnings.simplefilter("error")
    for data in targets.seeds(name):  # what is compiled or imported on the way takes its time once
        targets.run(name, data)
    gc.freeze()  # what was imported is not looked at again
    before = peak()
    resource.setrlimit(resource.RLIMIT_DATA, (before + ROOM, resource.RLIM_INFINITY))

    def check(data: bytes) -> bool:
        start, held = time.process_time(), peak()
        said = targets.told(name, data)
        seconds = time.process_time() - start
        assert seconds < SECONDS, f"took {seconds:.2f} s"
        assert peak() - held < BYTES, f"took {(peak() - held) / 2**20:.0f} MB"
        short = any(words in said for words in NO_MEMORY) and not targets.TARGETS[name].asks
        assert not short, f"asked for memory: {said}"
        return not said

    check.before = before  # type: ignore[attr-defined]
    return check


def keep(name: str, number: int, data: bytes) -> Path:
    """Write an input that failed."""
    file = Path(tempfile.gettempdir()) / f"failed-{name}-{number}"
    file.write_bytes(data)
    return file


def peak() -> int:
    """Bytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
