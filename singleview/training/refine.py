"""After the network, before the answer: make the shape agree with the one picture there is.

The network says a shape, and from which of the training cameras the picture may have been taken.
For a few of these the shape's code is moved until the rendered shape looks like the picture; the
camera with which that succeeds best wins. The answer lies between what the network said and what
agrees best with the picture.

    E(δ) = |r_A|² / coverage + w_o (1 − IoU) + w_c |r_C|² / coverage + w_p mean(δ²)

with r_A the silhouette's and r_C = I − ρ R the picture's residual, and δ what is added to the code,
in units in which the codes of the training shapes have variance 1. Training pictures are white, ρ =
1; of a photograph the albedo is not known, and ρ is what fits best, `⟨I, R⟩ / ⟨R, R⟩`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdfrender import Cameras, Lattice, Lighting, render
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.io.lights import lighting_from_table
from sdfrender.io.scene_writer import lighting_to_dict
from singleview.data.dataset import Dataset, unit
from singleview.models.small import Small, object_mask, split_coverage
from singleview.training.batches import Sampler
from singleview.training.losses import soft_iou

LEARN_STEPS, LEARN_BATCH, LEARN_RATE = 600, 256, 3e-3  # of AdamW, for the camera head


@dataclass(frozen=True)
class Rig:
    """Where the training pictures were taken from, and in what light.

    Args:
        cameras: V.
        lighting: with albedo 1.
    """

    cameras: Cameras
    lighting: Lighting

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "c2w": self.cameras.c2w.tolist(),
            "Ks": self.cameras.Ks.tolist(),
            "width": self.cameras.width,
            "height": self.cameras.height,
            "lighting": lighting_to_dict(self.lighting),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Rig:
        """The inverse of `to_dict`."""
        c2w, Ks = (torch.tensor(stored[key], dtype=torch.float32) for key in ("c2w", "Ks"))
        cameras = Cameras(c2w, Ks, int(stored["width"]), int(stored["height"]))
        return cls(cameras, lighting_from_table(stored["lighting"], "lighting"))

    @classmethod
    def of(cls, dataset: Dataset) -> Rig | None:
        """A dataset's, or None where objects have cameras of their own or the light is unknown."""
        if dataset.shared_cameras is None or dataset.lighting is None:
            return None
        return cls(dataset.shared_cameras, dataset.lighting)


@dataclass(frozen=True)
class RefineSettings:
    """How a shape is made to agree with the picture."""

    cameras: int = 4
    """The likeliest ones, that are tried."""
    trial_steps: int = 8
    steps: int = 30
    """With the camera that won."""
    rate: float = 0.1
    """Adam's, in standard deviations of the code."""
    overlap: float = 0.3
    shading: float = 3.0
    prior: float = 0.3
    white: bool = True
    """The object is as white as those of the training pictures; else its albedo is estimated."""
    blend: float = 0.4
    """How much of the change is made: part of it is better than all, for what a picture does not
    show is then changed less."""


@dataclass(frozen=True, eq=False)
class Sightings:
    """B pictures, the shapes that were predicted from them, and the cameras that took them.

    Args:
        images: `[B, H, W, C]` linear over black, of the rig's size; or with known coverage.
        values: `[B, R, R, R]` signed distances over [-1, 1]³, canonical units.
        cameras: `[B]` numbers of the rig's cameras.
    """

    images: Tensor
    values: Tensor
    cameras: Tensor


def refine(
    model: Small, rig: Rig, images: Tensor, values: Tensor, settings: RefineSettings | None = None
) -> Tensor:
    """Make shapes agree with the pictures they were predicted from.

    Args:
        model: that has learned to tell cameras, see `teach_cameras`.
        rig: its cameras and light.
        images: `[B, H, W, C]` of the rig's size; or `[B, H, W, C + 1]` with known coverage.
        values: `[B, R, R, R]` predicted from them, canonical units over [-1, 1]³.
        settings: how.

    Returns:
        `[B, R, R, R]`, the same. Not differentiable.
    """
    settings = settings or RefineSettings()
    B, n = len(images), min(settings.cameras, len(rig.cameras))
    with torch.no_grad():
        likely = model.tell_cameras(images).topk(n, 1).indices  # (B, n)
    pictures, shapes = images.repeat_interleave(n, 0), values.repeat_interleave(n, 0)
    tried = Sightings(pictures, shapes, likely.flatten())
    codes = values.new_zeros(B * n, model.code)
    codes, energies = descend(model, rig, tried, codes, settings.trial_steps, settings)
    best = torch.arange(B) * n + energies.reshape(B, n).argmin(1)
    chosen = Sightings(images, values, tried.cameras[best])
    codes, _ = descend(model, rig, chosen, codes[best], settings.steps, settings)
    with torch.no_grad():
        return values + settings.blend * model.decode(codes)


