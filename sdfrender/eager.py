"""What torch's transforms of functions cannot look into: kernels, and checks of numbers."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])

INSTEAD = (
    "torch.func's transforms (vmap, grad, jacrev, jvp) do not see into it: use backward() or "
    "torch.autograd.functional.jacobian(…, vectorize=False) for derivatives, sdfrender.linearize "
    "for products with the Jacobian and its transpose, and a batch [B, X, Y, Z] of lattices "
    "instead of vmap"
)


def eager(function: F) -> F:
    """Have `torch.compile` leave a function alone: the graph around it breaks there, cleanly.

    `torch.compiler.disable` does that, but loads the compiler, which takes seconds; here it is
    asked only where it is loaded already.
    """

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        compiler = sys.modules.get("torch._dynamo")
        if compiler is not None:
            return compiler.disable(function)(*args, **options)
        return function(*args, **options)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def transformed() -> bool:
    """Whether this is called inside a transform of `torch.func`."""
    level = getattr(getattr(torch._C, "_functorch", None), "maybe_current_level", None)
    return level is not None and level() is not None


def need_plain(name: str) -> None:
    """Check that a function is not inside a transform of `torch.func`.

    Raises:
        RuntimeError: it is; says what to use instead.
    """
    if transformed():
        raise RuntimeError(f"{name}: {INSTEAD}")
