"""In a process of its own: steps of a fit on a card that numba simulates and torch pretends.

`python simulated_fit.py FILE NAME`: FILE has what `card_fits.given` makes; results, and what was
copied to the host inside steps, are written in its place.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["NUMBA_ENABLE_CUDASIM"] = os.environ["NUMBA_DISABLE_JIT"] = "1"
sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[1] / "scenes"))

import card_fits
import torch
from processes.pretended_card import CARD, PretendedCard, memory
from safetensors.torch import load_file, save_file

from multiview.optimize.gauss_newton import GaussNewton
from sdfrender.engines.cuda import available
from sdfrender.rendering import cuda_ops, render  # noqa: F401  # loads what is looked at below
from sdfrender.rendering.linear import card_linearization  # noqa: F401


def open_the_memory() -> None:
    """Let simulated kernels write to what is on the pretended card."""
    for name, module in list(sys.modules.items()):
        if name.startswith("sdfrender.engines.cuda") and hasattr(module, "array"):
            module.array = lambda x: memory(x.detach()).numpy()  # type: ignore[attr-defined]
    for module in (available, sys.modules["sdfrender.rendering.render"]):
        module.device_obstacle = lambda device: None  # type: ignore[attr-defined]


def main(file: str, name: str) -> None:
    """Run and write."""
    open_the_memory()
    largest: list[int] = [0]
    step = GaussNewton.iterate

    def watched(self: GaussNewton, *arguments: Any) -> Any:
        PretendedCard.forget()
        out = step(self, *arguments)
        sizes = [torch.Size(shape).numel() for shape in PretendedCard.copied]
        largest.append(max(sizes, default=0))
        return out

    GaussNewton.iterate = watched  # type: ignore[method-assign]
    known = load_file(file)
    with PretendedCard():
        found = card_fits.results(name, known, CARD)
    found["largest copy"] = torch.tensor(max(largest))
    save_file({key: memory(x).clone() for key, x in found.items()}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
