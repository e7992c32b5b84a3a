"""What is timed: the engines of `render`, and peers.

A candidate is opened on a scene for one of its tasks. Opening is not timed; `forward` and
`forward_backward` are. To add one, write a `Session` and append a `Candidate` to `engines()` or
`sdfrender.bench.peers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from sdfrender.bench.clock import seconds
from sdfrender.bench.workloads import BenchScene
from sdfrender.rendering.render import ENGINES, Rendering, render

Task = Literal["hits", "coverage"]  # one ray per pixel, or anti-aliased silhouettes too
TASKS: tuple[Task, ...] = ("hits", "coverage")
BASELINE = "torch exact"  # in float64 it gives the hits and gradients that all are compared to


class Unavailable(Exception):
    """A candidate cannot run here; the message says why, in one line."""


@dataclass(frozen=True, eq=False)
class Cotangents:
    """Derivatives of a loss in the outputs of a rendering, the same for every candidate.

    Those of depths and normals are zero where the ray misses, and all are finite.

    Args:
        images: `[N, H, W, 1]`.
        silhouettes: `[N, H, W]`; used by the task "coverage" only.
        depths: `[N, H, W]`.
        normals: `[N, H, W, 3]`.
    """

    images: Tensor
    silhouettes: Tensor
    depths: Tensor
    normals: Tensor

    @classmethod
    def random(cls, hit_mask: Tensor, seed: int = 0) -> Cotangents:
        """Normally distributed ones for a rendering with these hits `[N, H, W]`."""
        generator = torch.Generator().manual_seed(seed)

        def normal(channels: int) -> Tensor:
            return torch.randn(*hit_mask.shape, channels, generator=generator)

        hit = hit_mask.float()[..., None]
        return cls(normal(1), normal(1)[..., 0], (hit * normal(1))[..., 0], hit * normal(3))


@dataclass(frozen=True, eq=False)
class Seen:
    """What a candidate answered, to be compared with the others.

    Args:
        hit_mask: `[N, H, W]` bool.
        depths: `[N, H, W]`, world units.
        gradient: `[X, Y, Z]` of the loss in the lattice's values.
    """

    hit_mask: Tensor
    depths: Tensor
    gradient: Tensor


class Session(Protocol):
    """A candidate with everything ready to run a task on a scene."""

    def forward(self) -> None:
        """Render, without derivatives."""

    def forward_backward(self) -> None:
        """Render, then derive the loss in the lattice's values."""

    def seen(self) -> Seen:
        """Do both once, and return the results."""


@dataclass(frozen=True)
class Candidate:
    """Something to time.

    Args:
        name: in the tables.
        tasks: what it can do.
        open: makes it ready; raises `Unavailable` where it cannot run.
        baseline: it is a PyTorch path, for the others in the same place to be compared to.
        clock: takes the time of a call.
        place: where it works.
    """

    name: str
    tasks: tuple[Task, ...]
    open: Callable[[BenchScene, Task, Cotangents], Session]
    baseline: bool = False
    clock: Callable[[Callable[[], None]], float] = seconds
    place: str = "cpu"


def engines() -> list[Candidate]:
    """The engines of `render` on the CPU; the reference engine with each of its tracers."""
    found = [
        Candidate(BASELINE, TASKS, _rendering("reference", "exact"), baseline=True),
        Candidate("torch sphere", ("hits",), _rendering("reference", "sphere"), baseline=True),
    ]
    others = [name for name in ENGINES if name not in ("auto", "cuda", "reference")]
    return found + [Candidate(name, TASKS, _rendering(name, "exact")) for name in others]


class RenderSession:
    """`render` with some engine and tracer, with the light at the eye and albedo 1."""

    def __init__(
        self, scene: BenchScene, task: Task, cotangents: Cotangents, engine: str, tracer: str
    ) -> None:
        self.scene, self.task, self.cotangents = scene, task, cotangents
        self.engine, self.tracer = engine, tracer
        self.values = scene.lattice.values.clone().requires_grad_()

    def render(self) -> Rendering:
        """The rendering of the lattice as it is now."""
        return render(
            self.scene.lattice.with_values(self.values),
            self.scene.cameras,
            coverage=self.task == "coverage",
            engine=self.engine,
            tracer=self.tracer,
        )

    def forward(self) -> None:
        """Render, without derivatives."""
        with torch.no_grad():
            self.render()

    def forward_backward(self) -> None:
        """Render, then derive the loss in the lattice's values."""
        self._derive(self.render())

    def seen(self) -> Seen:
        """Do both once, and return the results."""
        out = self.render()
        gradient = self._derive(out)
        return Seen(out.hit_mask, out.depths.detach(), gradient)

    def _derive(self, out: Rendering) -> Tensor:
        loss = self.cotangents
        outputs, cotangents = (
            [out.images, out.depths, out.normals],
            [loss.images, loss.depths, loss.normals],
        )
        if self.task == "coverage":
            outputs.append(out.silhouettes)
            cotangents.append(loss.silhouettes)
        self.values.grad = None
        torch.autograd.backward(outputs, cotangents)
        assert self.values.grad is not None
        return self.values.grad


def _rendering(engine: str, tracer: str) -> Callable[[BenchScene, Task, Cotangents], Session]:
    def open_session(scene: BenchScene, task: Task, cotangents: Cotangents) -> Session:
        return RenderSession(scene, task, cotangents, engine, tracer)

    return open_session
