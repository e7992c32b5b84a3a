"""What `sdfrender render` does: a mesh or a lattice to a scene of posed images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sdfrender.commands.render_config import RenderConfig
from sdfrender.commands.render_relit import is_environment, relit_scene
from sdfrender.commands.rig import padded_bounds, place_cameras
from sdfrender.errors import InputError
from sdfrender.far import far_offset, moved
from sdfrender.files.extensions import is_lattice
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.io.lattices import load_lattice
from sdfrender.io.scene_writer import RenderedScene, check_replaceable, write_scene
from sdfrender.looks.run_look import LATTICE, RunLook
from sdfrender.meshes.extraction import extract_mesh
from sdfrender.options import check_options
from sdfrender.rendering.raytrace import raytrace
from sdfrender.rendering.render import Rendering, render
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import STUDIO, Directional, Headlight, Lighting

CUBE_VIEWS = 26  # of `Cameras.cube`
LIGHTS = {
    "studio": STUDIO,
    "headlight": Lighting(headlight=Headlight(1.0)),
    "sun": Lighting(
        ambient=0.2, headlight=None, directional=(Directional((0.3, 0.8, 0.5), intensity=0.8),)
    ),
    "sdfdiff": Lighting(headlight=Headlight(10.0, falloff=True)),
}

Doubles = NDArray[np.float64]
# Images [1, H, W, C], silhouettes and depths [1, H, W], and normals [1, H, W, 3] of one camera.
Renderer = Callable[[Cameras], tuple[Tensor, Tensor, Tensor, Tensor]]


def render_scene(config: RenderConfig, quiet: bool = True) -> RenderedScene:
    """Render `config.shape` and write the scene to `config.out`.

    Args:
        config: the settings.
        quiet: no progress bar.

    Returns:
        What was written.

    Raises:
        InputError: an option out of range, a shape that cannot be read or has no surface, or a
            folder that is in use.
    """
    _check(config)
    check_replaceable(config.out, config.force)
    if is_environment(config.light):
        scene = relit_scene(config, quiet)
        write_scene(config.out, scene, bits=config.bits, force=config.force)
        return scene
    mesh, bounds, view, offset = _open_shape(config)
    cameras = place_cameras(config, mesh.vertices)
    bar = tqdm(range(len(cameras)), desc="rendering", unit="view", disable=quiet)
    seen = [view(cameras[n]) for n in bar]
    planes = (torch.cat(parts) for parts in zip(*seen, strict=True))
    images, silhouettes, depths, normals = planes
    scene = RenderedScene(
        images,
        silhouettes,
        cameras,
        None if config.shape.is_dir() else LIGHTS[config.light],
        bounds,
        mesh,
        held_out=range(config.views, len(cameras)),
        offset=offset,
        depths=depths if config.depth else None,
        normals=normals if config.normals else None,
    )
    write_scene(config.out, scene, bits=config.bits, force=config.force)
    return scene


def _check(config: RenderConfig) -> None:
    """Refuse options out of range, in the words of the command line."""
    if config.shape.is_dir() and not is_environment(config.light):
        _check_run(config)
    rules = {
        "views": (config.views >= 1, "at least 1"),
        "width": (config.width >= 1, "at least 1"),
        "height": (config.height >= 1, "at least 1"),
        "fov_deg": (0 < config.fov_deg < 180, "between 0 and 180"),
        "elevation_deg": (-90 <= config.elevation_deg <= 90, "from -90 to 90"),
        "distance": (config.distance is None or 0 < config.distance < math.inf, "positive"),
        "size": (config.size is None or 0 < config.size < math.inf, "positive"),
        "supersampling": (config.supersampling in range(1, 100, 2), "odd, from 1 to 99"),
        "albedo": (all(0 <= a <= 1 for a in config.albedo), "from 0 to 1"),
        "held_out": (config.held_out >= 0, "at least 0"),
        "seed": (0 <= config.seed < 2**63, "from 0 to 2^63 - 1"),
        "light": (
            config.light in LIGHTS or is_environment(config.light),
            f"one of {', '.join(LIGHTS)}, or a .hdr file",
        ),
        "exposure": (0 < config.exposure < math.inf, "positive"),
    }
    check_options(config, rules)
    if config.rig == "cube" and config.views != CUBE_VIEWS:
        raise InputError(
            f"--views: the cube has {CUBE_VIEWS}, got {config.views} (--rig orbit takes any number)"
        )


def _check_run(config: RenderConfig) -> None:
    """Refuse what a run has of its own."""
    for name in ("light", "albedo", "size", "smooth"):
        given = getattr(config, name)
        if given != RenderConfig.__dataclass_fields__[name].default:
            raise InputError(
                f"--{name}: a run has its own colours, light and size, got {given} "
                f"(of its shape alone: render {config.shape / LATTICE}; of its materials: "
                "--light FILE.hdr)"
            )


def _open_shape(config: RenderConfig) -> tuple[trimesh.Trimesh, Tensor, Renderer, Doubles]:
    """The true surface, the `[2, 3]` box to reconstruct it in, how to see it, and its offset.

    All of them are near the origin; the offset `[3]` takes them to where the shape is.
    """
    path, lighting = config.shape, LIGHTS[config.light]
    look = RunLook.load(path) if path.is_dir() else None
    if look is not None or is_lattice(path):
        lattice = load_lattice(path if look is None else path / LATTICE)
        if config.size is not None:
            s, middle = _fit_to(config.size, lattice.bounds)
            lattice = Lattice(lattice.values * s, (lattice.bounds - middle) * s)
        try:
            mesh = extract_mesh(lattice)
        except ValueError as error:  # no surface, or several lattices
            raise InputError(f"{path}: {error}") from None
        offset = far_offset(np.asarray(mesh.vertices))
        if offset.any():
            mesh = moved(mesh, -offset)
            lattice = Lattice(lattice.values, lattice.bounds - torch.from_numpy(offset))
        if look is not None:
            return mesh, lattice.bounds, _run_renderer(look, lattice), offset
        return mesh, lattice.bounds, _lattice_renderer(config, lattice, lighting), offset
    mesh = load_mesh(path)
    if mesh.is_empty or mesh.extents.max() == 0:
        raise InputError(f"{path}: all vertices are in one place, there is nothing to see")
    if mesh.is_watertight and mesh.volume < 0:  # inside out
        mesh.invert()
    if config.size is not None:
        s, middle = _fit_to(config.size, torch.from_numpy(mesh.bounds.copy()))
        mesh = trimesh.Trimesh((mesh.vertices - middle.numpy()) * s, mesh.faces, process=False)
    offset = far_offset(np.asarray(mesh.vertices))
    mesh = moved(mesh, -offset)
    return mesh, padded_bounds(mesh), _mesh_renderer(config, mesh, lighting), offset


def _fit_to(size: float, bounds: Tensor) -> tuple[float, Tensor]:
    """What makes the longest side of a box `[2, 3]` this long, and the box's middle `[3]`."""
    return size / float((bounds[1] - bounds[0]).max()), bounds.mean(0)


def _mesh_renderer(config: RenderConfig, mesh: trimesh.Trimesh, lighting: Lighting) -> Renderer:
    def view(camera: Cameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        traced = raytrace(
            mesh,
            camera,
            lighting=lighting,
            albedo=config.albedo,
            smooth=config.smooth,
            supersampling=config.supersampling,
        )
        return traced.images, traced.silhouettes, traced.depths, traced.normals

    return view


def _lattice_renderer(config: RenderConfig, lattice: Lattice, lighting: Lighting) -> Renderer:
    albedo = torch.tensor(config.albedo).to(lattice.values)

    @torch.no_grad()
    def view(camera: Cameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return _planes(render(lattice, camera, lighting=lighting, albedo=albedo, background=0.0))

    return view


def _run_renderer(look: RunLook, lattice: Lattice) -> Renderer:
    def view(camera: Cameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        seen = look.render(lattice, camera)
        return _planes(replace(seen, images=seen.images.clamp(0, 1)))

    return view


def _planes(seen: Rendering) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images, silhouettes, depths, normals = (
        plane.cpu() for plane in (seen.images, seen.silhouettes, seen.depths, seen.normals)
    )
    return images, silhouettes, depths, normals
