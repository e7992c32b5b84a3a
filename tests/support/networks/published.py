"""Networks as the papers describe them, with the names that the authors' files use.

Written from the papers, to make state dicts in tests; small where a width is free.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

# ---------------------------------------------------------------------- Occupancy Networks


class FcBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.fc_0, self.fc_1 = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        if inputs != outputs:
            self.shortcut = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        change = self.fc_1(relu(self.fc_0(relu(x))))
        return (self.shortcut(x) if hasattr(self, "shortcut") else x) + change


class Pointnet(nn.Module):
    """Five blocks; the largest features are put beside each point's after the first four."""

    def __init__(self, code: int, hidden: int) -> None:
        super().__init__()
        self.fc_pos = nn.Linear(3, 2 * hidden)
        for n in range(5):
            setattr(self, f"block_{n}", FcBlock(2 * hidden, hidden))
        self.fc_c = nn.Linear(hidden, code)

    def forward(self, p: Tensor) -> Tensor:
        x = self.fc_pos(p)
        for n in range(5):
            x = getattr(self, f"block_{n}")(x)
            pooled = x.max(1, keepdim=True)[0]
            if n < 4:
                x = torch.cat((x, pooled.expand(x.size())), 2)
        return self.fc_c(relu(pooled[:, 0]))


