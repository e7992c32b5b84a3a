"""What is timed on an NVIDIA card: the engine for it, and the reference engine on the same card.

Beside the times stand the least that a card can take, for the bytes and for the operations. What a
card can do is measured, not looked up: how fast it copies, and how many multiplications with an
addition in float64 it does in a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from numba import cuda
from torch import Tensor

from sdfrender.bench.candidates import (
    TASKS,
    Candidate,
    Cotangents,
    RenderSession,
    Seen,
    Session,
    Task,
    Unavailable,
)
from sdfrender.bench.clock import card_seconds
from sdfrender.bench.workloads import BenchScene
from sdfrender.engines.cuda.arrays import array, current_stream
from sdfrender.engines.cuda.available import device_obstacle
from sdfrender.engines.cuda.target import kernel, launch

CARD = "card"
PIXEL = 4 * (1 + 1 + 1 + 3) + 1  # bytes of images: colour, coverage, depth, normal, hit
RECORD = 24 + 8 + 4  # bytes of an event, its pixel's index and count
# float64 operations of a ray through the box and of a hit, at least: each instruction of a kernel
# once. Divisions and roots, which are many operations, count as one.
OF_A_RAY, OF_A_HIT, OF_A_HIT_BACK = 100, 500, 800
COPIED = 1 << 30  # bytes
CHAINS, STEPS, ADDERS = 8, 2048, 1 << 20


def card_candidates() -> list[Candidate]:
    """The engines on a card. Their speed-up is over the PyTorch path on the card."""
    return [
        Candidate("cuda, torch exact", TASKS, _on_card("reference"), True, card_seconds, CARD),
        Candidate("cuda", TASKS, _on_card("cuda"), False, card_seconds, CARD),
    ]


class CardSession(RenderSession):
    """`render` of a scene that is on the card."""

    def __init__(self, scene: BenchScene, task: Task, cotangents: Cotangents, engine: str) -> None:
        lattice = scene.lattice.to("cuda")
        here = BenchScene(lattice, scene.cameras.to(lattice.values))
        moved = Cotangents(**{name: x.cuda() for name, x in vars(cotangents).items()})
        super().__init__(here, task, moved, engine, "exact")

    def seen(self) -> Seen:
        """The results, on the CPU."""
        return Seen(*(x.cpu() for x in vars(super().seen()).values()))


def _on_card(engine: str) -> Callable[[BenchScene, Task, Cotangents], Session]:
    def open_session(scene: BenchScene, task: Task, cotangents: Cotangents) -> Session:
        if not torch.cuda.is_available():
            raise Unavailable("torch sees no NVIDIA card here")
        obstacle = device_obstacle(torch.device("cuda")) if engine == "cuda" else None
        if obstacle:
            raise Unavailable(obstacle)
        return CardSession(scene, task, cotangents, engine)

    return open_session


def card_numbers() -> dict[str, Any]:
    """What the document says about the card; empty without one."""
    if not torch.cuda.is_available():
        return {}
    card = torch.cuda.get_device_properties(0)
    return {
        "card": card.name,
        "card_memory_mb": card.total_memory / 1e6,
        "card_multiprocessors": card.multi_processor_count,
        "cuda": torch.version.cuda,
    }


def floors(scene: BenchScene, hit_mask: Tensor) -> dict[str, float]:
    """Milliseconds that forward and backward take at least, by bytes and by operations.

    Everything that is written or read is counted once.

    Args:
        scene: lattice and cameras.
        hit_mask: `[N, H, W]` which rays meet the surface.
    """
    rays, hits = hit_mask.numel(), int(hit_mask.sum())
    lattice = scene.lattice.values.numel() * scene.lattice.values.element_size()
    forward = lattice + PIXEL * rays + RECORD * hits
    backward = 2 * lattice + (PIXEL - 1) * hits + RECORD * hits
    operations = OF_A_RAY * rays + (OF_A_HIT + OF_A_HIT_BACK) * hits
    return {
        "bytes_floor_ms": 1e3 * (forward + backward) / bytes_per_second(),
        "operations_floor_ms": 1e3 * operations / operations_per_second(),
    }


@lru_cache
def bytes_per_second() -> float:
    """Read and written by a copy on the card."""
    x = torch.zeros(COPIED, dtype=torch.uint8, device="cuda")
    y = torch.zeros_like(x)

    def copy() -> None:
        y.copy_(x)

    copy()
    return 2 * COPIED / card_seconds(copy)


@lru_cache
def operations_per_second() -> float:
    """Multiplications with an addition in float64, each of which is one operation."""
    out = torch.zeros(ADDERS, dtype=torch.float64, device="cuda")
    with current_stream(out.device) as stream:

        def run() -> None:
            launch(multiply_and_add, ADDERS, stream, 1.0 - 1e-9, array(out))

        run()
        return CHAINS * STEPS * ADDERS / card_seconds(run)


@kernel
def multiply_and_add(factor: float, out: Any) -> None:
    """Eight chains of multiplications with an addition, which do not wait for each other."""
    i = cuda.grid(1)
    a = b = c = d = e = f = g = h = 1.0 * i
    for _ in range(STEPS):
        a, b, c, d = a * factor + 1, b * factor + 2, c * factor + 3, d * factor + 4
        e, f, g, h = e * factor + 5, f * factor + 6, g * factor + 7, h * factor + 8
    out[i] = a + b + c + d + e + f + g + h
