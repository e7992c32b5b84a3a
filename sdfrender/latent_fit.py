"""The public path of `sdfrender.latent.fit`, which is where this lives."""

from sdfrender.latent.fit import (
    LatentFit,
    LatentFitSettings,
    Quadratic,
    distance_term,
    fit_code,
    gaussian_term,
    norm_term,
    outside_term,
    quadratic,
    scaled,
    total,
)

__all__ = [
    "LatentFit",
    "LatentFitSettings",
    "Quadratic",
    "distance_term",
    "fit_code",
    "gaussian_term",
    "norm_term",
    "outside_term",
    "quadratic",
    "scaled",
    "total",
]
