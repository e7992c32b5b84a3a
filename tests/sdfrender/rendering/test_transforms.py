"""Renders inside what transforms functions: torch.compile leaves them alone, torch.func is told."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sdfrender import Cameras, Lattice, linearize, primitives, render, render_field

# torch warns of its own parts
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")

EYE = Cameras.look_at([[0.0, 0.0, 3.0]], width=9, height=7)
BALL = Lattice.sphere(0.5, resolution=(9, 8, 7))


def loss(values: Tensor, engine: str = "auto") -> Tensor:
    """Constructs the lattice, renders, and computes with the images."""
    out = render(Lattice(values * 1.5, BALL.bounds), EYE, engine=engine)
    return (out.images**2).sum() + 2 * out.silhouettes.mean()


def operator(values: Tensor) -> Tensor:
    J = linearize(BALL.with_values(values), EYE)
    moved, _ = J.jvp(values * 2)
    return J.vjp(moved + 1) * 3


def field(values: Tensor) -> Tensor:
    images = render_field(primitives.sphere(0.5), EYE).images
    return images * values.sum() + BALL.with_values(values).redistance().sample(EYE.centers)


@pytest.mark.parametrize("function", [loss, operator, field])
def test_torch_compile_gives_the_same(function: Callable[[Tensor], Tensor]) -> None:
    # whether the graphs are compiled to machine code makes no difference to where they break
    compiled = torch.compile(function, backend="aot_eager")
    for k in range(2):
        values = BALL.values + 0.01 * k
        plain, other = values.clone().requires_grad_(), values.clone().requires_grad_()
        expected, found = function(plain), compiled(other)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
        if function is loss:
            expected.backward()
            found.backward()
            torch.testing.assert_close(other.grad, plain.grad, rtol=1e-5, atol=1e-7)


def test_a_graph_that_must_not_break_is_told_why() -> None:
    with pytest.raises(RuntimeError, match=r"torch\.compiler\.disable"):
        torch.compile(loss, fullgraph=True, backend="eager")(BALL.values)


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_transforms_of_functions_are_told_what_to_use_instead(engine: str) -> None:
    transforms: list[Callable[[], object]] = [
        lambda: torch.vmap(lambda x: loss(x, engine))(BALL.values[None]),
        lambda: torch.func.grad(lambda x: loss(x, engine))(BALL.values),
        lambda: torch.func.jacrev(lambda x: loss(x, engine))(BALL.values),
        lambda: torch.func.jvp(lambda x: loss(x, engine), (BALL.values,), (BALL.values,)),
        lambda: torch.func.grad(lambda a: render(BALL, EYE, albedo=a, engine=engine).images.sum())(
            torch.ones(3)
        ),
        lambda: torch.vmap(operator)(BALL.values[None]),
    ]
    for transform in transforms:
        with pytest.raises(RuntimeError, match=r"torch\.func's transforms .*linearize"):
            transform()


def test_other_ways_to_the_derivative() -> None:
    jacobian = torch.autograd.functional.jacobian
    found = jacobian(loss, BALL.values)
    values = BALL.values.clone().requires_grad_()
    loss(values).backward()
    torch.testing.assert_close(found, values.grad)
    with pytest.raises(RuntimeError, match=r"derivative of render: torch\.func's transforms"):
        jacobian(lambda x: loss(x)[None].expand(2), BALL.values, vectorize=True)
    forward = torch.autograd.forward_ad
    with pytest.raises(NotImplementedError, match="linearize"), forward.dual_level():
        loss(forward.make_dual(BALL.values, BALL.values))
