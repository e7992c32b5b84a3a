"""How a training went: whatever its tables of losses and scores hold, as plots."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdfrender.files.tensors import expect
from sdfrender.report.plot import COLORS, INK, STYLES, figure, svg

Floats = NDArray[np.float64]

NOT_LOSSES = ("step", "seconds", "rate")
BINS = 300  # points of a curve, at most


def read_table(file: Path) -> dict[str, Floats]:
    """The columns of a table that hold numbers, `[rows]` each; none of a table without rows.

    Raises:
        InputError: not a table.
    """
    if not file.exists():
        return {}
    with expect(file, "a table of a training"):
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("rows of different lengths")
        found = {}
        for name in rows[0] if rows else ():
            try:
                found[name] = np.array([float(row[name] or "nan") for row in rows])
            except ValueError:
                continue  # words
        return found


def binned(values: Floats) -> Floats:
    """Means over at most `BINS` runs of neighbouring rows."""
    parts = np.array_split(values, min(BINS, len(values)))
    return np.array([part.mean() for part in parts])


def loss_plot(table: dict[str, Floats]) -> str | None:
    """The loss and its terms over the steps, as SVG; None without a step."""
    terms = [name for name in table if name not in NOT_LOSSES and not _is_total(table, name)]
    if not terms or "step" not in table:
        return None
    drawn, axes = figure(9, 3.4)
    steps = binned(table["step"])
    for k, name in enumerate(terms):
        values = binned(table[name])
        if (values > 0).any():
            axes.plot(
                steps,
                np.where(values > 0, values, np.nan),
                STYLES[k % len(STYLES)],
                color=COLORS[k % len(COLORS)],
                marker="o" if len(steps) == 1 else None,
                label=name.replace("_", " "),
            )
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelcolor=INK)
    return svg(drawn)


def _is_total(table: dict[str, Floats], name: str) -> bool:
    """Whether a term is all there is of the total, which is drawn already."""
    return name != "total" and "total" in table and np.array_equal(table[name], table["total"])


def score_plot(table: dict[str, Floats]) -> str | None:
    """The scores of validations over the steps, as SVG; None without a validation."""
    scores = [name for name in table if name not in NOT_LOSSES]
    if not scores or "step" not in table:
        return None
    drawn, axes = figure(9, 2.6)
    for k, name in enumerate(scores):
        axes.plot(
            table["step"],
            table[name],
            STYLES[k % len(STYLES)],
            color=COLORS[k % len(COLORS)],
            marker="o",
            markersize=3,
            label=name.replace("_", " "),
        )
    axes.set(xlabel="step", ylabel="on objects held out")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelcolor=INK)
    return svg(drawn)


def score_distribution(names: list[str], scores: list[float], measure: str) -> str:
    """How the objects' scores are spread, in all and by category, as SVG."""
    categories = sorted({name.split("/")[0] for name in names}, reverse=True)
    drawn, (whole, by) = figure(
        9, 2.6 + 0.32 * len(categories), nrows=2, sharex=True, height_ratios=[2, len(categories)]
    )
    whole.hist(scores, bins=np.linspace(0, 1, 21).tolist(), color=COLORS[1])
    whole.set(ylabel="objects")
    whole.yaxis.get_major_locator().set_params(integer=True)
    for row, category in enumerate(categories):
        own = [s for name, s in zip(names, scores, strict=True) if name.split("/")[0] == category]
        by.plot(own, [row] * len(own), "o", color=COLORS[1], alpha=0.5, markersize=6)
        by.plot([np.mean(own)] * 2, [row - 0.3, row + 0.3], color=COLORS[2], linewidth=3)
    by.set(xlim=(0, 1), ylim=(-0.6, len(categories) - 0.4), xlabel=measure)
    by.set_yticks(range(len(categories)), categories, parse_math=False)
    return svg(drawn)
