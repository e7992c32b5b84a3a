"""One page, one file: a template with the style and the scripts that all reports share."""

from __future__ import annotations

import base64
import hashlib
import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

SHARED = Path(__file__).parent
SCRIPTS = ("table.js", "model.js")


def fill(folder: Path, **fields: object) -> str:
    """Fill the template `page.html` of a report: a page that asks no network for anything.

    Args:
        folder: holds `page.html`, which extends `base.html` of this folder, and maybe `page.css`
            and `page.js`, which follow the shared ones.
        fields: the template's variables.

    Returns:
        The page. Only the scripts that are put into it here may run in it.
    """
    style = "\n".join(_texts(SHARED / "style.css", folder / "page.css"))
    shared = (SHARED / name for name in SCRIPTS)
    script = "\n".join(_texts(*shared, folder / "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(style=Markup(style), script=Markup(script), digest=digest)
    environment.filters.update(number=number, sortable=sortable)
    return environment.get_template("page.html").render(**fields)


def _texts(*files: Path) -> list[str]:
    return [file.read_text(encoding="utf-8") for file in files if file.exists()]


def number(value: object, decimals: int | None = None) -> str:
    """A figure to read; a dash for what there is none of."""
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return "∞" if value > 0 else "–"
    return f"{value:.5g}" if decimals is None else f"{value:.{decimals}f}"


def sortable(value: float | None) -> str:
    """A figure as the page's script reads it; nothing where there is none."""
    if value is None or math.isnan(value):
        return ""
    return str(value).replace("inf", "Infinity")
