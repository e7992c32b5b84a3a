"""Occupancy Networks (Mescheder, Oechsle, Niemeyer, Nowozin, Geiger, CVPR 2019).

`f(p, x) → [0, 1]`: the occupancy of a point p, given an observation x: an image, a point cloud, a
voxel grid, nothing (a latent variable model), or the number of a known object. The network gives
logits; the surface is where their sigmoid is τ, which is chosen on objects for validation.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sdfrender.errors import InputError
from sdfrender.meshes.mise import Field
from singleview.models.convolutional import BLOCKS, ConvolutionalEncoder, PlaceDecoder
from singleview.models.encoders import (
    Code,
    IndexEncoder,
    LatentEncoder,
    PointEncoder,
    PooledLatentEncoder,
    ResnetBlock,
    VoxelEncoder,
    unit_cube,
)
from singleview.models.image_encoders import ImageEncoder, SmallImageEncoder
from singleview.models.small import IMAGE_SIZE
from singleview.settings.choices import Conditioning, Input

LARGEST_GRID = 256  # cells along each side of a convolutional decoder
LARGEST_IMAGE = 2048  # pixels on a side that a network may bring images to


@dataclass(frozen=True)
class OccupancyShape:
    """What it takes to build a network.

    Args:
        input: the kind of observation.
        hidden: width of the decoder.
        blocks: ResNet blocks of the decoder.
        code: length of the code.
        encoder: width of the encoder.
        features: of a place; 0 for none.
        image_size: pixels on a side that images are brought to.
        conditioning: how the code enters the decoder: by every batch normalisation, as in the
            paper, or once, added to the input (its ablation).
        objects: that an index can name.
        grid: cells along each side of a convolutional decoder's grid; 0 for a decoder that is told
            the code.
        levels: of that grid's U-Net.
        channels: of its first level.
        near: whether places of that grid are told of the nearest points too.
        mirrored: whether its cells are told of the cloud's mirror images too.
        released: layers and conventions of the authors' code where ours are others: the widths of
            the encoder of voxels, which fill the cube around the object; colours of images; the
            encoder of a model without an observation.
    """

    input: Input
    hidden: int = 256
    blocks: int = 5
    code: int = 256
    encoder: int = 512
    features: int = 0
    image_size: int = 224
    conditioning: Conditioning = "batch-norm"
    objects: int = 1
    grid: int = 0
    levels: int = 3
    channels: int = 32
    near: bool = False
    mirrored: bool = False
    released: bool = False

    def __post_init__(self) -> None:
        if self.grid:
            self._check_grid()
        if not 16 <= self.image_size <= LARGEST_IMAGE:
            raise ValueError(
                f"image_size: need 16 to {LARGEST_IMAGE} pixels, got {self.image_size}"
            )

    def _check_grid(self) -> None:
        rules = {
            "input": (self.input == "points", "points"),
            "levels": (1 <= self.levels <= 6, "from 1 to 6"),
            "grid": (
                0 < self.grid <= LARGEST_GRID and self.grid % (1 << (self.levels - 1)) == 0,
                f"a multiple of 2^(levels - 1), at most {LARGEST_GRID}",
            ),
            "channels": (8 <= self.channels <= 256 and self.channels % 8 == 0, "8 to 256, by 8"),
            "features": (self.features >= 1, "at least 1"),
        }
        for name, (holds, need) in rules.items():
            if not holds:
                raise ValueError(f"{name}: need {need}, got {getattr(self, name)!r}")


def paper_shape(
    kind: Input, conditioning: Conditioning | None = None, objects: int = 1
) -> OccupancyShape:
    """The networks of the paper, as released."""
    code = {"image": 256, "points": 512, "voxels": 256, "none": 128, "index": 512}[kind]
    encoder = {"image": 64, "points": 512, "voxels": 32, "none": 128, "index": 0}[kind]
    return OccupancyShape(
        kind,
        hidden=128 if kind == "none" else 256,
        code=code,
        encoder=encoder,
        conditioning=conditioning or ("input" if kind == "none" else "batch-norm"),
        objects=objects,
        released=True,
    )


def small_shape(
    kind: Input, conditioning: Conditioning | None = None, objects: int = 1
) -> OccupancyShape:
    """Networks that train on two cores; clouds and voxels are also read near each place."""
    encoder = {"image": 32, "points": 64, "voxels": 16, "none": 64, "index": 0}[kind]
    return OccupancyShape(
        kind,
        hidden=128 if kind == "index" else 64,
        code=128,
        encoder=encoder,
        features=32 if kind in ("points", "voxels") else 0,
        image_size=IMAGE_SIZE,
        conditioning=conditioning or "batch-norm",
        objects=objects,
    )


def paper_grid_shape() -> OccupancyShape:
    """The network of Peng et al. 2020 with a grid of 32³ (§4.1, and what they released)."""
    return OccupancyShape("points", hidden=32, blocks=BLOCKS, encoder=32, features=32, grid=32)


def small_grid_shape() -> OccupancyShape:
    """Fewer and larger cells; places hear of the nearest points too, cells of mirror images."""
    return OccupancyShape(
        "points", hidden=64, blocks=3, encoder=32, features=32,
        grid=16, levels=3, channels=32, near=True, mirrored=True,
    )  # fmt: skip


class OccupancyNetwork(nn.Module):
    """An encoder and a decoder.

    Args:
        shape: what to build.
    """

    def __init__(self, shape: OccupancyShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = _encoder(shape)
        self.decoder: OccupancyDecoder | PlaceDecoder
        if shape.grid:
            self.decoder = PlaceDecoder(shape.features, shape.hidden, shape.blocks)
        else:
            self.decoder = OccupancyDecoder(shape)

    def description(self) -> dict[str, object]:
        """What `build_model` needs to build it again."""
        return {"model": "occupancy", **asdict(self.shape)}

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters, and the part of the learning rate that is theirs."""
        return [(list(self.parameters()), 1.0)]

    def load_image_weights(self, path: Path) -> None:
        """Start the image encoder from published weights; see `ImageEncoder.load_weights`.

        Raises:
            InputError: a file that cannot be used, or a network without an image encoder of that
                size.
        """
        if not isinstance(self.encoder, ImageEncoder):
            raise InputError(
                f"--image-weights: need --input image and --size paper, got {self.shape.input} in "
                "another size"
            )
        self.encoder.load_weights(path)

    def encode(self, observation: Tensor) -> Code:
        """The code of an observation; of z itself where there is no input. Differentiable.

        Args:
            observation: images `[B, H, W, C]`, clouds `[B, N, 3]` in the canonical frame, voxels
                `[B, R, R, R]`, numbers `[B]` or z `[B, C]`, as the network's input is.
        """
        if self.shape.input == "none":
            return Code(observation)
        code: Code = self.encoder(observation)
        return code

    def posterior(self, points: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation of z, `[B, C]` each. Differentiable.

        Args:
            points: `[B, P, 3]` canonical frame.
            inside: `[B, P]` bool.
        """
        assert isinstance(self.encoder, LatentEncoder | PooledLatentEncoder), (
            "a network with an observation has none"
        )
        mean, log_std = self.encoder(points, inside)
        return mean, log_std

    def forward(self, observation: Tensor | None, points: Tensor, inside: Tensor) -> list[Tensor]:
        """A training step's logits and divergence.

        Args:
            observation: `[B, …]`, or None for the model without one.
            points: `[B, P, 3]` world units.
            inside: `[B, P]` bool, from which the model without observation infers z.

        Returns:
            Logits `[B, P]`, and KL(q(z) ‖ N(0, 1)) `[B]`, zero with an observation.
        """
        if observation is not None:
            return [self.decoder(points, self.encode(observation)), points.new_zeros(len(points))]
        mean, log_std = self.posterior(points, inside)
        z = mean + log_std.exp() * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(-1)
        return [self.decoder(points, Code(z)), kl]

    def field(self, code: Code, threshold: float) -> Field:
        """One object as a field: negative inside, zero where its occupancy is the threshold.

        Args:
            code: of one object.
            threshold: τ in (0, 1).

        Returns:
            `logit τ − logits`: points `[P, 3]`, world units, to values `[P]`. Differentiable in
            the points.
        """
        level = logit(threshold)
        device = code.vector.device

        def field(points: Tensor) -> Tensor:
            logits: Tensor = self.decoder(points.to(device)[None], code)
            return level - logits[0]

        return field


class OccupancyDecoder(nn.Module):
    """Points and a code to logits: ResNet blocks with conditional batch normalisation (§3.1)."""

    def __init__(self, shape: OccupancyShape) -> None:
        super().__init__()
        self.conditional = shape.conditioning == "batch-norm"
        H, C = shape.hidden, shape.code
        self.first = nn.Linear(3 + shape.features, H)
        self.blocks: nn.ModuleList
        if self.conditional:
            self.blocks = nn.ModuleList(ConditionalBlock(C, H) for _ in range(shape.blocks))
            self.norm = ConditionalNorm(C, H)
        else:
            self.of_code = nn.Linear(C, H)
            self.blocks = nn.ModuleList(ResnetBlock(H, H) for _ in range(shape.blocks))
        self.last = nn.Linear(H, 1)

    def forward(self, points: Tensor, code: Code) -> Tensor:
        """Points `[B, P, 3]`, world units, to logits `[B, P]`."""
        x = unit_cube(points)
        if code.places is not None:
            x = torch.cat((x, code.places(points)), -1)
        x = self.first(x)  # (B, P, H)
        if self.conditional:
            for block in self.blocks:
                x = block(x, code.vector)
            x = self.norm(x, code.vector)
        else:
            x = x + self.of_code(code.vector)[:, None]
            for block in self.blocks:
                x = block(x)
        logits: Tensor = self.last(relu(x))[..., 0]
        return logits


class ConditionalBlock(nn.Module):
    """A ResNet block whose normalisations are told the code; it begins as the identity."""

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ConditionalNorm(code, width) for _ in range(2))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        nn.init.zeros_(self.layers[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """`[B, P, width]` and `[B, code]` to `[B, P, width]`."""
        y = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            y = layer(relu(norm(y, code)))
        return x + y


class ConditionalNorm(nn.Module):
    """Batch normalisation with a scale γ(c) and a shift β(c); it begins with γ = 1, β = 0."""

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.scale, self.shift = nn.Linear(code, width), nn.Linear(code, width)
        for layer, bias in ((self.scale, 1.0), (self.shift, 0.0)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """`[B, P, width]` and `[B, code]` to `[B, P, width]`."""
        normed = self.norm(x.flatten(0, 1)).view_as(x)
        return torch.addcmul(self.shift(code)[:, None], self.scale(code)[:, None], normed)


def logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(probability / (1 - probability))


def _encoder(shape: OccupancyShape) -> nn.Module:
    match shape.input:
        case "image":
            if shape.image_size == IMAGE_SIZE:
                return SmallImageEncoder(shape.code, shape.encoder)
            return ImageEncoder(shape.code, shape.encoder, shape.image_size, shape.released)
        case "points" if shape.grid:
            return ConvolutionalEncoder(
                shape.features,
                shape.encoder,
                shape.channels,
                shape.grid,
                shape.levels,
                shape.near,
                shape.mirrored,
            )
        case "points":
            return PointEncoder(shape.code, shape.encoder, shape.features)
        case "voxels":
            return VoxelEncoder(shape.code, shape.encoder, shape.features, shape.released)
        case "none" if shape.released:
            return PooledLatentEncoder(shape.code, shape.encoder)
        case "none":
            return LatentEncoder(shape.code, shape.encoder)
        case "index":
            return IndexEncoder(shape.code, shape.objects)
