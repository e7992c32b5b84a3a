"""Settings of `sdfrender bench`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdfrender.options import Flag


@dataclass(frozen=True)
class BenchConfig:
    """What `sdfrender bench` is told; its fields are the options.

    Args:
        workloads: W1: 64³, 26 views of 256². W2: 128³, 26 of 512². W3: 256³, 8 of 1024².
        repeats: rounds; in each, every candidate has one turn. A warm-up comes before them.
        threads: of torch and of the engines. None: one for each core.
        mesh: .obj .ply .glb .stl .off to make the lattices from. None: a shape made here.
        peers: time torch.compile and Mitsuba 3 too.
        only: candidates whose name has one of these words. None given: all.
        quick: times only, without the new processes for memory and for the time to start.
        scaling: instead, what each step of a fit costs as lattice and images double.
        resolutions: of --scaling, samples along each axis, ascending.
        json: print a JSON document with every number.
        markdown: print Markdown tables.
    """

    workloads: tuple[str, ...] = ("W1", "W2", "W3")
    repeats: int = 3
    threads: int | None = None
    mesh: Path | None = None
    peers: Flag = False
    only: tuple[str, ...] = ()
    quick: Flag = False
    scaling: Flag = False
    resolutions: tuple[int, ...] = (128, 256, 512)
    json: Flag = False
    markdown: Flag = False
