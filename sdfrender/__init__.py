"""Differentiable rendering of signed distance lattices.

The way of the data: `hull` carves a first shape out of silhouettes; `geometry` (the lattice) and
`view` (cameras, light) go into `rendering`, which asks an engine of `engines` and returns images
and their derivatives; `meshes` takes surfaces out.
`files` and `io` read and write, `looks` has what the surface of a run shows, `latent` has families
of shapes, `commands`, `bench`, `viewer` and `report` are for people. Imports go down that way only;
names of `__all__` load when they are used.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sdfrender import openmp as openmp  # before anything imports torch

__version__ = "0.2.0"

# As a library it prints nothing; who wants its messages gives this logger a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Cameras",
    "Directional",
    "Headlight",
    "InputError",
    "Lattice",
    "Lighting",
    "Linearization",
    "Rendering",
    "SparseLattice",
    "extract_field",
    "extract_mesh",
    "linearize",
    "load_lattice",
    "load_mesh",
    "load_sparse_lattice",
    "metrics",
    "primitives",
    "refine_mesh",
    "render",
    "render_field",
    "save_lattice",
    "save_mesh",
    "simplify_mesh",
]

if TYPE_CHECKING:
    from sdfrender.errors import InputError
    from sdfrender.geometry import primitives
    from sdfrender.geometry.lattice import Lattice
    from sdfrender.geometry.mesh_files import load_mesh, save_mesh
    from sdfrender.geometry.sparse.lattice import SparseLattice
    from sdfrender.io.lattices import load_lattice, save_lattice
    from sdfrender.io.sparse_lattices import load_sparse_lattice
    from sdfrender.meshes import metrics
    from sdfrender.meshes.extraction import extract_mesh
    from sdfrender.meshes.mise import extract_field
    from sdfrender.meshes.refine import refine_mesh, simplify_mesh
    from sdfrender.rendering.field_render import render_field
    from sdfrender.rendering.linear.linearization import Linearization
    from sdfrender.rendering.linear.linearize import linearize
    from sdfrender.rendering.render import Rendering, render
    from sdfrender.view.cameras import Cameras
    from sdfrender.view.lighting import Directional, Headlight, Lighting
else:
    _MODULES = {"metrics": "meshes.metrics", "primitives": "geometry.primitives"}
    _HOMES = {
        "Cameras": "view.cameras",
        "Directional": "view.lighting",
        "Headlight": "view.lighting",
        "InputError": "errors",
        "Lattice": "geometry.lattice",
        "Lighting": "view.lighting",
        "Linearization": "rendering.linear.linearization",
        "Rendering": "rendering.render",
        "SparseLattice": "geometry.sparse.lattice",
        "extract_field": "meshes.mise",
        "extract_mesh": "meshes.extraction",
        "linearize": "rendering.linear.linearize",
        "load_lattice": "io.lattices",
        "load_mesh": "geometry.mesh_files",
        "load_sparse_lattice": "io.sparse_lattices",
        "refine_mesh": "meshes.refine",
        "render": "rendering.render",
        "render_field": "rendering.field_render",
        "save_lattice": "io.lattices",
        "save_mesh": "geometry.mesh_files",
        "simplify_mesh": "meshes.refine",
    }

    def __getattr__(name: str) -> Any:
        """A public name, from where it lives; kept, so that it is the same ever after."""
        if name in _MODULES:
            found = import_module(f"sdfrender.{_MODULES[name]}")
        elif name in _HOMES:
            found = getattr(import_module(f"sdfrender.{_HOMES[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found
