"""The command `multiview fit`."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Annotated

import tyro

from multiview.commands.show import show
from multiview.config import FitConfig
from sdfrender.commands.grouped import grouped
from sdfrender.commands.messages import bars_hidden
from sdfrender.errors import InputError
from sdfrender.options import AsJson, Flag

log = logging.getLogger("multiview")

# Errors of a scene whose parts do not fit together, which a check can explain.
MISFIT = r"^(silhouettes|cameras): need|mask|no such file|the image has|pixels as camera"

# As `--help` lists them: what it is about, and the options.
GROUPS = {
    "main": (
        "Try these first.",
        ("scene", "resolution", "preset", "train_views", "stereo", "texture"),
    ),
    "input": (
        "What is read, and how.",
        (
            "silhouettes",
            "bounds",
            "image_size",
            "max_pixels",
            "mask_threshold",
            "depth_unit",
            "depth_scale",
            "normal_frame",
        ),
    ),
    "shape": (
        "What the shape follows.",
        ("init", "colors", "loss", "schedule", "prior", "prior_up", "prior_hold"),
    ),
    "light": ("Light, colours and exposures.", ("light", "appearance", "exposure")),
    "cameras": (
        "Cameras that are a little off.",
        ("refine_cameras", "refine_intrinsics"),
    ),
    "output": ("What is written, and where.", ("out", "closed", "materials", "logs")),
    "running": ("How it runs.", ("resume", "threads", "device", "seed")),
}


def command(
    config: Annotated[
        FitConfig,
        tyro.conf.arg(name="", constructor=grouped(FitConfig, GROUPS)),
        tyro.conf.OmitArgPrefixes,
    ],
    live: Flag = False,
    allow_host: tuple[str, ...] = (),
    as_json: AsJson = False,
) -> None:
    """Fit a shape to posed images and write a run folder.

    The scene is a folder with transforms.json (nerfstudio, instant-ngp, `sdfrender render`),
    transforms_train.json (NeRF-synthetic), sparse/0 and images/ (COLMAP), cameras_sphere.npz or
    cameras.npz with image/ and mask/ (IDR, NeuS, DVR, ONet), or NAME_par.txt (Middlebury).
    Distorted photographs are undistorted. Silhouettes come from masks/NAME.png (white = object),
    the alpha channel, a threshold on a dark background, or the colour of a plain background.

    Without any of these (--silhouettes none) the surface in a box is what neighbouring photographs
    agree on; scores are then of the part that was seen, and observed.safetensors tells how many
    views saw it where.

    A folder of photographs that has no camera file, or a video, becomes a scene first:
    scenes/NAME gets cameras, as `multiview cameras` finds them, and masks, as `multiview mask` does
    (needs the extra `photos`). What is there already is not made again.

    Depth maps in depth/NAME (.npz, .exr, 16-bit .png, or what depth_file_path names: camera z; 0,
    inf and NaN are unknown) and normal maps in normal/NAME (.png with n / 2 + 1/2, .exr, .npz) are
    fitted as well; with --colors off they alone give the shape, with the silhouettes.

    The run folder gets config.json, losses.csv, metrics.json, lattice.safetensors, mesh.ply and
    mesh.glb (in the photographs' colours), report.html, progress.mp4 and checkpoints/. Ctrl-C saves
    what there is; --resume goes on. `multiview watch` follows a fit that runs.

    Few views leave much of a shape open. With --prior it is looked for among the shapes that a
    DeepSDF network knows (singleview train --model deepsdf), then fitted to the views but held to
    what the network says; prior.json and prior.ply tell what that was. One view is enough then, if
    the scene states its box.

    Example: multiview fit photos/dino --train-views 2::3

    multiview fit photos/mug --texture

    multiview fit photos/chair --train-views front,left --prior runs/chairs --prior-up z

    Args:
        config: The options.
        live: Show the fit in the browser while it runs: the surface, the cameras and the loss, with
            buttons to pause, step, and stop and save (needs the extra `viewer`).
        allow_host: Names of hosts under which a proxy makes that page known, beside localhost.
        as_json: Print metrics.json to the terminal instead of a summary.
    """
    from multiview.fit import fit
    from multiview.photographs.chain import is_photographs, scene_of_photographs
    from multiview.several import several

    if several():
        _shared(config, live, as_json)
        return
    if is_photographs(config.scene):
        scene = scene_of_photographs(config.scene, config.threads, bars_hidden())
        config = replace(config, scene=scene)
    try:
        metrics = fit(config, bars_hidden(), live, allow_host)
    except InputError as error:
        if not re.search(MISFIT, str(error)):
            raise
        hint = f"`multiview check {config.scene}` looks for the mistake"
        raise InputError(f"{error}; {hint}") from None
    show(metrics, config.folder, as_json)


def _shared(config: FitConfig, live: bool, as_json: bool) -> None:
    """The same as one process of several; the first one prints."""
    from multiview.fit import fit
    from multiview.photographs.chain import is_photographs
    from multiview.several import sharing
    from sdfrender.cluster.ranks import ProcessLost

    if is_photographs(config.scene):
        raise InputError(
            f"{config.scene}: need a scene with cameras on several processes (torchrun): "
            "`multiview cameras` makes one of photographs"
        )
    try:
        with sharing(config) as (own, ranks):
            quiet = bars_hidden() or not ranks.first
            metrics = fit(own, quiet, live, ranks=ranks)
            if ranks.first:
                show(metrics, config.folder, as_json)
    except KeyboardInterrupt:
        log.warning("interrupted: continue with the same command and --resume")
        raise
    except ProcessLost as error:
        log.error("%s", error)
        raise SystemExit(1) from None
