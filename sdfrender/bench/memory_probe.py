"""How much memory one forward and backward takes, in a process of its own. Prints JSON.

`python -m sdfrender.bench.memory_probe CANDIDATE TASK INPUTS VIEWS SIZE THREADS`, where INPUTS is a
safetensors file with the `values` of the lattice and the `hit_mask` of the exact rendering.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from sdfrender.bench.candidates import TASKS, Cotangents, Task, Unavailable
from sdfrender.bench.peers.by_name import by_name
from sdfrender.bench.workloads import BOX, BenchScene, Workload, place_cameras
from sdfrender.geometry.lattice import Lattice
from sdfrender.system import peak_memory


def main(name: str, task: Task, inputs: str, views: int, size: int) -> None:
    """Build the inputs, look at the memory, run once, look again."""
    candidate = by_name(name)
    tensors = load_file(inputs)
    lattice = Lattice(tensors["values"], torch.tensor(BOX))
    cameras = place_cameras(Workload("", lattice.resolution[0], views, size))
    cotangents = Cotangents.random(tensors["hit_mask"])
    _warm_up(name, task)
    session = candidate.open(BenchScene(lattice, cameras), task, cotangents)
    reset_peak()
    before = resident_mb()
    session.forward_backward()
    peak = peak_mb()
    print(json.dumps({"inputs_mb": before, "peak_mb": peak}))


def _warm_up(name: str, task: Task) -> None:
    """Import and compile all that is imported or compiled on first use."""
    scene = BenchScene(Lattice.sphere(0.5, resolution=8), place_cameras(Workload("", 8, 1, 8)))
    cotangents = Cotangents.random(torch.ones(1, 8, 8, dtype=torch.bool))
    by_name(name).open(scene, task, cotangents).forward_backward()


def resident_mb() -> float:
    """Memory of this process now, in units of 10⁶ bytes."""
    return _status("VmRSS") or peak_mb()


def peak_mb() -> float:
    """The most that this process has had since `reset_peak`, in units of 10⁶ bytes.

    Linux's own number is read where there is one: `ru_maxrss` of a new process starts at that of
    the process it was forked from.
    """
    measured = _status("VmHWM")
    if measured:
        return measured
    peak = peak_memory()
    if peak is None:
        raise Unavailable("need a system that tells how much memory a process has held")
    return peak / 1e6


def reset_peak() -> None:
    """Start the peak again from what is resident now, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # then the peak includes that of building the inputs


def _status(field: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    for line in lines:
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6  # kB mean 1024 bytes there
    return 0.0


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[6]))
    try:
        chosen = next(task for task in TASKS if task == sys.argv[2])
        main(sys.argv[1], chosen, sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    except Unavailable as error:
        sys.exit(str(error))
