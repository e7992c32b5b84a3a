"""Learned shape from a single view: an image in, a signed distance lattice out."""

import sdfrender  # noqa: F401  # before torch: see sdfrender.openmp
