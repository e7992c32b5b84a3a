"""A viewer in the browser: lattices, meshes, cameras with their photographs, fits that run."""

from importlib.util import find_spec

from sdfrender.errors import InputError

PORT = 8080  # to listen at, or the next that is free


def need_viser() -> None:
    """Check that the viewer can run.

    Raises:
        InputError: viser is not installed.
    """
    if find_spec("viser") is None:
        raise InputError(
            'the viewer: need the package viser, it is missing: pip install "sdfrender[viewer]"'
        )
