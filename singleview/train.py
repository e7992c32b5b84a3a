"""Training: an image in, a lattice out, compared with other pictures of the same object."""

from __future__ import annotations

import shutil
import sys
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from sdfrender import Lattice, Lighting, Rendering, render
from sdfrender.files import write_json
from singleview.batches import Sampler, Step
from singleview.checkpoint import read_checkpoint, restore, save_checkpoint, save_model
from singleview.config import TrainConfig
from singleview.data.dataset import Dataset, open_dataset
from singleview.distributed import Job, join
from singleview.losses import Losses, Weights, image_losses, regularisers, shape_loss
from singleview.models import Small, build_model
from singleview.prepare import check_dataset, prepare
from singleview.refine import Rig, teach_cameras
from singleview.run_folder import RunFolder
from singleview.schedule import schedule
from singleview.state import Clock, State, selection
from singleview.validate import draw_predictions, validate

CHECKPOINT_SECONDS = 120.0
MAX_ANCHORS = 256


def train(config: TrainConfig, quiet: bool = False) -> dict[str, Any]:
    """Train a network on a dataset and write the run folder.

    All input is read and checked before anything is written. Ctrl-C ends the training and saves
    what there is; `config.resume` continues from the last checkpoint. Under `torchrun` the
    processes share the work of one.

    Args:
        config: the settings.
        quiet: no progress bars.

    Returns:
        The contents of `metrics.json`.

    Raises:
        InputError: names the file or option, the rule and the value.
        ProcessLost: another process of the job has ended.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        with join(config.device, config.batch) as job:
            return _train(config, job, quiet or not job.first)
    finally:
        torch.set_num_threads(threads)


def _train(config: TrainConfig, job: Job, quiet: bool) -> dict[str, Any]:
    dataset = open_dataset(config.dataset, config.image_size)
    check_dataset(config, dataset)
    run, clock = RunFolder(config), Clock()
    sampler = Sampler(config, dataset.split("train"))
    held_out = dataset.split("val") if "val" in dataset.splits else None
    if config.resume:
        read_checkpoint(run)  # a damaged one is told before any work
    if job.first:
        run.begin()
    job.wait()
    prepare(config, sampler, run, job, quiet)

    torch.manual_seed(config.seed)
    anchors = min(len(sampler.real), MAX_ANCHORS)
    model = build_model(config.size, dataset.channels, config.resolution, anchors=anchors)
    if isinstance(model, Small) and sampler.use_shapes:
        model.span(*sampler.known_shapes())
    state = State(model.to(job.device), config, clock)
    if config.resume:
        restore(state, sampler, run)
        if job.first:
            run.truncate_logs(state.step)
    try:
        optimize(state, sampler, held_out, run, job, quiet)
    except KeyboardInterrupt:
        state.interrupted = True
        print("interrupted: saving what there is (continue with --resume)", file=sys.stderr)
    return finish(state, sampler, held_out, run) if job.first else {}


def optimize(
    state: State, sampler: Sampler, held_out: Dataset | None, run: RunFolder, job: Job, quiet: bool
) -> None:
    """The training loop."""
    config, clock = state.config, state.clock
    state.begin()
    bar = progress_bar(quiet)
    model: nn.Module | None = None
    saved = clock.seconds
    while (done := state.done(job)) < 1 and not state.stale:
        now = schedule(config, done)
        if model is None or now.stage != state.stage:
            state.enter(now.stage)
            model = job.wrap(state.model)

        with clock.time("data"):
            step = sampler.draw(job, now.half_size)
        with clock.time("network"):
            values = predict(model, step, job, config)
        losses, v_values = compare(values, step, sampler.real, now.weights, clock)
        with clock.time("network"):
            state.update(values, v_values, now.rate)

        state.record(losses, now, job)
        if state.due(done, job):
            if job.first:
                with clock.time("validation"):
                    look(state, sampler, held_out, run)
            state.share_verdict(job)
        if job.first and clock.seconds - saved > CHECKPOINT_SECONDS:
            save(state, sampler, run)
            saved = clock.seconds
        show(bar, state, done)
    bar.close()


def predict(model: nn.Module, step: Step, job: Job, config: TrainConfig) -> Tensor:
    """Lattices `[B, R, R, R]`, float32, of the input pictures; mirrored where those were."""
    mixed = config.precision == "bfloat16"
    if config.precision == "auto":
        mixed = job.device.type == "cuda" and torch.cuda.is_bf16_supported()
    with torch.autocast(job.device.type, torch.bfloat16, enabled=mixed):
        values: Tensor = model(step.inputs)
    return torch.where(step.flipped[:, None, None, None], values.flip(1), values).float()


def compare(
    values: Tensor, step: Step, real: Dataset, weights: Weights, clock: Clock
) -> tuple[Losses, Tensor]:
    """Every term of the loss of B lattices, and its gradient.

    Args:
        values: `[B, R, R, R]`, world units.
        step: what to compare with.
        real: the dataset, for its light and its box.
        weights: of the terms.
        clock: told what the renderer takes.

    Returns:
        The terms, and the gradient of their sum with respect to `values`, `[B, R, R, R]`.
    """
    surface = values.detach().requires_grad_()
    lattice = Lattice(surface, real.bounds)
    losses = Losses.of(surface)
    if step.real:
        with clock.time("renderer"):
            out = render_views(lattice, step, real.lighting)
            shaded = real.lighting is not None
            losses = image_losses(out, step.images, step.silhouettes, shaded)
            losses.total(weights).backward()  # type: ignore[no-untyped-call]
    with clock.time("losses"):
        others = regularisers(lattice, weights.band) if step.real else Losses.of(surface)
        if step.shapes is not None:
            others = replace(others, shape=shape_loss(surface, step.shapes))
        others.total(weights).backward()  # type: ignore[no-untyped-call]
    assert surface.grad is not None
    return losses + others, surface.grad


def render_views(lattice: Lattice, step: Step, lighting: Lighting | None) -> Rendering:
    """B lattices from k views each: one call where all objects share their cameras."""
    if step.shared:
        return render(lattice, step.cameras, lighting=lighting)
    k = step.images.shape[1]
    parts = [
        render(lattice.with_values(one), step.cameras[b * k : (b + 1) * k], lighting=lighting)
        for b, one in enumerate(lattice.values)
    ]
    names = [f.name for f in fields(Rendering)]
    return Rendering(**{n: torch.stack([getattr(out, n) for out in parts]) for n in names})


# ---------------------------------------------------------------------- looking on and saving


def look(state: State, sampler: Sampler, held_out: Dataset | None, run: RunFolder) -> None:
    """Validate the averaged weights, draw what they predict, save."""
    with state.averaged_weights() as network:
        device = next(state.model.parameters()).device
        shown = held_out or sampler.real
        draw_predictions(
            run.path / "predictions" / f"step_{state.step:06d}.png", network, shown, device
        )
        if held_out is not None:
            state.judge(validate(network, held_out, device))
    save(state, sampler, run)


def save(state: State, sampler: Sampler, run: RunFolder) -> None:
    """Write the logs and a checkpoint."""
    run.log("losses.csv", state.take_rows())
    run.log("validation.csv", state.take_validations())
    save_checkpoint(state, sampler, run)


def finish(
    state: State, sampler: Sampler, held_out: Dataset | None, run: RunFolder
) -> dict[str, Any]:
    """Write weights and metrics; of a training that has ended, nothing is kept to resume with."""
    if not state.interrupted and state.looked_at != state.step:
        look(state, sampler, held_out, run)
    save(state, sampler, run)
    metrics = summary(state)
    about: dict[str, Any] = {"metrics": metrics}
    state.model.load_state_dict(state.kept_weights())
    state.model.cpu().eval()
    rig = Rig.of(sampler.real)
    if isinstance(state.model, Small) and rig is not None:
        metrics["tells_camera"] = round(teach_cameras(state.model, sampler, rig), 4)
        about["rig"] = rig.to_dict()
    save_model(run.path / "model.safetensors", state.model, about)
    write_json(run.path / "metrics.json", metrics)
    if not state.interrupted:
        shutil.rmtree(run.path / "made_up", ignore_errors=True)
    return metrics


def summary(state: State) -> dict[str, Any]:
    """What the training cost, and how good its best weights are on the objects for validation."""
    settings = state.config
    metrics: dict[str, Any] = {
        "size": settings.size,
        "supervision": settings.supervision,
        "steps": state.step,
        "seconds": round(state.clock.seconds, 1),
        "cpu_seconds": round(state.clock.cpu_seconds, 1),
        "shares_of_a_step": {k: round(v, 4) for k, v in state.clock.shares().items()},
        "validation": state.best,
    }
    if state.interrupted:
        metrics["interrupted"] = True
    return metrics


def progress_bar(quiet: bool) -> Any:
    """A bar over the training, in percent; slower where nobody looks on."""
    return tqdm(
        total=100.0,
        disable=quiet,
        bar_format="{percentage:3.0f}%|{bar}| {elapsed} gone{postfix}",
        mininterval=0.2 if sys.stderr.isatty() else 30.0,
    )


def show(bar: Any, state: State, done: float) -> None:
    """Bring the bar up to date."""
    score = f", IoU {selection(state.best):.3f}" if state.best else ""
    text = f"step {state.step}, loss {state.recent_loss:.4f}{score}"
    bar.set_postfix_str(text, refresh=False)
    bar.update(max(0.0, min(100.0, 100 * done) - bar.n))
