"""In a process of its own: every kernel of the CUDA engine, compiled and assembled without a card.

`python card_code.py float32|float64 [WORD…]` prints JSON: for each kernel (with a WORD in its name)
and generation of cards its registers, the bytes that do not fit into them (spills), and how many
atomic operations it has. What numba-cuda would ask a driver for, while it compiles, is the card's
capability: it is told one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import nvidia
from numba import cuda, typeof, types
from numba.cuda import dispatcher

from sdfrender.engines.cuda import backward, forward, normal, products, terms
from sdfrender.kernels.ray_walk import EVENT
from sdfrender.kernels.reattach import IMPLICIT

C, MOST = 3, 4  # channels, events per ray
CARDS = ("sm_80", "sm_90")
OLDEST = (8, 0)  # what is compiled for it runs on newer ones, too


def contiguous(dtype: Any, ndim: int) -> Any:
    return types.Array(dtype, ndim, "C")


def kernels(name: str) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Name, kernel and types of its arguments, for lattices of a dtype."""
    real = getattr(types, name)
    double, whole, flag = types.float64, types.int64, types.boolean

    def lattice(ndim: int) -> Any:
        return contiguous(real, ndim)

    def doubles(ndim: int) -> Any:
        return contiguous(double, ndim)

    cameras = (types.UniTuple(double, 15), doubles(2))
    ray = (lattice(1), lattice(3), *cameras, flag)
    record = typeof(np.zeros(1, EVENT)).dtype
    met = (contiguous(whole, 1), contiguous(record, 2), contiguous(types.int32, 1))
    scene = (lattice(1), *cameras, doubles(3), lattice(4))
    images = (lattice(3), lattice(2), lattice(2), lattice(3))
    yield "approach", forward.approach, (*ray, doubles(1))
    yield "walk", forward.walk, (*ray, met[0], doubles(1), *met[1:])
    hits, chosen = contiguous(flag, 2), contiguous(whole, 1)
    yield "shade", forward.shade_for(C), (*scene, *met, *images, hits)
    sums = (lattice(1), doubles(3), lattice(4), doubles(2))
    given = (*scene, chosen, *met, whole)
    for n, sum_of in enumerate(("values", "lights", "albedo", "views")):
        pull = backward.pull_for(C, MOST, IMPLICIT, n)
        yield f"pull {sum_of}", pull, (*given, *images, *sums)
        pull = backward.pull_alone_for(C, IMPLICIT, n)
        yield f"pull {sum_of} alone", pull, (*given, *images, *sums)
    if name == "float32":
        pull = backward.pull_for(C, MOST, IMPLICIT, backward.VALUES)
        largest = types.UniTuple(doubles(1), 1)
        yield "pull largest", pull, (*given, *images, largest, *sums[1:])
        exact = (doubles(3), doubles(2), doubles(2), doubles(3))
        yield "pull whole numbers", pull, (*given, *exact, contiguous(whole, 1), *sums[1:])
    yield from linear_kernels(lattice, doubles, cameras, met)


def linear_kernels(
    lattice: Any, doubles: Any, cameras: tuple[Any, ...], met: tuple[Any, ...]
) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """The kernels of `linearize`."""
    whole = types.int64
    wholes = contiguous(whole, 1)
    given = (lattice(1), *cameras, doubles(3), lattice(4), lattice(2), *met, whole)
    slots = (wholes, wholes, wholes, wholes, lattice(2), wholes, wholes, lattice(2))
    fill = terms.fill_for(C, MOST, IMPLICIT)
    yield "fill", fill, (*given, *slots, doubles(2), doubles(4))
    hits = (lattice(1), *cameras, *met, whole, wholes, lattice(2), lattice(1))
    yield "fill hits", terms.fill_hits_for(IMPLICIT, True, True), hits
    steps = (whole, whole)
    listed = (wholes, wholes, lattice(2))
    v, images = lattice(1), lattice(2)
    yield "push surface", products.push_surface, (*listed, v, *steps, images)
    yield "push corners", products.push_corners, (*listed, v, *steps, images, v)
    yield "push depths", products.push_depths, (*listed, v, v, *steps, v)
    some = (wholes, wholes, lattice(2))
    given = (wholes, wholes, lattice(2), wholes, lattice(2), wholes, lattice(2))
    yield "normal surface", normal.normal_surface_for(C), (*some, lattice(2), v, *steps, v)
    yield "normal mixed", normal.normal_mixed_for(C), (*given, v, *steps, v)
    for squared in (False, True):
        name = "pull squares of" if squared else "pull"
        pull = products.pull_surface_for(squared)
        yield f"{name} surface", pull, (wholes, *listed, images, *steps, v)
        pull = products.pull_corners_for(squared)
        yield f"{name} corners", pull, (*listed, images, v, *steps, v)
        yield f"{name} depths", products.pull_depths_for(squared), (*listed, v, v, *steps, v)


def assembled(ptx: str, card: str, folder: str) -> dict[str, int]:
    """What the assembler says of a kernel."""
    ptxas = next(path for root in nvidia.__path__ for path in Path(root).glob("*/bin/ptxas"))
    source = Path(folder) / "kernel.ptx"
    source.write_text(ptx)
    done = subprocess.run(
        [ptxas, "-v", f"-arch={card}", source, "-o", source.with_suffix(".cubin")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, done.stderr)))

    return {
        "registers": max(map(int, re.findall(r"Used (\d+) registers", done.stderr))),
        "spilled": number(r"(\d+) bytes spill stores"),
        "atomics": len(re.findall(r"^\s*(?:@\S+ )?(?:atom|red)\.", ptx, re.MULTILINE)),
    }


def main(dtype: str, *words: str) -> None:
    """Compile and print."""
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=OLDEST)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kernel, arguments in kernels(dtype):
            if words and not any(word in name for word in words):
                continue
            ptx, _ = cuda.compile_ptx(
                kernel.py_func, arguments, device=False, cc=OLDEST, abi="numba"
            )
            found[name] = {card: assembled(ptx, card, folder) for card in CARDS}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
