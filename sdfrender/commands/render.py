"""The command `sdfrender render`: a mesh or a lattice to a scene of posed images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import trimesh
import tyro
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from sdfrender.errors import InputError
from sdfrender.far import far_offset, moved
from sdfrender.files.extensions import LATTICES
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.io.lattices import load_lattice
from sdfrender.io.scene_writer import RenderedScene, check_replaceable, write_scene
from sdfrender.meshes.extraction import extract_mesh
from sdfrender.rendering.raytrace import raytrace
from sdfrender.rendering.render import render
from sdfrender.view.cameras import Cameras
from sdfrender.view.lighting import Directional, Headlight, Lighting

CUBE_VIEWS = 26  # of `Cameras.cube`
LIGHTS = {
    "studio": Lighting(
        headlight=Headlight(0.7), directional=(Directional((0.3, 0.8, 0.5), intensity=0.3),)
    ),
    "headlight": Lighting(headlight=Headlight(1.0)),
    "sun": Lighting(
        ambient=0.2, headlight=None, directional=(Directional((0.3, 0.8, 0.5), intensity=0.8),)
    ),
    "sdfdiff": Lighting(headlight=Headlight(10.0, falloff=True)),
}
# How much of the field of view the ball around the shape takes.
FILL = 0.95
# Margin of the stated box around a mesh, as a fraction of its longest side.
PADDING = 0.1

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]  # `--force`, and no `--no-force`
Doubles = NDArray[np.float64]
# Images [1, H, W, C] and silhouettes [1, H, W] of one camera.
Renderer = Callable[[Cameras], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class RenderConfig:
    """What `sdfrender render` is told; its fields are the options.

    Args:
        shape: mesh (.obj .ply .glb .stl .off) or lattice (.safetensors .npz .sdf).
        out: folder to write.
        views: cameras to train on. The cube has 26.
        rig: cube: from the faces, edges and corners of a cube. orbit: a ring about the y axis.
        width: pixels.
        height: pixels.
        fov_deg: vertical field of view, degrees.
        elevation_deg: height of the orbit above the horizon, degrees.
        distance: from the middle of the shape to the cameras, in its own units. By default the
            shape just fits in view.
        supersampling: rays per pixel side, odd; for meshes (a lattice has analytic coverage).
        smooth: shade a mesh with interpolated vertex normals, not with one normal per triangle.
        albedo: red, green and blue reflectance, 0 to 1.
        light: studio: headlight 0.7 and 0.3 from the upper right. headlight: 1.0 at the camera.
            sun: 0.8 from the upper right and 0.2 from everywhere. sdfdiff: 10 / d² at the camera,
            d the distance to the surface.
        size: scale the shape until the longest side of its box is this, and centre the box.
        bits: per channel of the PNG files.
        held_out: further views, in random directions, that the scene keeps for testing.
        seed: of those directions.
        force: replace a scene that is already there.
    """

    shape: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SHAPE")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    views: int = 26
    rig: Literal["cube", "orbit"] = "cube"
    width: int = 256
    height: int = 256
    fov_deg: float = 40.0
    elevation_deg: float = 20.0
    distance: float | None = None
    supersampling: int = 3
    smooth: Flag = False
    albedo: tuple[float, float, float] = (0.8, 0.8, 0.8)
    light: Literal["studio", "headlight", "sun", "sdfdiff"] = "studio"
    size: float | None = None
    bits: Literal[8, 16] = 8
    held_out: int = 0
    seed: int = 0
    force: Flag = False


def command(config: Annotated[RenderConfig, tyro.conf.arg(name="")]) -> None:
    """Photograph a mesh or a lattice from all around: a scene that `multiview fit` reads.

    A mesh is ray traced; a lattice goes through the renderer of this package. DIR/transforms.json
    states the cameras, the light and the box to reconstruct in; DIR/images holds the pictures,
    linear in light and with coverage as their alpha; DIR/mesh.ply is the true surface.

    Example: sdfrender render bunny.obj --out bunny --held-out 6
    """
    render_scene(config)
    print(f"wrote {config.out}")


def render_scene(config: RenderConfig) -> RenderedScene:
    """Render `config.shape` and write the scene to `config.out`.

    Returns:
        What was written.

    Raises:
        InputError: an option out of range, a shape that cannot be read or has no surface, or a
            folder that is in use.
    """
    _check(config)
    check_replaceable(config.out, config.force)
    mesh, bounds, view, offset = _open_shape(config)
    cameras = place_cameras(config, mesh.vertices)
    seen = [view(cameras[n]) for n in tqdm(range(len(cameras)), desc="rendering", unit="view")]
    images, silhouettes = (torch.cat(parts) for parts in zip(*seen, strict=True))
    scene = RenderedScene(
        images,
        silhouettes,
        cameras,
        LIGHTS[config.light],
        bounds,
        mesh,
        held_out=range(config.views, len(cameras)),
        offset=offset,
    )
    write_scene(config.out, scene, bits=config.bits, force=config.force)
    return scene


def _check(config: RenderConfig) -> None:
    """Refuse options out of range, in the words of the command line."""
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
    }
    for name, (holds, rule) in rules.items():
        if not holds:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option}: need {rule}, got {getattr(config, name)}")
    if config.rig == "cube" and config.views != CUBE_VIEWS:
        raise InputError(
            f"--views: the cube has {CUBE_VIEWS}, got {config.views} (--rig orbit takes any number)"
        )


def _open_shape(config: RenderConfig) -> tuple[trimesh.Trimesh, Tensor, Renderer, Doubles]:
    """The true surface, the `[2, 3]` box to reconstruct it in, how to see it, and its offset.

    All of them are near the origin; the offset `[3]` takes them to where the shape is.
    """
    path, lighting = config.shape, LIGHTS[config.light]
    if path.suffix.lower() in LATTICES:
        lattice = load_lattice(path)
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
    return mesh, _padded_bounds(mesh), _mesh_renderer(config, mesh, lighting), offset


def _fit_to(size: float, bounds: Tensor) -> tuple[float, Tensor]:
    """What makes the longest side of a box `[2, 3]` this long, and the box's middle `[3]`."""
    return size / float((bounds[1] - bounds[0]).max()), bounds.mean(0)


