"""How long a browser takes to show the surface, and what cameras and other surfaces cost of it.

Not collected by a plain `pytest`: run `pytest -s tests/benchmarks/test_viewer_start.py`, which
prints the seconds from the page's first byte to the first picture with the surface in it. The
browser is a Chromium without a window that draws on the processor.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch

from sdfrender import extract_mesh
from sdfrender.viewer.exhibit import Errors, Exhibit, Views

pytest.importorskip("viser", reason="needs the package viser")

from sdfrender.viewer.server import Viewer

ROUNDS, VIEWS = 5, 26
WINDOW = {"width": 1280, "height": 800}
# Looks at every drawn picture, and notes when an eighth of its middle is not background. A drawing
# buffer can be read after it was shown only if it is kept.
WATCH = """
const open = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
  const kept = kind.startsWith("webgl") ? { ...options, preserveDrawingBuffer: true } : options;
  return open.call(this, kind, kept);
};
const [W, H] = [48, 40];
const look = () => {
  const canvas = [...document.querySelectorAll("canvas")].sort((a, b) => b.width - a.width)[0];
  if (canvas && canvas.width > 100) {
    const small = Object.assign(document.createElement("canvas"), { width: W, height: H });
    const pen = small.getContext("2d", { willReadFrequently: true });
    const [w, h] = [canvas.width, canvas.height];
    pen.drawImage(canvas, 0.27 * w, 0.19 * h, 0.47 * w, 0.62 * h, 0, 0, W, H);
    const p = pen.getImageData(0, 0, W, H).data;
    let drawn = 0;
    for (let i = 0; i < p.length; i += 4) {
      const away = [0, 1, 2].map((c) => Math.abs(p[i + c] - p[c]));
      drawn += Math.max(...away) > 30;
    }
    if (drawn > (W * H) / 8) {
      window.seconds = performance.now() / 1000;
      return;
    }
  }
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def whole() -> Exhibit:
    """All that a run of 26 views has to show."""
    lattice = tiny.true_lattice(64)
    mesh = extract_mesh(lattice)
    mesh.visual.vertex_colors = torch.randint(0, 255, (len(mesh.vertices), 3)).numpy()
    cameras = tiny.ring(VIEWS)
    pictures = torch.randint(0, 255, (VIEWS, 96, 128, 3), dtype=torch.uint8)
    names = tuple(f"view {k}" for k in range(VIEWS))
    errors = Errors(torch.linspace(0, 1, len(mesh.vertices)), "distance")
    views = Views(names, (True,) * VIEWS, cameras, pictures)
    return Exhibit("torus", lattice, mesh, views, errors)


def seconds_to_surface(browser: Any, exhibit: Exhibit) -> float:
    viewer = Viewer(exhibit)
    context = browser.new_context(viewport=WINDOW)
    page = context.new_page()
    page.add_init_script(WATCH)
    page.wait_for_timeout(500)
    page.goto(viewer.url)
    page.wait_for_function("window.seconds", polling=200, timeout=60_000)
    seconds = float(page.evaluate("window.seconds"))
    context.close()
    viewer.close()
    return seconds


@pytest.mark.timeout(900)
def test_a_run_is_shown_about_as_soon_as_its_lattice_alone(browser: Any) -> None:
    full = whole()
    alone = replace(full, mesh=None, errors=None, views=None)
    rows = [[seconds_to_surface(browser, x) for x in (full, alone)] for _ in range(ROUNDS)]
    for name, seconds in zip(("with all", "lattice alone"), zip(*rows, strict=True), strict=True):
        print(f"\n{name}: " + ", ".join(f"{s:.2f} s" for s in seconds), end="")
    ratio = statistics.median(a / b for a, b in rows)
    assert ratio < 1.5
