"""Differentiable rendering of signed distance lattices."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sdfrender import primitives
from sdfrender.cameras import Cameras
from sdfrender.errors import InputError
from sdfrender.files import load_lattice, save_lattice
from sdfrender.lattice import Lattice
from sdfrender.lighting import Directional, Headlight, Lighting
from sdfrender.linearize import Linearization, linearize
from sdfrender.render import Rendering, render

__version__ = "0.1.0"

__all__ = [
    "Cameras",
    "Directional",
    "Headlight",
    "InputError",
    "Lattice",
    "Lighting",
    "Linearization",
    "Rendering",
    "extract_field",
    "extract_mesh",
    "linearize",
    "load_lattice",
    "load_mesh",
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
    from sdfrender import metrics
    from sdfrender.extraction import extract_field
    from sdfrender.field_render import render_field
    from sdfrender.mesh import extract_mesh, load_mesh, save_mesh
    from sdfrender.refine_mesh import refine_mesh, simplify_mesh
else:
    _HOMES = {
        "extract_field": "extraction",
        "extract_mesh": "mesh",
        "load_mesh": "mesh",
        "refine_mesh": "refine_mesh",
        "render_field": "field_render",
        "save_mesh": "mesh",
        "simplify_mesh": "refine_mesh",
    }

    def __getattr__(name: str) -> Any:
        """What needs the libraries for meshes; they load slowly, and no image needs them."""
        if name == "metrics":
            return import_module("sdfrender.metrics")
        if name in _HOMES:
            return getattr(import_module(f"sdfrender.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
