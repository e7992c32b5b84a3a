"""`report.html`: one self-contained page to judge a run by looking."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import shlex
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from torch import Tensor

from multiview.appearance import Appearance
from multiview.evaluate import ViewScore, predict
from multiview.optimize.targets import Targets
from multiview.run_folder import RunFolder
from multiview.scenes import Scene
from sdfrender import Cameras, Headlight, Lattice, Lighting, load_lattice, render
from sdfrender.files import atomic_write

VIEWS_SHOWN = 6
PICTURE_WIDTH = 320  # pixels
DIFFERENCE_GAIN = 4.0

Scores = dict[str, list[ViewScore]]


def write_report(
    run: RunFolder,
    scene: Scene,
    lattice: Lattice,
    appearance: Appearance,
    scores: Scores,
    summary: dict[str, Any],
) -> None:
    """Write `report.html` into the run's folder.

    Args:
        run: where to write, and whose log and settings to show.
        scene: the photographs.
        lattice: the result.
        appearance: its colour and light.
        scores: per view, by group.
        summary: the contents of `metrics.json`.
    """
    start = load_lattice(run.path / "checkpoints" / "start.safetensors")
    config = json.loads((run.path / "config.json").read_text())
    sections = [
        f"<h1>{html.escape(scene.name)}</h1>",
        f"<p>{_sentence(scene, summary)}</p>",
        _turntable(lattice),
        "<h2>Views</h2>",
        "<p>Photograph, rendering of the starting shape, rendering of the result, and the "
        f"difference between photograph and result, {DIFFERENCE_GAIN:g} times amplified "
        "(grey: equal). All over black, and the "
        "photograph inside its mask only.</p>",
        _view_table(scene, start, lattice, appearance, scores),
        "<h2>Loss</h2>",
        _loss_plot(run.read_log()),
        "<h2>Figures</h2>",
        _figures(summary),
        "<h2>Settings</h2>",
        f"<pre>{html.escape(' '.join(config['command']))}</pre>",
        f"<details><summary>config.json</summary><pre>{html.escape(json.dumps(config, indent=2))}"
        "</pre></details>",
    ]
    head, tail = PAGE.split("BODY")  # apart, for a title may be any word
    page = head.replace("TITLE", html.escape(scene.name)) + "\n".join(sections) + tail
    with atomic_write(run.path / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


# ---------------------------------------------------------------------- sections


def _sentence(scene: Scene, summary: dict[str, Any]) -> str:
    grid = "×".join(str(n) for n in summary["resolution"])
    text = f"{summary['views']['train']} views, lattice {grid}, {summary['seconds']:.0f} s."
    if "held_out" in summary:
        held = summary["held_out"]
        text += (
            f" On {summary['views']['held_out']} held-out views: PSNR {held['psnr']:.1f} dB inside "
            f"the mask and {held['psnr_full']:.1f} dB over the whole image, silhouette IoU "
            f"{held['silhouette_iou']:.3f}."
        )
    if summary.get("interrupted"):
        text += " Interrupted before the end."
    return text


def _turntable(lattice: Lattice) -> str:
    """The shape from six sides, shaded like clay."""
    low, high = lattice.bounds
    radius = float((high - low).norm()) / 2
    middle = low + (high - low) / 2
    azimuths = torch.arange(6) * (math.pi / 3)
    elevation = math.radians(20)
    eyes = middle + 3.2 * radius * torch.stack(
        (
            math.cos(elevation) * azimuths.sin(),
            torch.full((6,), math.sin(elevation)),
            math.cos(elevation) * azimuths.cos(),
        ),
        -1,
    )
    cameras = Cameras.look_at(eyes, middle, width=240, height=240, fov=math.radians(32))
    clay = Lighting(ambient=0.12, headlight=Headlight(0.85))
    pictures = []
    for view in range(6):
        with torch.no_grad():
            out = render(lattice, cameras[view], lighting=clay)
        alpha = out.silhouettes[0, ..., None]
        color = (out.images[0] / alpha.clamp(min=1e-6)).clamp(0, 1).expand(-1, -1, 3)
        color = for_display(color)
        picture = torch.cat((color * torch.tensor([0.96, 0.93, 0.88]), alpha), -1)
        pictures.append(_image(picture, f"the shape from {60 * view} degrees"))
    return f'<div class="strip">{"".join(pictures)}</div>'


def _view_table(
    scene: Scene, start: Lattice, lattice: Lattice, appearance: Appearance, scores: Scores
) -> str:
    """A few views of each group: photograph, start, result, difference."""
    rows = []
    for group, views in (("held_out", scene.held_out), ("train", scene.train)):
        if group not in scores:
            continue
        count = VIEWS_SHOWN // len(scores)
        for index in np.linspace(0, len(views) - 1, min(count, len(views))).round().astype(int):
            targets = _thumbnail(Targets.of(scene, [views[index]]))
            photo = targets.images[0]
            before, _ = predict(start, appearance, targets, 0)
            after, _ = predict(lattice, appearance, targets, 0)
            inside = targets.silhouettes[0, ..., None]
            difference = 0.5 + DIFFERENCE_GAIN / 2 * (after - photo) * inside
            name = scene.names[views[index]]
            score = scores[group][index]
            similarity = "" if score.ssim is None else f"SSIM {score.ssim:.3f}<br>"
            label = (
                f"<th>{html.escape(name)}<br>"
                f"<small>{'held out' if group == 'held_out' else 'fitted'}<br>"
                f"{score.psnr:.1f} dB inside<br>{score.psnr_full:.1f} dB in all<br>"
                f"{similarity}IoU {score.silhouette_iou:.3f}</small></th>"
            )
            shown = (lambda x: x) if scene.color_space == "as stored" else for_display
            cells = "".join(
                f"<td>{_image(picture.clamp(0, 1), f'{name}, {kind}')}</td>"
                for kind, picture in (
                    ("photograph", shown(photo)),
                    ("start", shown(before)),
                    ("result", shown(after)),
                    ("difference", difference),
                )
            )
            rows.append(f"<tr>{label}{cells}</tr>")
    head = "<tr><th></th><th>photograph</th><th>start</th><th>result</th><th>difference</th></tr>"
    return f'<div class="wide"><table class="views">{head}{"".join(rows)}</table></div>'


def _thumbnail(targets: Targets) -> Targets:
    factor = max(1.0, targets.cameras.width / PICTURE_WIDTH)
    return targets.resized(
        round(targets.cameras.width / factor), round(targets.cameras.height / factor)
    )


def _loss_plot(log: list[dict[str, str]]) -> str:
    """The energy per view over updates, total and by term, as SVG."""
    if not log:
        return "<p>No update was made.</p>"
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    updates = [int(row["update"]) for row in log]
    views = np.array([len(shlex.split(row["views"])) for row in log])
    with plt.rc_context({"svg.fonttype": "none", "font.size": 10, "svg.hashsalt": "report"}):
        figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
        for term, color in zip(TERMS, COLORS, strict=True):
            values = np.array([float(row[term]) for row in log]) / views
            if values.any():
                axes.plot(updates, np.where(values > 0, values, np.nan), color=color, label=term)
        levels = [row["level"] for row in log]
        for k in range(1, len(log)):
            if levels[k] != levels[k - 1]:
                axes.axvline(updates[k], color="0.6", linewidth=0.8)
        axes.set(xlabel="update", ylabel="energy per view (cells)", yscale="log")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(METADATA))
        plt.close(figure)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    return f'<figure class="plot">{svg}<figcaption>{CAPTION}</figcaption></figure>'


TERMS = ("total", "color", "silhouette", "carve", "eikonal", "laplacian")
COLORS = ("#000000", "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00")  # Okabe and Ito
METADATA = ("Creator", "Date", "Format", "Type")  # what matplotlib would write into the SVG
CAPTION = (
    "Vertical lines: the next level of the pyramid. An update sees all views with Gauss-Newton, "
    "some of them with the other methods."
)


def _figures(summary: dict[str, Any]) -> str:
    """`metrics.json` as a table."""
    rows = []
    for name, value in summary.items():
        entries = value.items() if isinstance(value, dict) else [("", value)]
        for key, number in entries:
            shown = f"{number:.5g}" if isinstance(number, float) else html.escape(str(number))
            rows.append(f"<tr><th>{name} {key}</th><td>{shown}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def for_display(linear: Tensor) -> Tensor:
    """Encode linear colour `[..., C]` for a screen (sRGB, IEC 61966-2-1)."""
    return torch.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    )


def _image(picture: Tensor, alt: str) -> str:
    """A picture `[H, W, C]` in [0, 1] as an `<img>` with its PNG inside."""
    array = (picture.detach().cpu() * 255).round().byte().numpy()
    if array.shape[-1] == 1:
        array = array[..., 0]
    data = base64.b64encode(iio.imwrite("<bytes>", array, extension=".png")).decode()
    height, width = array.shape[:2]
    return (
        f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{html.escape(alt)}" loading="lazy">'
    )


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1400px; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; }
img { max-width: 100%; height: auto; display: block; }
table { border-collapse: collapse; }
th { text-align: left; font-weight: 500; padding: .15rem .8rem .15rem 0; vertical-align: top; }
td { padding: .15rem; }
.views td { min-width: 9rem; }
.views img { background: #000; width: 100%; }
.wide, .plot { overflow-x: auto; margin: 0; }
.plot svg { background: #fff; max-width: 100%; height: auto; }
.strip { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
pre { overflow-x: auto; padding: .6rem; background: #8882; }
@media print { .views tr { break-inside: avoid; } }
</style>
</head>
<body>
BODY
</body>
</html>
"""
