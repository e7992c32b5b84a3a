"""Finite differences in float64 through the whole renderer, pixel by pixel, for both engines.

The reference is checked at all pixels (forward derivatives by two backward passes), the compiled
engine, which is differentiable once, at some (a backward pass for each) and against the reference.
Every check uses a non-cubic lattice in a non-cubic box, a non-square image, different focal lengths
and a principal point away from the middle. Central differences with step 1e-6 are good to about
1e-9 of a typical derivative, so 1e-7 at the 90th percentile is a tight bound; pixels beyond it are
those whose slope is clamped, or where the events themselves change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

import sdfrender as sr
from sdfrender import primitives as sdf
from sdfrender.geometry import energies

BOUNDS = torch.tensor([[-1.0, -1.2, -0.9], [1.1, 1.2, 1.0]], dtype=torch.float64)
RESOLUTION = (20, 26, 23)
WIDTH, HEIGHT = 53, 41
STEP = 1e-6


@dataclass
class Problem:
    """Parameters of a rendering by name, and a direction to move each in."""

    parameters: dict[str, Tensor]
    directions: dict[str, Tensor]

    @classmethod
    def random(cls, seed: int) -> Problem:
        rng = np.random.default_rng(seed)

        def noise(*shape: int) -> Tensor:
            return torch.from_numpy(rng.standard_normal(shape))

        def smooth(sigma: float) -> Tensor:
            return torch.from_numpy(gaussian_filter(rng.standard_normal(RESOLUTION), sigma))

        shape = sdf.union(sdf.sphere(0.45, (-0.2, 0.0, 0.0)), sdf.sphere(0.25, (0.4, 0.2, 0.5)))
        base = sr.Lattice.from_function(shape, RESOLUTION, BOUNDS, torch.float64)
        values = torch.from_numpy(gaussian_filter((base.values + 0.4 * smooth(1.0)).numpy(), 0.7))
        cameras = sr.Cameras.look_at([[0.9, 0.7, 3.0]], width=WIDTH, height=HEIGHT)
        Ks = cameras.Ks.double()
        Ks[:, 0, 0] *= 1.1
        Ks[:, :2, 2] += torch.tensor([3.3, -2.1])
        parameters = {
            "values": values,
            "pose": torch.zeros(6, dtype=torch.float64),
            "Ks": Ks,
            "sh": 0.2 * noise(9, 3),
            "ambient": torch.tensor(0.1, dtype=torch.float64),
            "headlight": torch.tensor([0.7, 0.6, 0.5], dtype=torch.float64),
            "to_light": torch.tensor([0.3, 0.8, 0.5], dtype=torch.float64),
            "albedo": noise(5, 6, 7, 3).abs(),
            "background": noise(3).abs(),
        }
        directions = {name: noise(*x.shape) for name, x in parameters.items()}
        directions["values"] = smooth(1.0)
        directions["Ks"][:, 1, 0] = directions["Ks"][:, 2] = 0
        return cls(parameters, directions)

    def render(
        self,
        coverage: bool = True,
        engine: str = "reference",
        reattach: str = "implicit",
        **changed: Tensor,
    ) -> sr.Rendering:
        p = {**self.parameters, **changed}
        lighting = sr.Lighting(
            ambient=p["ambient"],
            headlight=sr.Headlight(p["headlight"], falloff=True),
            directional=[sr.Directional(p["to_light"], 0.3)],
            sh=p["sh"],
        )
        cameras = sr.Cameras(_moved(p["pose"]), p["Ks"], WIDTH, HEIGHT)
        return sr.render(
            sr.Lattice(p["values"], BOUNDS),
            cameras,
            lighting=lighting,
            albedo=p["albedo"],
            background=p["background"],
            coverage=coverage,
            engine=engine,
            reattach=reattach,
        )


def _moved(pose: Tensor) -> Tensor:
    """Camera-to-world after a rotation vector and a translation `[6]`."""
    x, y, z = pose[:3]
    zero = torch.zeros_like(x)
    W = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero)).reshape(3, 3)
    top = torch.cat((torch.linalg.matrix_exp(W), pose[3:, None]), 1)
    c2w = sr.Cameras.look_at([[0.9, 0.7, 3.0]]).c2w.double()
    u, _, v = torch.linalg.svd(c2w[:, :3, :3])
    c2w[:, :3, :3] = u @ v  # orthonormal to float64
    return torch.cat((top, torch.tensor([[0.0, 0.0, 0.0, 1.0]]).double())) @ c2w


def differences(
    problem: Problem, name: str, output: Callable[[sr.Rendering], Tensor], coverage: bool = True
) -> tuple[Tensor, Tensor]:
    """Directional derivative of an output per pixel: by autograd, and by central differences."""
    x, v = problem.parameters[name], problem.directions[name]

    def f(x: Tensor) -> Tensor:
        return output(problem.render(coverage, **{name: x}))

    _, exact = torch.autograd.functional.jvp(f, x, v)
    return exact, (f(x + STEP * v) - f(x - STEP * v)) / (2 * STEP)


def differences_at(
    problem: Problem, name: str, output: str, pixels: list[tuple[int, ...]], coverage: bool
) -> tuple[Tensor, Tensor]:
    """As `differences`, at some pixels of the compiled engine, by one backward pass for each.

    Colours and normals are looked at along a direction of their own in each pixel.
    """
    x, v = problem.parameters[name], problem.directions[name]
    along = torch.randn(len(pixels), 3, generator=torch.Generator().manual_seed(0)).double()

    def f(x: Tensor) -> Tensor:
        out: Tensor = getattr(problem.render(coverage, "cpu", **{name: x}), output)
        chosen = torch.stack([out[pixel] for pixel in pixels])
        return chosen if chosen.ndim == 1 else (chosen * along).sum(-1)

    x = x.clone().requires_grad_()
    rows = [torch.autograd.grad(y, x, retain_graph=True)[0] for y in f(x)]
    exact = torch.stack([(row * v).sum() for row in rows])
    with torch.no_grad():
        difference = (f(x + STEP * v) - f(x - STEP * v)) / (2 * STEP)
    return exact, difference


def relative_errors(exact: Tensor, difference: Tensor, where: Tensor) -> Tensor:
    """`|exact − difference|` over the mean derivative, sorted, for the chosen pixels."""
    assert int(where.sum()) > 10, "the test needs pixels to look at"
    scale = difference[where].abs().mean()
    assert float(scale) > 0, "the output must depend on the parameter"
    return ((exact - difference)[where].abs() / scale).flatten().sort().values


NAMES = [
    "values", "pose", "Ks", "sh", "ambient", "headlight", "to_light", "albedo", "background",
]  # fmt: skip
OUTPUTS = ("images", "silhouettes", "depths", "normals")
GEOMETRY = {"values", "pose", "Ks"}  # parameters that move more than colours
LOOKS = 120  # at most, pixels of a region that `differences_at` is asked for


def some_of(where: Tensor, seed: int) -> list[tuple[int, ...]]:
    """Up to `LOOKS` of the chosen pixels."""
    pixels = where.nonzero()
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    return [tuple(pixel) for pixel in pixels[order[:LOOKS]].tolist()]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_images(name: str, seed: int) -> None:
    problem = Problem.random(seed)
    coverage = problem.render().silhouettes
    exact, difference = differences(problem, name, lambda out: out.images)
    regions = {"contour": (coverage > 0) & (coverage < 1), "interior": coverage == 1}
    if name == "background":
        del regions["interior"]
    for region, where in regions.items():
        errors = relative_errors(exact, difference, where)
        assert errors[len(errors) // 2] < 1e-7, region
        assert errors[int(0.9 * len(errors))] < 1e-6, region


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["values", "pose", "Ks"])
def test_silhouettes(name: str, seed: int) -> None:
    problem = Problem.random(seed)
    coverage = problem.render().silhouettes
    exact, difference = differences(problem, name, lambda out: out.silhouettes)
    errors = relative_errors(exact, difference, (coverage > 0) & (coverage < 1))
    assert errors[len(errors) // 2] < 1e-7
    assert errors[int(0.9 * len(errors))] < 1e-6


@pytest.mark.parametrize("name", ["values", "pose", "Ks"])
@pytest.mark.parametrize("coverage", [True, False])
def test_depths_and_normals(name: str, coverage: bool) -> None:
    problem = Problem.random(2)
    hit = problem.render(coverage).hit_mask
    for output in (lambda out: out.depths.nan_to_num(posinf=0.0), lambda out: out.normals):
        exact, difference = differences(problem, name, output, coverage)
        errors = relative_errors(exact, difference, hit)
        assert errors[len(errors) // 2] < 1e-7
        assert errors[int(0.9 * len(errors))] < 1e-6


def _images_and_silhouettes(out: sr.Rendering) -> tuple[Tensor, Tensor]:
    return out.images, out.silhouettes


def test_backward_is_the_transpose_of_forward() -> None:
    """`⟨u, J v⟩ = ⟨Jᵀ u, v⟩` with random cotangents over all outputs at once."""
    problem = Problem.random(3)
    generator = torch.Generator().manual_seed(0)
    for name in NAMES:
        x = problem.parameters[name].clone().requires_grad_()
        out = problem.render(**{name: x})
        outputs = (out.images, out.silhouettes)
        cotangents = [torch.randn(o.shape, generator=generator).double() for o in outputs]
        used = [(o, u) for o, u in zip(outputs, cotangents, strict=True) if o.requires_grad]
        (v_x,) = torch.autograd.grad([o for o, _ in used], x, [u for _, u in used])
        _, forward = torch.autograd.functional.jvp(
            lambda x, name=name: _images_and_silhouettes(problem.render(**{name: x})),
            problem.parameters[name],
            problem.directions[name],
        )
        left = sum(float((u * f).sum()) for u, f in zip(cotangents, forward, strict=True))
        right = float((v_x * problem.directions[name]).sum())
        assert left == pytest.approx(right, rel=1e-10), name


@pytest.mark.parametrize("reattach", ["implicit", "one_step"])
@pytest.mark.parametrize("coverage", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_engine_has_the_gradients_of_the_reference(
    name: str, coverage: bool, reattach: str
) -> None:
    """`Jᵀ u` of both with random cotangents over all outputs at once, and over each alone."""
    problem = Problem.random(5)
    x = problem.parameters[name].clone().requires_grad_()
    mine, other = (
        problem.render(coverage, engine, reattach, **{name: x}) for engine in ("cpu", "reference")
    )
    generator = torch.Generator().manual_seed(0)
    everything = [torch.zeros_like(x), torch.zeros_like(x)]
    checked = 0
    for output in OUTPUTS:
        a, b = getattr(mine, output), getattr(other, output)
        # the compiled engine is one operation: it may ask for a gradient that is zero
        assert a.requires_grad or not b.requires_grad, output
        if not a.requires_grad:
            continue
        u = torch.randn(a.shape, generator=generator).double()
        u[~torch.isfinite(b)] = 0  # depths of misses
        (v_a,) = torch.autograd.grad(a, x, u, retain_graph=True)
        v_b = torch.zeros_like(x)
        if b.requires_grad:
            (v_b,) = torch.autograd.grad(b, x, u, retain_graph=True)
        # the same terms in float64, each with a rounding of 1e-14, summed in another order
        assert float((v_a - v_b).norm()) <= 1e-9 * float(v_b.norm()), output
        checked += bool(v_b.norm() > 0)
        everything = [total + v for total, v in zip(everything, (v_a, v_b), strict=True)]
    assert float((everything[0] - everything[1]).norm()) <= 1e-9 * float(everything[1].norm())
    geometry = len(OUTPUTS) if coverage else len(OUTPUTS) - 1
    if name == "background" and not coverage:
        geometry = 1  # it is in the image whatever has a gradient
    assert checked == (geometry if name in GEOMETRY else 1)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_images_of_the_compiled_engine(name: str, seed: int) -> None:
    problem = Problem.random(seed)
    coverage = problem.render().silhouettes
    regions = {"contour": (coverage > 0) & (coverage < 1), "interior": coverage == 1}
    if name == "background":
        del regions["interior"]
    for region, where in regions.items():
        pixels = some_of(where, seed)
        exact, difference = differences_at(problem, name, "images", pixels, True)
        errors = relative_errors(exact, difference, torch.ones_like(exact, dtype=torch.bool))
        assert errors[len(errors) // 2] < 1e-7, region
        assert errors[int(0.9 * len(errors))] < 1e-6, region


@pytest.mark.parametrize("name", ["values", "pose", "Ks"])
def test_silhouettes_of_the_compiled_engine(name: str) -> None:
    problem = Problem.random(1)
    coverage = problem.render().silhouettes
    pixels = some_of((coverage > 0) & (coverage < 1), 0)
    exact, difference = differences_at(problem, name, "silhouettes", pixels, True)
    errors = relative_errors(exact, difference, torch.ones_like(exact, dtype=torch.bool))
    assert errors[len(errors) // 2] < 1e-7
    assert errors[int(0.9 * len(errors))] < 1e-6


@pytest.mark.parametrize("name", ["values", "pose", "Ks"])
@pytest.mark.parametrize("coverage", [True, False])
def test_depths_and_normals_of_the_compiled_engine(name: str, coverage: bool) -> None:
    problem = Problem.random(2)
    pixels = some_of(problem.render(coverage).hit_mask, 0)
    for output in ("depths", "normals"):
        exact, difference = differences_at(problem, name, output, pixels, coverage)
        errors = relative_errors(exact, difference, torch.ones_like(exact, dtype=torch.bool))
        assert errors[len(errors) // 2] < 1e-7
        assert errors[int(0.9 * len(errors))] < 1e-6


@pytest.mark.parametrize("term", [energies.eikonal, energies.laplacian])
def test_energies(term: Callable[..., Tensor]) -> None:
    lattice = sr.Lattice(Problem.random(4).parameters["values"], BOUNDS)
    direction = Problem.random(4).directions["values"]

    def f(values: Tensor) -> Tensor:
        return term(lattice.with_values(values), 1e9)  # all vertices: the band does not switch

    _, exact = torch.autograd.functional.jvp(f, lattice.values, direction)
    difference = (f(lattice.values + STEP * direction) - f(lattice.values - STEP * direction)) / (
        2 * STEP
    )
    assert float(exact) == pytest.approx(float(difference), rel=1e-7)
