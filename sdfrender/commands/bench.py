"""The command `sdfrender bench`: its options. What it does is in `run`, which imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]  # `--peers`, and no `--no-peers`


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
    json: Flag = False
    markdown: Flag = False


def command(config: Annotated[BenchConfig, tyro.conf.arg(name="")]) -> None:
    """Time the engines beside each other, and beside peers.

    Each workload is rendered without derivatives, and with derivatives into the lattice; once with
    one ray per pixel (hits) and once with anti-aliased silhouettes (coverage). The candidates take
    turns in one process. Each is compared to the exact hits and gradients.

    Example: sdfrender bench --workloads W1 --peers
    """
    from sdfrender.bench.run import run

    run(config)
