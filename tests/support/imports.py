"""What the project's files import, read from their text: nothing runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from places import ROOT

PACKAGES = ("sdfrender", "multiview", "singleview")
Graph = dict[str, set[str]]


def sources(*folders: str) -> list[Path]:
    """All Python files of folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tree(path: Path) -> ast.Module:
    """What a file says. Not kept: trees of all files would slow each collection of garbage."""
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name, `.b.c` where it begins with anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id if isinstance(node, ast.Name) else "", *reversed(parts)])


def imports(source: ast.AST) -> Iterator[str]:
    """Dotted names of all modules that a file imports, anywhere in it."""
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write the full name"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and dotted(node.func).split(".")[-1] in ("import_module", "__import__")
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


@cache
def imported_names(path: Path) -> frozenset[str]:
    """`imports` of a file."""
    return frozenset(imports(tree(path)))


def imported_packages(path: Path) -> set[str]:
    """First parts of `imported_names`."""
    return {name.split(".")[0] for name in imported_names(path)}


def module_name(path: Path) -> str:
    """`a.b` of `a/b.py` and of `a/b/__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def module_graph() -> Graph:
    """Each module's own imports of other modules of the project, those inside functions too.

    What a package's first file hands out counts as an import of where that lives.
    """
    files = {module_name(path): path for path in sources(*PACKAGES)}
    named = {module: imported_names(path) for module, path in files.items()}
    public = {
        f"{package}.{name.rpartition('.')[2]}": name
        for package in PACKAGES
        for name in named[package]
    }
    return {
        module: {home(public.get(name, name), files) for name in names} - {"", module, *PACKAGES}
        for module, names in named.items()
        if module not in PACKAGES
    }


def home(name: str, modules: dict[str, Path]) -> str:
    """The module that a dotted name lies in; empty if none of ours."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def room(module: str) -> str:
    """The first folder of its package that a module lies in; a file beside them is its own room."""
    return ".".join(module.split(".")[:2])


def room_graph(modules: Graph) -> Graph:
    """Which room imports which."""
    rooms: Graph = {}
    for module, imported in modules.items():
        here = room(module)
        rooms.setdefault(here, set()).update(room(name) for name in imported)
        rooms[here].discard(here)
    return rooms


def cycle(graph: Graph) -> list[str]:
    """The nodes of one cycle, from one to itself; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []
