"""A network for two cores: a light encoder, and a linear decoder around a start lattice."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from sdfrender import Lattice

IMAGE_SIZE = 64  # pixels on a side that the encoder looks at
HIDDEN = 384  # features of a picture
MARGIN = 1 / 16  # of the lattice's samples on every side: no object reaches there
REACH = 0.15  # of distances that matter to the span of shapes, world units
GRAIN = 4  # cells between values of the noise that a decoder starts from
SPAN_RATE = 0.05  # of the learning rate, for a decoder that starts from shapes


class Small(nn.Module):
    """`values = start + basis · code`, with a code between those of known shapes and beyond them.

        code = softmax(likeness(image)) · anchors + offset(image)

    Start, basis and anchors are learned. Before training the start is a sphere, the basis is smooth
    noise and the anchors are zero; or they come from shapes that were fitted to images, see `span`.
    The basis covers the middle of the lattice; its margin, which no object reaches, stays as the
    start has it. Normalisation is by groups within an image, so that what the network says about an
    image does not depend on the batch it is in.

    Args:
        channels: C of the images.
        resolution: R, samples of the lattice along each side of the box [-1, 1]³.
        width: channels of the encoder's first layer.
        code: K, numbers that describe a shape.
        anchors: A, shapes whose codes are known.
        cameras: V of the head that tells cameras; 0 without it.
    """

    def __init__(
        self,
        channels: int = 1,
        resolution: int = 32,
        width: int = 32,
        code: int = 144,
        anchors: int = 70,
        cameras: int = 0,
    ) -> None:
        super().__init__()
        self.channels, self.resolution = channels, resolution
        self.width, self.code = width, code
        self.margin = round(MARGIN * resolution)
        self.inner = resolution - 2 * self.margin
        self.spanned = False
        self.encoder = picture_layers(channels, width)
        self.likeness = nn.Linear(HIDDEN, anchors)
        self.offset = nn.Linear(HIDDEN, code)
        self.anchors = nn.Parameter(torch.zeros(anchors, code))
        self.basis = nn.Linear(code, self.inner**3, bias=False)
        with torch.no_grad():
            self.basis.weight.copy_(0.1 / code**0.5 * smooth_noise(code, self.inner))
        self.start = nn.Parameter(sphere_values(resolution))
        self.camera_head: nn.Sequential | None = None
        if cameras:
            self.add_camera_head(cameras)

    def forward(self, images: Tensor) -> Tensor:
        """Images `[B, H, W, C]`, linear over black, to values `[B, R, R, R]` in world units.

        A further channel, where there is one, is known coverage; see `split_coverage`.
        """
        features = self.features(images)
        code = self.likeness(features).softmax(-1) @ self.anchors + self.offset(features)
        return self.start + self.decode(code)

    def features(self, images: Tensor) -> Tensor:
        """What is known about images `[B, H, W, C]`, or with coverage: `[B, HIDDEN]`."""
        features: Tensor = self.encoder(picture_planes(images))
        return features

    def decode(self, code: Tensor) -> Tensor:
        """What a code `[B, K]` adds to the start: `[B, R, R, R]`, world units."""
        middle = self.basis(code).float().reshape(-1, self.inner, self.inner, self.inner)
        return pad(middle, (self.margin,) * 6)

    def add_camera_head(self, cameras: int) -> None:
        """A head that tells from which of so many cameras a picture was taken; it must learn it."""
        self.camera_head = nn.Sequential(
            nn.BatchNorm1d(HIDDEN, affine=False),
            nn.Linear(HIDDEN, 128),
            nn.SiLU(),
            nn.Dropout(0.2),
            nn.Linear(128, cameras),
        )

    def tell_cameras(self, images: Tensor) -> Tensor:
        """Logits `[B, V]` of the cameras that may have taken images `[B, H, W, C]`."""
        assert self.camera_head is not None
        logits: Tensor = self.camera_head(self.features(images))
        return logits

    @torch.no_grad()
    def span(self, shapes: Tensor, variants: Tensor) -> None:
        """Start from shapes: their mean as the start, themselves as anchors.

        The basis spans the shapes as far as it can, and with what is left of it the principal
        directions in which the variants leave that span. Distances count up to `REACH`.

        Args:
            shapes: `[N, R, R, R]` signed distances, of which up to A become anchors.
            variants: `[M, R, R, R]`, M may be 0.
        """
        m, R, A = self.margin, self.resolution, len(self.anchors)
        mean = shapes.clamp(-REACH, REACH).mean(0)

        def middle(x: Tensor) -> Tensor:
            near = x.clamp(-REACH, REACH) - mean
            return near[:, m : R - m, m : R - m, m : R - m].flatten(1)

        known, others = middle(shapes), middle(variants)
        axes = _principal(known, min(self.code, len(known) - 1))
        rest = others - (others @ axes) @ axes.T
        axes = torch.cat((axes, _principal(rest, self.code - axes.shape[1])), 1)  # (inner³, ≤ K)
        codes = torch.cat((known, others)) @ axes
        scale = codes.square().mean(0).sqrt().clamp(min=1e-6)
        K = axes.shape[1]
        self.start.copy_(mean)
        self.basis.weight.zero_()
        self.basis.weight[:, :K] = axes * scale
        self.anchors[: len(known), :K] = (codes[: len(known)] / scale)[:A]
        self.offset.weight.mul_(0.1)
        self.spanned = True

    @torch.no_grad()
    def lower(self, level: float) -> None:
        """Take a level, world units, from all distances: what lay at that level is the surface."""
        self.start.sub_(level)

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters, and the part of the learning rate that is theirs."""
        decoder = SPAN_RATE if self.spanned else 1.0
        heads = (self.encoder, self.likeness, self.offset)
        return [
            ([p for head in heads for p in head.parameters()] + [self.anchors], 1.0),
            ([*self.basis.parameters(), self.start], decoder),
        ]

    def description(self) -> dict[str, object]:
        """What `build_model` needs to build it again."""
        return {
            "size": "small",
            "channels": self.channels,
            "resolution": self.resolution,
            "width": self.width,
            "code": self.code,
            "anchors": len(self.anchors),
            "cameras": self.camera_head[-1].out_features if self.camera_head else 0,
        }


