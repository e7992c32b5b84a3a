"""A process that has the libraries and nothing of the project yet.

One process imports the libraries, which takes seconds; a fork of it answers each question.
"""

from __future__ import annotations

import importlib
import multiprocessing
import pkgutil
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

LIBRARIES = (
    *("torch", "numba", "numba.cuda", "scipy.sparse.linalg", "scipy.optimize", "scipy.ndimage"),
    *("skimage.measure", "trimesh", "igl", "matplotlib.pyplot", "imageio", "PIL.Image", "tqdm"),
    *("tyro", "rich", "jinja2"),
)


def fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module of `tests/support` returns there. A warning is an error."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LIBRARIES))
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_ask, function, arguments).result()


def _ask(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    ours = {"sdfrender", "multiview", "singleview"} & set(sys.modules)
    assert not ours, f"{ours} was imported before"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*arguments)


def public_names(
    package: str, backwards: bool, everything_first: bool = False
) -> list[tuple[str, str, str, bool]]:
    """A package's `__all__`, each read twice: name, type, what it is, whether it was the same.

    Args:
        package: its dotted name.
        backwards: from the last name to the first.
        everything_first: after all modules of the package are imported.
    """
    module = importlib.import_module(package)
    if everything_first:
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    names = sorted(module.__all__, reverse=backwards)
    first = [getattr(module, name) for name in names]
    again = [getattr(module, name) for name in names]
    return [
        (name, type(one).__name__, repr(one), one is other)
        for name, one, other in zip(names, first, again, strict=True)
    ]
