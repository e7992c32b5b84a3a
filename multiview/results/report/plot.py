"""The loss of a run: by term over the updates, and by level of the pyramid."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdfrender.report.plot import COLORS, INK, STYLES, figure, svg

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
    drawn, axes = figure(9, 3.8)
    for term, color, line in zip(TERMS, COLORS, STYLES, strict=False):
        values = energies(log, term)
        if values.any():
            shown = np.where(values > 0, values, np.nan)
            marker = "o" if len(log) == 1 else None
            axes.plot(updates, shown, line, color=color, label=term, marker=marker)
    changes = [k for k in range(1, len(log)) if log[k]["level"] != log[k - 1]["level"]]
    for k in [0, *changes]:
        if k:
            axes.axvline(updates[k], color="0.6", linewidth=0.8)
        grid = log[k]["resolution"].replace("x", "×")
        axes.annotate(
            grid,
            (updates[k], 1),
            (3, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            annotation_clip=False,
        )
    axes.set(xlabel="update", ylabel="energy per view (cells)", yscale="log")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelcolor=INK)
    return svg(drawn)
