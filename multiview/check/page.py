"""One page of a check: text, and one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from multiview.check.inspect import Inspection
from sdfrender.files.atomic import atomic_write

WIDTH = 160  # pixels of a view in the picture
COLUMNS = 8
MOST = 64  # views in the picture


def text(found: Inspection) -> str:
    """A page to read."""
    told = found.told
    lines = [str(told["scene"])]
    if "sizes" in told:
        sizes = ", ".join(f"{count} of {size}" for size, count in told["sizes"].items())
        masks = ", ".join(f"{count} from {kind}" for kind, count in told["masks"].items())
        lines += [f"  pictures   {sizes}", f"  masks      {masks or 'none'}"]
    if "baseline" in told:
        baseline = told["baseline"]
        lines.append(
            f"  cameras    {told['read']} of {told['views']} read; the next view is "
            f"{baseline['nearest_view_degrees_median']:g} degrees away (median), "
            f"{baseline['coverage_within_60_degrees']:.0%} of directions are seen within 60 degrees"
        )
    if "agreement" in told:
        size = told["object_size"]
        large = "" if size is None else f"; the object is {size:.3g} world units large"
        lines.append(
            f"  together   the hull of all masks fills them to {told['agreement']:.0%}{large}"
        )
    if "expected_cpu_seconds" in told:
        lines.append(
            f"  a fit      roughly {told['expected_cpu_seconds']} CPU seconds and "
            f"{told['expected_memory_mb']} MB at the default settings"
        )
    if not told["findings"]:
        lines.append("  nothing looks wrong")
    for n, finding in enumerate(told["findings"], 1):
        word = "likely" if finding["grave"] else "note"
        lines += [
            f"{n}. {word}: {finding['kind']}: {finding['text']}",
            f"   do: {finding['advice']}",
        ]
    return "\n".join(lines)


def write_picture(file: Path, found: Inspection) -> None:
    """All views, what is not object dimmed, with their names and how far they fit the others."""
    count = len(found.names)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(int))
    height = max(1, round(WIDTH * found.images.shape[1] / found.images.shape[2]))
    rows = max(1, -(-len(chosen) // COLUMNS))
    sheet = Pillow.new("RGB", (COLUMNS * WIDTH, rows * (height + 14)), "white")
    draw = ImageDraw.Draw(sheet)
    odd = {name for finding in found.told["findings"] for name in finding["views"]}
    for place, n in enumerate(chosen.tolist()):
        dim = 0.3 + 0.7 * found.silhouettes[n].numpy()[..., None]
        pixels = (found.images[n].numpy() * dim * 255).clip(0, 255).astype(np.uint8)
        x, y = place % COLUMNS * WIDTH, place // COLUMNS * (height + 14)
        sheet.paste(Pillow.fromarray(pixels).resize((WIDTH, height)), (x, y))
        name = found.names[n]
        label = f"{name[-16:]} {found.agreements[n]:.0%}"
        draw.text((x + 2, y + height), label, fill="red" if name in odd else "black")
    with atomic_write(file) as partial:
        sheet.save(partial)
