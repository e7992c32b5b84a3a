"""What a training step looks at: drawn for the whole batch, of which each process keeps a shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sdfrender import Cameras
from singleview.augment.symmetry import mirror_signs
from singleview.data.dataset import Batch, Dataset
from singleview.settings.training import TrainConfig
from singleview.training.distributed import Job

REAL_SHARE = 0.5  # of the steps that look at real objects, where there are made-up ones
ALBEDO = 0.7, 1.1  # range of the brightness of inputs: of paint, and of light
TINT, GAMMA = 0.1, 0.2  # ranges of the logarithms of a colour's gain and of the curve's exponent
SOME = 2000  # made-up shapes that a decoder may start from
SHIFT = 1  # pixels that the inputs may be moved


@dataclass(frozen=True, eq=False)
class Step:
    """B objects of one step: pictures to predict from, and pictures to compare with.

    Args:
        inputs: `[B, H, W, C]` one picture of each, perhaps flipped, brighter or moved a little.
        flipped: `[B]` bool, left and right swapped in `inputs`: the prediction is to be mirrored,
        sides: `[B]` along this axis.
        images: `[B, k, H, W, C]` other pictures.
        silhouettes: `[B, k, H, W]`.
        cameras: of the k pictures; k if all objects share them, else B·k, object by object.
        shared: whether they do.
        real: whether the objects are, not made up. What a made-up one looks like follows from its
            shape, which is compared: rendering the prediction would tell nothing more.
        shapes: `[B, R, R, R]` lattices to compare with, or None.
    """

    inputs: Tensor
    flipped: Tensor
    sides: Tensor
    images: Tensor
    silhouettes: Tensor
    cameras: Cameras
    shared: bool
    real: bool
    shapes: Tensor | None


class Sampler:
    """Draws steps from the real objects and the made-up ones.

    Args:
        config: batch, views, augmentation, seed.
        real: the training objects.

    `made_up` is filled in when there are made-up objects; `shapes` of a source are its `values`.
    """

    def __init__(self, config: TrainConfig, real: Dataset) -> None:
        self.config = config
        self.real = real
        self.made_up: Sequence[Dataset] = ()
        self.use_shapes = False
        self.generator = torch.Generator().manual_seed(config.seed)

    def draw(self, job: Job, half_size: bool = False) -> Step:
        """The next step.

        Args:
            job: this process.
            half_size: halve the pictures that are compared with.
        """
        B, k = self.config.chosen_batch, self.config.views
        source = self._source()
        objects = self._integers(len(source), B)
        views = self._integers(source.views, B)
        if source.shared_cameras is not None:
            order = torch.randperm(source.views, generator=self.generator)
            others = [order[:k].tolist()] * B
        else:
            others = [self._integers(source.views, k) for _ in range(B)]
        flipped, gain, gamma, shift = self._augmentation(B)

        mine = job.shard(torch.arange(B))
        ids = [objects[b] for b in mine]
        seen = source.batch(ids, [[views[b]] for b in mine])
        compared = source.batch(ids, [others[b] for b in mine])
        inputs = jitter(seen.images[:, 0], flipped[mine], gain[mine], gamma[mine], shift)
        if half_size:
            compared = halved(compared)
        shapes = source.values[ids] if self.use_shapes and source.values is not None else None
        return Step(
            inputs=inputs.to(job.device),
            flipped=flipped[mine].to(job.device),
            sides=source.side_axes[ids].to(job.device),
            images=compared.images.to(job.device),
            silhouettes=compared.silhouettes.to(job.device),
            cameras=compared.shared_cameras or compared.cameras,
            shared=compared.shared_cameras is not None,
            real=source is self.real,
            shapes=None if shapes is None else shapes.to(job.device, torch.float32),
        )

    def known_shapes(self) -> tuple[Tensor, Tensor]:
        """Shapes of the real objects `[N, R, R, R]`, and of some made-up ones `[M, R, R, R]`."""
        assert self.real.values is not None
        real = self.real.values.float()
        each = max(1, SOME // max(1, len(self.made_up)))
        parts = [m.values[:each].float() for m in self.made_up if m.values is not None]
        return real, torch.cat(parts) if parts else real[:0]

    def _source(self) -> Dataset:
        real = float(torch.rand(1, generator=self.generator)) < REAL_SHARE
        if real or not self.made_up:
            return self.real
        return self.made_up[self._integers(len(self.made_up), 1)[0]]

    def _augmentation(self, B: int) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
        """Flips `[B]`, gains `[B, C]`, gammas `[B]`, and one shift for all."""
        flipped = torch.rand(B, generator=self.generator) < 0.5
        gain, gamma = paint(B, self.real.channels, self.generator)
        dy, dx = self._integers(2 * SHIFT + 1, 2)
        if self.config.chosen_augment == "none":
            none = torch.zeros(B, dtype=torch.bool)
            return none, torch.ones_like(gain), torch.ones_like(gamma), (0, 0)
        return flipped, gain, gamma, (dy - SHIFT, dx - SHIFT)

    def _integers(self, below: int, count: int) -> list[int]:
        drawn: list[int] = torch.randint(below, (count,), generator=self.generator).tolist()
        return drawn


def paint(count: int, channels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What is drawn for pictures that are to look painted and lit in another way.

    Returns:
        Gains `[count, channels]`, a brightness and, of colours, a tint; exponents `[count]`.
    """
    u = torch.rand(2 + channels, count, generator=generator)
    low, high = ALBEDO
    gain = (low + (high - low) * u[1]).expand(channels, -1)
    if channels > 1:
        gain = gain * (TINT * (2 * u[2:] - 1)).exp()
    return gain.T, (GAMMA * (2 * u[0] - 1)).exp()


