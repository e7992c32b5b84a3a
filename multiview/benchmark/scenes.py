"""Scenes with exact ground truth: images ray traced from a mesh, never made by our renderer.

A mesh is centred and scaled until its longest side is 1.5. 26 cameras look at it from the faces,
edges and corners of a cube, 6 more are held out. The light is known and the albedo is 1, or the
mesh is painted (`paint`) and the light of some `lamps` has to be found.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import current_process, get_context
from pathlib import Path

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from multiview.benchmark import gloss
from multiview.benchmark.config import RING, SceneSpec, need_known_views
from multiview.benchmark.disturb import (
    disturbed,
    drifting,
    saturated,
    shadowed,
    without_first,
)
from multiview.benchmark.gloss_lights import LIGHT
from multiview.benchmark.gloss_truth import save_lights
from multiview.benchmark.lamps import lamps
from multiview.benchmark.paint import painted
from sdfrender import Cameras, InputError, Lighting, load_mesh
from sdfrender.io.scene_writer import RenderedScene, write_scene
from sdfrender.kernels.torch_threads import torch_threads
from sdfrender.rendering.raytrace import raytrace
from sdfrender.system import processors
from sdfrender.view.lighting import STUDIO

LONGEST_SIDE = 1.5  # of the mesh, world units; the box keeps a margin of a sixth around it
BOUNDS = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))  # world units
DISTANCE = 3.2  # of the cameras from the middle, world units
FOV = math.radians(40)
SUPERSAMPLING = 3  # rays per pixel and axis
HELD_OUT = (  # directions of the cameras that are not fitted to, none of which the others share
    (1.0, 2.0, 3.0),
    (-3.0, 1.0, 2.0),
    (2.0, -3.0, 1.0),
    (-1.0, -2.0, 3.0),
    (3.0, -1.0, -2.0),
    (-2.0, 3.0, -1.0),
)
TILTS = (35.0, -20.0)  # degrees above the horizon of a ring's cameras, in turns
TILTS_HELD_OUT = (10.0, 50.0, -10.0, 20.0, -30.0, 5.0)
DISTURBED_SEED = 7


def make_scene(mesh: Path, folder: Path, spec: SceneSpec, quiet: bool = True) -> None:
    """Ray trace a mesh and write the scene to `folder`, whole or not at all.

    A scene that is already there is replaced. The views are spread over the processors.

    Raises:
        InputError: a mesh that cannot be read or has no extent, or a folder of something else.
    """
    shape = normalized(load_mesh(mesh), mesh)
    if spec.gloss:
        return make_glossy_scene(shape, folder, spec)
    cameras, _ = scene_cameras(spec)
    traced = TracedMesh(*painted(shape, spec.fine)) if spec.paint else TracedMesh(shape)
    lights = lamps(spec.lamps, cameras) if spec.paint else [STUDIO] * len(cameras)
    images, silhouettes = trace_views(traced, cameras, lights, mesh.stem, quiet)
    if spec.disturbed == "views":
        normals = trace_normals(shape, cameras, mesh.stem, quiet)
        images = disturbed(images, silhouettes, normals, cameras, spec.seed + DISTURBED_SEED)
    elif spec.disturbed == "drift":
        images = drifting(images, silhouettes)
    elif spec.disturbed == "shadow":
        unlit, _ = trace_views(traced, cameras, [*map(without_first, lights)], mesh.stem, quiet)
        images = shadowed(images, unlit, trace_points(shape, cameras), lights)
    elif spec.disturbed == "saturation":
        images = saturated(images, silhouettes)
    _write(folder, spec, shape, images, silhouettes)


def make_glossy_scene(shape: trimesh.Trimesh, folder: Path, spec: SceneSpec) -> None:
    """Photograph a mesh with polished paint, in its own light and in others.

    Beside the scene there is `lights`, which `gloss_truth` reads: each light as `NAME.hdr`, and
    for those that the scene was not taken in what the held-out cameras see, `NAME/view_026.png`.
    All are at the exposure of the photographs, which keeps nearly all pixels below full scale.
    """
    cameras, held_out = scene_cameras(spec)
    glossy = gloss.glossy(shape, torch.tensor(BOUNDS), spec.fine)
    images, silhouettes = gloss.photograph(glossy, cameras, LIGHT)
    factor = gloss.exposure(images, silhouettes)
    save_lights(folder, glossy, cameras[list(held_out)], held_out, factor)
    _write(folder, spec, shape, images * factor, silhouettes)


def _write(
    folder: Path, spec: SceneSpec, shape: trimesh.Trimesh, images: Tensor, silhouettes: Tensor
) -> None:
    """The scene with its noise; the light is stated where it is known to the fit."""
    cameras, held_out = scene_cameras(spec)
    scene = RenderedScene(
        with_noise(images, silhouettes, spec, held_out),
        silhouettes,
        cameras,
        None if spec.paint else STUDIO,
        torch.tensor(BOUNDS),
        shape,
        held_out=held_out,
    )
    write_scene(folder, scene, bits=16, force=True)


def normalized(mesh: trimesh.Trimesh, file: Path) -> trimesh.Trimesh:
    """The mesh about the origin with a longest side of `LONGEST_SIDE`, facing outwards.

    Raises:
        InputError: all vertices of the mesh are in one place.
    """
    if not mesh.extents.max() > 0:
        raise InputError(f"{file}: need a mesh with an extent, all its vertices are in one place")
    verts = (mesh.vertices - mesh.bounds.mean(0)) * (LONGEST_SIDE / mesh.extents.max())
    shape = trimesh.Trimesh(verts, mesh.faces, process=False)
    if shape.is_watertight and shape.volume < 0:
        shape.invert()
    return shape


# ---------------------------------------------------------------------- cameras


def scene_cameras(spec: SceneSpec) -> tuple[Cameras, range]:
    """All cameras of a scene, and the numbers of those that are held out."""
    cameras = ring_cameras(spec.image_size) if spec.ring else benchmark_cameras(spec.image_size)
    return cameras, range(len(cameras) - len(HELD_OUT), len(cameras))


def benchmark_cameras(image_size: int) -> Cameras:
    """The 26 cameras of the cube, then those held out."""
    eyes = torch.cat((cube_directions(), torch.tensor(HELD_OUT, dtype=torch.float64)))
    eyes = DISTANCE * eyes / eyes.norm(dim=1, keepdim=True)
    return Cameras.look_at(eyes, width=image_size, fov=FOV)


def ring_cameras(image_size: int) -> Cameras:
    """32 cameras around the object, from above and below in turns, then 6 held out."""
    around, tilt = torch.arange(RING) * (2 * math.pi / RING), torch.tensor(TILTS)
    tilts = torch.where(torch.arange(RING) % 2 == 1, tilt[1], tilt[0])
    away = torch.arange(len(TILTS_HELD_OUT)) * (2 * math.pi / len(TILTS_HELD_OUT)) + 0.1
    angle = torch.cat((around, away)).double()
    height = torch.deg2rad(torch.cat((tilts, torch.tensor(TILTS_HELD_OUT)))).double()
    flat = height.cos()
    eyes = torch.stack((flat * angle.sin(), height.sin(), flat * angle.cos()), -1)
    return Cameras.look_at(DISTANCE * eyes, width=image_size, fov=FOV)


def cube_directions() -> Tensor:
    """`[26, 3]` from the centre of a cube to its faces, edges and corners; not normalised."""
    return Cameras.cube(1.0).centers.double().sign()


def well_spread(views: int) -> list[int]:
    """Which of the 26 views to train on.

    32: all of the ring. 26: all of the cube. 8: from the faces of the cube and two opposite
    corners, which see into more than eight corners do. 4: from every other corner, a regular
    tetrahedron.

    Raises:
        InputError: another number.
    """
    need_known_views(views)
    if views == RING:
        return list(range(RING))
    directions = cube_directions()
    faces, corners = (directions.abs().sum(1) == n for n in (1, 3))
    chosen = {
        26: torch.ones_like(corners),
        8: faces | (corners & (directions.sum(1).abs() == 3)),
        4: corners & (directions.prod(1) > 0),
    }
    return [int(n) for n in chosen[views].nonzero()[:, 0]]


# ---------------------------------------------------------------------- pixels


@dataclass(frozen=True, eq=False)
class TracedMesh:
    """What is ray traced: a mesh, and its albedo (a number or `[V, C]`)."""

    mesh: trimesh.Trimesh
    albedo: float | NDArray[np.float64] = 1.0


def processes(workers: int) -> Executor:
    """Fresh processes, since torch's threads do not survive a fork; one thread in a worker of Dask.

    It is one that may not start others.
    """
    if current_process().daemon:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def trace_views(
    traced: TracedMesh, cameras: Cameras, lights: list[Lighting], name: str, quiet: bool
) -> tuple[Tensor, Tensor]:
    """Images `[N, H, W, C]` and silhouettes `[N, H, W]`, several views at a time."""
    images: list[Tensor] = [torch.zeros(0)] * len(cameras)
    silhouettes = list(images)
    workers = min(processors(), len(cameras))
    with processes(workers) as pool:
        views = {pool.submit(_trace, traced, cameras[n], lights[n]): n for n in range(len(cameras))}
        bar = tqdm(as_completed(views), name, len(views), unit="view", disable=quiet or None)
        for view in bar:
            images[views[view]], silhouettes[views[view]] = map(torch.from_numpy, view.result())
    return torch.stack(images), torch.stack(silhouettes)


def trace_normals(mesh: trimesh.Trimesh, cameras: Cameras, name: str, quiet: bool) -> Tensor:
    """Normals `[N, H, W, 3]` of each view, means over the pixels: painted on, lit evenly."""
    faces = trimesh.Trimesh(mesh.triangles.reshape(-1, 3), process=False)
    faces.faces = np.arange(len(faces.vertices)).reshape(-1, 3)
    paint = 0.5 + 0.5 * np.repeat(mesh.face_normals, 3, axis=0)
    even = [Lighting(ambient=1.0, headlight=None)] * len(cameras)
    images, silhouettes = trace_views(TracedMesh(faces, paint), cameras, even, name, quiet)
    return 2 * images - silhouettes[..., None]


def trace_points(mesh: trimesh.Trimesh, cameras: Cameras) -> Tensor:
    """What the middles of pixels show, `[N, H, W, 3]` world units; 0 where they miss."""
    depths = raytrace(mesh, cameras, supersampling=1).depths
    points = torch.zeros(*depths.shape, 3)
    hit = depths.isfinite()
    points[hit] = cameras.unproject(depths, hit).to(points)
    return points


def _trace(traced: TracedMesh, camera: Cameras, light: Lighting) -> tuple[np.ndarray, np.ndarray]:
    """One view, as arrays: tensors would be shared through files that outlive the process."""
    albedo = torch.as_tensor(traced.albedo)
    with torch_threads(1):
        seen = raytrace(
            traced.mesh, camera, lighting=light, albedo=albedo, supersampling=SUPERSAMPLING
        )
    return seen.images[0].numpy(), seen.silhouettes[0].numpy()


def with_noise(images: Tensor, silhouettes: Tensor, spec: SceneSpec, held_out: range) -> Tensor:
    """Images with Gaussian noise on the straight colour of the training views.

    Args:
        images: `[N, H, W, C]` premultiplied.
        silhouettes: `[N, H, W]` coverage, which the noise is multiplied by.
        spec: its `noise` is the standard deviation, of full scale; its `seed` that of the noise.
        held_out: views that get none.
    """
    generator = torch.Generator().manual_seed(spec.seed)
    noise = spec.noise * torch.randn(images.shape, generator=generator)
    noise[list(held_out)] = 0
    return images + noise * silhouettes[..., None]