class Voxels(nn.Module):
    def __init__(self, code: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv3d(1, 32, 3, padding=1)
        for n in range(4):
            setattr(self, f"conv_{n}", nn.Conv3d(32 << n, 64 << n, 3, padding=1, stride=2))
        self.fc = nn.Linear(512 * 2 * 2 * 2, code)

    def forward(self, grid: Tensor) -> Tensor:
        x = self.conv_in(grid.unsqueeze(1))
        for n in range(4):
            x = getattr(self, f"conv_{n}")(relu(x))
        return self.fc(relu(x.reshape(len(x), -1)))


class Residual(nn.Module):
    """ResNet's basic block (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride > 1:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class Images(nn.Module):
    """ResNet-18 of any width, and a linear layer; it sees pictures in [0, 1], as on a screen."""

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        net = nn.Module()
        net.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        net.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for n in range(4):
            outputs = width << n
            stage = (Residual(inputs, outputs, 1 if n == 0 else 2), Residual(outputs, outputs, 1))
            setattr(net, f"layer{n + 1}", nn.Sequential(*stage))
            inputs = outputs
        self.features = net
        self.fc = nn.Linear(8 * width, code)

    def forward(self, x: Tensor) -> Tensor:
        for channel, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
            x = x.clone()
            x[:, channel] = (x[:, channel] - mean) / std
        net = self.features
        x = nn.functional.max_pool2d(relu(net.bn1(net.conv1(x))), 3, 2, 1)
        for n in range(4):
            x = getattr(net, f"layer{n + 1}")(x)
        return self.fc(x.mean((2, 3)))


class Posterior(nn.Module):
    """Mean and logarithm of the deviation of z, out of points and their occupancy."""

    def __init__(self, z: int) -> None:
        super().__init__()
        self.fc_pos, self.fc_0 = nn.Linear(3, 128), nn.Linear(1, 128)
        self.fc_1, self.fc_2, self.fc_3 = (nn.Linear(n, 128) for n in (128, 256, 256))
        self.fc_mean, self.fc_logstd = nn.Linear(128, z), nn.Linear(128, z)

    def forward(self, p: Tensor, occupancy: Tensor) -> tuple[Tensor, Tensor]:
        x = self.fc_1(relu(self.fc_0(occupancy.unsqueeze(-1)) + self.fc_pos(p)))
        for layer in (self.fc_2, self.fc_3):
            pooled = x.max(1, keepdim=True)[0].expand(x.size())
            x = layer(relu(torch.cat((x, pooled), 2)))
        x = x.max(1)[0]
        return self.fc_mean(x), self.fc_logstd(x)


class ConvNorm(nn.Module):
    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.conv_gamma, self.conv_beta = (nn.Conv1d(code, width, 1) for _ in range(2))
        self.bn = nn.BatchNorm1d(width, affine=False)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        c = c.unsqueeze(2)
        return self.conv_gamma(c) * self.bn(x) + self.conv_beta(c)


class ConvBlock(nn.Module):
    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.bn_0, self.bn_1 = ConvNorm(code, width), ConvNorm(code, width)
        self.fc_0, self.fc_1 = nn.Conv1d(width, width, 1), nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        y = self.fc_0(relu(self.bn_0(x, c)))
        return x + self.fc_1(relu(self.bn_1(y, c)))


class ConditionalDecoder(nn.Module):
    """Points `[B, P, 3]` and a code `[B, C]` to logits; channels stand before points inside."""

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.fc_p = nn.Conv1d(3, width, 1)
        for n in range(5):
            setattr(self, f"block{n}", ConvBlock(code, width))
        self.bn = ConvNorm(code, width)
        self.fc_out = nn.Conv1d(width, 1, 1)

    def forward(self, p: Tensor, c: Tensor) -> Tensor:
        x = self.fc_p(p.transpose(1, 2))
        for n in range(5):
            x = getattr(self, f"block{n}")(x, c)
        return self.fc_out(relu(self.bn(x, c))).squeeze(1)


class PlainDecoder(nn.Module):
    """The decoder of the model without an observation, which z is added in."""

    def __init__(self, z: int) -> None:
        super().__init__()
        self.fc_p, self.fc_z = nn.Linear(3, 128), nn.Linear(z, 128)
        for n in range(5):
            setattr(self, f"block{n}", FcBlock(128, 128))
        self.fc_out = nn.Linear(128, 1)

    def forward(self, p: Tensor, z: Tensor) -> Tensor:
        x = self.fc_p(p) + self.fc_z(z).unsqueeze(1)
        for n in range(5):
            x = getattr(self, f"block{n}")(x)
        return self.fc_out(relu(x)).squeeze(-1)


def occupancy_network(kind: str) -> nn.Module:
    """An Occupancy Network with the authors' names; points and voxels lie in a cube of side 1."""
    net = nn.Module()
    if kind == "none":
        net.decoder, net.encoder_latent = PlainDecoder(16), Posterior(16)
    else:
        encoders = {"points": lambda: Pointnet(24, 16), "voxels": lambda: Voxels(24),
                    "image": lambda: Images(24, 8)}  # fmt: skip
        net.decoder, net.encoder = ConditionalDecoder(24, 32), encoders[kind]()
    return net


# ---------------------------------------------------------------------- DeepSDF


class NormedLinear(nn.Module):
    """A linear layer whose rows' lengths are kept apart from their directions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        plain = nn.Linear(inputs, outputs)
        self.bias, self.weight_v = plain.bias, plain.weight
        self.weight_g = nn.Parameter(plain.weight.detach().norm(dim=1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        v = self.weight_v
        return x @ (self.weight_g * v / v.norm(dim=1, keepdim=True)).T + self.bias


class SignedDistance(nn.Module):
    """Eight hidden layers with weight norm; the input joins again before the fifth (§4)."""

    def __init__(self, code: int, width: int) -> None:
        super().__init__()
        self.code, inputs = code, code + 3
        for n in range(9):
            wide = inputs if n == 0 else width
            out = width - inputs if n == 3 else 1 if n == 8 else width
            setattr(self, f"lin{n}", (nn.Linear if n == 8 else NormedLinear)(wide, out))

    def forward(self, x: Tensor) -> Tensor:
        """Codes and points beside each other `[P, C + 3]` to distances `[P]`."""
        y = x
        for n in range(9):
            y = getattr(self, f"lin{n}")(torch.cat((y, x), 1) if n == 4 else y)
            y = relu(y) if n < 8 else torch.tanh(y)
        return y[:, 0]
