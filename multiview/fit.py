"""The main job: posed images → light and lattice, coarse to fine → watertight mesh."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from trimesh import Trimesh

from multiview.config import FitConfig
from multiview.dense.start import as_shown
from multiview.device import check_device, device_for
from multiview.levels.coarse_to_fine import optimize
from multiview.levels.plan import level_resolution
from multiview.levels.state import Fit
from multiview.maps_told import check_depths, colors_count, tell_maps
from multiview.memory import check_memory
from multiview.photo.appearance import Appearance
from multiview.photo.exposure import starting_gains
from multiview.photo.known_light import ESTIMATED, choose_light
from multiview.photo.targets import Targets
from multiview.prior.start import start_from_prior
from multiview.recipes import SdfDiffRecipe
from multiview.results.live import Unwatched, watching
from multiview.results.results import placed, save_results
from multiview.run_folder import RunFolder
from multiview.scenes import Scene
from multiview.scenes.corrections import Corrections
from multiview.scenes.run_scene import load_run_scene, with_channels
from multiview.scenes.scene import SharedScene
from multiview.several import need_shareable
from multiview.stereo.reach import cut_to_reach
from multiview.without_silhouettes import (
    box_without_silhouettes,
    check_settings,
    start_from_stereo,
)
from sdfrender import InputError, Lattice, load_mesh, save_lattice
from sdfrender.cluster.ranks import ALONE, Ranks
from sdfrender.far import moved
from sdfrender.files.scalars import need_tensorboard
from sdfrender.hull.bounds import bounds_from_masks
from sdfrender.hull.visual_hull import visual_hull
from sdfrender.kernels.torch_threads import torch_threads
from sdfrender.latent.field import LatentField
from sdfrender.meshes.atlas import need_xatlas
from sdfrender.viewer import need_viser

log = logging.getLogger("multiview")

SPHERE_RADIUS = 0.45  # of the shortest side of the box


def fit(
    config: FitConfig,
    quiet: bool = True,
    live: bool = False,
    allowed: Sequence[str] = (),
    watcher: Unwatched | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Fit a lattice to a scene and write the run folder.

    All input is read and checked before anything is written. Ctrl-C ends the optimisation and
    saves what there is; `config.resume` continues from the last complete pass.

    Args:
        config: the settings.
        quiet: no progress bar.
        live: show the fit in the browser while it runs; the page can hold, step and stop it.
        allowed: names of hosts, beside this machine's own, under which the page is reached.
        watcher: looks on in place of the page, and may end the fit by an exception.
        ranks: processes of a job that share the photographs: all call this together, with settings
            that differ in `out` alone. See `multiview.several`.

    Returns:
        The contents of `metrics.json`.

    Raises:
        InputError: names the file or option, the rule and the value.
    """
    with torch_threads(config.num_threads):
        return _fit(config, quiet, live, allowed, watcher, ranks)


