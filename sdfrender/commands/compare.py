"""The command `sdfrender compare`."""

from __future__ import annotations

import json
from typing import Annotated

import tyro

from sdfrender.errors import InputError
from sdfrender.options import A, B, Flag


def compare(
    mesh: A,
    reference: B,
    /,
    as_json: Annotated[Flag, tyro.conf.arg(name="json")] = False,
    samples: int = 100_000,
    seed: int = 0,
) -> None:
    """Measure how close shape A is to the reference B.

    Each is a mesh (.obj .ply .glb .stl .off) or a lattice (.safetensors .npz .sdf), whose surface
    is extracted first. Distances go from points on one surface to the exact surface of the other,
    both ways. Lengths are fractions of the longest side of the reference's bounding box.

    Example: sdfrender compare runs/bunny/mesh.ply bunny.obj

    Args:
        mesh: The shape to judge.
        reference: The shape to judge it by.
        as_json: Print JSON: the "reference" group of a run's metrics.json.
        samples: Points on each surface.
        seed: Of the random points; the same seed gives the same numbers.
    """
    if samples < 1:
        raise InputError(f"--samples: need at least 1, got {samples}")
    if seed < 0:
        raise InputError(f"--seed: need at least 0, got {seed}")
    from sdfrender.io.shapes import load_surface
    from sdfrender.meshes.metrics import compare_meshes

    numbers = compare_meshes(load_surface(mesh), load_surface(reference), samples, seed)
    if as_json:
        print(json.dumps(numbers, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "value", caption="lengths: reference's longest side = 1")
    for name, value in numbers.items():
        table.add_row(name, f"{value:.5f}")
    Console().print(table)
