"""A family of shapes as one network: DeepSDF's decoder (Park et al. 2019).

Notation: a *code* `z` `[C]` names a shape of the family; `f(z, p)` is its signed distance at `p`.

Frame and units: the canonical frame of single-view data sets. The middle of the shape's box is the
origin, y is up, the longest side is `LONGEST_SIDE`; values are in the units of the points, negative
inside. Distances are learned up to a clamp `δ` (0.1 by default) only: farther away a value has the
right sign and is at least about δ, but is no distance.

The code enters the first layer and the middle one linearly, so its part of these is computed once
for a shape and not once for a point, and so is its part of the Jacobian.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

from sdfrender.errors import InputError
from sdfrender.files.tensors import expect, load_tensors, need_file, need_fit, save_tensors
from sdfrender.geometry.grid import Resolution, grid_points, samples_per_axis
from sdfrender.geometry.lattice import Lattice
from sdfrender.meshes.mise import Field

LONGEST_SIDE = 1.5  # of every shape in the canonical frame
FORMAT = "sdfrender.latent_field"
CHUNK = 1 << 15  # points that go through the network together


@dataclass(frozen=True)
class FieldShape:
    """What a decoder is built from.

    Args:
        code: C, numbers in a code.
        width: of the hidden layers.
        layers: linear ones, the last included; the middle one sees the input again.
        octaves: of sines and cosines of the point that are put beside it, from half a period over a
            length of 2 on; 0 is the paper's bare point. They let a small network tell thin parts.
        dropout: of hidden layers while training.
        narrow: the layer before the middle one leaves room for the input, so that the middle one
            has as many inputs as the others: the paper's.
    """

    code: int = 64
    width: int = 128
    layers: int = 8
    octaves: int = 4
    dropout: float = 0.0
    narrow: bool = False

    def __post_init__(self) -> None:
        rules = {
            "code": self.code >= 1,
            "width": self.width >= 1,
            "layers": self.layers >= 3,
            "octaves": 0 <= self.octaves <= 12,
            "dropout": 0 <= self.dropout < 1,
            "narrow": not self.narrow or self.width > self.code + self.features,
        }
        for name, holds in rules.items():
            if not holds:
                raise ValueError(f"{name}: out of range, got {getattr(self, name)}")

    @property
    def middle(self) -> int:
        """The layer that sees the input again."""
        return self.layers // 2

    @property
    def kept(self) -> int:
        """Numbers that the middle layer hears from the one before it."""
        return self.width - (self.code + self.features if self.narrow else 0)

    @property
    def features(self) -> int:
        """Numbers that a point becomes."""
        return 3 + 6 * self.octaves


# 8 × 512 and the output.
PAPER = FieldShape(code=256, width=512, layers=9, octaves=0, dropout=0.2, narrow=True)


class LatentField(nn.Module):
    """Codes and points to signed distances.

    Args:
        shape: what to build.
        names: of N known shapes.
        codes: `[N, C]` theirs. Default: zeros.
        normed: learn length and direction of each row of weights apart (weight norm), but for the
            output layer.

    Attributes:
        codes: `[N, C]`, a parameter.
        about: what else is told of the weights, as plain values: category, frame, metrics.
    """

    def __init__(
        self,
        shape: FieldShape | None = None,
        names: Sequence[str] = (),
        codes: Tensor | None = None,
        normed: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape = shape or FieldShape()
        self.names, self.about = tuple(names), dict[str, Any]()
        C, F, H, L = shape.code, shape.features, shape.width, shape.layers
        K, M = shape.kept, shape.middle
        if codes is None:
            codes = torch.zeros(len(self.names), C)
        if codes.shape != (len(self.names), C):
            raise ValueError(f"codes: need [{len(self.names)}, {C}], got {tuple(codes.shape)}")
        self.codes = nn.Parameter(codes.clone())
        inputs = [C + F if i == 0 else K + C + F if i == M else H for i in range(L)]
        outputs = [1 if i == L - 1 else K if i == M - 1 else H for i in range(L)]
        self.layers = nn.ModuleList(nn.Linear(*n) for n in zip(inputs, outputs, strict=True))
        if normed:
            for layer in self.layers[:-1]:
                weight_norm(layer)

    def _linear(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    # ------------------------------------------------------------------ values

    def forward(self, codes: Tensor, points: Tensor) -> Tensor:
        """Signed distances. Differentiable in codes, points and weights.

        Args:
            codes: `[B, C]`.
            points: `[B, P, 3]`, or `[1, P, 3]`: the same for all codes; canonical frame.

        Returns:
            `[B, P]`, in the units of the points, in (-1, 1), negative inside.
        """
        return self._through(codes, points, [])

    def _through(self, codes: Tensor, points: Tensor, entries: list[Tensor]) -> Tensor:
        """`forward`; `entries` gets what the code is added to: `[B, P, H]` of two layers."""
        C, x = self.shape.code, self.features(points)
        y = x
        for i, layer in enumerate(self._linear()):
            W, b = layer.weight, layer.bias
            if i == 0:
                y = x @ W[:, C:].T + (codes @ W[:, :C].T + b)[:, None]
                entries.append(y)
            elif i == self.shape.middle:
                H = y.shape[-1]
                y = y @ W[:, :H].T + x @ W[:, H + C :].T
                y = y + (codes @ W[:, H : H + C].T + b)[:, None]
                entries.append(y)
            else:
                y = nn.functional.linear(y, W, b)
            if i < self.shape.layers - 1:
                y = dropout(relu(y), self.shape.dropout, self.training)
        return y[..., 0].float().tanh() if y.dtype == torch.bfloat16 else y[..., 0].tanh()

    def features(self, points: Tensor) -> Tensor:
        """Points `[..., 3]` and sines and cosines of them: `[..., F]`."""
        if not self.shape.octaves:
            return points
        scale = 2.0 ** torch.arange(self.shape.octaves).to(points) * (math.pi / 2)
        angles = (points[..., None] * scale).flatten(-2)
        return torch.cat((points, angles.sin(), angles.cos()), -1)

    def jacobian(self, code: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Values, and their derivatives in the code; without gradients.

        One pass back to where the code enters, and two products: `∂f/∂z = g₀ W₀ + gₘ Wₘ`.

        Args:
            code: `[C]`.
            points: `[P, 3]`.

        Returns:
            `[P]` and `[P, C]`.
        """
        C, parts = self.shape.code, []
        layers, K = self._linear(), self.shape.kept
        W0, Wm = layers[0].weight[:, :C], layers[self.shape.middle].weight[:, K : K + C]
        for some in torch.split(points.detach(), CHUNK):
            with torch.enable_grad():
                z = code.detach()[None].requires_grad_()
                entries: list[Tensor] = []
                values = self._through(z, some[None], entries)
                g0, gm = torch.autograd.grad(values.sum(), entries)
            parts.append((values.detach()[0], (g0[0] @ W0 + gm[0] @ Wm).detach()))
        if not parts:
            return points.new_zeros(0), points.new_zeros(0, C)
        values, J = (torch.cat(x) for x in zip(*parts, strict=True))
        return values, J

    def field(self, code: Tensor) -> Field:
        """One shape, code `[C]`, as a field: points `[P, 3]` to values `[P]`, differentiable."""

        def field(points: Tensor) -> Tensor:
            return self.forward(code[None], points.to(code)[None])[0]

        return field

    def lattice(
        self, code: Tensor, bounds: Tensor | Sequence[Sequence[float]], resolution: Resolution
    ) -> Lattice:
        """One shape, sampled. Differentiable in the code, at a memory of `CHUNK` points.

        Args:
            code: `[C]`.
            bounds: `[2, 3]` box in the canonical frame.
            resolution: samples along the longest side, or along each axis.
        """
        box = torch.as_tensor(bounds, dtype=code.dtype, device=code.device)
        axes = samples_per_axis(resolution, box)
        parts = [
            checkpoint(self.field(code), some, use_reentrant=False)
            for some in torch.split(grid_points(axes, box).reshape(-1, 3), CHUNK)
        ]
        return Lattice(torch.cat(parts).reshape(axes), box)

    # ------------------------------------------------------------------ the family

    def code_of(self, name: str) -> Tensor:
        """The code `[C]` of a known shape.

        Raises:
            InputError: no such name.
        """
        if name not in self.names:
            known = ", ".join(self.names[:5]) or "none"
            raise InputError(f"{name}: need the name of a known shape ({known}, …)")
        return self.codes.detach()[self.names.index(name)]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean `[C]` and covariance `[C, C]` of the known codes; N(0, 1/C) of fewer than 2.

        The covariance is shrunk by a tenth of its mean variance, so that it can be inverted.
        """
        codes = self.codes.detach()
        N, C = codes.shape
        eye = torch.eye(C).to(codes)
        if N < 2:
            return codes.new_zeros(C) if N == 0 else codes[0], eye / C
        covariance = codes.T.cov()
        return codes.mean(0), covariance + 0.1 * covariance.trace() / C * eye

    # ------------------------------------------------------------------ files

    def plain(self) -> LatentField:
        """A copy with ordinary weights, ready to use."""
        copy = LatentField(self.shape, self.names, self.codes.detach())
        weights = {"codes": self.codes.detach()}
        for i, layer in enumerate(self._linear()):
            weights[f"layers.{i}.weight"] = layer.weight.detach()
            weights[f"layers.{i}.bias"] = layer.bias.detach()
        copy.load_state_dict(weights)
        copy.about = dict(self.about)
        return copy.eval()

    def save(self, path: Path, exact: bool = False) -> None:
        """Write weights and codes, with what it takes to build the network again.

        Args:
            path: of the file.
            exact: in the precision that they have, instead of float16.
        """
        stored = {k: x if exact else x.half() for k, x in self.plain().state_dict().items()}
        state = {
            "format": FORMAT,
            "shape": asdict(self.shape),
            "names": list(self.names),
            "frame": {"longest_side": LONGEST_SIDE, "up": "y", "inside": "negative"},
            "about": self.about,
        }
        save_tensors(path, stored, state)

    @classmethod
    def load(cls, path: Path) -> LatentField:
        """The network that `save` wrote, in float32, ready to use.

        Args:
            path: of the file, or of a run folder with `model.safetensors`.

        Raises:
            InputError: no such file, or one that is damaged or holds no such network.
        """
        if path.is_dir():
            path = path / "model.safetensors"
        what = "the weights of a DeepSDF network"
        need_file(path, what)
        tensors, state = load_tensors(path, what)
        with expect(path, what):
            if not isinstance(state, Mapping) or state.get("format") != FORMAT:
                raise InputError(f"{path}: need {what}, these are weights of another kind")
            shape, names = FieldShape(**state["shape"]), [str(n) for n in state["names"]]
            need_fit(lambda: cls(shape, names), tensors, parts=shape.layers)
            field = cls(shape, names)
            field.load_state_dict(tensors)
            field.about = dict(state["about"])
        if not all(bool(x.isfinite().all()) for x in field.state_dict().values()):
            raise InputError(f"{path}: need finite weights, got NaN or infinity")
        return field.eval().requires_grad_(False)
