"""From derivatives in the pixels back to the lattice, the light and the camera.

One thread takes one pixel: those that see one opaque crossing and nothing else, which are most, in
a kernel of their own. What several of them say about one number is added up atomically, in
whatever order they come; whole numbers have the same sum in any order, see `engine.pull`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numba import cuda, float64

from sdfrender.engines.cuda.target import kernel, part
from sdfrender.kernels.pixel.pull import pull_alone, pull_pixel
from sdfrender.kernels.trilinear_cell import grid_of
from sdfrender.kernels.view import view_of

VALUES, LIGHTS, ALBEDO, VIEWS = range(4)  # sums, and their places in a list of all


@lru_cache
def pull_for(C: int, most: int, reattach: int, wanted: int) -> Any:
    """The kernel `pull` for images of C channels and up to `most` events per ray.

    Args:
        C: channels.
        most: events per ray.
        reattach: IMPLICIT or ONE_STEP.
        wanted: the sum to add to; a kernel for several does not fit into the registers.
    """
    values, want_lights = wanted == VALUES, wanted == LIGHTS
    want_albedo, camera = wanted == ALBEDO, wanted == VIEWS
    passed = most + 1

    def pull(
        v: Any, grid_numbers: Any, views: Any, lights: Any, albedo: Any,
        chosen: Any, pixels: Any, events: Any, counts: Any, size: int,
        v_colors: Any, v_silhouettes: Any, v_depths: Any, v_normals: Any,
        v_values: Any, v_lights: Any, v_albedo: Any, v_views: Any,
    ) -> None:  # fmt: skip
        """Add what the pixels say.

        Args:
            v: the padded lattice.
            grid_numbers: its size and place.
            views: `[N, 18]` the cameras.
            lights: `[1 or N, K, 4 + C]`.
            albedo: the albedo lattice.
            chosen: `[M]` which of the K pixels that come near.
            pixels: `[K]` as in `forward.walk`, as are the next two.
            events: `[K, most]`.
            counts: `[K]`.
            size: pixels of a view.
            v_colors: `[N, H W, C]` derivatives in the images, `[N, 0, C]` where there are none.
            v_silhouettes: `[N, H W]`, likewise.
            v_depths: `[N, H W]`, likewise.
            v_normals: `[N, H W, 3]`, likewise.
            v_values: added to, if wanted: the padded lattice. The sum that is wanted may be `(m,)`,
                which keeps the largest `|a|` of what would be added, see `compiled.add_at`.
            v_lights: added to, if wanted: as `lights`.
            v_albedo: added to, if wanted: as `albedo`.
            v_views: `[N, 16]` added to, if wanted.
        """
        m = cuda.grid(1)
        if m >= chosen.shape[0]:
            return
        k = chosen[m]
        n = pixels[k] // size
        light, reflected = cuda.local.array(C, float64), cuda.local.array(C, float64)
        v_light, v_reflected = cuda.local.array(C, float64), cuda.local.array(C, float64)
        behind, alphas = cuda.local.array(C, float64), cuda.local.array(most, float64)
        colors, clear = cuda.local.array((most, C), float64), cuda.local.array(passed, float64)
        for c in range(C):
            light[c], reflected[c] = 0.0, 1.0
        clear[0] = 1.0
        pull_pixel(
            v, grid_of(grid_numbers), view_of(views[n]), lights[n % lights.shape[0]], albedo,
            events[k], 0, counts[k], reattach,
            v_colors[n], v_silhouettes[n], v_depths[n], v_normals[n],
            v_values, part(v_lights, n % lights.shape[0]), v_albedo, v_views, n,
            values, want_lights, want_albedo, camera,
            light, reflected, v_light, v_reflected, colors, behind, alphas, clear,
        )  # fmt: skip

    return kernel(pull)


@lru_cache
def pull_alone_for(C: int, reattach: int, wanted: int) -> Any:
    """As `pull_for`, for pixels that see one opaque crossing and nothing else: most of them."""
    values, want_lights = wanted == VALUES, wanted == LIGHTS
    want_albedo, camera = wanted == ALBEDO, wanted == VIEWS

    def pull_alone_pixels(
        v: Any, grid_numbers: Any, views: Any, lights: Any, albedo: Any,
        chosen: Any, pixels: Any, events: Any, counts: Any, size: int,
        v_colors: Any, v_silhouettes: Any, v_depths: Any, v_normals: Any,
        v_values: Any, v_lights: Any, v_albedo: Any, v_views: Any,
    ) -> None:  # fmt: skip
        """Add what the pixels say; arguments as in `pull`."""
        m = cuda.grid(1)
        if m >= chosen.shape[0]:
            return
        k = chosen[m]
        n = pixels[k] // size
        light, reflected = cuda.local.array(C, float64), cuda.local.array(C, float64)
        v_light, v_reflected = cuda.local.array(C, float64), cuda.local.array(C, float64)
        for c in range(C):
            light[c], reflected[c] = 0.0, 1.0
        pull_alone(
            v, grid_of(grid_numbers), view_of(views[n]), lights[n % lights.shape[0]], albedo,
            pixels[k] - n * size, float64(events[k, 0].t), reattach,
            v_colors[n], v_depths[n], v_normals[n],
            v_values, part(v_lights, n % lights.shape[0]), v_albedo, v_views, n,
            values, want_lights, want_albedo, camera, light, reflected, v_light, v_reflected,
        )  # fmt: skip

    return kernel(pull_alone_pixels)
