"""Checkpoints of a training, from which it goes on as if it had not stopped, and its weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdfrender import InputError
from sdfrender.files.tensors import expect, load_tensors, need_file, need_fit, save_tensors
from sdfrender.latent import field as latent_field
from sdfrender.latent.field import LatentField
from singleview.models import AutoDecoder, Model, build_model
from singleview.run_folder import RunFolder
from singleview.training.state import State

FORMAT = "singleview.model"
CHECKPOINT = "a checkpoint of this run (delete the file to begin it again with --resume)"

log = logging.getLogger("singleview")

# ---------------------------------------------------------------------- checkpoints


def save_checkpoint(state: State, generator: torch.Generator, run: RunFolder) -> None:
    """Write everything that the next step depends on."""
    tensors = {
        **_prefixed("model.", state.model.state_dict()),
        **_prefixed("averaged.", state.averaged),
        **_prefixed("kept.", state.kept),
        **_optimizer_tensors(state),
        "generator": generator.get_state(),
        "torch_generator": torch.get_rng_state(),
    }
    progress = {
        "step": state.step,
        "seconds": state.clock.seconds,
        "cpu_seconds": state.clock.cpu_seconds,
        "parts": state.clock.parts,
        "prepared": state.prepared,
        "best": state.best,
        "since_best": state.since_best,
        "looks": state.looks,
        "looked_at": state.looked_at,
        "stage": state.stage,
        "taken": state.taken,
        "recent_loss": state.recent_loss,
    }
    save_tensors(run.checkpoint, tensors, progress)


def read_checkpoint(run: RunFolder) -> tuple[dict[str, Tensor], Any] | None:
    """The last checkpoint of a run, or None when it has none yet.

    Returns:
        Tensors `[...]` by name, and what else there is of it.

    Raises:
        InputError: it is damaged.
    """
    if not run.checkpoint.exists():
        return None
    return load_tensors(run.checkpoint, CHECKPOINT)


def restore(state: State, generator: torch.Generator, run: RunFolder) -> None:
    """Take up a run where its last checkpoint left it; from the start when it has none yet.

    Raises:
        InputError: the checkpoint is damaged or of another network.
    """
    found = read_checkpoint(run)
    if found is None:
        log.info("%s: has no checkpoint yet, the run begins again", run.path)
        return
    tensors, progress = found
    with expect(run.checkpoint, CHECKPOINT):
        state.model.load_state_dict(_under("model.", tensors))
        for name in state.averaged:
            state.averaged[name].copy_(tensors[f"averaged.{name}"])
        device = next(state.model.parameters()).device
        state.kept = {k: x.to(device) for k, x in _under("kept.", tensors).items()}
        _restore_optimizer(state, tensors)
        generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["torch_generator"])
        state.step, state.stage = int(progress["step"]), int(progress["stage"])
        state.prepared, state.best = float(progress["prepared"]), dict(progress["best"])
        state.since_best = int(progress["since_best"])
        state.recent_loss = float(progress["recent_loss"])
        state.taken = int(progress.get("taken", 0))
        state.looks = int(progress["looks"])
        state.looked_at = int(progress.get("looked_at", state.step))  # older ones do not say
        state.clock.before = float(progress["seconds"])
        state.clock.cpu_before = float(progress["cpu_seconds"])
        state.clock.parts = {k: float(v) for k, v in progress["parts"].items()}


def _optimizer_tensors(state: State) -> dict[str, Tensor]:
    """Adam's moments and counts as `adam.NUMBER.NAME`, in the order of the parameters."""
    moments = state.optimizer.state_dict()["state"]
    return {
        f"adam.{number}.{name}": torch.as_tensor(x)
        for number, entries in moments.items()
        for name, x in entries.items()
    }


def _restore_optimizer(state: State, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, x in _under("adam.", tensors).items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = x
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})


# ---------------------------------------------------------------------- weights


def save_model(path: Path, model: Model, about: Mapping[str, Any], exact: bool = False) -> None:
    """Write a network's weights in float16, with what it takes to build it again.

    Args:
        path: ends in `.safetensors`.
        model: the network.
        about: how it was trained, as plain values.
        exact: keep the precision that the weights have.
    """
    if isinstance(model, AutoDecoder):
        model.decoder.about = dict(about)
        model.decoder.save(path, exact)
        return
    weights = model.state_dict()
    if not exact:
        weights = {k: x.half() if x.is_floating_point() else x for k, x in weights.items()}
    save_tensors(
        path, weights, {"format": FORMAT, "network": model.description(), "about": dict(about)}
    )


def load_model(path: Path) -> tuple[Model, dict[str, Any]]:
    """A network as `save_model` wrote it, ready to predict, and how it was trained.

    Args:
        path: of the weights, or of a run folder.

    Raises:
        InputError: no such file, or one that is damaged or no network of ours.
    """
    if path.is_dir():
        path = path / "model.safetensors"
    what = "the weights of a singleview network"
    need_file(path, what)
    weights, state = load_tensors(path, what)
    with expect(path, what):
        if state["format"] == latent_field.FORMAT:
            field = LatentField.load(path)
            return AutoDecoder(field).eval(), field.about
        if state["format"] != FORMAT:
            raise InputError(f"{path}: need {what}, got the format {state['format']!r}")
        network = dict(state["network"])
        need_fit(lambda: build_model(**network), weights, parts=network.get("blocks", 0))
        model = build_model(**network)
        model.load_state_dict(weights)
        about = dict(state["about"])
    if not all(bool(x.isfinite().all()) for x in model.state_dict().values()):
        raise InputError(f"{path}: need finite weights, got NaN or infinity")
    model.eval()
    return model, about


def start_from(model: Model, path: Path) -> None:
    """Give a network the weights of another of its kind.

    Args:
        model: the network; what it has no place for, as a head that tells cameras, is left out.
        path: of the weights, or of a run folder.

    Raises:
        InputError: weights that cannot be read, or of a network that is built in another way.
    """
    other, _ = load_model(path)
    need, got = (_built(x) for x in (model, other))
    if need != got:
        told = ", ".join(
            f"{key} {got.get(key)!r} where {need.get(key)!r} is trained"
            for key in sorted({*need, *got})
            if need.get(key) != got.get(key)
        )
        raise InputError(f"{path}: need a network as it is to be trained, got {told}")
    own = model.state_dict()
    model.load_state_dict({k: x for k, x in other.state_dict().items() if k in own})


def _built(model: Model) -> dict[str, Any]:
    """How a network is built, without the head that comes last."""
    return {k: x for k, x in model.description().items() if k != "cameras"}


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: x for name, x in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}
