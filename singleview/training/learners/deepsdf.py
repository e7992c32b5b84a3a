"""DeepSDF: clamped distances of known shapes, whose codes are learned beside the decoder (§4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdfrender.errors import InputError
from sdfrender.geometry.mesh_files import Doubles
from sdfrender.latent.field import PAPER, FieldShape
from sdfrender.meshes.mise import Field
from singleview.data.columns import need_finite
from singleview.data.distances import Distances, is_warped, open_distances
from singleview.data.objects import category_of
from singleview.data.order import Order
from singleview.measures.shape_pictures import draw_fields
from singleview.measures.surfaces import closeness, surface_cloud
from singleview.models import Model
from singleview.models.deepsdf import AutoDecoder
from singleview.models.latent import clamped_error, find_code
from singleview.settings.training import TrainConfig
from singleview.training.distributed import Job
from singleview.training.learners.learner import Learner
from singleview.training.schedule import StepSettings
from singleview.training.state import Clock
from singleview.training.stream import Stream

HELD_BACK = 4096  # points of each object that are not learned from, but judged
GLANCE = 64  # known shapes that a validation looks at
TINY = 1e-12  # squared length below which a code has no direction
LOOKED_AT = 12  # unknown shapes whose surfaces a validation extracts
SEEN = 4096  # points that the code of an unknown shape is found from, in a validation
LONGEST_CODE = 1.0  # of the paper's recipe: longer ones are cut, as in what was released
RAMP = 0.05  # of the training, in which the weight of codes rises; 100 of 2000 epochs in the paper


class DeepsdfLearner(Learner):
    """Networks of `singleview.models.deepsdf`."""

    terms = ("distance", "codes")
    scores = ("closeness", "unknown", "known")

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        self.settings = config.deepsdf
        distances = open_distances(config.dataset, config.data)
        self.train = distances.split("train")
        self.unknown: Distances | None = None
        if "val" in distances.splits:
            self.unknown = distances.split("val")
        P = self.train.points.shape[1]
        self.learned = P - min(HELD_BACK, P // 4)  # the points before are learned from
        self.drawn = self.settings.drawn or (800 if config.chosen_size == "small" else 16384)

    def build(self) -> Model:
        """The network, with codes of the training objects."""
        return AutoDecoder.fresh(field_shape(self.config), self.train.names)

    def learn(
        self, model: nn.Module, settings: StepSettings, job: Job, clock: Clock
    ) -> Mapping[str, Tensor]:
        """Mean clamped error of random points, and the size of the codes, each `[]`.

        The size is the mean squared length; with the paper's recipe the mean length, as in what was
        released.
        """
        delta, published = self.settings.clamp, self.config.chosen_recipe == "paper"
        with clock.time("data"):
            ids, points, values = (x.to(job.device) for x in self._step(job))
        with clock.time("network"):
            if published:
                network = getattr(model, "module", model)  # of several processes
                assert isinstance(network, AutoDecoder)
                cut_codes(network.decoder.codes, ids)
            with self.precision(job.device):
                found, codes = model(ids, points)
            error = clamped_error(found.float(), values, delta)
            squared = codes.float().square().sum(1)
            size = (squared.clamp(min=TINY).sqrt() if published else squared).mean()
            total = error + self.settings.code_weight * min(1.0, self.done / RAMP) * size
            total.backward()
        terms = {"distance": error, "codes": size, "total": total}
        return {name: x.detach() for name, x in terms.items()}

    def schedule(self, done: float) -> StepSettings:
        """As all networks; the weight of codes has a schedule of its own."""
        self.done = done
        return super().schedule(done)

    @cached_property
    def stream(self) -> Stream:
        """Batches of known shapes."""
        config, N = self.config, len(self.train)
        order, batch = Order(N, config.buffer, config.seed), min(config.chosen_batch, N)
        return Stream(self._shape, order, batch, config.seed, config.workers)

    def _step(self, job: Job) -> list[Tensor]:
        """This process's share: numbers `[B]`, points `[B, P, 3]` and values `[B, P]`."""
        step = self.stream.take(self.taken, job)
        self.taken += self.stream.batch
        need_finite(self.config.dataset, step)
        return step

    def _shape(self, i: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The number of a shape, some of its points `[P, 3]`, and their values `[P]`."""
        values = self.train.values[i]
        if self.config.chosen_recipe == "paper":
            which = both_sides(values[: self.learned] < 0, self.drawn, generator)
        else:
            which = torch.randint(self.learned, (self.drawn,), generator=generator)
        return torch.tensor(i), self.train.points[i][which].float(), values[which].float()

    # ------------------------------------------------------------------ judgement

    def validate(self, model: Model) -> dict[str, float]:
        """`1 − clamped error / δ` on points that were not learned from.

        `known`: of shapes that were. `unknown`: of shapes that were not, whose codes are found
        from other points of theirs. `closeness`, of these, decides: −10³ Chamfer distances.
        """
        assert isinstance(model, AutoDecoder)
        field, delta = model.decoder.plain(), self.settings.clamp
        device, scores = field.codes.device, dict[str, float]()
        with torch.no_grad():
            rest = slice(self.learned, None)
            errors = [
                clamped_error(
                    field(
                        field.codes[i : i + 1], self.train.points[i, rest].to(device).float()[None]
                    )[0],
                    self.train.values[i, rest].to(device).float(),
                    delta,
                )
                for i in range(min(GLANCE, len(self.train)))
            ]  # fmt: skip
        scores["known"] = 1 - float(torch.stack(errors).mean()) / delta
        if self.unknown is not None:
            found: list[Tensor] = []
            fields: list[Field] = []
            clouds: list[Doubles] = []
            for i in range(len(self.unknown)):
                points, values = self.unknown.points[i], self.unknown.values[i]
                seen, rest = slice(0, SEEN), slice(SEEN, 2 * SEEN)
                p, v = points.to(device).float(), values.to(device).float()
                code = find_code(field, p[seen], v[seen], delta).code
                if len(fields) < LOOKED_AT:
                    fields.append(field.field(code))
                    clouds.append(surface_cloud(points, values))
                judged = rest if len(p) > SEEN else seen
                found.append(clamped_error(field(code[None], p[None, judged])[0], v[judged], delta))
            scores["unknown"] = 1 - float(torch.stack(found).detach().mean()) / delta
            scores["closeness"] = closeness(fields, clouds)
        return scores

    def draw(self, model: Model, path: Path) -> None:
        """Views of some known shapes."""
        assert isinstance(model, AutoDecoder)
        field = model.decoder.plain()
        draw_fields(path, [field.field(code) for code in field.codes.detach()])

    def conclude(self, model: Model) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the weights' file tells of the family."""
        names = [n for n in self.train.names if not is_warped(n)]
        about = {
            "categories": sorted({category_of(n) for n in names}),
            "clamp": self.settings.clamp,
        }
        return about, {"shapes": len(self.train), "warped": len(self.train) - len(names)}


def both_sides(inside: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Numbers `[count]` of points, half of them inside, as in what was released.

    Args:
        inside: `[P]` bool, of all points; where a side has none, they are drawn from all.
        count: of what is drawn.
        generator: of the draws.
    """
    half, drawn = count // 2, []
    for side, wanted in ((inside, half), (~inside, count - half)):
        points = side.nonzero()[:, 0]
        if not len(points):
            points = torch.arange(len(inside))
        drawn.append(points[torch.randint(len(points), (wanted,), generator=generator)])
    return torch.cat(drawn)


@torch.no_grad()
def cut_codes(codes: Tensor, ids: Tensor) -> None:
    """Bring those of some codes `[N, C]` that are longer than `LONGEST_CODE` back to that."""
    length = codes[ids].norm(dim=1, keepdim=True)
    codes[ids] = codes[ids] * (LONGEST_CODE / length.clamp(min=LONGEST_CODE))


def field_shape(config: TrainConfig) -> FieldShape:
    """What to build."""
    shape = FieldShape() if config.chosen_size == "small" else PAPER
    told = {name: getattr(config.deepsdf, name) for name in ("code", "octaves")}
    told = {name: value for name, value in told.items() if value is not None}
    room = shape.width - 3 - 6 * told.get("octaves", shape.octaves)  # of a narrow layer
    if shape.narrow and told.get("code", shape.code) >= room:
        raise InputError(
            f"--code: need below {room} with --size paper and these --octaves, got {told['code']}"
        )
    return replace(shape, **told)
