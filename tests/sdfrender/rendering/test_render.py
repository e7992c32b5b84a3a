"""Both engines against analytic answers and an independent brute-force tracer."""

from __future__ import annotations

import math

import numba
import numpy as np
import places
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_scenes import off_centre, rough
from torch import Tensor

import sdfrender as sr
from sdfrender import primitives as sdf

ENGINES = ("cpu", "reference")
# The compiled engine has two ways to find hits: a raster in float32, a walk in float64.
ENGINES_AND_DTYPES = [("cpu", torch.float32), ("cpu", torch.float64), ("reference", torch.float64)]
BUNNY = places.DATA / "sdfdiff" / "bunny.sdf"


def brute_force(lattice: sr.Lattice, cameras: sr.Cameras) -> Tensor:
    """First root of φ along every ray: `[N, H, W]` distances, float64, infinity on a miss.

    All planes of the lattice that a ray crosses are sorted; each interval between two of them is in
    one cell, where φ is a cubic through four samples. Its turning points bracket the roots, which
    are bisected to the last bit. Nothing is shared with the engines.
    """
    lattice = lattice.to(torch.float64)
    rays_o, rays_d = cameras.to(lattice.values).rays()
    t = _first_roots(
        lattice.values.numpy(),
        lattice.bounds[0].numpy(),
        lattice.spacing.numpy(),
        rays_o.reshape(-1, 3).numpy(),
        rays_d.reshape(-1, 3).numpy(),
    )
    return torch.from_numpy(t).reshape(rays_d.shape[:-1])


@numba.njit(cache=True)
def _first_roots(values, low, spacing, origins, directions):
    size = np.array(values.shape)
    out = np.full(len(origins), np.inf)
    for r in range(len(origins)):
        o, d = (origins[r] - low) / spacing, directions[r] / spacing  # vertex indices
        near, far = 0.0, np.inf
        for axis in range(3):
            if d[axis] == 0:
                if o[axis] < 0 or o[axis] > size[axis] - 1:
                    far = -1.0
            else:
                a, b = -o[axis] / d[axis], (size[axis] - 1 - o[axis]) / d[axis]
                near, far = max(near, min(a, b)), min(far, max(a, b))
        if near >= far:
            continue
        planes = [near, far]
        for axis in range(3):
            if d[axis] != 0:
                for n in range(size[axis]):
                    t = (n - o[axis]) / d[axis]
                    if near < t < far:
                        planes.append(t)
        planes = np.sort(np.array(planes))
        for k in range(len(planes) - 1):
            t = _root_between(values, size, o, d, planes[k], planes[k + 1])
            if t >= 0:
                out[r] = t
                break
    return out


@numba.njit(cache=True)
def _root_between(values, size, o, d, left, right):
    middle = o + 0.5 * (left + right) * d
    cell = np.zeros(3, np.int64)
    for axis in range(3):
        cell[axis] = min(max(int(np.floor(middle[axis])), 0), size[axis] - 2)
    f = np.zeros(4)
    for n in range(4):
        x = o + (left + n / 3 * (right - left)) * d - cell
        for i in range(2):
            for j in range(2):
                for k in range(2):
                    w = (x[0] if i else 1 - x[0]) * (x[1] if j else 1 - x[1])
                    w *= x[2] if k else 1 - x[2]
                    f[n] += w * values[cell[0] + i, cell[1] + j, cell[2] + k]
    if f[0] <= 0:
        return left
    # the cubic through f at s = 0, 1/3, 2/3, 1
    c1 = (-11 * f[0] + 18 * f[1] - 9 * f[2] + 2 * f[3]) / 2
    c2 = (18 * f[0] - 45 * f[1] + 36 * f[2] - 9 * f[3]) / 2
    c3 = (-9 * f[0] + 27 * f[1] - 27 * f[2] + 9 * f[3]) / 2
    knots = np.array([0.0, 1.0, 1.0, 1.0])
    D = c2 * c2 - 3 * c3 * c1
    if D > 0 and c3 != 0:
        a, b = (-c2 - np.sqrt(D)) / (3 * c3), (-c2 + np.sqrt(D)) / (3 * c3)
        knots[1], knots[2] = min(max(min(a, b), 0.0), 1.0), min(max(max(a, b), 0.0), 1.0)
    elif c3 == 0 and c2 != 0:
        knots[1] = min(max(-c1 / (2 * c2), 0.0), 1.0)
    for n in range(3):
        lo, hi = knots[n], knots[n + 1]
        if ((c3 * hi + c2) * hi + c1) * hi + f[0] > 0:
            continue
        for _ in range(60):
            s = 0.5 * (lo + hi)
            if ((c3 * s + c2) * s + c1) * s + f[0] > 0:
                lo = s
            else:
                hi = s
        return left + hi * (right - left)
    return -1.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("coverage", [True, False])
