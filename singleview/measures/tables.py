"""Evaluations as tables: Markdown for notes, columns for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from singleview.measures.shapes import RESOLUTIONS

NAME_WIDTH = 16  # columns of a terminal that a method's name gets at least
HEADINGS = {
    "chamfer": "Chamfer",
    "normal_consistency": "normals",
    "silhouette_iou": "silhouettes",
}
OCCUPANCY = {
    "chamfer_tenths": "Chamfer-L1",
    "chamfer": "Chamfer",
    "normal_consistency": "normals",
}
DEEPSDF = {
    "chamfer_1000": "Chamfer ×10³",
    "median": "median",
    "earth_mover": "EMD",
    "accuracy": "accuracy",
    "completion": "completion",
    "cosine": "cosine",
    "to_nearest_1000": "to nearest",
    "seconds": "CPU s",
}
DEEPSDF_CAPTION = (
    "Shapes in the unit ball. Chamfer: mean squared distance, there plus back, 30 000 samples; "
    "EMD: mean distance of 500 samples, paired best; accuracy: of 90% of the mesh; completion: "
    "share of the truth within .01; cosine of normals; to nearest: Chamfer ×10³ from the "
    "prediction to the training shape that is most like it; CPU s: to find a code."
)
OCCUPANCY_CAPTION = (
    "IoU at random points of the padded box; Chamfer-L1 from points to points in tenths of the "
    "longest side, as in Occupancy Networks; Chamfer from points to surface with the longest side "
    "= 1; normal consistency."
)
CAPTION = (
    "IoU at 32³ / 64³, mean over all input views; Chamfer-L1 with the longest side = 1, normal "
    "consistency, silhouette IoU on views that were not the input: over some input views."
)


def about(result: dict[str, Any]) -> str:
    """What was judged, in a few words."""
    if "known" in result:
        return f"{result['objects']} {result['split']} objects"
    seen = f"{result['views']} views" if "views" in result else f"input: {result['input']}"
    return f"{result['objects']} {result['split']} objects, {seen}"


def caption(result: dict[str, Any]) -> str:
    """What the numbers mean."""
    if "known" in result:
        return DEEPSDF_CAPTION
    return OCCUPANCY_CAPTION if "input" in result else CAPTION


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row of texts per method, of what `evaluate` returns."""
    if "known" in result:
        rows = [
            [method["name"], *(number(method.get(key)) for key in DEEPSDF)]
            for method in result["methods"]
        ]
        return ["method", *DEEPSDF.values()], rows
    categories = list(result["methods"][0]["categories"])
    measures = OCCUPANCY if "input" in result else HEADINGS
    headings = ["method", *categories, "mean", *measures.values()]
    rows = []
    for method in result["methods"]:
        name = method["name"] + (f" (told {method['told']})" if method["told"] else "")
        cells = [iou_cell(method["categories"][category]) for category in categories]
        numbers = [number(method.get(key)) for key in measures]
        rows.append([name, *cells, iou_cell(method), *numbers])
    return headings, rows


def markdown(result: dict[str, Any]) -> str:
    """A Markdown table with its caption."""
    headings, rows = table_rows(result)
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    title = f"{about(result)}. {caption(result)}"
    return "\n".join([title, "", *("| " + " | ".join(line) + " |" for line in lines)])


def terminal(result: dict[str, Any], width: int = 120) -> Table:
    """A table for a terminal of `width` columns: a row per method, or a column where that is wide.

    A column per method has its name above it, in several lines if need be.
    """
    headings, rows = table_rows(result)
    upright = _table(result, headings, rows, no_wrap=True)
    measured = Console(width=1000).measure(upright)
    if measured.minimum <= width:
        return upright
    names, *columns = zip(*rows, strict=True)
    lines = [[heading, *cells] for heading, cells in zip(headings[1:], columns, strict=True)]
    return _table(result, ["", *names], lines, no_wrap=False)


def _table(
    result: dict[str, Any], headings: list[str], rows: list[list[str]], no_wrap: bool
) -> Table:
    table = Table(title=about(result), caption=caption(result))
    table.add_column(headings[0], min_width=NAME_WIDTH if no_wrap else None, overflow="fold")
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=no_wrap, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def iou_cell(measures: dict[str, Any]) -> str:
    """IoU at each resolution: `.481 / .466`; of occupancy, which has none, one number."""
    if "iou" in measures:
        return number(measures["iou"])
    return " / ".join(number(measures.get(f"iou_{R}")) for R in RESOLUTIONS)


def number(x: float | None) -> str:
    """Three decimals without the leading zero, four below 0.1; a dash for what is not there."""
    if x is None:
        return "–"
    return f"{x:.{3 if abs(x) >= 0.1 else 4}f}".removeprefix("0")
