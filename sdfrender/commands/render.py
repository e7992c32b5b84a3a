"""The command `sdfrender render`: its options. What it does imports torch, so only then."""

from __future__ import annotations

from typing import Annotated

import tyro

from sdfrender.commands.messages import bars_hidden
from sdfrender.commands.render_config import RenderConfig


def command(config: Annotated[RenderConfig, tyro.conf.arg(name="")]) -> None:
    """Photograph a mesh or a lattice from all around: a scene that `multiview fit` reads.

    A mesh is ray traced; a lattice goes through the renderer of this package. DIR/transforms.json
    states the cameras, the light and the box to reconstruct in; DIR/images holds the pictures,
    linear in light and with coverage as their alpha; DIR/mesh.ply is the true surface. With
    --depth and --normals there are DIR/depth and DIR/normal, which `multiview fit` reads too.
    Of a run of `multiview fit`, these are new views of its surface as its photographs show it.

    Example: sdfrender render bunny.obj --out bunny --held-out 6
    """
    from sdfrender.commands.render_scene import render_scene

    render_scene(config, bars_hidden())
    print(f"wrote {config.out}")
