"""Arrays by what they hold, for the signatures of kernels and engines; docstrings say the shapes.

A kernel is compiled for the precision of the arrays that it is given. An element is of no known
type to mypy: scalars in kernels are what numba makes of them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]  # float32 or float64, as the lattice
Singles: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.integer[Any]]  # int32 or int64, as it needs
Flags: TypeAlias = NDArray[np.bool_]
Events: TypeAlias = NDArray[np.void]  # records, see `ray_walk.EVENT`
