"""DeepSDF's decoder against a plain twin, its derivatives, its file; and codes that are found."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from latent_tiny import AXES, SHAPE, ellipsoid, ellipsoids, random_field
from torch import Tensor, nn

from sdfrender.errors import InputError
from sdfrender.files.tensors import load_tensors, save_tensors
from sdfrender.latent.field import PAPER, FieldShape, LatentField
from sdfrender.latent.fit import (
    LatentFitSettings,
    Quadratic,
    Term,
    distance_term,
    fit_code,
    gaussian_term,
    norm_term,
    outside_term,
    quadratic,
    scaled,
    total,
)
from sdfrender.meshes.mise import extract_field

SHAPES = [
    SHAPE,
    replace(SHAPE, octaves=0),
    replace(SHAPE, layers=7, code=11),
    replace(SHAPE, narrow=True),
]


def points_in_box(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 1


# ---------------------------------------------------------------------- the network


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normed", [False, True])
def test_the_network_is_the_papers(shape: FieldShape, normed: bool) -> None:
    """As it is written: the code beside the point, both fed again to the middle layer."""
    field = random_field(shape=shape, normed=normed)
    codes, points = torch.randn(3, shape.code).double(), points_in_box(15).reshape(3, 5, 3)
    features = field.features(points)
    assert features.shape == (3, 5, shape.features)
    x = torch.cat((codes[:, None].expand(-1, 5, -1), features), -1)
    y = x
    for i, layer in enumerate(field.layers):
        if i == shape.middle:
            y = torch.cat((y, x), -1)
        y = layer(y)
        if i < shape.layers - 1:
            y = y.relu()
    torch.testing.assert_close(field(codes, points), y[..., 0].tanh())
    one = field(codes, points[:1])  # the same points for all
    torch.testing.assert_close(one[0], field(codes[:1], points[:1])[0])
    torch.testing.assert_close(one[2], field(codes[2:], points[:1])[0])


def test_the_papers_size() -> None:
    """8 layers of 512 and the last one; the fifth sees the input again, in place of 259 others."""
    assert (PAPER.layers, PAPER.width, PAPER.code, PAPER.middle) == (9, 512, 256, 4)
    field = LatentField(PAPER)
    assert [tuple(layer.weight.shape) for layer in field.layers if isinstance(layer, nn.Linear)][
        3:6
    ] == [(253, 512), (512, 512), (512, 512)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("normed", [False, True])
def test_the_jacobian_is_that_of_finite_differences(shape: FieldShape, normed: bool) -> None:
    field = random_field(shape=shape, normed=normed)
    code, points = torch.randn(shape.code).double(), points_in_box(40)
    values, J = field.jacobian(code, points)
    torch.testing.assert_close(values, field(code[None], points[None])[0])
    h = 1e-6
    steps = h * torch.eye(shape.code, dtype=torch.float64)
    differences = (field(code + steps, points[None]) - field(code - steps, points[None])) / (2 * h)
    # In double the differences are good to 1e-9, unless a step crosses a kink of the network.
    torch.testing.assert_close(J, differences.T.detach(), rtol=1e-6, atol=1e-8)
    nothing, none = field.jacobian(code, points[:0])
    assert nothing.shape == (0,)
    assert none.shape == (0, shape.code)


def test_a_lattice_is_differentiable_in_the_code() -> None:
    field = random_field()
    bounds, axes = [[-0.5, -0.7, -0.3], [0.4, 0.6, 0.5]], (5, 4, 3)
    weights = torch.randn(axes, dtype=torch.float64)
    code = torch.randn(4, dtype=torch.float64, requires_grad=True)
    lattice = field.lattice(code, bounds, axes)
    corner = torch.tensor([bounds[0]], dtype=torch.float64)
    torch.testing.assert_close(lattice.values[0, 0, 0], field(code[None], corner[None])[0, 0])
    (gradient,) = torch.autograd.grad((weights * lattice.values).sum(), code)

    def value(c: Tensor) -> Tensor:
        return (weights * field.lattice(c, bounds, axes).values).sum().detach()

    h = 1e-6 * torch.eye(4, dtype=torch.float64)
    differences = [(value(code + d) - value(code - d)) / 2e-6 for d in h]
    torch.testing.assert_close(gradient, torch.stack(differences), rtol=1e-6, atol=1e-8)


def test_many_points_go_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    field, points = random_field(), points_in_box(23)
    whole = field.jacobian(field.codes[0], points)
    lattice = field.lattice(field.codes[0], [[-1, -1, -1], [1, 1, 1]], 4).values
    monkeypatch.setattr("sdfrender.latent.field.CHUNK", 5)
    for a, b in zip(field.jacobian(field.codes[0], points), whole, strict=True):
        torch.testing.assert_close(a, b)
    parts = field.lattice(field.codes[0], [[-1, -1, -1], [1, 1, 1]], 4).values
    torch.testing.assert_close(parts, lattice)


def test_statistics_of_the_codes() -> None:
    field = LatentField(SHAPE, list("abc"), torch.eye(4)[:3])
    mean, covariance = field.statistics()
    torch.testing.assert_close(mean, torch.tensor([1, 1, 1, 0]) / 3)
    true = torch.eye(4)[:3].T.cov()
    torch.testing.assert_close(covariance, true + 0.1 * true.trace() / 4 * torch.eye(4))
    mean, covariance = LatentField(SHAPE).statistics()
    torch.testing.assert_close(covariance, torch.eye(4) / 4)
    assert not mean.any()


@pytest.mark.parametrize(
    "wrong", [{"layers": 2}, {"code": 0}, {"dropout": 1.0}, {"octaves": -1}, {"width": 0}]
)
def test_impossible_shapes_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        FieldShape(**wrong)  # type: ignore[arg-type]


def test_codes_that_are_not_those_of_the_names() -> None:
    with pytest.raises(ValueError, match=r"codes: need \[1, 4\]"):
        LatentField(SHAPE, ["a"], torch.zeros(2, 4))


# ---------------------------------------------------------------------- files


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    field = random_field(normed=True)
    field.about = {"categories": ["ball"], "metrics": {"known": 0.9}}
    field.save(tmp_path / "model.safetensors")
    back = LatentField.load(tmp_path)
    assert back.names == field.names
    assert back.shape == field.shape
    assert back.about == field.about
    points = points_in_box(50)[None]
    # Weights are kept in half precision: eleven bits.
    torch.testing.assert_close(
        back(back.codes, points.float()).double(), field(field.codes, points), rtol=0, atol=3e-3
    )
    assert torch.equal(back.code_of("ball/1"), back.codes[1])
    with pytest.raises(InputError, match="ball/7"):
        back.code_of("ball/7")


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        LatentField.load(tmp_path / "none.safetensors")
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"not a network")
    with pytest.raises(InputError, match=r"x\.safetensors"):
        LatentField.load(file)
    save_tensors(file, {}, {"format": "singleview.model"})
    with pytest.raises(InputError, match="weights of another kind"):
        LatentField.load(file)
    random_field().save(file)
    tensors, state = load_tensors(file, "weights")
    save_tensors(file, tensors, {**state, "shape": {**state["shape"], "width": 33}})
    with pytest.raises(InputError, match="size mismatch"):
        LatentField.load(file)
    save_tensors(file, {**tensors, "codes": tensors["codes"] * float("nan")}, state)
    with pytest.raises(InputError, match="finite weights"):
        LatentField.load(file)


# ---------------------------------------------------------------------- terms


def numbers_around(term: Term, code: Tensor) -> None:
    """A term's gradient by finite differences of its energy, in double."""
    one, h = term(code), 1e-6
    differences = [
        (term(code + d).energy - term(code - d).energy) / (2 * h)
        for d in h * torch.eye(len(code), dtype=torch.float64)
    ]
    torch.testing.assert_close(
        one.gradient, torch.tensor(differences, dtype=torch.float64), rtol=1e-5, atol=1e-8
    )
    assert torch.equal(one.hessian, one.hessian.T) or torch.allclose(one.hessian, one.hessian.T)
    assert float(torch.linalg.eigvalsh(one.hessian).min()) > -1e-9