def sphere_values(resolution: int) -> Tensor:
    """`[R, R, R]` distances to a sphere of radius .5, world units: what networks start from.

    Without numbers where a network is built without them, to see how large it is (`need_fit`).
    """
    if torch.get_default_device().type == "meta":
        return torch.zeros((resolution,) * 3)
    return Lattice.sphere(0.5, resolution=resolution).values.clone()


def smooth_noise(count: int, side: int) -> Tensor:
    """`[side³, count]` fields of normal noise, as fine as `GRAIN` cells: shapes, not dust."""
    knots = torch.randn(count, 1, *(max(2, side // GRAIN),) * 3)
    fields = interpolate(knots, size=(side,) * 3, mode="trilinear", align_corners=True)
    return fields.reshape(count, -1).T


def _principal(x: Tensor, count: int) -> Tensor:
    """`[D, ≤ count]` orthonormal principal directions of the rows of `x` `[N, D]`."""
    count = max(0, min(count, *x.shape))
    if count == 0:
        return x.new_zeros(x.shape[1], 0)
    return torch.svd_lowrank(x, q=count, niter=4)[2]


def picture_layers(channels: int, width: int) -> nn.Sequential:
    """From the planes of `picture_planes` `[B, C + 1, H, W]` to features `[B, HIDDEN]`."""
    return nn.Sequential(
        _convolution(channels + 1, width, 5, 2),
        _convolution(width, 2 * width, 3, 2),
        Residual(2 * width),
        _convolution(2 * width, 4 * width, 3, 2),
        Residual(4 * width),
        _convolution(4 * width, 8 * width, 3, 2),
        _convolution(8 * width, 4 * width, 1, 1),
        nn.Flatten(),
        nn.Linear(4 * width * (IMAGE_SIZE // 16) ** 2, HIDDEN),
        nn.SiLU(),
    )


def picture_planes(images: Tensor) -> Tensor:
    """Images, linear over black, and where the object is: `[B, C + 1, 64, 64]`.

    Args:
        images: `[B, H, W, C]`, or `[B, H, W, C + 1]` with coverage as `split_coverage` tells.
    """
    colors, _ = split_coverage(images)
    x = torch.cat((colors, object_mask(images)[..., None]), -1).permute(0, 3, 1, 2)
    if x.shape[-2:] != (IMAGE_SIZE, IMAGE_SIZE):
        x = interpolate(x, size=(IMAGE_SIZE,) * 2, mode="bilinear", antialias=True)
    return x


def split_coverage(images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Images `[..., C]`, C = 1 or 3, and coverage `[...]`, a second or fourth channel, or None."""
    if images.shape[-1] in (2, 4):
        return images[..., :-1], images[..., -1]
    return images, None


def object_mask(images: Tensor) -> Tensor:
    """`[B, H, W]` of images `[B, H, W, C]`, linear over black: what is not black is object, 1.

    To a network, dark and empty must be different things. Where coverage is known, a picture's
    darkness does not matter: it counts as a white object does.
    """
    colors, coverage = split_coverage(images)
    known = colors.sum(-1) if coverage is None else coverage
    return (25 * known).clamp(max=1)


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
