"""SDFDiff's single-view network (Jiang, Ji, Han, Zwicker, CVPR 2020, §6), as in the paper.

Encoder: an image to a code of 512. Decoder: the code to a 64³ lattice. Refiner: a 3D U-Net whose
output is averaged with the lattice it is given. Distances are `4σ − 2` in units of half a box.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from singleview.models.small import Small, sphere_values
from singleview.settings.choices import Size

IMAGE_SIZE = 64  # pixels on a side, as in the paper
RESOLUTION = 64  # samples along each side of the lattice, as in the paper


class Paper(nn.Module):
    """Encoder, decoder and refiner at the paper's size, about 115 million parameters.

    Args:
        channels: C of the images.

    `refine` says whether the refiner is used; the first stage of training does without. It is a
    buffer, so that weights which are kept from that stage know.
    """

    refine: Tensor

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels, self.resolution = channels, RESOLUTION
        self.encoder = Encoder(channels)
        self.decoder = LatticeDecoder()
        self.refiner = Refiner()
        self.register_buffer("refine", torch.tensor(True))

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters, and the part of the learning rate that is theirs."""
        return [(list(self.parameters()), 1.0)]

    def description(self) -> dict[str, object]:
        """What `build_sdfdiff` needs to build it again."""
        return {"size": "paper", "channels": self.channels}

    def forward(self, images: Tensor) -> Tensor:
        """Images `[B, H, W, C]`, linear over black, to values `[B, 64, 64, 64]` in world units."""
        x = images.permute(0, 3, 1, 2)
        if x.shape[-2:] != (IMAGE_SIZE, IMAGE_SIZE):
            x = interpolate(x, size=(IMAGE_SIZE,) * 2, mode="bilinear", antialias=True)
        coarse: Tensor = self.decoder(self.encoder(x))
        if not bool(self.refine):
            return coarse
        refined: Tensor = self.refiner(coarse)
        return (coarse + refined) / 2


class Encoder(nn.Sequential):
    """`[B, C, 64, 64]` to a code `[B, 512]`."""

    def __init__(self, channels: int) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, 64), (64, 128), (128, 256)):
            layers += [nn.Conv2d(inputs, outputs, 5, 2, 2), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers.append(nn.Flatten())
        for inputs, outputs in ((256 * 8 * 8, 1024), (1024, 1024), (1024, 512)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        super().__init__(*layers)


class LatticeDecoder(nn.Module):
    """A code `[B, 512]` to values `[B, 64, 64, 64]`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((512, 1024), (1024, 1024), (1024, 2048), (2048, 64 * 8**3)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.linear = nn.Sequential(*layers)
        self.up = nn.Sequential(
            Dense(64, growth=32), _up(64, 32), nn.BatchNorm3d(32), nn.ReLU(),
            Dense(32, growth=16), _up(32, 16), nn.BatchNorm3d(16), nn.ReLU(),
            Dense(16, growth=8), _up(16, 8), nn.BatchNorm3d(8), nn.ReLU(),
            nn.Conv3d(8, 1, 3, padding=1),
        )  # fmt: skip
        self.start = StartAtSphere(self.up[-1])

    def forward(self, code: Tensor) -> Tensor:
        """`[B, 512]` to `[B, 64, 64, 64]`."""
        return self.start(self.up(self.linear(code).unflatten(1, (64, 8, 8, 8))))  # type: ignore[no-any-return]


class Dense(nn.Module):
    """Three convolutions, each of which sees all before it and adds `growth` channels; then one of
    1³ that brings them back to as many as there were.
    """

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.grow = nn.ModuleList(_convolution(channels + n * growth, growth) for n in range(3))
        self.last = _convolution(channels + 3 * growth, channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, …]` to the same shape."""
        for grow in self.grow:
            x = torch.cat((x, grow(x)), 1)
        out: Tensor = self.last(x)
        return out


class Refiner(nn.Module):
    """3D U-Net over a lattice: convolutions of 4³, FC at the bottom, additive skips."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 32, 64, 128, 256)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.ZeroPad3d((1, 2, 1, 2, 1, 2)),  # 4³ kernels keep the size
                nn.Conv3d(inputs, outputs, 4),
                nn.BatchNorm3d(outputs),
                nn.LeakyReLU(0.2),
                nn.MaxPool3d(2),
            )
            for inputs, outputs in pairs
        )
        self.linear = nn.Sequential(
            nn.Linear(256 * 4**3, 2048), nn.ReLU(), nn.Linear(2048, 256 * 4**3), nn.ReLU()
        )
        self.up = nn.ModuleList(
            nn.Sequential(_up(outputs, inputs), nn.BatchNorm3d(inputs), nn.ReLU())
            for inputs, outputs in reversed(pairs[1:])
        )
        self.last = _up(32, 1)
        self.start = StartAtSphere(self.last)

    def forward(self, values: Tensor) -> Tensor:
        """`[B, 64, 64, 64]` to the same shape."""
        x, skips = values[:, None], []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.linear(x.flatten(1)).unflatten(1, (256, 4, 4, 4)) + skips.pop()
        for up in self.up:
            x = up(x) + skips.pop()
        return self.start(self.last(x))  # type: ignore[no-any-return]


class StartAtSphere(nn.Module):
    """Distances from the last layer's output, such that an untrained network says: a sphere.

    `4σ(x) − 2` in a box of side 4, which is `2σ(x) − 1` in ours of side 2.

    Args:
        last: the last layer, whose weights are made small here.
    """

    logits: Tensor

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        sphere = sphere_values(RESOLUTION).clamp(max=0.95)
        self.register_buffer("logits", torch.logit((sphere + 1) / 2), persistent=False)
        with torch.no_grad():
            for weight in last.parameters():
                weight.mul_(0.001)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 1, 64, 64, 64]` to `[B, 64, 64, 64]`."""
        return 2 * torch.sigmoid(x[:, 0] + self.logits) - 1


def build_sdfdiff(
    size: Size,
    channels: int,
    resolution: int = 32,
    width: int = 32,
    code: int = 144,
    anchors: int = 70,
    cameras: int = 0,
) -> Paper | Small:
    """A network with fresh weights.

    Args:
        size: `"small"` or `"paper"`.
        channels: C of the images.
        resolution: of the small network's lattice; the paper's is 64.
        width: of the small network's encoder.
        code: length of the small network's code.
        anchors: shapes whose codes the small network knows.
        cameras: that the small network tells apart.
    """
    if size == "paper":
        return Paper(channels)
    return Small(channels, resolution, width, code, anchors, cameras)


def _convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel, padding=kernel // 2), nn.BatchNorm3d(outputs), nn.ReLU()
    )


def _up(inputs: int, outputs: int) -> nn.Module:
    return nn.ConvTranspose3d(inputs, outputs, 4, stride=2, padding=1)