@pytest.mark.parametrize("kernel", ["absolute", "square"])
def test_every_term_knows_its_gradient(kernel: str) -> None:
    field = random_field(3)
    code, points = torch.randn(4).double(), points_in_box(30)
    truth = 0.3 * torch.randn(30).double()
    numbers_around(distance_term(field, points, truth, 0.1, 2.0, kernel), code)  # type: ignore[arg-type]
    numbers_around(outside_term(field, points, 0.05, 3.0), code)
    numbers_around(norm_term(0.1), code)
    numbers_around(gaussian_term(*field.statistics(), 0.1), code)
    numbers_around(scaled(norm_term(0.1), 5.0), code)


def test_the_distance_term_is_the_papers_loss() -> None:
    field, points = random_field(4), points_in_box(30)
    truth, code = 0.3 * torch.randn(30).double(), torch.randn(4).double()
    values = field(code[None], points[None])[0]
    loss = (values.clamp(-0.1, 0.1) - truth.clamp(-0.1, 0.1)).abs().mean()
    assert distance_term(field, points, truth)(code).energy == pytest.approx(float(loss.detach()))
    assert norm_term(1e-4)(code).energy == pytest.approx(1e-4 * float(code.square().sum()))
    empty = outside_term(field, points, 0.02)(code).energy
    assert empty == pytest.approx(float((0.02 - values).detach().clamp(min=0).mean()))


