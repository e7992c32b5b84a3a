"""The CPU engine in place of the one for cards, for tensors on a card that is pretended.

So a whole fit runs in a moment where the simulator would take hours: what is tested is what goes
where, not the kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any
from unittest.mock import patch

import torch
from processes.pretended_card import OnCard, PretendedCard, memory, on_card
from torch import Tensor

import multiview.device
import multiview.optimize.normal_equations
import multiview.photo.appearance
import sdfrender as sr


def plain(x: Any) -> Any:
    """The same on the host, without a copy."""
    if isinstance(x, Tensor):
        return memory(x)
    if isinstance(x, sr.Lattice | sr.Cameras | sr.Lighting | sr.Rendering):
        assert is_dataclass(x)
        return type(x)(**{f.name: plain(getattr(x, f.name)) for f in fields(x)})
    return x


def there(x: Any) -> Any:
    """A rendering, tensor or array on the card."""
    if isinstance(x, sr.Rendering):
        return sr.Rendering(*(on_card(y) for y in vars(x).values()))
    return on_card(x if isinstance(x, Tensor) else torch.from_numpy(x))


def render(lattice: sr.Lattice, cameras: sr.Cameras, **options: Any) -> sr.Rendering:
    """`sdfrender.render`, wherever the lattice is."""
    if not isinstance(lattice.values, OnCard):
        return sr.render(lattice, cameras, **options)
    options = {name: plain(x) for name, x in options.items()}
    found: sr.Rendering = there(sr.render(plain(lattice), plain(cameras), **options))
    return found


def linearize(lattice: sr.Lattice, cameras: sr.Cameras, **options: Any) -> Any:
    """`sdfrender.linearize`, wherever the lattice is."""
    if not isinstance(lattice.values, OnCard):
        return sr.linearize(lattice, cameras, **options)
    options = {name: plain(x) for name, x in options.items()}
    return Linearized(sr.linearize(plain(lattice), plain(cameras), **options))


class Linearized:
    """A `LinearizationOnCard`, and its products on some vertices."""

    def __init__(self, J: Any) -> None:
        self.rendering, self.outputs, self._J = there(J.rendering), J.outputs, J

    def on(self, vertices: Tensor) -> Linearized:
        self._products = self._J.on(memory(vertices).numpy())
        return self

    def jvp(self, x: Tensor, out: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        room = None if out is None else [memory(y) for y in out]
        return tuple(map(there, self._products.jvp(memory(x).numpy(), room)))

    def vjp(self, **rows: Tensor) -> Any:
        return there(self._products.vjp(**{name: memory(x) for name, x in rows.items()}))

    def squared_vjp(self, **rows: Tensor) -> Any:
        return there(self._products.squared_vjp(**{name: memory(x) for name, x in rows.items()}))

    def normal(self, **rows: Tensor) -> Any:
        product = self._products.normal(**{name: memory(x) for name, x in rows.items()})
        return lambda x: there(product(memory(x).numpy()))


@contextmanager
def cpu_as_card() -> Iterator[None]:
    """Fits find a card, which is this machine's CPU."""
    with (
        patch.object(multiview.photo.appearance, "render", render),
        patch.object(multiview.optimize.normal_equations, "linearize", linearize),
        patch.object(multiview.device, "card_obstacle", lambda: None),
        patch.object(torch.cuda, "current_device", lambda: 0),
        patch.object(torch.cuda, "get_device_name", lambda device: "a pretended card"),
        PretendedCard(),
    ):
        yield
