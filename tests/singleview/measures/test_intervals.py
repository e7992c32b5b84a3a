"""Bootstrap intervals, and tables that a terminal of 80 columns holds."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from singleview.measures import tables
from singleview.measures.intervals import interval, intervals


def test_the_interval_of_a_mean() -> None:
    """As wide as the normal approximation says: 2 · 1.96 σ / √n."""
    rng = np.random.default_rng(1)
    x = rng.normal(0.5, 0.1, 400)
    objects = {f"a/{n}": {"iou": float(v)} for n, v in enumerate(x)}
    found = interval(objects, [list(objects)], "iou")
    assert found is not None
    assert found[0] < x.mean() < found[1]
    assert found[1] - found[0] == pytest.approx(2 * 1.96 * x.std() / 20, rel=0.1)


def test_categories_count_alike_and_what_is_missing_does_not() -> None:
    objects: dict[str, dict[str, float]] = {"a/0": {"iou": 0.2}, "b/0": {"iou": 0.6}, "b/1": {}}
    assert interval(objects, [["a/0"], ["b/0", "b/1"]], "iou") is None
    objects["b/1"] = {"iou": 0.8}
    found = intervals(objects, [["a/0"], ["b/0", "b/1"]], ("iou", "chamfer"))
    assert found == {"iou": pytest.approx((0.4, 0.5))}


def shape_methods(count: int) -> list[dict[str, Any]]:
    names = ["airplane", "chair", "cup", "table", "vase"]
    measures = {"iou_32": 0.481, "iou_64": 0.466, "chamfer": 0.0312, "normal_consistency": 0.78,
                "silhouette_iou": 0.801, "intervals": {"iou_32": (0.441, 0.523)}}  # fmt: skip
    told = "the rig and its light"
    return [
        {"name": f"nearest neighbour by image, {n} stretched copies too", "told": told,
         "categories": dict.fromkeys(names, measures), **measures}
        for n in range(count)
    ]  # fmt: skip


def field_methods(count: int) -> list[dict[str, Any]]:
    measures = dict.fromkeys(tables.DEEPSDF, 12.345) | {"intervals": {"chamfer_1000": (9.1, 15.8)}}
    return [{"name": f"runs/network-{n}, refined", "told": "", **measures} for n in range(count)]


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("kind", ["views", "known"])
def test_a_table_fits_its_terminal(kind: str, count: int, width: int) -> None:
    if kind == "views":
        result = {"objects": 20, "split": "test", "views": 24, "methods": shape_methods(count)}
    else:
        result = {"objects": 20, "split": "test", "known": [], "methods": field_methods(count)}
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(tables.terminal(result, width))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    headings, rows = tables.table_rows(result)
    cell = rows[0][headings.index("95%")]
    assert cell == (".441–.523" if kind == "views" else "9.1–15.8")
    assert text.count(cell) == count  # no cell is cut, no method left out
    assert "95%: bootstrap over objects" in " ".join(text.split())


def test_what_was_trained_on_is_said() -> None:
    methods = [{"name": "x", "told": "", "categories": {"a": {"iou": 0.5}}, "iou": 0.5}]
    result = {"objects": 3, "split": "train", "input": "index", "methods": methods}
    assert "scored on the points that it was trained on" in tables.markdown(result)
    assert "95%" not in tables.markdown(result)