# ---------------------------------------------------------------------- Levenberg-Marquardt


def linear_term(A: Tensor, b: Tensor) -> Term:
    """`|A z − b|²`."""

    def term(code: Tensor) -> Quadratic:
        return quadratic(A @ code - b, A, torch.ones_like(b), "square", 1.0)

    return term


def test_a_linear_problem_is_solved() -> None:
    A, b = torch.randn(9, 4).double(), torch.randn(9).double()
    found = fit_code([linear_term(A, b), norm_term(0.5)], torch.zeros(4).double())
    eye = torch.eye(4, dtype=torch.float64)
    exact = torch.linalg.solve(A.T @ A + 0.5 * eye, A.T @ b)
    torch.testing.assert_close(found.code, exact, rtol=1e-4, atol=1e-5)
    assert found.quadratic.energy == pytest.approx(found.energies[-1])
    assert total([linear_term(A, b)] * 2, exact).energy == pytest.approx(
        2 * linear_term(A, b)(exact).energy
    )


def test_the_code_of_a_new_ellipsoid_is_found() -> None:
    field, axes = ellipsoids(), (0.75, 0.42, 0.58)
    points = points_in_box(1500).float()
    truth = ellipsoid(points, axes)
    terms = [distance_term(field, points, truth), norm_term()]
    start = min(field.codes, key=lambda code: total(terms, code).energy)
    assert torch.equal(start, field.codes[AXES.index((0.75, 0.35, 0.65))]) or torch.equal(
        start, field.codes[AXES.index((0.75, 0.5, 0.5))]
    )
    found = fit_code(terms, start, LatentFitSettings(iterations=30))
    assert all(b <= a for a, b in zip(found.energies, found.energies[1:], strict=False))
    assert found.energies[-1] < 0.7 * found.energies[0]
    mesh = extract_field(field.field(found.code), coarse=24, levels=1)
    size = torch.tensor(mesh.extents.tolist()).double() / 2
    torch.testing.assert_close(size, torch.tensor(axes).double(), rtol=0, atol=0.03)
