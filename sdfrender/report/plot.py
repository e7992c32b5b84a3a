"""How plots of reports look: colours that everybody tells apart, text in the page's own colour."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

INK = "#010203"  # becomes the page's own text colour
# Okabe and Ito's; each readable on white and on black. Line styles tell them apart in grey, too.
COLORS = (INK, "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00", "#56B4E9")
STYLES = ("-", "-", "-", "--", "-.", ":", "--")
METADATA = ("Creator", "Date", "Format", "Type")  # what matplotlib would write into the SVG


def figure(width: float, height: float, **grid: Any) -> tuple[Any, Any]:
    """A figure of so many inches, and its axes.

    Args:
        width: inches.
        height: inches.
        grid: as `matplotlib.figure.Figure.subplots` takes it.
    """
    from matplotlib.figure import Figure  # no state outside of it, whatever else is drawn

    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.subplots(**grid)
    for each in made.axes:
        each.spines[["top", "right"]].set_visible(False)
        each.spines[:].set_color(INK)
        each.tick_params(colors=INK, which="both")
        each.xaxis.label.set_color(INK)
        each.yaxis.label.set_color(INK)
    return made, axes


def svg(made: Any) -> str:
    """A figure for a page."""
    import matplotlib

    for text in _words(made):  # names, in which a dollar is one and not a formula
        text.set_parse_math(False)
    page = io.StringIO()
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "report"}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters that the font has not
        made.savefig(page, format="svg", transparent=True, metadata=dict.fromkeys(METADATA))
    whole = page.getvalue()
    return whole[whole.index("<svg") :].replace(INK, "currentColor")


def _words(made: Any) -> Iterator[Any]:
    """The texts of a figure that are not numbers of a scale."""
    for axes in made.axes:
        yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        if axes.get_legend() is not None:
            yield from axes.get_legend().get_texts()
