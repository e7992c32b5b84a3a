"""DeepSDF's auto-decoder: a decoder and a code for each known shape, learned together (§4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from sdfrender.latent.field import FieldShape, LatentField


class AutoDecoder(nn.Module):
    """A field, and how it learns.

    Args:
        field: the decoder with the codes of the known shapes.
    """

    def __init__(self, field: LatentField) -> None:
        super().__init__()
        self.decoder = field

    @classmethod
    def fresh(cls, shape: FieldShape, names: Sequence[str]) -> AutoDecoder:
        """With weights to be learned, and codes drawn from N(0, 1/C)."""
        codes = torch.randn(len(names), shape.code) / math.sqrt(shape.code)
        return cls(LatentField(shape, names, codes, normed=True))

    def description(self) -> dict[str, object]:
        """What it is, as plain values."""
        return {"model": "deepsdf", **asdict(self.decoder.shape)}

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters, and the part of the learning rate that is theirs: twice as much for codes."""
        codes = self.decoder.codes
        return [([x for x in self.parameters() if x is not codes], 1.0), ([codes], 2.0)]

    def forward(self, ids: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Distances of known shapes.

        Args:
            ids: `[B]` numbers of the shapes.
            points: `[B, P, 3]` canonical frame.

        Returns:
            Values `[B, P]` and codes `[B, C]`.
        """
        codes = self.decoder.codes[ids]
        return self.decoder(codes, points), codes
