"""From results to a table that can be read: on a terminal, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

Row = dict[str, Any]  # of one mesh; see `multiview.benchmark.run.measure_mesh`
Cells = list[str]
NOTHING = "–"

CAPTION = (
    "Chamfer point to surface, Hausdorff, F thresholds: longest side = 1. From Hausdorff on: at "
    "the finest lattice. In brackets: the true mesh, where it differs. s: of the optimisation."
)


def headings(resolutions: Sequence[int], gloss: bool = False) -> Cells:
    """The names of the columns; those of materials too where there are any."""
    chamfers = [f"{n}³" for n in resolutions]
    return ["mesh", "hull", *chamfers, *_columns(gloss)]


def has_gloss(rows: Sequence[Row]) -> bool:
    """Whether any mesh was polished."""
    return any("gloss" in run for row in rows for run in row.get("runs", {}).values())


def _columns(gloss: bool) -> dict[str, Callable[[Row, Row | None], str]]:
    return {**FINEST, **GLOSS} if gloss else FINEST


def cells(row: Row, resolutions: Sequence[int], gloss: bool = False) -> Cells:
    """One mesh: a cell per heading. What could not be measured is a dash."""
    chamfers = [_number(_at(row, n), "reference", "chamfer_l1", form=_small) for n in resolutions]
    finest = _at(row, resolutions[-1])
    others = [show(row, finest) for show in _columns(gloss).values()]
    return [str(row["mesh"]), _number(row, "hull_chamfer", form=_small), *chamfers, *others]


def markdown(title: str, rows: Sequence[Row], resolutions: Sequence[int]) -> str:
    """The table as Markdown, with the errors below it."""
    gloss = has_gloss(rows)
    names = headings(resolutions, gloss)
    lines = [names, ["---"] * len(names), *(cells(row, resolutions, gloss) for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    failed = "".join(f"\n{row['mesh']}: {row['error']}\n" for row in rows if "error" in row)
    return f"{title}\n\n{table}\n\n{CAPTION}\n{failed}"


def terminal_table(title: str, rows: Sequence[Row], resolutions: Sequence[int]) -> Table:
    """The table for a terminal; errors stand where the numbers would be."""
    table = Table(title=title, caption=CAPTION, box=SIMPLE)
    gloss = has_gloss(rows)
    for name in headings(resolutions, gloss):
        table.add_column(name, justify="left" if name == "mesh" else "right")
    for row in rows:
        table.add_row(*cells(row, resolutions, gloss))
    return table


# ---------------------------------------------------------------------- columns


def _small(x: float) -> str:
    """A length below 1: `.00074`."""
    return f"{x:.5f}".removeprefix("0")


def _unit(x: float) -> str:
    """A fraction: `.991`."""
    return f"{x:.3f}".removeprefix("0")


def _number(row: Row | None, *path: str, form: Callable[[float], str]) -> str:
    """The number at `path` in nested tables, or a dash."""
    found: Any = row
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return NOTHING if found is None else form(found)


def _count(name: str) -> Callable[[Row, Row | None], str]:
    """A number of parts or handles, with that of the true mesh in brackets where it differs."""

    def show(row: Row, finest: Row | None) -> str:
        found = _number(finest, "topology", name, form=str)
        true = _number(row, "topology", name, form=str)
        return found if found in (true, NOTHING) else f"{found} ({true})"

    return show


def _reference(name: str, form: Callable[[float], str]) -> Callable[[Row, Row | None], str]:
    return lambda row, finest: _number(finest, "reference", name, form=form)


def _at(row: Row, resolution: int) -> Row | None:
    """The run of a mesh at a resolution, if there is one."""
    found: Row | None = row.get("runs", {}).get(str(resolution))
    return found


# Heading, and what stands below it for a mesh and its run at the finest resolution.
FINEST: dict[str, Callable[[Row, Row | None], str]] = {
    "Hausdorff": _reference("hausdorff", lambda x: f"{x:.4f}".removeprefix("0")),
    "F@0.5%": _reference("f_score_0.5pct", _unit),
    "F@1%": _reference("f_score_1pct", _unit),
    "normals": _reference("normal_consistency", _unit),
    "IoU": _reference("volume_iou", _unit),
    "held-out PSNR": lambda row, finest: _number(finest, "held_out", "psnr", form="{:.1f}".format),
    "bodies": _count("bodies"),
    "genus": _count("genus"),
    "s": lambda row, finest: _number(finest, "seconds", form="{:.0f}".format),
}

# Of materials; roughness: the median error, in brackets that of the best one number for all.
GLOSS: dict[str, Callable[[Row, Row | None], str]] = {
    "base colour": lambda row, finest: _number(
        finest, "gloss", "base_color_psnr", form="{:.1f}".format
    ),
    "roughness": lambda row, finest: (
        _number(finest, "gloss", "roughness_error", form=_unit)
        + f" ({_number(finest, 'gloss', 'roughness_error_of_one', form=_unit)})"
    ),
    "relit": lambda row, finest: _number(finest, "gloss", "relit_psnr", form="{:.1f}".format),
}
