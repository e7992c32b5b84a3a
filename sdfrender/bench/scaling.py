"""What each step of a fit costs as the lattice and the images double: time, memory, growth.

A surface, and what is seen of it, grows by 4 when lattice and images double along each side; a
lattice grows by 8. Each resolution is measured in a process of its own, which prints JSON:
`python -m sdfrender.bench.scaling RESOLUTION VIEWS THREADS dense|sparse`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from sdfrender.bench.machine import describe
from sdfrender.bench.memory_probe import peak_mb, reset_peak, resident_mb
from sdfrender.bench.processes import run_script
from sdfrender.bench.workloads import BOX, Workload, place_cameras
from sdfrender.errors import InputError
from sdfrender.geometry.blocks import within
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.primitives import torus
from sdfrender.geometry.sparse.lattice import AnyLattice, SparseLattice
from sdfrender.meshes.extraction import extract_mesh
from sdfrender.rendering.linear.linearize import linearize
from sdfrender.rendering.render import render

VIEWS = 4
PIXELS = 2  # along an image for each sample along the lattice
BAND = 3.2  # half width of the band that products are on, cells
REACH = 6.0  # of distances, cells
PRODUCTS = 20  # of a step
RIPPLE = 0.02  # world units
STEEPEST = 3.0  # change of the rippled field by distance, at most
KINDS = ("dense", "sparse")
LEAST = 16  # samples along a lattice

Numbers = dict[str, Any]


def scaling(resolutions: Sequence[int], threads: int) -> Numbers:
    """Measure each resolution; returns what `--json` prints.

    `rows` has for each step, on a lattice and on a sparse one, its seconds of processor time and
    its most memory above that of an empty process, 10⁶ bytes, by resolution; and by how much each
    grows to the next one, taken to a doubling.

    Raises:
        InputError: resolutions that are too small or do not grow.
    """
    if list(resolutions) != sorted(set(resolutions)) or min(resolutions, default=0) < LEAST:
        raise InputError(
            f"--resolutions: need numbers of {LEAST} or more, each larger than the one before, "
            f"got {' '.join(map(str, resolutions))}"
        )
    rows = []
    for kind in KINDS:
        found = [
            run_script("-m", "sdfrender.bench.scaling", str(n), str(VIEWS), str(threads), kind)
            for n in resolutions
        ]
        rows += [
            {
                "step": step,
                "lattice": kind,
                "seconds": [one[step]["seconds"] for one in found],
                "mb": [one[step]["mb"] for one in found],
            }
            for step in found[0]
        ]
    for row in rows:
        for name in ("seconds", "mb"):
            row[f"{name}_growth"] = growths(resolutions, row[name])
    return {
        "machine": describe(threads),
        "resolutions": list(resolutions),
        "views": VIEWS,
        "sizes": [PIXELS * n for n in resolutions],
        "rows": rows,
    }


def growths(resolutions: Sequence[int], numbers: Sequence[float]) -> list[float]:
    """By how much each number grows to the next one, had the resolution doubled in between."""
    return [
        float((b / max(a, 1e-9)) ** (1 / np.log2(n / m)))
        for (m, n), (a, b) in zip(pairwise(resolutions), pairwise(numbers), strict=True)
    ]


def rippled(resolution: int, kind: str = "dense") -> AnyLattice:
    """A torus with ripples: distances near its surface, no more than `REACH` cells away."""
    round_ = torus(0.55, 0.25)

    def field(points: torch.Tensor) -> torch.Tensor:
        x, y, z = points.unbind(-1)
        around, across = torch.atan2(z, x), torch.atan2(y, (x * x + z * z).sqrt() - 0.55)
        return round_(points) - RIPPLE * torch.sin(9 * around) * torch.sin(6 * across)

    if kind == "sparse":  # the ripples are steeper than distances: it is asked farther away
        wide = SparseLattice.from_function(field, resolution, BOX, reach=STEEPEST * REACH)
        return wide.redistance(reach=REACH)
    return Lattice.from_function(field, resolution, BOX).redistance(reach=REACH)


def steps(lattice: AnyLattice, views: int) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    n = lattice.resolution[0]
    cameras = place_cameras(Workload("", n, views, PIXELS * n))
    h = float(lattice.spacing.max())
    stored = lattice.blocked() if isinstance(lattice, SparseLattice) else lattice.values.numpy()
    ids = within(stored, BAND * h)

    values = lattice.values.detach().requires_grad_()  # the same memory

    def both_ways() -> None:
        out = render(lattice.with_values(values), cameras)
        (out.images.sum() + out.silhouettes.sum()).backward()  # type: ignore[no-untyped-call]
        values.grad = None

    J = linearize(lattice, cameras)
    weights = {name: torch.ones_like(getattr(J.rendering, name)) for name in J.outputs}
    matrix = J.on(ids).normal(**weights)
    x = np.ones(len(ids), lattice.values.numpy().dtype)

    def step() -> None:
        normal = linearize(lattice, cameras).on(ids).normal(**weights)
        for _ in range(PRODUCTS):
            normal(x)
        lattice.redistance(reach=REACH)

    return {
        "render, forward and backward": both_ways,
        "linearize": lambda: linearize(lattice, cameras),
        "a product with JᵀWJ": lambda: matrix(x),
        "redistance": lambda: lattice.redistance(reach=REACH),
        "extract_mesh": lambda: extract_mesh(lattice),
        f"linearize, {PRODUCTS} products, redistance": step,
    }


def probe(resolution: int, views: int, kind: str) -> dict[str, dict[str, float]]:
    """Seconds and memory of each step at one resolution, on one kind of lattice."""
    for work in steps(rippled(LEAST, kind), 1).values():  # compiles, imports
        work()
    empty = resident_mb()
    found = {}
    for name, work in steps(rippled(resolution, kind), views).items():
        reset_peak()
        work()
        mb = peak_mb() - empty
        times: list[float] = []
        while sum(times) < 0.5 and len(times) < 5:
            begun = time.process_time()
            work()
            times.append(time.process_time() - begun)
        found[name] = {"seconds": min(times), "mb": mb}
    return found


def table(document: Numbers) -> str:
    """A Markdown table."""
    sizes = [f"{n}³" for n in document["resolutions"]]
    head = f"| step | lattice | s: {' / '.join(sizes)} | × a doubling | MB | × a doubling |"
    lines = [head, "| --- | --- | --- | --- | --- | --- |"]
    for row in document["rows"]:
        cells = (
            row["lattice"],
            " / ".join(f"{x:.3g}" for x in row["seconds"]),
            ", ".join(f"{x:.1f}" for x in row["seconds_growth"]),
            " / ".join(f"{x:.0f}" for x in row["mb"]),
            ", ".join(f"{x:.1f}" for x in row["mb_growth"]),
        )
        lines.append(f"| {row['step']} | {' | '.join(cells)} |")
    note = (
        f"{document['views']} views of {PIXELS} pixels for each sample along an image, "
        f"{document['machine']['threads']} threads; s: of processor time; MB: the most above an "
        "empty process. A surface grows by 4 at a doubling, a lattice by 8."
    )
    return "\n".join((*lines, "", note))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(probe(int(sys.argv[1]), int(sys.argv[2]), sys.argv[4])))