def _fit(
    config: FitConfig,
    quiet: bool,
    live: bool,
    allowed: Sequence[str],
    watcher: Unwatched | None,
    ranks: Ranks,
) -> dict[str, Any]:
    if ranks.size > 1:
        need_shareable(config, live)
    check_device(config)
    if live:
        need_viser()
    if config.logs is not None:
        need_tensorboard()
    if config.texture or config.materials:
        need_xatlas()
    family = LatentField.load(config.prior) if config.prior else None
    scene = load_run_scene(config, ranks)
    if not scene.has_silhouettes:
        scene = check_settings(config, scene)
    if config.refine_cameras and len(scene.train) < 2:
        raise InputError(
            f"--refine-cameras: need at least 2 views to fit, got {len(scene.train)}: a shape can "
            "follow whatever way a single camera is moved"
        )
    known = choose_light(config.light, scene)
    if known is not None:
        scene = with_channels(scene, known.num_channels)
    appearance = Appearance(
        scene.images.shape[-1],
        known,
        lens=known is None,
        fixed_to=ESTIMATED.get(config.light, "scene"),
        views=len(scene.names),
    )
    reference = moved(load_mesh(scene.mesh), -scene.offset) if scene.mesh else None
    targets = Targets.of(scene, scene.train)
    run = RunFolder(config)
    with told_of_masks(scene):
        bounds = scene_bounds(config, targets, scene)
    views, held_out = len(scene.train), len(scene.held_out)
    size = f"{scene.cameras.width}×{scene.cameras.height}"
    log.debug("scene: %d views to fit and %d held out, of %s pixels", views, held_out, size)
    log.debug("box: %s; threads: %d", bounds.tolist(), config.num_threads)
    check_depths(targets, bounds)
    check_memory(config, targets, bounds, known is None and colors_count(config, scene))
    loose = scene.loose and config.bounds is None
    if scene.bounds is None and config.bounds is None and colors_count(config, scene):
        bounds, loose = reachable(bounds, targets)
    with told_of_masks(scene):
        start = initial_lattice(config, targets, bounds, views // 4 + 1 if loose else 1)
    state = Fit(scene, start, appearance)
    state.colors = scene.has_silhouettes and colors_count(config, scene)
    state.device = device_for(config, scene, state.colors)
    if config.refine_cameras:
        state.corrections = Corrections.none(len(scene.train), state.lattice)
    if config.exposure == "per-view":
        state.gains = starting_gains(scene)[list(scene.train)]
    with run.held():
        run.begin(photographs=known is None and state.colors)
        tell_masks(scene)
        tell_exposures(scene, config, known is None)
        tell_maps(scene, state.colors, config)
        if not scene.has_silhouettes:
            shown = as_shown(targets, scene.color_space != "as stored")
            start_from_stereo(state, config, shown, run)
        with watching(state, live, allowed) as page:
            return _work(state, run, targets, family, reference, quiet, watcher or page)


def _work(
    state: Fit,
    run: RunFolder,
    targets: Targets,
    family: LatentField | None,
    reference: Trimesh | None,
    quiet: bool,
    watcher: Unwatched,
) -> dict[str, Any]:
    """From the start to the results, in a folder that is ready for them."""
    try:
        if family is not None:
            start_from_prior(state, family, targets, run, quiet)
        first = run.path / "checkpoints" / "start.safetensors"
        if not first.exists():
            save_lattice(first, placed(state.lattice, state.scene.offset))
        optimize(state, run.config, targets, run, quiet, watcher.after_update)
    except KeyboardInterrupt:
        if isinstance(state.scene, SharedScene):
            raise  # the others are somewhere else: the last checkpoint is what there is
        state.interrupted = True
        log.warning("interrupted: saving what there is (continue with --resume)")
    except torch.OutOfMemoryError:
        raise InputError(
            "--device: the card's memory is too small for this fit: --resume --device cpu goes on "
            "from the last pass, or begin again with a smaller --resolution or --image-size"
        ) from None
    watcher.finish()
    return save_results(state, run, reference, quiet)


def tell_masks(scene: Scene) -> None:
    """Where the silhouettes come from, and what is doubtful about them."""
    if scene.is_far:
        offset = ", ".join(f"{x:.10g}" for x in scene.offset)
        log.info(
            "cameras: far from the origin, fitted about (%s); results are in the scene's own "
            "frame, in float64 where the format has it",
            offset,
        )
    if not scene.has_silhouettes:
        log.info("masks: none, the surface is whatever photographs agree on in the box")
    else:
        log.info("masks: %s", ", ".join(f"{k} {v:g}" for k, v in scene.masks.items()))
    for text in scene.warnings:
        log.warning("%s", text)


def tell_exposures(scene: Scene, config: FitConfig, unknown: bool) -> None:
    """What EXIF tells of exposures, and what becomes of that; nothing where they are the same.

    Args:
        scene: the scene.
        config: the settings.
        unknown: whether the light is.
    """
    if scene.exposures is None:
        return
    times = max(scene.exposures) / min(scene.exposures)
    if config.exposure == "per-view" or (config.exposure == "auto" and unknown):
        what = "exposures of their own, if photographs have them, start from there"
    else:
        what = "not used (--exposure per-view starts from there)"
    log.info("exposures: EXIF says that they differ, up to %.2g times; %s", times, what)


@contextmanager
def told_of_masks(scene: Scene) -> Iterator[None]:
    """Add to an error about silhouettes how they were made, if they were."""
    try:
        yield
    except InputError as error:
        how = ""
        if "threshold" in scene.masks:
            how = (
                f"; {scene.masks['threshold']:g} masks are what is brighter than the threshold of "
                f"{scene.masks['threshold_level']:g}: an object that is darker in places needs "
                "another one (--mask-threshold) or mask files"
            )
        elif "background" in scene.masks:
            how = (
                f"; {scene.masks['background']:g} masks were made from the background's colour: "
                "mask files or alpha channels are surer"
            )
        if not str(error).startswith("silhouettes:"):
            how = ""
        raise InputError(f"{error}{how}") from None


def scene_bounds(config: FitConfig, targets: Targets, scene: Scene) -> Tensor:
    """The box of the fit `[2, 3]`: the one asked for, the scene's own, or from the masks.

    It is about the scene's offset, which the one asked for is not. A loose one is that of the
    masks, cut to what the scene states: masks of views that the frame cuts, all from one side,
    leave a box open far behind the object.
    """
    bounds = scene.bounds
    if config.bounds is None and not scene.has_silhouettes:
        return box_without_silhouettes(scene)
    if config.bounds is None and scene.loose and bounds is not None:
        return tightened(bounds, targets)
    if config.bounds is not None:
        box = torch.tensor(config.bounds, dtype=torch.float64).reshape(2, 3)
        bounds = (box - torch.from_numpy(scene.offset)).float()
        if not bool((bounds[1] > bounds[0]).all() and bounds.isfinite().all()):
            raise InputError(f"--bounds: need min x y z, then a larger max x y z: {config.bounds}")
    if bounds is not None:
        return bounds
    if len(targets.cameras) < 2:
        raise InputError("--bounds: need the box of the object, one view does not tell it")
    return bounds_from_masks(targets.cameras, targets.silhouettes, targets.silhouette_weights)


def reachable(box: Tensor, targets: Targets) -> tuple[Tensor, bool]:
    """The masks' box `[2, 3]`, without what is behind the object if masks leave it open there.

    Returns:
        The box, and whether it was cut.
    """
    cut = cut_to_reach(box, targets)
    if cut is None:
        return box, False
    before, after = (float((x[1] - x[0]).max()) for x in (box, cut))
    log.warning(
        "box: all views are on one side, and masks leave it open behind the object: %.4g long, cut "
        "to %.4g by depths at which photographs agree; state --bounds if that cuts the object",
        before,
        after,
    )
    return cut, True


def tightened(bounds: Tensor, targets: Targets) -> Tensor:
    """The part of a box `[2, 3]` that the masks' own box leaves.

    All of it where masks tell none; theirs where the two have nothing in common.
    """
    try:
        box = bounds_from_masks(targets.cameras, targets.silhouettes, targets.silhouette_weights)
    except InputError:
        return bounds
    both = torch.stack((torch.maximum(bounds[0], box[0]), torch.minimum(bounds[1], box[1])))
    return both if bool((both[1] > both[0]).all()) else box


def initial_lattice(
    config: FitConfig, targets: Targets, bounds: Tensor, least_views: int = 1
) -> Lattice:
    """The visual hull, or a sphere in the middle of the box `[2, 3]`, at the least resolution.

    A sphere too where there are no silhouettes: stereo takes its place.

    In a box that is only known to hold the object, space that few views have in frame is empty:
    their masks would leave it filled.
    """
    recipe = config.recipe()
    resolution = level_resolution(config, recipe.levels[0])
    if config.init == "sphere" or not bool(targets.silhouette_weights.any()):
        size = bounds[1] - bounds[0]
        middle = bounds.mean(0).tolist()
        radius = recipe.start_radius if isinstance(recipe, SdfDiffRecipe) else SPHERE_RADIUS
        return Lattice.sphere(radius * float(size.min()), middle, resolution, bounds)
    return visual_hull(
        targets.cameras,
        targets.silhouettes,
        targets.silhouette_weights,
        resolution,
        bounds,
        least_views,
    )
