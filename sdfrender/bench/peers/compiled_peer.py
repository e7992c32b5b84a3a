"""torch.compile: the sphere tracer with its steps fused into one loop by TorchInductor.

The steps are most of the time. They are written out here as gathers and arithmetic, which
Inductor fuses; the kernel that the tracer calls otherwise is closed to it. The rest is the same.
"""

from __future__ import annotations

import logging
import warnings
from unittest.mock import patch

import torch
from torch import Tensor

from sdfrender.bench.candidates import Cotangents, RenderSession, Session, Task, Unavailable
from sdfrender.bench.workloads import BenchScene
from sdfrender.engines.reference import sphere_tracer
from sdfrender.engines.reference.sphere_tracer import STEPS_AT_ONCE
from sdfrender.rendering.render import Rendering


def open_session(scene: BenchScene, task: Task, cotangents: Cotangents) -> Session:
    """The steps compiled, for any number of rays.

    Raises:
        Unavailable: Inductor does not work here; it needs a C++ compiler.
    """
    session = CompiledSession(scene, task, cotangents)
    try:
        session.forward()
    except Exception as error:  # whatever the compiler and its compiler run into
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable(f"torch.compile does not work here: {words}") from None
    return session


class CompiledSession(RenderSession):
    """The reference engine's sphere tracer with compiled steps."""

    def __init__(self, scene: BenchScene, task: Task, cotangents: Cotangents) -> None:
        super().__init__(scene, task, cotangents, "reference", "sphere")
        logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
        self.advance = torch.compile(advance, dynamic=True)

    def render(self) -> Rendering:
        """The rendering of the lattice as it is now."""
        with patch.object(sphere_tracer, "advance", self.advance), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own
            return super().render()


def advance(field: Tensor, o: Tensor, d: Tensor, t: Tensor, close: float) -> tuple[Tensor, Tensor]:
    """`sphere_tracer.advance` in terms that the compiler can fuse: `t` `[R]` after some steps.

    Of a lattice `field` and rays `o`, `d` `[R, 3]`.
    """
    near = t < 0
    for _ in range(STEPS_AT_ONCE):
        phi = interpolate_where(field, torch.addcmul(o, t[:, None], d))
        near = phi < close
        t = t + torch.where(near, 0.0, phi)
    return t, near


def interpolate_where(field: Tensor, where: Tensor) -> Tensor:
    """`sampling.sample_where` of `[X, Y, Z, 1]` by eight gathers: `[P]`."""
    X, Y, Z, _ = field.shape
    values = field.reshape(-1)
    sizes = zip(where.unbind(1), (Z, Y, X), strict=True)
    z, y, x = (((w + 1) * (0.5 * (n - 1))).clamp(0, n - 1) for w, n in sizes)
    i, j, k = (u.floor().clamp(max=n - 2) for u, n in ((x, X), (y, Y), (z, Z)))
    x, y, z = x - i, y - j, z - k
    i, j, k = (u.to(torch.int32) for u in (i, j, k))
    corner = (i * Y + j) * Z + k

    def edge(offset: int) -> Tensor:
        """Between the two samples of an edge along z."""
        near, far = values[corner + offset], values[corner + (offset + 1)]
        return near + (far - near) * z

    low = edge(0) + (edge(Z) - edge(0)) * y
    high = edge(Y * Z) + (edge(Y * Z + Z) - edge(Y * Z)) * y
    return low + (high - low) * x