def jitter(
    images: Tensor, flipped: Tensor, gain: Tensor, gamma: Tensor, shift: tuple[int, int]
) -> Tensor:
    """`[B, H, W, C]` pictures, some flipped, brighter or darker, and moved a little.

    Args:
        images: `[B, H, W, C]` linear over black.
        flipped: `[B]` bool, left to right.
        gain: `[B, C]`, of `gain · images^gamma`.
        gamma: `[B]`.
        shift: of all, rows and columns, pixels.
    """
    images = torch.where(flipped[:, None, None, None], images.flip(2), images)
    images = gain[:, None, None] * images.clamp(min=0) ** gamma[:, None, None, None]
    return images.clamp(max=1).roll(shift, (1, 2))


def jittered(
    images: Tensor, points: Tensor, sides: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pictures painted and lit in another way, some mirrored together with the points.

    Args:
        images: `[B, H, W, C]`.
        points: `[B, P, 3]`.
        sides: `[B]` axes along which left and right lie.
        generator: of all that is drawn.
    """
    flipped = torch.rand(len(images), generator=generator) < 0.5
    gain, gamma = paint(len(images), images.shape[-1], generator)
    images = jitter(images, flipped, gain, gamma, (0, 0))
    signs = torch.where(flipped[:, None], mirror_signs(sides), torch.ones(3))
    return images, points * signs[:, None]


def halved(batch: Batch) -> Batch:
    """The same views with half the pixels along each side."""
    B, k, H, W, C = batch.images.shape
    if min(H, W) < 2:
        return batch
    h, w = H // 2, W // 2

    def half(cameras: Cameras) -> Cameras:
        # An odd last row or column is dropped, so that two pixels become one exactly.
        scale = torch.tensor([0.5, 0.5, 1.0])[:, None]
        return Cameras(cameras.c2w, cameras.Ks * scale, w, h)

    images = avg_pool2d(batch.images.reshape(B * k, H, W, C).permute(0, 3, 1, 2), 2)
    silhouettes = avg_pool2d(batch.silhouettes.reshape(B * k, 1, H, W), 2)
    return Batch(
        images.permute(0, 2, 3, 1).reshape(B, k, h, w, C),
        silhouettes.reshape(B, k, h, w),
        half(batch.cameras),
        None if batch.shared_cameras is None else half(batch.shared_cameras),
    )
