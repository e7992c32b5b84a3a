"""The CPU engine: images and their derivatives by numba kernels, view by view on several threads.

Forward:  near cells → per view: raster and walk → events → shade.
Backward: per view: events → adjoint → sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from threading import local
from typing import Any, NamedTuple

import numpy as np

from sdfrender.engines.cpu import ahead
from sdfrender.engines.cpu.backward.backward_view import pull_back
from sdfrender.engines.cpu.forward.forward_view import render_rows
from sdfrender.engines.cpu.forward.near_cells import NearCells, find_near_cells
from sdfrender.engines.cpu.forward.raster import draw, raster_numbers
from sdfrender.engines.cpu.forward.raster_tile import LANES
from sdfrender.geometry.sparse.blocked import Blocked, Stored
from sdfrender.kernels.arrays import Doubles, Events, Flags, Floats
from sdfrender.kernels.bricks import FLAT_X, FLAT_Y
from sdfrender.kernels.light_terms import INTENSITY
from sdfrender.kernels.ray_walk import EVENT
from sdfrender.kernels.threads import run_all, slabs
from sdfrender.kernels.trilinear_cell import Grid, numbers
from sdfrender.system import working_memory

BANDS = 3  # per thread, so that no thread waits long for another
NEAR_PLANE = 1e-2  # the raster draws boxes that are in front of this, in units of their size
MOST_SUMS = 1 << 29  # bytes for one sum of derivatives per thread


@dataclass(frozen=True, eq=False)
class SceneArrays:
    """What is rendered, as arrays.

    Args:
        values: `[B, X, Y, Z]` float32 or float64; or `[n, 8, 8, 8]`, the blocks of one lattice.
        lo: `[3]` first vertex, world.
        h: `[3]` spacing.
        views: `[N, 16]` float64: each camera's A, o, axis and focal, see `View`.
        width: pixels.
        height: pixels.
        lights: `[1, K, 4 + C]` float64, see `light_terms`; or `[N, K, 4 + C]`, those of each view.
        albedo: `[X, Y, Z, C]` over the same box; `[0, 0, 0, C]` for an albedo of 1.
        coverage: find grazes.
        most: events per ray.
        reattach: IMPLICIT or ONE_STEP.
        threads: at most.
        blocks: the lattice that has its values in blocks, or None.
    """

    values: Floats
    lo: Doubles
    h: Doubles
    views: Doubles
    width: int
    height: int
    lights: Doubles
    albedo: Floats
    coverage: bool
    most: int
    reattach: int
    threads: int
    blocks: Blocked | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Samples of a lattice along x, y and z."""
        X, Y, Z = self.values.shape[1:] if self.blocks is None else self.blocks.sizes
        return X, Y, Z

    @property
    def lattices(self) -> list[Stored]:
        """The B lattices."""
        return list(self.values) if self.blocks is None else [self.blocks]

    def tangents(self, x: Floats) -> list[Stored]:
        """What has the shape of `values`, one for each lattice; zero where no block is kept."""
        if self.blocks is None:
            return list(x)
        return [self.blocks._replace(values=x, far=x.dtype.type(0))]

    @property
    def grid(self) -> Grid:
        """Size and place of the lattices; flat indices are those for bricks."""
        X, Y, Z = self.sizes
        lo, h = tuple(map(float, self.lo)), tuple(map(float, self.h))
        ih = tuple(1 / x for x in h)
        return Grid(X, Y, Z, FLAT_X, FLAT_Y, lo, h, ih, min(h))  # type: ignore[arg-type]

    def view_numbers(self, n: int) -> Doubles:
        """Camera n, see `view.view_of`."""
        return np.append(self.views[n], (self.width, self.height))

    def lights_of(self, n: int) -> Doubles:
        """`[K, 4 + C]` of view n."""
        lights: Doubles = self.lights[n % len(self.lights)]
        return lights


@dataclass(frozen=True, eq=False)
class RowEvents:
    """Events of some rows of one view."""

    lattice: int
    view: int
    events: Events
    count: int


Part = list[tuple[RowEvents, int, int]]  # events from one place up to another


@dataclass(frozen=True)
class Traced:
    """Where everything is: what the forward pass leaves for the backward pass."""

    cells: list[NearCells]
    found: list[RowEvents]


