"""Differentiable rendering of signed distance lattices."""

from sdfrender import metrics, primitives
from sdfrender.cameras import Cameras
from sdfrender.errors import InputError
from sdfrender.files import load_lattice, save_lattice
from sdfrender.lattice import Lattice
from sdfrender.lighting import Directional, Headlight, Lighting
from sdfrender.linearize import Linearization, linearize
from sdfrender.mesh import extract_mesh, load_mesh, save_mesh
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
    "extract_mesh",
    "linearize",
    "load_lattice",
    "load_mesh",
    "metrics",
    "primitives",
    "render",
    "save_lattice",
    "save_mesh",
]
