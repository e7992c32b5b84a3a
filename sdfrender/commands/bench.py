"""The command `sdfrender bench`: its options. What it does imports torch, so only then."""

from __future__ import annotations

from typing import Annotated

import tyro

from sdfrender.bench.config import BenchConfig
from sdfrender.commands.messages import bars_hidden


def command(config: Annotated[BenchConfig, tyro.conf.arg(name="")]) -> None:
    """Time the engines beside each other, and beside peers.

    Each workload is rendered without derivatives, and with derivatives into the lattice; once with
    one ray per pixel (hits) and once with anti-aliased silhouettes (coverage). The candidates take
    turns in one process. Each is compared to the exact hits and gradients. Where torch sees an
    NVIDIA card, the engines are timed there, too (never tried so far: there was none).

    Example: sdfrender bench --workloads W1 --peers
    """
    from sdfrender.bench.run import run

    run(config, bars_hidden())