class ImageArrays(NamedTuple):
    """Images of B lattices from N views.

    Args:
        colors: `[B, N, H, W, C]` premultiplied.
        silhouettes: `[B, N, H, W]`.
        depths: `[B, N, H, W]`, infinite on a miss.
        normals: `[B, N, H, W, 3]`, zero on a miss.
        hits: `[B, N, H, W]` bool.
    """

    colors: Floats
    silhouettes: Floats
    depths: Floats
    normals: Floats
    hits: Flags


def render(
    scene: SceneArrays, gradient: bool = False, keep: bool = True
) -> tuple[Traced, ImageArrays]:
    """Events and images of every lattice from every view.

    Args:
        scene: what is rendered.
        gradient: `pull` will follow.
        keep: the events, which take more memory than the images; otherwise none are returned.
    """
    B, N, P = len(scene.lattices), len(scene.views), scene.width * scene.height
    dtype, C = scene.values.dtype, scene.lights.shape[-1] - INTENSITY
    drawn, reach = _drawn_and_reach(scene)
    eyes = (scene.views[:, 9:12] - scene.lo) / scene.h
    with ahead.compiled_ahead(gradient) if dtype == np.float32 else nullcontext():
        cells = [find_near_cells(x, reach, eyes, scene.threads) for x in scene.lattices]
    bands = _bands(scene.height, B * N, scene.threads)
    work = [(b, n, rows) for b in range(B) for n in range(N) for rows in bands]
    size = numbers(scene.grid)
    out = (
        np.zeros((B, N, P, C), dtype),
        np.zeros((B, N, P), dtype),
        np.zeros((B, N, P), dtype),
        np.zeros((B, N, P, 3), dtype),
        np.zeros((B, N, P), np.bool_),
    )

    per_row = scene.width * (scene.most if scene.coverage else 1)  # events at most
    fitting = working_memory() // (scene.threads * per_row * EVENT.itemsize)
    fitting = max(fitting // 4 * 4, 4)  # rows whose events a thread has room for
    room = min(fitting, max(band.stop - band.start for band in bands)) * per_row
    thread = local()
    nothing = np.zeros((0, LANES), np.float32)

    def rows(task: int) -> RowEvents:
        if not hasattr(thread, "events"):
            thread.events = np.zeros(room, EVENT)
        b, n, band = work[task]
        view, c, found = scene.views[n], cells[b], []
        half_pixel = 0.5 / view[15] if scene.coverage else None
        seen = raster_numbers(view[:9].reshape(3, 3), (view[9:12] - scene.lo) / scene.h, scene.h)
        for start in range(band.start, band.stop, fitting):
            stop = min(start + fitting, band.stop)
            tiles = marks = nothing
            if drawn[n]:
                tiles, marks = draw(
                    c.records, c.surface, seen, half_pixel, scene.width, start, stop
                )
            count = render_rows(
                c.values, c.block_low, c.caps, size, c.bricks.table, scene.view_numbers(n),
                tiles, marks, drawn[n], start, stop, scene.coverage, scene.most, scene.lights_of(n),
                scene.albedo, thread.events, *(x[b, n] for x in out),
            )  # fmt: skip
            found.append(thread.events[: count if keep else 0].copy())
        events = found[0] if len(found) == 1 else np.concatenate(found)
        return RowEvents(b, n, events, len(events))

    found = run_all(rows, range(len(work)), scene.threads)
    shape = (B, N, scene.height, scene.width)
    images: list[Any] = [x.reshape(*shape, *x.shape[3:]) for x in out]
    return Traced(cells, found), ImageArrays(*images)


class Gradients(NamedTuple):
    """Derivatives of a loss.

    Args:
        values: of the shape of the scene's.
        views: `[N, 16]`.
        lights: as those of the scene.
        albedo: as the albedo lattice.
    """

    values: Floats
    views: Doubles
    lights: Doubles
    albedo: Floats


def pull(
    scene: SceneArrays, traced: Traced, seen: Sequence[Floats | None], light: bool, camera: bool
) -> Gradients:
    """Derivatives of the loss from those in the images.

    Sums are made by thread, then added in order: bitwise the same every time for one number of
    threads, and to rounding for another.

    Args:
        scene: what was rendered.
        traced: its events.
        seen: `[B, N, H, W, …]` derivatives in colours, silhouettes, depths and normals, or None.
        light: also those of light and albedo.
        camera: also those of the views.
    """
    ahead.finish()
    grid = numbers(scene.grid)
    B = len(scene.lattices)
    flat = (B, len(scene.views), scene.width * scene.height)
    tails = ((scene.lights.shape[-1] - INTENSITY,), (), (), (3,))
    images = [
        np.zeros((B, flat[1], 0, *tail), scene.values.dtype)
        if x is None
        else x.reshape(*flat, *tail)
        for x, tail in zip(seen, tails, strict=True)
    ]
    out = Gradients(
        np.zeros(scene.values.shape, scene.values.dtype),
        np.zeros((len(scene.views), 16)),
        np.zeros(scene.lights.shape),
        np.zeros(scene.albedo.shape if light else (0, 0, 0, 0), scene.values.dtype),
    )
    summed = scene.tangents(out.values)
    for b in range(B):
        near = traced.cells[b]
        most = max(1, min(scene.threads, MOST_SUMS // (near.values.nbytes + out.albedo.nbytes)))
        shares = split([f for f in traced.found if f.lattice == b], most)

        def share(work: Part, b: int = b, near: NearCells = near) -> list[Floats]:
            values = np.zeros_like(near.values)
            rest: list[Any] = [np.zeros(x.shape, x.dtype) for x in out[1:]]
            views, lights, albedo = rest
            for found, begin, end in work:
                n = found.view
                colors, silhouettes, depths, normals = (x[b, n] for x in images)
                pull_back(
                    near.values, grid, near.bricks.table, scene.view_numbers(n),
                    scene.lights_of(n), scene.albedo, found.events, begin, end, scene.reattach,
                    colors, silhouettes, depths, normals, values, lights[n % len(lights)], albedo,
                    views, n, light, camera,
                )  # fmt: skip
            return [values, views, lights, albedo]

        sums = run_all(share, shares, scene.threads)
        near.bricks.add([values for values, *_ in sums], summed[b], scene.threads)
        for _, *others in sums:
            for total, x in zip(out[1:], others, strict=True):
                total += x
    return out


def split(found: list[RowEvents], parts: int) -> list[Part]:
    """Deal events to `parts` lists, about as many to each, whole pixels only."""
    total = sum(f.count for f in found)
    out: list[Part] = []
    for n in range(parts):
        done, part = 0, []
        for f in found:
            begin, end = (_whole(f, total * m // parts - done) for m in (n, n + 1))
            if end > begin:
                part.append((f, begin, end))
            done += f.count
        if part:
            out.append(part)
    return out


def _whole(found: RowEvents, event: int) -> int:
    """The first event of a pixel at or after `event`, within the list."""
    event = min(max(event, 0), found.count)
    pixels = found.events["pixel"]
    while 0 < event < found.count and pixels[event] == pixels[event - 1]:
        event += 1
    return event


def _bands(height: int, views: int, threads: int) -> list[slice]:
    """Rows of a view that are one task: multiples of 4, or the whole view where there are many."""
    wanted = 1 if views >= 2 * threads else -(-BANDS * threads // max(views, 1))
    tiles = slabs((height + 3) // 4, min(wanted, (height + 3) // 4))
    return [slice(4 * s.start, min(4 * s.stop, height)) for s in tiles]


def _drawn_and_reach(scene: SceneArrays) -> tuple[list[bool], float]:
    """Which views are drawn, and half the size of a pixel where it is largest in the box.

    A view is drawn if the whole box is in front of the camera. The reach is that of grazes.
    """
    X, Y, Z = scene.sizes
    unit = np.array([(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)], np.float64)
    box = scene.lo + unit * scene.h * (np.array([X, Y, Z]) - 1)  # corners
    offsets = box[None] - scene.views[:, None, 9:12]
    depths = (offsets * scene.views[:, None, 12:15]).sum(-1)  # [N, 8]
    near = NEAR_PLANE * np.linalg.norm(box[-1] - box[0])
    drawn = (depths.min(1) > near) & (scene.values.dtype == np.float32)
    half_pixels = 0.5 * depths.max(1) / scene.views[:, 15]
    return drawn.tolist(), float(half_pixels.max(initial=0.0)) if scene.coverage else 0.0
