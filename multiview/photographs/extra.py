"""The libraries of the extra `photos`, and what is said where one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sdfrender.errors import InputError


def load_extra(module: str, what_for: str) -> Any:
    """A library of the extra `photos`.

    Args:
        module: its name.
        what_for: that needs it, as the sentence begins: "cameras from photographs".

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(
            f"{what_for}: need the package {module}, which is missing ({error}): "
            "pip install 'sdfrender[photos]'"
        ) from None


def load_pycolmap() -> Any:
    """Pycolmap, which from then on tells of nothing that it survives."""
    pycolmap = load_extra("pycolmap", "cameras from photographs")
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.FATAL)
    return pycolmap
