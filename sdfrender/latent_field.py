"""The public path of `sdfrender.latent.field`, which is where this lives."""

from sdfrender.latent.field import (
    FieldShape,
    LatentField,
)

__all__ = [
    "FieldShape",
    "LatentField",
]
