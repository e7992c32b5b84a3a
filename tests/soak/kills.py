"""Random `kill -9` over small fits and trainings: each goes on to what it would have been.

Run by hand, with the folders of `tests/support` on `PYTHONPATH` (`pythonpath` of `pyproject.toml`):
`python tests/soak/kills.py --count 200`. A job is killed at a
random time, some more than once, resumed until it is done, and compared with one in a go: the same
shape or weights bit for bit, the same logs, the same files.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import tiny
import torch
from safetensors.torch import load_file
from tiny_training import read_rows, train_tiny, write_dataset

Job = Callable[[Path, bool], object]  # does a run in a folder, or resumes it
DIFFERS = {"config.json", "metrics.json", "report.html", "progress.mp4", "progress.webp"}  # seconds


@dataclass
class Kind:
    """A kind of job, one of it in a go, and how long that took, seconds."""

    name: str
    job: Job
    whole: Path
    seconds: float = 0.0


def in_a_fork(work: Callable[[], object], killed_after: float | None = None) -> bool:
    """Whether work came to its end in a process of its own."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        try:
            work()
        except BaseException as error:
            print(f"failed: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if killed_after is not None:
        ends = time.monotonic() + killed_after
        while time.monotonic() < ends:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) == 0
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def different(run: Path, whole: Path) -> list[str]:
    """In what two runs differ."""
    files = [{p.relative_to(x) for p in x.rglob("*") if p.is_file()} for x in (run, whole)]
    found = [f"{name}: in one alone" for name in files[0] ^ files[1]]
    for name in sorted(files[0] & files[1]):
        a, b = (x / name for x in (run, whole))
        if name.suffix == ".csv":
            if read_rows(a) != read_rows(b):
                found.append(f"{name}: other rows")
        elif name.suffix == ".safetensors":
            if tensors(a) != tensors(b):
                found.append(f"{name}: other tensors")
        elif name.name not in DIFFERS and a.read_bytes() != b.read_bytes():
            found.append(f"{name}: other bytes")
    return found


def tensors(file: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """All tensors by name, in any order; beside them are seconds, too."""
    stored = load_file(file)
    return {k: (str(x.dtype), x.shape, x.numpy().tobytes()) for k, x in stored.items()}


def kinds(folder: Path) -> list[Kind]:
    """What is killed."""
    scene, objects = tiny.write_torus(folder / "scene"), write_dataset(folder / "data")
    steps = {"steps": 12, "evaluate_every": 3}
    short = tiny.SHORT

    def whole_fit(out: Path, resume: bool) -> object:
        with patch("multiview.results.film.RATE", 2):
            return tiny.fit_tiny(scene, out, short["fast"], resume=resume)

    jobs: dict[str, Job] = {
        "adam": lambda out, resume: tiny.optimize_tiny(scene, out, short["adam"], resume=resume),
        "fast": lambda out, resume: tiny.optimize_tiny(scene, out, short["fast"], resume=resume),
        "fit with results": whole_fit,
        "training": lambda out, resume: train_tiny(objects, out, resume=resume, **steps),
    }
    found = []
    for name, job in jobs.items():
        kind = Kind(name, job, folder / "whole" / name / "run")
        kind.job(kind.whole.with_name("warm"), False)  # compiles what there is to compile
        began = time.monotonic()
        assert in_a_fork(lambda kind=kind: kind.job(kind.whole, False))  # type: ignore[misc]
        kind.seconds = time.monotonic() - began
        print(f"{name}: {kind.seconds:.1f} s in a go", flush=True)
        found.append(kind)
    return found


def main() -> int:
    """Kill so many times; returns 1 if anything was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, kills, runs, lost = random.Random(options.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "whole").mkdir()
        these = kinds(folder)
        while kills < options.count:
            kind, run, done = rng.choice(these), folder / "killed" / "run", False
            moments = []
            while not done:
                resume = (run / "config.json").exists()
                again = kills < options.count and (not moments or rng.random() < 0.3)
                after = rng.uniform(0, 1.1 * kind.seconds) if again else None
                before = kills
                done = in_a_fork(lambda k=kind, r=run, x=resume: k.job(r, x), after)  # type: ignore[misc]
                if after is not None and not done:
                    kills += 1
                    moments.append(f"{after:.3f}")
                elif not done:
                    break
                assert kills >= before
            runs += 1
            wrong = different(run, kind.whole) if done else ["does not go on"]
            if wrong:
                lost += 1
                print(f"{kind.name}, killed after {', '.join(moments)} s: {wrong}", flush=True)
            shutil.rmtree(run, ignore_errors=True)
            if runs % 10 == 0:
                print(f"… {kills} kills in {runs} runs, {lost} lost", flush=True)
    print(f"{kills} kills in {runs} runs: {runs - lost} as in a go, {lost} not")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
