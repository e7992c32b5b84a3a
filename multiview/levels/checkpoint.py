"""Everything that the next pass depends on, in a file; a run goes on where its last one was."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from multiview.levels.methods import Method
from multiview.levels.state import Fit
from multiview.photo.choose_appearance import Choice
from multiview.run_folder import CHECKPOINT, RunFolder
from multiview.scenes.corrections import Corrections
from multiview.surgery.floaters import Removed
from sdfrender import Lattice
from sdfrender.files.tensors import expect, need_tensor


@dataclass(frozen=True, eq=False)
class Position:
    """Where a run was when its checkpoint was written."""

    level: int
    passes: int  # complete ones in this level
    tensors: dict[str, Tensor]


def save_checkpoint(
    state: Fit,
    run: RunFolder,
    method: Method,
    generator: torch.Generator,
    losses: Tensor,
    position: tuple[int, int],
) -> None:
    """Write everything that the next pass depends on."""
    tensors = {
        **method.state(),
        "bounds": state.lattice.bounds,
        "losses": losses,
        "generator": generator.get_state(),
        "stereo": torch.tensor(state.stereo),
        **state.appearance.state(),
    }
    if state.corrections is not None:
        tensors["rotations"] = state.corrections.rotations
        tensors["translations"] = state.corrections.translations
        tensors["intrinsics"] = state.corrections.intrinsics
    if state.gains is not None:
        tensors["gains"] = state.gains
    progress = {
        "position": position,
        "updates": state.updates,
        "seconds": state.seconds,
        "removed": [asdict(body) for body in state.removed],
        "choices": [choice.packed() for choice in state.choices],
        "beside": state.beside,
    }
    run.save_checkpoint(tensors, progress)


def restore(
    state: Fit, run: RunFolder, generator: torch.Generator, losses: Tensor
) -> Position | None:
    """Take up a run where its last checkpoint left it; None when it has none yet."""
    found = run.load_checkpoint()
    if found is None:
        run.truncate_log(0)
        return None
    with expect(run.checkpoint, CHECKPOINT):
        position = _restored(state, generator, losses, *found)
    run.truncate_log(state.updates)
    return position


def _restored(
    state: Fit,
    generator: torch.Generator,
    losses: Tensor,
    tensors: dict[str, Tensor],
    progress: dict[str, Any],
) -> Position:
    """Take up what a checkpoint holds."""
    values = need_tensor(tensors, "values", ("X", "Y", "Z"))
    state.lattice = Lattice(values * need_tensor(tensors, "cell", ()), tensors["bounds"])
    if tensors["losses"].shape != losses.shape:
        raise ValueError(f"losses of {len(tensors['losses'])} views and not of {len(losses)}")
    losses.copy_(tensors["losses"])
    generator.set_state(tensors["generator"])
    state.appearance.restore(tensors, values.numel())
    if state.corrections is not None:
        moved = tensors["rotations"], tensors["translations"]
        state.corrections = Corrections(*moved, state.corrections.center, tensors["intrinsics"])
    state.gains = tensors.get("gains")
    state.stereo = bool(tensors["stereo"])
    state.beside = progress.get("beside")
    state.updates, state.seconds = progress["updates"], progress["seconds"]
    state.removed = [Removed(**body) for body in progress.get("removed", ())]
    state.choices = [Choice.unpacked(stored) for stored in progress["choices"]]
    level, passes = progress["position"]
    return Position(level, passes, tensors)