def descend(
    model: Small,
    rig: Rig,
    seen: Sightings,
    codes: Tensor,
    steps: int,
    settings: RefineSettings,
) -> tuple[Tensor, Tensor]:
    """Adam on what is added to the codes.

    Args:
        model: its decoder.
        rig: cameras and light.
        seen: the pictures, and the shapes to start from.
        codes: `[B, K]` to start from.
        steps: of Adam.
        settings: weights and rate.

    Returns:
        `codes` `[B, K]`, and `energies` `[B]` there.
    """
    delta = codes.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([delta], lr=settings.rate, betas=(0.9, 0.95))
    for _ in range(steps):
        energy = picture_energy(model, rig, seen, delta, settings)
        optimizer.zero_grad()
        energy.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        energy = picture_energy(model, rig, seen, delta, settings)
    return delta.detach(), energy


def picture_energy(
    model: Small,
    rig: Rig,
    seen: Sightings,
    codes: Tensor,
    settings: RefineSettings,
) -> Tensor:
    """`[B]` energies at `codes` `[B, K]`, see the head of this module; differentiable in them."""
    masks, colors = object_mask(seen.images), split_coverage(seen.images)[0]  # (B, H, W[, C])
    lattices = seen.values + model.decode(codes)
    energy = settings.prior * codes.square().mean(1)
    for camera in sorted(set(seen.cameras.tolist())):  # all lattices seen from it in one call
        ids = (seen.cameras == camera).nonzero()[:, 0]
        lattice = Lattice(lattices[ids], torch.tensor(UNIT_BOX))
        out = render(lattice, rig.cameras[camera], lighting=rig.lighting)
        silhouettes, true = out.silhouettes[:, 0], masks[ids]
        covered = true.mean((1, 2)).clamp(min=0.01)
        coverage = ((silhouettes - true) ** 2).mean((1, 2)) / covered
        overlap = 1 - soft_iou(silhouettes.flatten(1), true.flatten(1))
        drawn = out.images[:, 0]
        if not settings.white:
            drawn = albedo_of(colors[ids], drawn) * drawn
        shading = ((drawn - colors[ids]) ** 2).mean((1, 2, 3)) / covered
        each = coverage + settings.overlap * overlap + settings.shading * shading
        energy = energy.index_add(0, ids, each)
    return energy


def albedo_of(images: Tensor, white: Tensor) -> Tensor:
    """`[B, 1, 1, 1]` the albedo with which white renderings fit images best, `[B, H, W, C]` both.

    Worked value: images that are half as bright as the renderings: 0.5.
    """
    shared, own = ((white * x).sum((1, 2, 3), keepdim=True) for x in (images, white))
    return shared / own.clamp(min=1e-6)


# ---------------------------------------------------------------------- telling cameras


def teach_cameras(model: Small, sampler: Sampler, rig: Rig, seed: int = 0) -> float:
    """Teach the camera head on features of the training pictures; all else stays as it is.

    Returns:
        The part of the real training pictures whose camera it tells.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_camera_head(len(rig.cameras))
    head = model.camera_head
    assert head is not None
    sources = [sampler.real, *sampler.made_up]
    features = [_features(model, source) for source in sources]
    labels = [camera_numbers(source, rig) for source in sources]
    real, count = features[0], len(features[0])
    x, y = torch.cat(features), torch.cat(labels)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARN_RATE, weight_decay=1e-2)
    head.train()
    for step in range(LEARN_STEPS):
        optimizer.param_groups[0]["lr"] = LEARN_RATE * (1 - step / LEARN_STEPS)
        half = torch.randint(count, (LEARN_BATCH // 2,), generator=generator)  # real ones
        other = torch.randint(len(x), (LEARN_BATCH // 2,), generator=generator)
        ids = torch.cat((half, other))
        loss = torch.nn.functional.cross_entropy(head(x[ids]), y[ids])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    head.eval()
    with torch.no_grad():
        return float((head(real).argmax(1) == labels[0]).float().mean())


@torch.no_grad()
def _features(model: Small, source: Dataset) -> Tensor:
    """`[N · V, HIDDEN]` of all pictures of a source."""
    pictures = torch.split(source.images.flatten(0, 1), 64)
    return torch.cat([model.features(unit(x)) for x in pictures])


def camera_numbers(source: Dataset, rig: Rig) -> Tensor:
    """`[N · V]` which of the rig's cameras took each picture of a source."""
    numbers: Sequence[int] = [
        int((rig.cameras.c2w - c2w).abs().amax((1, 2)).argmin()) for c2w in source.c2w[0]
    ]
    return torch.tensor(numbers).repeat(len(source))
