"""Everything that a training changes, and what it costs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sdfrender.errors import InputError
from singleview.models import Model
from singleview.settings.training import TrainConfig
from singleview.training.distributed import Job
from singleview.training.schedule import StepSettings

MAX_GRADIENT = 1.0  # norm to which gradients are cut
WEIGHT_DECAY = 1e-3  # of AdamW
BETAS = (0.9, 0.98)  # of AdamW
VALIDATIONS = 20  # over a training


@dataclass
class Clock:
    """Seconds of wall-clock time, by what they were spent on; of earlier sessions too."""

    parts: dict[str, float] = field(default_factory=dict)
    before: float = 0.0
    cpu_before: float = 0.0
    began: float = field(default_factory=time.monotonic)
    cpu_began: float = field(default_factory=time.process_time)

    @property
    def seconds(self) -> float:
        """Since the training began, without the time between sessions."""
        return self.before + time.monotonic() - self.began

    @property
    def cpu_seconds(self) -> float:
        """The same in processor time of this process, which others on the machine do not change."""
        return self.cpu_before + time.process_time() - self.cpu_began

    @contextmanager
    def time(self, part: str) -> Iterator[None]:
        """Add what the block takes to a part."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.parts[part] = self.parts.get(part, 0.0) + time.monotonic() - start

    def shares(self) -> dict[str, float]:
        """Parts of a training step, which add up to 1."""
        names = ("data", "network", "renderer", "losses")
        spent = {part: self.parts.get(part, 0.0) for part in names}
        total = sum(spent.values())
        return {part: seconds / total if total else 0.0 for part, seconds in spent.items()}


@dataclass
class State:
    """A training: its state while it runs, and what is left at the end.

    Args:
        model: what learns.
        config: the settings.
        clock: since when.
        scores: names of the scores of a validation; the first that there is decides.
    """

    model: Model
    config: TrainConfig
    clock: Clock = field(default_factory=Clock)
    scores: Sequence[str] = ()
    step: int = 0
    prepared: float = 0.0  # seconds that went by before the first step
    best: dict[str, Any] = field(default_factory=dict)  # the best validation
    since_best: int = 0  # validations
    looks: int = 0  # validations, or pictures where nothing is held out
    looked_at: int = 0  # step of the last of them
    interrupted: bool = False
    stage: int = -1
    taken: int = 0  # objects that the steps have taken, see `Learner`
    recent_loss: float = 0.0
    rows: list[tuple[object, ...]] = field(default_factory=list)
    validation_rows: list[tuple[object, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.averaged = {name: x.detach().clone() for name, x in self.model.state_dict().items()}
        self.kept: dict[str, Tensor] = {}  # the best averaged weights
        self.optimizer = optimizer_of(self.config, self.model)

    @property
    def largest(self) -> float:
        """The norm that gradients are cut to; as published, none."""
        return MAX_GRADIENT if self.config.chosen_recipe == "ours" else math.inf

    # ------------------------------------------------------------------ how far it is

    def begin(self) -> None:
        """The first step comes now: what went before was preparation."""
        if self.step == 0:
            self.prepared = self.clock.seconds

    def done(self, job: Job) -> float:
        """The fraction of the training that is behind, the same in all processes."""
        if self.config.steps is not None:
            return self.step / self.config.steps
        seconds = self.config.seconds or 0.0
        gone = (self.clock.seconds - self.prepared) / max(seconds - self.prepared, 1e-9)
        return job.from_first(gone)

    @property
    def stale(self) -> bool:
        """Whether validation has not improved for too long."""
        return self.since_best >= self.config.patience

    # ------------------------------------------------------------------ a step

    def update(self, rate: float) -> None:
        """A step of the optimiser with the gradients that there are, and of the averaged weights.

        Raises:
            InputError: the gradient is not a number.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["part"]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.largest)
        if not bool(norm.isfinite()):
            raise InputError(
                f"--learning-rate: the gradient is {float(norm)} in step {self.step + 1}, "
                f"need a smaller rate than {self.config.rate:g}"
            )
        self.optimizer.step()
        self.step += 1
        self._average()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.chosen_ema, self.step / (self.step + 10))
        for name, x in self.model.state_dict().items():
            if x.is_floating_point():
                self.averaged[name].lerp_(x, 1 - decay)
            else:
                self.averaged[name].copy_(x)

    @contextmanager
    def averaged_weights(self) -> Iterator[Model]:
        """The network with the averaged weights, to predict; afterwards it has its own again."""
        learning = {name: x.clone() for name, x in self.model.state_dict().items()}
        self.model.load_state_dict(self.averaged)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.load_state_dict(learning)

    # ------------------------------------------------------------------ the log

    def record(self, terms: Mapping[str, Tensor], settings: StepSettings, job: Job) -> None:
        """Take down a step: the terms `[]` of its loss, `total` first, as means over the batch."""
        rest = [x for name, x in terms.items() if name != "total"]
        total, *numbers = job.mean(torch.stack([terms["total"], *rest])).tolist()
        self.recent_loss = total if self.step <= 1 else 0.98 * self.recent_loss + 0.02 * total
        row = (self.step, f"{self.clock.seconds:.3f}", f"{settings.rate:.6g}", f"{total:.9g}")
        self.rows.append((*row, *(f"{x:.9g}" for x in numbers)))

    # ------------------------------------------------------------------ validation

    def due(self, done: float) -> bool:
        """Whether it is time to validate, and that has not been done after this step."""
        if self.looked_at == self.step:
            return False
        every = self.config.evaluate_every
        if every is None and self.config.steps is not None:
            every = max(1, self.config.steps // VALIDATIONS)
        if every is not None:
            return self.step % every == 0
        return done >= (self.looks + 1) / VALIDATIONS

    def judge(self, scores: dict[str, float]) -> None:
        """Take note of a validation of the averaged weights; keep them if they are the best.

        Without scores nothing is held out, and pictures are all there is.
        """
        self.looked_at = self.step
        self.looks += 1
        if not scores:
            return
        numbers = [f"{scores[n]:.6f}" if n in scores else "" for n in self.scores]
        self.validation_rows.append((self.step, f"{self.clock.seconds:.3f}", *numbers))
        if self.best and selection(scores, self.scores) <= selection(self.best, self.scores):
            self.since_best += 1
            return
        self.since_best = 0
        self.best = {"step": self.step, **scores}
        self.kept = {name: x.clone() for name, x in self.averaged.items()}

    def share_verdict(self, job: Job) -> None:
        """All processes learn from the first how validation went."""
        if not job.first:
            self.looks += 1
            self.looked_at = self.step
        self.since_best = int(job.from_first(float(self.since_best)))

    def kept_weights(self) -> dict[str, Tensor]:
        """The best averaged weights `[...]` by name; without any validation, the last."""
        return self.kept if self.best else self.averaged


def optimizer_of(config: TrainConfig, model: Model) -> torch.optim.Optimizer:
    """As published plain Adam; ours is AdamW with a decay."""
    groups = [{"params": params, "part": part} for params, part in model.rates()]
    if config.chosen_recipe == "paper":
        return torch.optim.Adam(groups, lr=config.rate, fused=True)
    return torch.optim.AdamW(
        groups, lr=config.rate, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )


def selection(found: Mapping[str, Any], scores: Sequence[str]) -> float:
    """What decides between weights: the first of the scores that a validation has."""
    return next((float(found[name]) for name in scores if name in found), 0.0)
