"""Evaluations as tables: Markdown for notes, columns for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table

from singleview.measures.shapes import RESOLUTIONS

NAME_WIDTH = 18  # columns of a terminal that a method's name gets at least
HEADING_WIDTH = 9  # that a method's name gets at least above a column
SURE = "95%"  # heading of the intervals
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
    "IoU at 32³ / 64³, mean over the input views; Chamfer-L1 with the longest side = 1, normal "
    "consistency, silhouette IoU on views that were not the input: over some input views."
)


def about(result: dict[str, Any]) -> str:
    """What was judged, in a few words."""
    if "known" in result:
        return f"{result['objects']} {result['split']} objects"
    seen = f"{result['views']} views" if "views" in result else f"input: {result['input']}"
    if result.get("input") == "index":  # there is no other object that such a network could tell
        seen += ", scored on the points that it was trained on"
    return f"{result['objects']} {result['split']} objects, {seen}"


def caption(result: dict[str, Any]) -> str:
    """What the numbers mean."""
    if "known" in result:
        text = DEEPSDF_CAPTION
    else:
        text = OCCUPANCY_CAPTION if "input" in result else CAPTION
    if not _sure(result):
        return text
    return f"{text} {SURE}: bootstrap over objects, of {_sure(result)}."


def table_rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row of texts per method, of what `evaluate` returns."""
    sure = [SURE] if _sure(result) else []
    if "known" in result:
        first, *others = DEEPSDF
        rows = [
            [
                method["name"],
                number(method.get(first)),
                *_interval(method, sure),
                *(number(method.get(key)) for key in others),
            ]
            for method in result["methods"]
        ]
        return ["method", DEEPSDF[first], *sure, *(DEEPSDF[key] for key in others)], rows
    categories = list(result["methods"][0]["categories"])
    measures = OCCUPANCY if "input" in result else HEADINGS
    headings = ["method", *categories, "mean", *sure, *measures.values()]
    rows = []
    for method in result["methods"]:
        name = method["name"] + (f" (told {method['told']})" if method["told"] else "")
        cells = [iou_cell(method["categories"][category]) for category in categories]
        numbers = [number(method.get(key)) for key in measures]
        rows.append([name, *cells, iou_cell(method), *_interval(method, sure), *numbers])
    return headings, rows


MAIN = {"iou_32": "the IoU at 32³", "iou": "the IoU", "chamfer_1000": "Chamfer ×10³"}


def _sure(result: dict[str, Any]) -> str:
    """What the intervals are of; empty where there are none."""
    found = [m.get("intervals", {}) for m in result["methods"]]
    return next((text for key, text in MAIN.items() if any(key in x for x in found)), "")


def _interval(method: dict[str, Any], sure: list[str]) -> list[str]:
    """A cell for the interval of the main measure, as .44–.52; none where no method has one."""
    found = method.get("intervals", {})
    pair = next((found[key] for key in MAIN if key in found), None)
    if not sure:
        return []
    return ["–" if pair is None else "–".join(f"{x:.3g}".removeprefix("0") for x in pair)]


def markdown(result: dict[str, Any]) -> str:
    """A Markdown table with its caption."""
    headings, rows = table_rows(result)
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    title = f"{about(result)}. {caption(result)}"
    return "\n".join([title, "", *("| " + " | ".join(line) + " |" for line in lines)])


def terminal(result: dict[str, Any], width: int = 120) -> RenderableType:
    """A table that a terminal of `width` columns holds.

    A row per method; where that is wide, a column per method; where they are many, a row per method
    without the single categories, which the Markdown and JSON have, or several tables.
    """
    headings, rows = table_rows(result)
    upright = _standing(result, headings, rows)
    if _least_width(upright) <= width:
        return upright
    whole = _lying(result, headings, rows, len(rows))[0]
    if _least_width(whole) <= width:
        return whole
    if "mean" in headings:
        start = headings.index("mean")
        short = [[row[0], *row[start:]] for row in rows]
        upright = _standing(result, [headings[0], *headings[start:]], short)
        if _least_width(upright) <= width:
            return upright
    parts = [whole]
    for most in range(len(rows) - 1, 0, -1):
        parts = _lying(result, headings, rows, most)
        if max(map(_least_width, parts)) <= width:
            break
    for part in parts[1:]:
        part.title = None
    for part in parts[:-1]:
        part.caption = None
    return parts[0] if len(parts) == 1 else Group(*parts)


def _standing(result: dict[str, Any], headings: Sequence[str], rows: Sequence[list[str]]) -> Table:
    """A row per method. Names and headings may take several lines, numbers do not."""
    table = _empty(result)
    names = max(len(row[0]) for row in rows)
    table.add_column(headings[0], min_width=min(names, NAME_WIDTH), overflow="fold")
    for n, heading in enumerate(headings[1:], 1):
        cells = max(len(row[n]) for row in rows)
        wide = max(cells, *map(len, heading.split()))
        table.add_column(heading, justify="right", width=wide, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _lying(
    result: dict[str, Any], headings: Sequence[str], rows: Sequence[list[str]], most: int
) -> list[Table]:
    """Tables with a column per method, at most so many in each, all of them alike."""
    labels = max(map(len, headings[1:]))
    least = max(HEADING_WIDTH, *(len(cell) for row in rows for cell in row[1:]))
    parts = []
    for first in range(0, len(rows), most):
        chosen = rows[first : first + most]
        table = _empty(result)
        table.add_column("", width=labels)
        for row in chosen:
            table.add_column(row[0], justify="right", min_width=least, overflow="fold")
        for n, heading in enumerate(headings[1:], 1):
            table.add_row(heading, *(row[n] for row in chosen))
        parts.append(table)
    return parts


def _empty(result: dict[str, Any]) -> Table:
    return Table(title=about(result), caption=caption(result), box=box.SIMPLE_HEAD, padding=(0, 1))


def _least_width(table: Table) -> int:
    return Console(width=1000).measure(table).minimum


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
