"""How Sphinx builds the documentation: `sphinx-build -W docs docs/_build`. It needs no network."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.logging import getLogger

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from drawings.make import draw_all  # noqa: E402

import sdfrender  # noqa: E402

logger = getLogger(__name__)

project = "sdfrender"
author = "The sdfrender maintainers"
copyright = "the sdfrender maintainers, Apache-2.0"
version = release = sdfrender.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

# The API reference: Google style, in the order of the source. Backticks in docstrings are code.
default_role = "code"
autosummary_generate = False  # the tables alone; the pages are written by hand
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Markdown, and the notebooks of docs/examples, which are executed anew at each build.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars

html_theme = "furo"
html_title = "sdfrender"
html_static_path = ["_static"]
html_copy_source = False

draw_all(HERE / "drawings")


def setup(app: Sphinx) -> None:
    """Docstrings are plain text: a bar in them is a norm, not a substitution."""
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("env-check-consistency", need_every_public_name)


def escape_bars(app: object, what: str, name: str, obj: object, options: object, lines: list[str]):
    """Escape bars outside of code, in place."""
    lines[:] = [re.sub(r"(`[^`]*`)|\|", lambda m: m[1] or r"\|", line) for line in lines]


# Modules whose names are promised: those of `__all__`, or all functions and classes of their own.
PUBLIC = (
    "sdfrender",
    "sdfrender.energies",
    "sdfrender.geometry.primitives",
    "sdfrender.latent_field",
    "sdfrender.latent_fit",
    "sdfrender.meshes.metrics",
    "multiview.scenes",
    "singleview.config",
    "singleview.models",
)


def need_every_public_name(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of public names that no page of the reference has."""
    described = set(env.domains.python_domain.objects)
    for module in map(import_module, PUBLIC):
        own = (
            n for n, x in vars(module).items() if getattr(x, "__module__", "") == module.__name__
        )
        names = getattr(module, "__all__", None) or [n for n in own if not n.startswith("_")]
        for name in names:
            found = getattr(module, name)
            if isinstance(found, ModuleType):
                continue  # it is in the list itself
            homes = (module.__name__, getattr(found, "__module__", ""))
            if not described & {f"{home}.{name}" for home in homes}:
                logger.warning("%s.%s: need it in docs/api", module.__name__, name)