def place_cameras(config: RenderConfig, verts: Doubles) -> Cameras:
    """The rig's cameras around the middle of the shape, then the held-out ones.

    Args:
        config: rig, image size, field of view and distance.
        verts: `[V, 3]` of the shape, world units.
    """
    target = 0.5 * (verts.min(0) + verts.max(0))
    radius = float(np.linalg.norm(verts - target, axis=1).max())
    fov = math.radians(config.fov_deg)
    # The ball around the shape fits into the picture from wherever it is seen; the narrower of the
    # two fields of view decides.
    narrow = 2 * math.atan(math.tan(fov / 2) * min(1.0, config.width / config.height))
    distance = config.distance or radius / (FILL * math.sin(narrow / 2))
    eyes = torch.cat((_rig(config).centers.double(), _random_directions(config)))
    center = torch.from_numpy(target)
    return Cameras.look_at(
        center + distance * eyes, center, width=config.width, height=config.height, fov=fov
    )


def _rig(config: RenderConfig) -> Cameras:
    """The cameras to train on, at distance 1 from the origin."""
    if config.rig == "cube":
        return Cameras.cube(1.0)
    return Cameras.orbit(config.views, 1.0, math.radians(config.elevation_deg))


def _random_directions(config: RenderConfig) -> Tensor:
    """`[held_out, 3]` unit vectors, uniform on the sphere."""
    generator = torch.Generator().manual_seed(config.seed)
    directions = torch.randn(config.held_out, 3, generator=generator, dtype=torch.float64)
    return normalize(directions, dim=1)


def _mesh_renderer(config: RenderConfig, mesh: trimesh.Trimesh, lighting: Lighting) -> Renderer:
    def view(camera: Cameras) -> tuple[Tensor, Tensor]:
        traced = raytrace(
            mesh,
            camera,
            lighting=lighting,
            albedo=config.albedo,
            smooth=config.smooth,
            supersampling=config.supersampling,
        )
        return traced.images, traced.silhouettes

    return view


def _lattice_renderer(config: RenderConfig, lattice: Lattice, lighting: Lighting) -> Renderer:
    albedo = torch.tensor(config.albedo).to(lattice.values)

    @torch.no_grad()
    def view(camera: Cameras) -> tuple[Tensor, Tensor]:
        seen = render(lattice, camera, lighting=lighting, albedo=albedo, background=0.0)
        return seen.images.cpu(), seen.silhouettes.cpu()

    return view


def _padded_bounds(mesh: trimesh.Trimesh) -> Tensor:
    """`[2, 3]` the box of the mesh, grown on every side."""
    margin = PADDING * float(mesh.extents.max())
    low, high = mesh.bounds
    bounds: Tensor = torch.tensor(np.stack((low - margin, high + margin)))
    return bounds
