"""Events as plain Python reads and writes them, where numba compiles nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np

from sdfrender.engines.cpu import engine
from sdfrender.kernels.ray_walk import EVENT


@contextmanager
def plain_records() -> Iterator[None]:
    """Records are read by attributes, which plain arrays of numpy do not have."""
    assert os.environ["NUMBA_DISABLE_JIT"] == "1"

    def zeros(shape: object, dtype: object = float) -> np.ndarray:
        made = np.zeros(shape, dtype)  # type: ignore[call-overload]
        return made.view(np.recarray) if dtype is EVENT else made

    def joined(parts: list[np.ndarray]) -> np.ndarray:
        made = np.concatenate(parts)
        return made.view(np.recarray) if made.dtype == EVENT else made

    known = SimpleNamespace(**{**vars(np), "zeros": zeros, "concatenate": joined})
    with patch.object(engine, "np", known):
        yield
