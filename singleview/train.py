"""Training: the loop that all kinds of models share. What they learn from is their learner's."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from sdfrender.files.atomic import write_json
from sdfrender.files.scalars import need_tensorboard
from sdfrender.kernels.torch_threads import torch_threads
from singleview.run_folder import RunFolder
from singleview.settings.training import TrainConfig
from singleview.training.checkpoint import (
    read_checkpoint,
    restore,
    save_checkpoint,
    save_model,
    start_from,
)
from singleview.training.distributed import Job, join
from singleview.training.learners import open_learner
from singleview.training.learners.learner import Learner
from singleview.training.state import Clock, State, selection

CHECKPOINT_SECONDS = 120.0  # between checkpoints

log = logging.getLogger("singleview")


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
    if config.logs is not None:
        need_tensorboard()
    with torch_threads(config.threads), join(config.device, config.chosen_batch) as job:
        return _train(config, job, quiet or not job.first)


def _train(config: TrainConfig, job: Job, quiet: bool) -> dict[str, Any]:
    learner = open_learner(config)
    run = RunFolder(config, learner.terms, learner.scores)
    if config.resume:
        read_checkpoint(run)  # a damaged one is told before any work
    job.wait()  # until all have seen the folder as it was
    with run.held() if job.first else nullcontext():
        if job.first:
            run.begin()
        job.wait()
        return _work(learner, run, job, quiet)


def _work(learner: Learner, run: RunFolder, job: Job, quiet: bool) -> dict[str, Any]:
    """The training, in a folder that is ready for it."""
    config, clock = run.config, Clock()
    if config.start is not None:
        start_from(learner.build(), config.start)  # a wrong one is told before any work
    learner.prepare(run, job, quiet)
    torch.manual_seed(config.seed)
    model = learner.build()
    if config.start is not None:
        start_from(model, config.start)
    state = State(model.to(job.device), config, clock, learner.scores)
    if config.resume:
        restore(state, learner.generator, run)
        learner.taken = state.taken
        if job.first:
            run.resume_logs(state.step, state.looked_at)
    try:
        optimize(state, learner, run, job, quiet)
    except KeyboardInterrupt:
        state.interrupted = True
        log.warning("interrupted: saving what there is (continue with --resume)")
    return finish(state, learner, run) if job.first else {}


def optimize(state: State, learner: Learner, run: RunFolder, job: Job, quiet: bool) -> None:
    """The training loop."""
    clock = state.clock
    state.begin()
    bar = progress_bar(quiet, state.done(job))
    model: nn.Module | None = None
    saved = clock.seconds
    while True:
        done = state.done(job)
        if state.due(done):  # also what was cut off before the run was resumed
            look_on(state, learner, run, job)
        if done >= 1 or state.stale:
            break
        settings = learner.schedule(done)
        if model is None or settings.stage != state.stage:
            enter(state, learner, settings.stage)
            model = job.wrap(state.model)

        state.optimizer.zero_grad(set_to_none=True)
        terms = learner.learn(model, settings, job, clock)
        with clock.time("network"):
            state.update(settings.rate)
        state.taken = learner.taken

        state.record(terms, settings, job)
        if job.first and clock.seconds - saved > CHECKPOINT_SECONDS:
            save(state, learner, run)
            saved = clock.seconds
        show(bar, state, done)
    bar.close()


def enter(state: State, learner: Learner, stage: int) -> None:
    """Go on to a stage of the training, or back to it after looking on."""
    state.stage = stage
    state.model.train()
    learner.enter(state.model, stage)


# ---------------------------------------------------------------------- looking on and saving


def look_on(state: State, learner: Learner, run: RunFolder, job: Job) -> None:
    """The first process validates; all learn how it went."""
    if job.first:
        with state.clock.time("validation"):
            look(state, learner, run)
    state.share_verdict(job)


def look(state: State, learner: Learner, run: RunFolder) -> None:
    """Validate the averaged weights, draw what they predict, save.

    Cut off, it leaves the state as it was: the validation is made when the run is resumed.
    """
    with state.averaged_weights() as network, unchanged_if_cut_off(learner.generator):
        learner.draw(network, run.path / "predictions" / f"step_{state.step:06d}.png")
        scores = learner.validate(network)
    enter(state, learner, max(state.stage, 0))
    state.judge(scores)
    save(state, learner, run)


@contextmanager
def unchanged_if_cut_off(generator: torch.Generator) -> Iterator[None]:
    """Random numbers go on as if nothing had been drawn in a block that is cut off."""
    before, own = torch.get_rng_state(), generator.get_state()
    try:
        yield
    except BaseException:
        torch.set_rng_state(before)
        generator.set_state(own)
        raise


def save(state: State, learner: Learner, run: RunFolder) -> None:
    """Write the logs and a checkpoint."""
    run.log("losses.csv", state.rows)
    state.rows = []
    run.log("validation.csv", state.validation_rows)
    state.validation_rows = []
    save_checkpoint(state, learner.generator, run)


def finish(state: State, learner: Learner, run: RunFolder) -> dict[str, Any]:
    """Write weights and metrics; of a training that has ended, nothing is kept to resume with."""
    if not state.interrupted and state.looked_at != state.step:
        look(state, learner, run)
    save(state, learner, run)
    state.model.load_state_dict(state.kept_weights())
    state.model.cpu().eval()
    about, found = learner.conclude(state.model)
    state.best.update(found.pop("validation", {}))  # of the network as it is now
    metrics = {**summary(state), **found}
    save_model(run.path / "model.safetensors", state.model, {**about, "metrics": metrics})
    write_json(run.path / "metrics.json", metrics)
    if not state.interrupted:
        shutil.rmtree(run.path / "made_up", ignore_errors=True)
    return metrics


def summary(state: State) -> dict[str, Any]:
    """What the training cost, and how good its best weights are on the objects for validation."""
    config = state.config
    metrics: dict[str, Any] = {
        "model": config.model,
        "size": config.chosen_size,
        "recipe": config.chosen_recipe,
        "steps": state.step,
        "seconds": round(state.clock.seconds, 1),
        "cpu_seconds": round(state.clock.cpu_seconds, 1),
        "shares_of_a_step": {k: round(v, 4) for k, v in state.clock.shares().items()},
        "validation": state.best,
    }
    if config.model == "sdfdiff":
        metrics["supervision"] = config.supervision
    elif config.model == "occupancy":
        metrics["input"] = config.occupancy.input
    if state.interrupted:
        metrics["interrupted"] = True
    return metrics


def progress_bar(quiet: bool, done: float = 0.0) -> Any:
    """A bar over the training, in percent, with the time left; slower where nobody looks on.

    Of a training that goes on, `done` is the part that is behind: it says nothing of the pace.
    """
    return tqdm(
        total=100.0,
        initial=100 * done,
        disable=quiet,
        bar_format="{percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}",
        mininterval=0.2 if sys.stderr.isatty() else 30.0,
    )


def show(bar: Any, state: State, done: float) -> None:
    """Bring the bar up to date."""
    score = ""
    if state.best:
        name = next(n for n in state.scores if n in state.best)
        label = {"iou_32": "IoU", "iou": "IoU", "silhouette_iou": "silhouettes"}.get(name, name)
        score = f", {label} {selection(state.best, state.scores):.3f}"
    text = f"step {state.step}, loss {state.recent_loss:.4f}{score}"
    bar.set_postfix_str(text, refresh=False)
    bar.update(max(0.0, min(100.0, 100 * done) - bar.n))
