"""The command `sdfrender view`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import tyro

from sdfrender.errors import InputError
from sdfrender.viewer import PORT, need_viser


def command(
    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")],
    /,
    port: int = PORT,
    allow_host: tuple[str, ...] = (),
) -> None:
    """Look at a mesh, a lattice or a run in the browser.

    Shows a lattice as a surface at any level, the mesh, and of a run of `multiview fit` also its
    cameras with their photographs and the error on the surface: the distance to the reference mesh
    if the run has one, else how far renderings are from the photographs. Listens on this machine
    only and prints how to reach it from another. The printed address has a token, without which
    nobody is let in. Ctrl-C ends it. Needs the extra `viewer`.

    Example: sdfrender view runs/demo

    Args:
        path: A mesh (.obj .ply .glb .stl .off), a lattice (.safetensors .npz .sdf), or a folder
            with mesh.ply or lattice.safetensors in it.
        port: To listen at; if it is taken, the next that is free.
        allow_host: Names of hosts under which a proxy makes the page known, beside localhost.
    """
    if not 1 <= port <= 65535:
        raise InputError(f"--port: need 1 to 65535, got {port}")
    from sdfrender.viewer.exhibit import load_exhibit
    from sdfrender.viewer.server import Viewer

    need_viser()
    viewer = Viewer(load_exhibit(path), port, allow_host)
    print(f"{viewer.directions}\nCtrl-C ends it", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        viewer.close()
