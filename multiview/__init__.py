"""From posed images of an object to its lattice and its watertight mesh."""

import sdfrender  # noqa: F401  # before torch: see sdfrender.openmp
