"""What only a new process can tell: memory, and the time to start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from sdfrender.bench.candidates import Candidate, Task
from sdfrender.bench.workloads import BenchScene

HERE = Path(__file__).parent


class ProbeError(RuntimeError):
    """A probe ended badly; the message is the last line it wrote."""


@dataclass(frozen=True)
class Start:
    """Seconds from a new process to its first gradient.

    Args:
        engine: of `render`.
        cache: "empty" or "filled", numba's folder of compiled code.
        import_torch_s: torch and all it needs.
        import_sdfrender_s: the package on top of that.
        first_image_s: one view of 256² with coverage.
        first_gradient_s: of the lattice, after that.
    """

    engine: str
    cache: str
    import_torch_s: float
    import_sdfrender_s: float
    first_image_s: float
    first_gradient_s: float


def measure_start(engine: str, threads: int) -> list[Start]:
    """Start twice with one cache of compiled code, empty the first time."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(HERE / "start_probe.py"), engine, str(threads)]
        return [
            Start(engine, cache, **_run(command, NUMBA_CACHE_DIR=folder))
            for cache in ("empty", "filled")
        ]


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process, in units of 10⁶ bytes.

    Args:
        inputs_mb: with everything imported and the inputs built.
        peak_mb: the most during one forward and backward after that.
    """

    inputs_mb: float
    peak_mb: float


def measure_memory(
    scene: BenchScene, hit_mask: Tensor, candidate: Candidate, task: Task, threads: int
) -> Memory:
    """The memory of one forward and backward; `hit_mask` `[N, H, W]` says where rays hit."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.safetensors"
        save_file({"values": scene.lattice.values, "hit_mask": hit_mask}, inputs)
        views, size = len(scene.cameras), scene.cameras.width
        numbers = _run(
            ["-m", "sdfrender.bench.memory_probe", candidate.name, task]
            + [str(x) for x in (inputs, views, size, threads)]
        )
        return Memory(**numbers)


def run_script(*arguments: str) -> dict[str, Any]:
    """The JSON that a script of this package prints.

    Raises:
        ProbeError: it ended badly.
    """
    return _run(list(arguments))


def _run(arguments: list[str], **environment: str) -> dict[str, Any]:
    """The JSON that a script prints, run by this interpreter with this package on its path."""
    paths = [str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode:
        raise ProbeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    numbers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return numbers
