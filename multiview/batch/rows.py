"""What became of each scene, a row each; the worst come first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from multiview.batch.jobs import LOGS, RUNS, Job

Row = dict[str, Any]
"""`name` and `scene`; when its task has ended `run` (folder, in that of the batch), `log`, and
`error` or `metrics` (as in metrics.json), and `kept` if it was finished before."""


def row_of(
    job: Job,
    metrics: dict[str, Any] | None = None,
    error: str | None = None,
    kept: bool = False,
) -> Row:
    """The row of a job that has ended; of one that was finished before, what its folder holds."""
    row: Row = {
        "name": job.name,
        "scene": str(job.photographs or job.config.scene),
        "run": f"{RUNS}/{job.name}",
        "log": f"{LOGS}/{job.name}.log",
    }
    if error is not None:
        return {**row, "error": error}
    found = metrics if metrics is not None else job.metrics()
    return {**row, "metrics": found, **({"kept": True} if kept else {})}


def judged(row: Row) -> tuple[str, dict[str, float]]:
    """By which views a fit is judged, and their means: those held out, if there are any."""
    metrics = row["metrics"]
    group = "held_out" if "held_out" in metrics else "train"
    return group, metrics[group]


def worst_first(rows: Sequence[Row]) -> list[Row]:
    """Failures, then what is not done, then by PSNR inside the mask, the lowest first."""

    def rank(row: Row) -> tuple[int, float]:
        if "error" in row:
            return 0, 0.0
        if "metrics" not in row:
            return 1, 0.0
        psnr = judged(row)[1].get("psnr")
        return 2, -math.inf if psnr is None or math.isnan(psnr) else psnr

    return sorted(rows, key=rank)


def failures(rows: Sequence[Row]) -> list[str]:
    """The scenes that something went wrong with, and what."""
    return [f"{row['name']}: {row['error']}" for row in rows if "error" in row]