@pytest.mark.parametrize("engine", ENGINES)
def test_hits_are_first_roots_on_rough_lattices(engine: str, seed: int, coverage: bool) -> None:
    lattice = rough((9, 12, 10), seed)
    cameras = off_centre(
        sr.Cameras.look_at([[0.4, 0.9, 3.0], [2.6, -0.7, 0.9]], width=21, height=17)
    )
    expected = brute_force(lattice, cameras)
    out = sr.render(lattice, cameras, coverage=coverage, engine=engine)
    assert torch.equal(out.hit_mask, expected.isfinite())
    rays_d = cameras.to(lattice.values).rays()[1]
    z = (rays_d * cameras.c2w.double()[:, None, None, :3, 2]).sum(-1)
    hit = out.hit_mask
    # both solve the same cubic in float64
    assert (out.depths - expected * z)[hit].abs().max() < 1e-10
    assert torch.isinf(out.depths[~hit]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_bunny_equals_brute_force(engine: str) -> None:
    if not BUNNY.exists():
        pytest.skip("shared data with bunny.sdf is not here")
    lattice = sr.load_lattice(BUNNY)
    cameras = sr.Cameras.cube(2.5, lattice.bounds.mean(0).tolist(), width=64, height=52)
    expected = brute_force(lattice, cameras)
    out = sr.render(lattice, cameras, engine=engine)
    assert torch.equal(out.hit_mask, expected.isfinite())
    z = (cameras.rays()[1] * cameras.c2w[:, None, None, :3, 2]).sum(-1)
    error = (out.depths - expected * z)[out.hit_mask].abs() / float(lattice.spacing.min())
    assert error.max() < 1e-4  # outputs are float32; the trace itself is in float64


@pytest.mark.parametrize(("engine", "dtype"), ENGINES_AND_DTYPES)
def test_sphere_image_is_analytic(engine: str, dtype: torch.dtype) -> None:
    lattice = sr.Lattice.sphere(0.5, resolution=129, dtype=dtype)
    cameras = off_centre(sr.Cameras.look_at([[0.3, 0.2, 3.0]], width=61, height=47))
    out = sr.render(lattice, cameras, coverage=False, engine=engine)
    o, d = cameras.to(lattice.values).rays()
    b, c = (o * d).sum(-1), (o * o).sum(-1) - 0.25
    discriminant = b * b - c
    hit = discriminant > 0
    # trilinear interpolation moves the surface by spacing²/8R ≈ 6e-5, seen at the rim only
    assert (out.hit_mask != hit).float().mean() < 1e-3
    inner = discriminant > 0.01
    t = -b - discriminant.clamp(min=0).sqrt()
    z = t * (d * cameras.c2w.double()[:, None, None, :3, 2]).sum(-1)
    assert (out.depths - z)[inner].abs().max() < 1e-3
    normals = (o + t[..., None] * d) / 0.5
    assert (out.normals - normals)[inner].abs().max() < 5e-3
    cosine = -(normals * d).sum(-1)
    assert (out.images[..., 0] - cosine)[inner].abs().max() < 5e-3


@pytest.mark.parametrize(("eye", "size"), [((0.0, 0.0, 3.0), 65), ((3.0, 0.0, 0.0), 64)])
@pytest.mark.parametrize(("engine", "dtype"), ENGINES_AND_DTYPES)
def test_axis_aligned_rays(
    engine: str, dtype: torch.dtype, eye: tuple[float, ...], size: int
) -> None:
    """Rays with zero components, and rays inside the planes between cells."""
    for resolution in (32, 33):
        lattice = sr.Lattice.sphere(0.5, resolution=resolution, dtype=dtype)
        cameras = sr.Cameras.look_at([list(eye)], width=size)
        out = sr.render(lattice, cameras, engine=engine)
        area = math.pi * (0.5 / math.sqrt(9 - 0.25) * float(cameras.Ks[0, 0, 0])) ** 2
        assert float(out.silhouettes.sum()) == pytest.approx(area, rel=5e-3)
        assert out.hit_mask[0, size // 2, size // 2]


@pytest.mark.parametrize(("engine", "dtype"), ENGINES_AND_DTYPES)
def test_coverage_is_the_covered_area_of_a_slanted_edge(engine: str, dtype: torch.dtype) -> None:
    """A half space seen edge-on: coverage equals the pixel's covered area to 0.1."""
    normal = torch.tensor([math.cos(0.3), math.sin(0.3), 0.0], dtype=dtype)
    lattice = sr.Lattice.from_function(
        lambda p: p @ normal - 0.013, 9, dtype=dtype, bounds=[[-1] * 3, [1] * 3]
    )
    cameras = sr.Cameras.look_at([[0.0, 0.0, 40.0]], width=41, height=33, fov=0.04)
    out = sr.render(lattice, cameras, engine=engine)
    fine = sr.Cameras(cameras.c2w, cameras.Ks, 41, 33).resized(41 * 16, 33 * 16)
    dense = sr.render(lattice, fine, coverage=False, engine=engine).silhouettes
    area = dense.reshape(1, 33, 16, 41, 16).mean((2, 4))
    assert (out.silhouettes - area).abs().max() < 0.1  # the ramp replaces the exact polygon
    assert float((out.silhouettes - area).mean().abs()) < 2e-3


@pytest.mark.parametrize(("engine", "dtype"), ENGINES_AND_DTYPES)
def test_a_graze_in_front_of_an_opaque_surface_is_opaque(engine: str, dtype: torch.dtype) -> None:
    shape = sdf.union(
        sdf.box((0.8, 0.8, 0.05), (0.0, 0.0, -0.6)),
        sdf.capsule((-0.9, 0.1, 0.5), (0.9, 0.13, 0.5), 0.02),
    )
    lattice = sr.Lattice.from_function(shape, 81, dtype=dtype)
    cameras = sr.Cameras.look_at([[0.1, 0.2, 4.0]], width=80, height=60, fov=math.radians(36))
    out = sr.render(lattice, cameras, engine=engine)
    plate = sr.render(
        sr.Lattice.from_function(sdf.box((0.8, 0.8, 0.05), (0.0, 0.0, -0.6)), 81, dtype=dtype),
        cameras,
        engine=engine,
    )
    behind = plate.silhouettes == 1
    assert int(behind.sum()) > 500
    assert torch.equal(out.silhouettes[behind], torch.ones_like(out.silhouettes[behind]))
    # the bar is there: its shading differs along its rim
    assert ((out.images - plate.images).abs()[behind] > 1e-3).sum() > 40


@pytest.mark.parametrize(("engine", "dtype"), ENGINES_AND_DTYPES)
def test_parts_thinner_than_a_pixel_keep_their_area(engine: str, dtype: torch.dtype) -> None:
    """A rod a third of a pixel thick is seen as partial coverage, not as dots or not at all."""
    lattice = sr.Lattice.from_function(
        sdf.capsule((-0.8, -0.2, 0.0), (0.8, 0.25, 0.0), 0.03), 161, dtype=dtype
    )
    cameras = sr.Cameras.look_at([[0.0, 0.0, 4.0]], width=28, height=20)
    out = sr.render(lattice, cameras, engine=engine)
    columns = out.silhouettes[0].sum(0)
    seen = columns[columns > 0]
    assert len(seen) >= 11  # its length in pixels
    assert float(seen[1:-1].min()) > 0.5 * float(seen[1:-1].median())


@pytest.mark.parametrize(("engine", "dtype"), ENGINES_AND_DTYPES)
def test_a_solid_that_reaches_the_box_is_cut_off_flat(engine: str, dtype: torch.dtype) -> None:
    lattice = sr.Lattice.sphere(1.3, resolution=33, dtype=dtype)
    cameras = sr.Cameras.look_at([[0.0, 0.0, 5.0]], width=41, height=31)
    out = sr.render(lattice, cameras, engine=engine)
    centre = (0, 15, 20)
    rounding = 4 * torch.finfo(dtype).eps  # of a depth of 4
    assert float(out.depths[centre]) == pytest.approx(4.0, abs=2 * rounding)
    assert out.normals[centre].tolist() == pytest.approx([0, 0, 1])


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_and_views_in_one_call_equal_single_calls(engine: str) -> None:
    lattices = [rough((8, 10, 9), seed) for seed in range(3)]
    batch = sr.Lattice(torch.stack([x.values for x in lattices]), lattices[0].bounds)
    cameras = off_centre(
        sr.Cameras.look_at([[0.4, 0.9, 3.0], [2.6, -0.7, 0.9]], width=15, height=12)
    )
    out = sr.render(batch, cameras, background=torch.tensor([0.2, 0.5, 0.1]), engine=engine)
    assert out.images.shape == (3, 2, 12, 15, 3)
    for b, lattice in enumerate(lattices):
        for n in range(2):
            one = sr.render(
                lattice, cameras[n], background=torch.tensor([0.2, 0.5, 0.1]), engine=engine
            )
            assert torch.equal(out.hit_mask[b, n], one.hit_mask[0])
            for name in ("images", "silhouettes", "depths", "normals"):
                # only vectorised and scalar rounding differ
                together, alone = getattr(out, name)[b, n], getattr(one, name)[0]
                torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_float32_and_float64_agree(engine: str) -> None:
    lattice = rough((9, 12, 10), 7)
    cameras = off_centre(sr.Cameras.look_at([[0.4, 0.9, 3.0]], width=41, height=37))
    a = sr.render(lattice, cameras, engine=engine)
    b = sr.render(lattice.to(torch.float32), cameras, engine=engine)
    flips = a.hit_mask != b.hit_mask
    assert flips.float().mean() < 2e-3  # the lattice itself is rounded
    assert (a.silhouettes - b.silhouettes).abs().quantile(0.99) < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_camera_inside_the_empty_part_of_the_box(engine: str) -> None:
    shape = sdf.difference(sdf.sphere(0.9), sdf.sphere(0.7))
    lattice = sr.Lattice.from_function(shape, 65, dtype=torch.float64)
    out = sr.render(
        lattice,
        sr.Cameras.look_at([[0.1, 0.0, 0.05]], (0.5, 0.2, 0.9), width=9, height=7),
        engine=engine,
    )
    assert out.hit_mask.all()
    assert (out.silhouettes == 1).all()
    assert torch.isfinite(out.images).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_empty_and_full_lattices(engine: str) -> None:
    cameras = sr.Cameras.look_at([[0.0, 0.0, 4.0]], width=9, height=7)
    empty = sr.Lattice(torch.ones(4, 5, 6), torch.tensor([[-1.0] * 3, [1.0] * 3]))
    out = sr.render(empty, cameras, background=0.25, engine=engine)
    assert not out.hit_mask.any()
    assert (out.images == 0.25).all()
    assert (out.silhouettes == 0).all()
    full = empty.with_values(-empty.values)
    assert sr.render(full, cameras, engine=engine).hit_mask[0, 3, 4]


@pytest.mark.parametrize("engine", ENGINES)
def test_sphere_tracer_agrees_on_a_distance_field(engine: str) -> None:
    lattice = sr.Lattice.sphere(0.6, resolution=49, dtype=torch.float64)
    cameras = off_centre(sr.Cameras.look_at([[0.5, 0.7, 3.0]], width=31, height=25))
    exact = sr.render(lattice, cameras, coverage=False, engine=engine)
    traced = sr.render(lattice, cameras, coverage=False, tracer="sphere", reattach="one_step")
    assert (exact.hit_mask != traced.hit_mask).float().mean() < 5e-3
    both = exact.hit_mask & traced.hit_mask
    # it stops at 1e-3 spacings and takes one more step; grazing rays stop early
    assert (exact.depths - traced.depths)[both].abs().quantile(0.95) < 1e-3


@pytest.mark.parametrize("engine", ENGINES)
def test_one_step_is_exact_only_along_the_normal(engine: str) -> None:
    """dt/dradius of a sphere seen off-axis: −1/cos for the implicit form, −1 for one step."""
    cameras = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=65)
    rows = {}
    for reattach in ("implicit", "one_step"):
        base = sr.Lattice.sphere(0.5, resolution=129, dtype=torch.float64)
        radius = torch.zeros((), dtype=torch.float64, requires_grad=True)
        out = sr.render(
            base.with_values(base.values - radius), cameras, reattach=reattach, engine=engine
        )
        normal, d = out.normals[0, 32, 38].detach(), cameras.rays()[1][0, 32, 38].double()
        z = -float(d[2])
        (slope,) = torch.autograd.grad(out.depths[0, 32, 38], radius)
        rows[reattach] = (float(slope) / z, float(normal @ d))
    # the slope inside a cell and the interpolated normal differ by about spacing / radius
    assert rows["implicit"][0] == pytest.approx(1 / rows["implicit"][1], rel=6e-3)
    assert rows["one_step"][0] == pytest.approx(-1, rel=6e-3)
    assert rows["implicit"][1] > -0.95  # off-axis enough to tell them apart


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tracer": "fast"}, "tracer: need one of exact, sphere, got 'fast'"),
        ({"reattach": "x"}, "reattach: need one of implicit, one_step"),
        ({"engine": "gpu"}, "engine: need one of auto, cpu, cuda, reference"),
        ({"tracer": "sphere"}, "coverage=False"),
        (
            {"tracer": "sphere", "coverage": False, "engine": "cpu"},
            "engine='cpu': does not know tracer='sphere', use engine='reference'",
        ),
        ({"background": torch.zeros(1, 3, 3, 1)}, "background: need a number"),
        ({"albedo": torch.zeros(3, 3)}, "albedo: need a number"),
    ],
)
def test_bad_arguments_name_the_rule(arguments: dict[str, object], message: str) -> None:
    cameras = sr.Cameras.look_at([[0.0, 0.0, 3.0]], width=8)
    with pytest.raises(ValueError, match=r"need|pass|use") as error:
        sr.render(sr.Lattice.sphere(0.5, resolution=9), cameras, **arguments)  # type: ignore[arg-type]
    assert message in str(error.value)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    resolution=st.tuples(st.integers(2, 7), st.integers(2, 7), st.integers(2, 7)),
    eye=st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(1.5, 4)),
)
@pytest.mark.parametrize("engine", ENGINES)
def test_rendering_is_sane_for_any_lattice(
    engine: str, seed: int, resolution: tuple[int, int, int], eye: tuple[float, float, float]
) -> None:
    values = torch.randn(resolution, generator=torch.Generator().manual_seed(seed)).double()
    lattice = sr.Lattice(values, torch.tensor([[-1.0, -0.7, -0.9], [0.8, 1.0, 1.2]]))
    cameras = off_centre(sr.Cameras.look_at([list(eye)], width=13, height=11))
    out = sr.render(lattice, cameras, engine=engine)
    assert torch.isfinite(out.images).all()
    assert ((out.silhouettes >= 0) & (out.silhouettes <= 1)).all()
    # a pixel whose ray meets the surface is at least half covered: its dip goes below zero
    assert (out.silhouettes[out.hit_mask] >= 0.5).all()
    assert torch.isfinite(out.depths[out.hit_mask]).all()
    assert torch.allclose(out.normals[out.hit_mask].norm(dim=-1), torch.ones(()).double())
    hits = sr.render(lattice, cameras, coverage=False, engine=engine).hit_mask
    assert torch.equal(out.hit_mask, hits)
