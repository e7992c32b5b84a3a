"""A viewer in the browser: lattices, meshes, cameras with their photographs, fits that run."""

from importlib.metadata import version
from importlib.util import find_spec

from sdfrender.errors import InputError

PORT = 8080  # to listen at, or the next that is free


LEAST = (1, 1)  # of viser; earlier ones ask the network, and serve any file of the machine


def need_viser() -> None:
    """Check that the viewer can run.

    Raises:
        InputError: viser is not installed, or too old.
    """
    found = version("viser") if find_spec("viser") is not None else None
    if found is None or tuple(map(int, found.split(".")[:2])) < LEAST:
        raise InputError(
            f"the viewer: need the package viser, {'.'.join(map(str, LEAST))} or later, got "
            f'{found or "none"}: pip install "sdfrender[viewer]"'
        )
