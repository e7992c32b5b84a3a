"""The plot of a report: lines over a logarithmic scale, as SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from multiview.results.report.plot import loss_plot
from sdfrender.report.lines import HEIGHT, WIDTH, Line, log_plot

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [x.text or "" for x in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_higher_values_are_higher_and_later_ones_to_the_right() -> None:
    svg = log_plot([Line("total", [0, 1, 2], [100.0, 10.0, 1.0])], [], "update", "energy")
    (path,) = re.findall(r'd="(M[^"]*L[^"]*)"', svg)
    points = [tuple(map(float, p.split())) for p in re.split("[ML]", path)[1:]]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert 0 < x0 < x1 < x2 < WIDTH
    assert 0 < y0 < y1 < y2 < HEIGHT
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)  # a logarithmic scale
    assert {"100", "10", "1", "update", "energy", "total"} <= set(texts(svg))


def test_what_is_not_above_zero_breaks_a_line() -> None:
    gap = [3.0, 2.0, 0.0, float("nan"), 2.0, 1.0, 0.0, 4.0]
    lines = [Line("gap", list(range(8)), gap), Line("nothing", [0, 1], [0.0, 0.0])]
    svg = log_plot(lines, [], "x", "y")
    (path,) = re.findall(r'd="(M[^"]*L[^"]*)"', svg)
    assert path.count("M") == 3
    assert svg.count("<circle") == 1  # the last has no neighbour
    assert "nothing" not in texts(svg)


def test_names_are_text_and_marks_are_lines() -> None:
    marks = [(0.0, "16×16"), (2.0, "<32>")]
    svg = log_plot([Line("a & b", [0, 1, 2, 3], [4.0, 3.0, 2.0, 1.0])], marks, "x", "y")
    assert {"a & b", "16×16", "<32>"} <= set(texts(svg))
    assert svg.count('stroke="#999"') == 1  # the first has no rule


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [], [0.0], [1e-12, 1e12]])
def test_any_number_of_values(values: list[float]) -> None:
    svg = log_plot([Line("a", list(range(len(values))), values)], [], "x", "y")
    ElementTree.fromstring(svg)
    assert "nan" not in svg


def test_the_loss_has_a_line_for_each_term_that_there_is() -> None:
    row = {"views": "a b", "resolution": "8x8x8", "color": "4", "silhouette": "0", "carve": "0"}
    log = [{**row, "update": str(n), "level": str(n // 2), "total": str(8 - n)} for n in range(4)]
    shown = texts(loss_plot(log))
    assert {"total", "color", "8×8×8", "update", "energy per view (cells)"} <= set(shown)
    assert "silhouette" not in shown
