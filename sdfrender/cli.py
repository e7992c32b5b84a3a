"""The command `sdfrender`: formats, metrics, and whatever else needs no images."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from sdfrender.commands import render as render_command
from sdfrender.commands import bench as bench_command
from sdfrender.errors import InputError
from sdfrender.commands import view as view_command

if TYPE_CHECKING:
    import trimesh

    from sdfrender.geometry.lattice import Lattice

MESHES = (".obj", ".ply", ".glb", ".stl", ".off")
LATTICES = (".safetensors", ".npz", ".sdf")
MAX_RESOLUTION = 1024  # a billion samples

A = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
B = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]  # `--json`, and no `--no-json`


def main() -> int:
    """Run the command line; returns the exit code."""
    return run_command(
        lambda: tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="sdfrender", description="Signed distance lattices and meshes."
        )
    )


def run_command(command: Callable[[], object]) -> int:
    """Run `command` as a process should run it; returns the exit code.

    0: it ended well. 2: bad input or a file that cannot be used, told in one line on stderr without
    a traceback. 130: interrupted. Other exceptions are bugs and keep their traceback.
    """
    try:
        command()
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


# ---------------------------------------------------------------------- commands


def compare(
    mesh: A,
    reference: B,
    /,
    as_json: Annotated[Flag, tyro.conf.arg(name="json")] = False,
    samples: int = 100_000,
    seed: int = 0,
) -> None:
    """Measure how close shape A is to the reference B.

    Each is a mesh (.obj .ply .glb .stl .off) or a lattice (.safetensors .npz .sdf), whose surface
    is extracted first. Distances go from points on one surface to the exact surface of the other,
    both ways. Lengths are fractions of the longest side of the reference's bounding box.

    Example: sdfrender compare runs/bunny/mesh.ply bunny.obj

    Args:
        mesh: The shape to judge.
        reference: The shape to judge it by.
        as_json: Print JSON: the "reference" group of a run's metrics.json.
        samples: Points on each surface.
        seed: Of the random points; the same seed gives the same numbers.
    """
    if samples < 1:
        raise InputError(f"--samples: need at least 1, got {samples}")
    if seed < 0:
        raise InputError(f"--seed: need at least 0, got {seed}")
    from sdfrender.meshes.metrics import compare_meshes

    numbers = compare_meshes(load_surface(mesh), load_surface(reference), samples, seed)
    if as_json:
        print(json.dumps(numbers, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("measure", "value", caption="lengths: reference's longest side = 1")
    for name, value in numbers.items():
        table.add_row(name, f"{value:.5f}")
    Console().print(table)


def convert(
    source: A,
    target: B,
    /,
    resolution: int | None = None,
    level: float = 0.0,
    padding: float = 0.1,
) -> None:
    """Turn the mesh or lattice of signed distances A into the file B.

    The extensions decide: .obj .ply .glb .stl .off are meshes, .safetensors .npz .sdf lattices. A
    lattice becomes a watertight mesh by marching cubes; a mesh becomes a lattice of exact
    distances. An existing target is replaced.

    Example: sdfrender convert bunny.obj bunny.safetensors --resolution 128

    Args:
        source: The file to read.
        target: The file to write. Its folder must exist.
        resolution: Samples along the longest side. None: 64 from a mesh, as it is from a lattice.
        level: A mesh made from a lattice lies where its values are this, in world units.
        padding: Margin of a lattice made from a mesh, as a fraction of the longest side.
    """
    if resolution is not None and not 2 <= resolution <= MAX_RESOLUTION:
        raise InputError(f"--resolution: need 2 to {MAX_RESOLUTION}, got {resolution}")
    if not 0 <= padding <= 10:
        raise InputError(f"--padding: need 0 to 10, got {padding}")
    check_extension(target)
    from sdfrender.files.atomic import save_lattice
    from sdfrender.geometry.lattice import Lattice
    from sdfrender.meshes.mesh import save_mesh

    shape = load_shape(source)
    if isinstance(shape, Lattice) and resolution is not None:
        shape = shape.resample(resolution)
    if is_lattice(target):
        lattice = (
            shape
            if isinstance(shape, Lattice)
            else Lattice.from_mesh(shape, resolution or 64, padding=padding)
        )
        save_lattice(target, lattice)
    else:
        save_mesh(target, surface(shape, source, level))
    print(f"wrote {target}")


# Each command is a function; its signature and docstring are the command line and its help.
COMMANDS: dict[str, Callable[..., None]] = {
    "bench": bench_command.command,
    "compare": compare,
    "convert": convert,
    "render": render_command.command,
    "view": view_command.command,
}

# ---------------------------------------------------------------------- shapes


def load_shape(path: Path) -> Lattice | trimesh.Trimesh:
    """Read a lattice or a mesh, by the extension.

    Raises:
        InputError: no such file, an extension of neither, or bad contents.
    """
    check_extension(path)
    from sdfrender.files.atomic import load_lattice
    from sdfrender.meshes.mesh import load_mesh

    return load_lattice(path) if is_lattice(path) else load_mesh(path)


def load_surface(path: Path) -> trimesh.Trimesh:
    """Read a mesh, or the surface of a lattice."""
    return surface(load_shape(path), path)


def surface(shape: Lattice | trimesh.Trimesh, path: Path, level: float = 0.0) -> trimesh.Trimesh:
    """The mesh of a shape that came from `path`.

    Raises:
        InputError: a batch of lattices, or a lattice with nothing below `level`.
    """
    from sdfrender.geometry.lattice import Lattice
    from sdfrender.meshes.mesh import extract_mesh

    if not isinstance(shape, Lattice):
        return shape
    try:
        return extract_mesh(shape, level)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def is_lattice(path: Path) -> bool:
    """Whether the extension is a lattice's."""
    return path.suffix.lower() in LATTICES


def check_extension(path: Path) -> None:
    """Refuse a file that is neither a mesh nor a lattice, before any work is done."""
    known = (*MESHES, *LATTICES)
    if path.suffix.lower() not in known:
        raise InputError(f"{path}: unknown extension {path.suffix!r}, need one of {[*known]}")
