"""From an image to a code: ResNet-18, as Occupancy Networks have it, and a few layers."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from sdfrender.errors import InputError
from sdfrender.files.formats.torch_files import need_tensors, read_torch
from sdfrender.files.previews import for_display
from sdfrender.files.tensors import expect, need_file
from singleview.models.encoders import Code
from singleview.models.small import (
    HIDDEN,
    object_mask,
    picture_layers,
    picture_planes,
    split_coverage,
)

# Of the channels of ImageNet's pictures, in [0, 1]: what published weights of ResNet expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageEncoder(nn.Module):
    """An image `[B, H, W, C]`, linear over black, through the ResNet-18 of He et al. 2016.

    Layers have the names that published weights use.

    Args:
        code: length of the code.
        width: channels of the first stage; 64 is ResNet-18.
        size: pixels on a side that images are brought to.
        released: see them as Occupancy Networks do: encoded for a screen (sRGB), over white.
    """

    def __init__(self, code: int, width: int = 64, size: int = 224, released: bool = False) -> None:
        super().__init__()
        self.size, self.released = size, released
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        for n in range(4):
            stride = 1 if n == 0 else 2
            first, second = widths[n : n + 2]
            stage = nn.Sequential(BasicBlock(first, second, stride), BasicBlock(second, second, 1))
            self.add_module(f"layer{n + 1}", stage)
        self.last = nn.Linear(8 * width, code)

    def forward(self, images: Tensor) -> Code:
        """The code of images `[B, H, W, C]`, linear over black. Differentiable.

        A further channel, where there is one, is known coverage; see `split_coverage`.
        """
        x = images.permute(0, 3, 1, 2)
        if x.shape[-2:] != (self.size, self.size):
            x = interpolate(x, size=(self.size,) * 2, mode="bilinear", antialias=True)
        seen = x.permute(0, 2, 3, 1)
        x = split_coverage(seen)[0].permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
        if self.released:
            x = for_display(x) + (1 - object_mask(seen)[:, None])
        mean, std = (x.new_tensor(n)[:, None, None] for n in (IMAGENET_MEAN, IMAGENET_STD))
        x = (x - mean) / std
        x = self.maxpool(relu(self.bn1(self.conv1(x))))
        for n in range(4):
            x = self.get_submodule(f"layer{n + 1}")(x)
        return Code(self.last(x.mean((-2, -1))))

    def load_weights(self, path: Path) -> None:
        """Take over published weights of ResNet-18 without its last layer.

        Args:
            path: a safetensors file, or a state dict that torch reads with `weights_only`.

        Raises:
            InputError: missing, damaged, or weights of another network.
        """
        what = "the weights of a ResNet-18"
        need_file(path, what)
        import safetensors.torch

        with expect(path, what):
            if path.suffix == ".safetensors":
                found = safetensors.torch.load_file(path)
            else:
                found = need_tensors(path, read_torch(path, what), what)
            found = {k: x for k, x in found.items() if not k.startswith("fc.")}
            if not all(bool(x.isfinite().all()) for x in found.values()):
                raise ValueError("NaN or infinity")
            missing, unexpected = self.load_state_dict(found, strict=False)
        lacking = [k for k in missing if not k.startswith("last.")]
        if lacking or unexpected:
            raise InputError(f"{path}: need {what}, it differs in {(lacking + unexpected)[0]!r}")


class SmallImageEncoder(nn.Module):
    """An image `[B, H, W, C]`, linear over black, at 64², through few layers; places stay apart.

    Args:
        code: length of the code.
        width: channels of the first layer.
    """

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.layers = picture_layers(3, width)
        self.last = nn.Linear(HIDDEN, code)

    def forward(self, images: Tensor) -> Code:
        """The code of images `[B, H, W, C]`, linear over black. Differentiable."""
        colors, coverage = split_coverage(images)
        x = colors.expand(-1, -1, -1, 3)
        if coverage is not None:
            x = torch.cat((x, coverage[..., None]), -1)
        return Code(self.last(self.layers(picture_planes(x))))


class BasicBlock(nn.Module):
    """Two convolutions of 3² with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + self.downsample(x))
