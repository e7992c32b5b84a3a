"""Scenes that must be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from multiview.scenes import load_scene
from sdfrender.errors import InputError


def refused(path: Path, *needles: str, train_views: str | None = None, **options: Any) -> None:
    """Loading must raise InputError, in one line that contains all of `needles`."""
    with pytest.raises(InputError) as caught:
        load_scene(path, train_views, **options)
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message, message
