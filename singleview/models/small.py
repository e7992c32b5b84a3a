"""A network for two cores: a light encoder, and a linear decoder around a sphere."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sdfrender import Lattice

IMAGE_SIZE = 64  # pixels on a side that the encoder looks at


class Small(nn.Module):
    """`values = start + basis · code(image)`: start and basis are lattices, and are learned.

    The start is a sphere's distances before training and drifts to a mean shape; the basis spans
    the shapes around it. Normalisation is by groups within an image, so that what the network says
    about an image does not depend on the batch it is in.

    Args:
        channels: C of the images.
        resolution: R, samples of the lattice along each side of the box [-1, 1]³.
        width: channels of the encoder's first layer.
        code: numbers that describe a shape.
        dropout: of the encoder's features.
    """

    def __init__(
        self,
        channels: int = 1,
        resolution: int = 32,
        width: int = 32,
        code: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.channels, self.resolution = channels, resolution
        self.width, self.code = width, code
        self.encoder = nn.Sequential(
            _convolution(channels + 1, width, 5, 2),
            _convolution(width, 2 * width, 3, 2),
            Residual(2 * width),
            _convolution(2 * width, 4 * width, 3, 2),
            Residual(4 * width),
            _convolution(4 * width, 8 * width, 3, 2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(8 * width * (IMAGE_SIZE // 16) ** 2, 512),
            nn.SiLU(),
            nn.Linear(512, code),
        )
        self.basis = nn.Linear(code, resolution**3, bias=False)
        nn.init.normal_(self.basis.weight, std=0.1 / code**0.5)  # world units
        sphere = Lattice.sphere(0.5, resolution=resolution).values
        self.start = nn.Parameter(sphere.flatten())

    def description(self) -> dict[str, object]:
        """What `build_model` needs to build it again."""
        return {
            "size": "small",
            "channels": self.channels,
            "resolution": self.resolution,
            "width": self.width,
            "code": self.code,
        }

    def forward(self, images: Tensor) -> Tensor:
        """Images `[B, H, W, C]`, linear over black, to values `[B, R, R, R]` in world units."""
        x = images.permute(0, 3, 1, 2)
        # Dark and empty are different things: what is not black is the object.
        x = torch.cat((x, (25 * x.sum(1, keepdim=True)).clamp(max=1)), 1)
        if x.shape[-2:] != (IMAGE_SIZE, IMAGE_SIZE):
            x = interpolate(x, size=(IMAGE_SIZE,) * 2, mode="bilinear", antialias=True)
        code = self.encoder(x)  # (B, code)
        values: Tensor = self.start + self.basis(code)
        return values.reshape(-1, *(self.resolution,) * 3)


class Residual(nn.Module):
    """`x + f(x)` with two 3×3 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, channels, 3, 1), _convolution(channels, channels, 3, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, channels, H, W]` to the same shape."""
        out: Tensor = x + self.body(x)
        return out


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(8, outputs),
        nn.SiLU(),
    )
