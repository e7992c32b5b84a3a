"""The public path of `sdfrender.geometry.energies`, which is where this lives."""

from sdfrender.geometry.energies import (
    eikonal,
    laplacian,
    narrow_band,
    regularizers,
)

__all__ = [
    "eikonal",
    "laplacian",
    "narrow_band",
    "regularizers",
]
