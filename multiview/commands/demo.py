"""The command `multiview demo`."""

from __future__ import annotations

from pathlib import Path

from multiview.commands.show import show
from multiview.config import FitConfig, Preset
from sdfrender.commands.messages import bars_hidden
from sdfrender.files.assets import find_asset
from sdfrender.options import AsJson, Flag


def command(
    out: Path | None = None,
    preset: Preset = "best",
    resolution: int = 64,
    seed: int = 0,
    resume: Flag = False,
    live: Flag = False,
    as_json: AsJson = False,
) -> None:
    """Fit the demo scene that comes with the project; no arguments needed.

    Args:
        out: As in `multiview fit`. Default: runs/demo, or runs/demo-2 and so on.
        preset: As in `multiview fit`.
        resolution: As in `multiview fit`.
        seed: Of the order of the views.
        resume: Continue the run in OUT.
        live: As in `multiview fit`.
        as_json: Print metrics.json to the terminal instead of a summary.
    """
    from multiview.fit import fit

    config = FitConfig(
        demo_scene(), out, preset=preset, resolution=resolution, seed=seed, resume=resume
    )
    show(fit(config, bars_hidden(), live), config.folder, as_json)


def demo_scene() -> Path:
    """The scene that comes with the project."""
    return find_asset("multiview", "demo")
