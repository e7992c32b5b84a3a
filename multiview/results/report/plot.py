"""The loss of a run: by term over the updates, and by level of the pyramid."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdfrender.report.lines import Line, log_plot

Log = list[dict[str, str]]  # rows of `losses.csv`

TERMS = ("total", "color", "silhouette", "carve", "eikonal", "laplacian", "stereo", "maps")


@dataclass(frozen=True)
class LevelRow:
    """What one level of the pyramid did; energies per view."""

    resolution: str
    image: str
    passes: int
    updates: int
    seconds: float
    first: float
    last: float
    terms: list[float]  # of the last pass, without the total


def energies(log: Log, term: str) -> NDArray[np.float64]:
    """`[U]` energy per view before each update."""
    return np.array([float(row.get(term, 0)) / len(shlex.split(row["views"])) for row in log])


def level_rows(log: Log) -> list[LevelRow]:
    """The log, summed up by level."""
    rows = []
    began = 0.0
    for level in sorted({int(row["level"]) for row in log}):
        own = [row for row in log if int(row["level"]) == level]
        final = [row for row in own if row["pass"] == own[-1]["pass"]]
        opening = [row for row in own if row["pass"] == own[0]["pass"]]
        ended = float(own[-1]["seconds"])
        rows.append(
            LevelRow(
                own[0]["resolution"].replace("x", "×"),
                f"{own[0]['width']}×{own[0]['height']}",
                len({row["pass"] for row in own}),
                len(own),
                ended - began,
                float(energies(opening, "total").mean()),
                float(energies(final, "total").mean()),
                [float(energies(final, term).mean()) for term in TERMS[1:]],
            )
        )
        began = ended
    return rows


def loss_plot(log: Log) -> str:
    """The energy per view over updates, total and by term, as SVG in the page's text colour."""
    updates = [int(row["update"]) for row in log]
    lines = [Line(term, updates, energies(log, term).tolist()) for term in TERMS]
    changes = [k for k in range(1, len(log)) if log[k]["level"] != log[k - 1]["level"]]
    marks = [(updates[k], log[k]["resolution"].replace("x", "×")) for k in [0, *changes]]
    return log_plot(lines, marks, "update", "energy per view (cells)")
