"""The command `sdfrender convert`."""

from __future__ import annotations

from sdfrender.errors import InputError
from sdfrender.files.extensions import check_extension, is_lattice
from sdfrender.options import A, B

MAX_RESOLUTION = 1024  # samples; a billion in all


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
    from sdfrender.geometry.lattice import Lattice
    from sdfrender.geometry.mesh_files import save_mesh
    from sdfrender.io.lattices import save_lattice
    from sdfrender.io.shapes import load_shape, surface

    shape = load_shape(source)
    if isinstance(shape, Lattice) and resolution is not None:
        shape = shape.resample(resolution)
    if is_lattice(target):
        if not isinstance(shape, Lattice):
            try:
                shape = Lattice.from_mesh(shape, resolution or 64, padding=padding)
            except InputError as error:
                raise InputError(f"{source}: {error}") from None
        save_lattice(target, shape)
    else:
        save_mesh(target, surface(shape, source, level))
    print(f"wrote {target}")
