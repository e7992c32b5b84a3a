"""What there is to see of a file or a run: surfaces, cameras with pictures, errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import trimesh
from torch import Tensor

from sdfrender.errors import InputError
from sdfrender.far import Doubles, far_offset, moved
from sdfrender.files.atomic import read_bytes
from sdfrender.files.extensions import check_extension, is_lattice
from sdfrender.files.tensors import expect, load_tensors, need_tensor, save_tensors
from sdfrender.geometry.lattice import Lattice
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.io.lattices import load_lattice
from sdfrender.materials.environment import Environment
from sdfrender.report.model import load_colored
from sdfrender.view.cameras import Cameras

VIEWS = "views.safetensors"  # of a run: what `save_views` writes
WHAT = "the views of a run"


@dataclass(frozen=True, eq=False)
class Views:
    """N cameras with small pictures.

    Args:
        names: N, unique.
        fitted: N, whether the shape was fitted to the view.
        cameras: at the size of the pictures.
        pictures: `[N, H, W, 3]` uint8, as a screen shows them.
    """

    names: tuple[str, ...]
    fitted: tuple[bool, ...]
    cameras: Cameras
    pictures: Tensor


@dataclass(frozen=True, eq=False)
class Errors:
    """How far each vertex of a mesh is off.

    Args:
        values: `[V]`, not negative.
        title: what they are, with the unit.
    """

    values: Tensor
    title: str


@dataclass(frozen=True, eq=False)
class Materials:
    """A mesh with materials.

    Args:
        glb: the file's contents.
        light: that was found with them.
        position: where the file's origin is.
    """

    glb: bytes
    light: Environment
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Exhibit:
    """What is shown; whatever there is none of is None.

    Args:
        name: of the whole.
        lattice: one, not a batch.
        mesh: world units; with or without a colour at each vertex.
        views: the cameras.
        errors: of the mesh's vertices.
        materials: the mesh with them.
    """

    name: str
    lattice: Lattice | None = None
    mesh: trimesh.Trimesh | None = None
    views: Views | None = None
    errors: Errors | None = None
    materials: Materials | None = None

    @property
    def bounds(self) -> Tensor:
        """`[2, 3]` world box of the surface."""
        return self.box.float()

    @property
    def box(self) -> Tensor:
        """The same with all the digits there are."""
        if self.lattice is not None:
            return self.lattice.bounds
        assert self.mesh is not None
        return torch.tensor(self.mesh.bounds.tolist(), dtype=torch.float64)


def load_exhibit(path: Path) -> Exhibit:
    """Read a mesh, a lattice, or a folder with `mesh.ply` or `lattice.safetensors` in it.

    What is far from the origin is moved there.

    Raises:
        InputError: neither, or contents that cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path}: need a mesh, a lattice or a run folder, there is no such file")
    if path.is_dir():
        return _near(_load_folder(path))
    check_extension(path)
    if is_lattice(path):
        return _near(Exhibit(path.name, lattice=_one(path, load_lattice(path))))
    return _near(Exhibit(path.name, mesh=load_mesh(path)))


def _near(exhibit: Exhibit) -> Exhibit:
    """All of it moved to the origin, if it is far from there: a page draws in float32."""
    offset = far_offset(exhibit.box.double().numpy())
    if not offset.any():
        return exhibit
    shift, lattice, views = torch.from_numpy(offset), exhibit.lattice, exhibit.views
    if lattice is not None:
        lattice = Lattice(lattice.values, lattice.bounds.double() - shift)
    if views is not None:
        c2w = views.cameras.c2w.double().clone()
        c2w[:, :3, 3] -= shift
        size = views.cameras.width, views.cameras.height
        views = replace(views, cameras=Cameras(c2w.float(), views.cameras.Ks, *size))
    mesh = None if exhibit.mesh is None else moved(exhibit.mesh, -offset)
    materials = exhibit.materials
    if materials is not None:
        x, y, z = (-offset).tolist()
        materials = replace(materials, position=(x, y, z))
    return replace(exhibit, lattice=lattice, mesh=mesh, views=views, materials=materials)


def _load_folder(folder: Path) -> Exhibit:
    lattice_file, mesh_file, views_file = (
        folder / name for name in ("lattice.safetensors", "mesh.ply", VIEWS)
    )
    if not lattice_file.is_file() and not mesh_file.is_file():
        raise InputError(
            f"{folder}: need {mesh_file.name} or {lattice_file.name} in the folder of a finished "
            "run, there is neither"
        )
    lattice = _one(lattice_file, load_lattice(lattice_file)) if lattice_file.is_file() else None
    mesh = None
    if mesh_file.is_file():
        load_mesh(mesh_file)  # for its checks
        mesh = load_colored(mesh_file)
    views, errors = load_views(views_file) if views_file.is_file() else (None, None)
    if errors is not None and (mesh is None or len(errors.values) != len(mesh.vertices)):
        errors = None  # of another mesh
    return Exhibit(folder.resolve().name, lattice, mesh, views, errors, _materials(folder))


def _materials(folder: Path) -> Materials | None:
    """Those of a run that `multiview materials` was called on."""
    mesh, light = folder / "materials.glb", folder / "environment.hdr"
    if not mesh.is_file() or not light.is_file():
        return None
    return Materials(read_bytes(mesh), Environment.load(light))


def _one(file: Path, lattice: Lattice) -> Lattice:
    if lattice.values.ndim != 3:
        raise InputError(f"{file}: need a single lattice, got a batch of {lattice.batch}")
    return lattice


# ---------------------------------------------------------------------- files


def save_views(
    file: Path, views: Views, errors: Errors | None, offset: Doubles | None = None
) -> None:
    """Write the views of a run and the errors of its mesh.

    Args:
        file: to write.
        views: about `offset`.
        errors: of the mesh, if any.
        offset: `[3]` added to the cameras' positions, which are in float64 then if it is not zero.
    """
    c2w = views.cameras.c2w
    if offset is not None and offset.any():
        c2w = c2w.double().clone()
        c2w[:, :3, 3] += torch.from_numpy(offset)
    tensors = {
        "c2w": c2w,
        "Ks": views.cameras.Ks,
        "pictures": views.pictures,
        "fitted": torch.tensor(views.fitted),
    }
    if errors is not None:
        tensors["errors"] = errors.values.float()
    title = None if errors is None else errors.title
    save_tensors(file, tensors, {"names": views.names, "title": title})


def load_views(file: Path) -> tuple[Views, Errors | None]:
    """Read what `save_views` wrote.

    Raises:
        InputError: not such a file.
    """
    tensors, state = load_tensors(file, WHAT)
    with expect(file, WHAT):
        pictures = need_tensor(tensors, "pictures", ("N", "H", "W", 3), whole=True)
        N, H, W, _ = pictures.shape
        need_tensor(tensors, "c2w", (N, 4, 4)), need_tensor(tensors, "Ks", (N, 3, 3))
        cameras = Cameras(tensors["c2w"], tensors["Ks"], W, H)
        names, fitted = tuple(map(str, state["names"])), tuple(tensors["fitted"].tolist())
        if not len(cameras) == len(names) == len(fitted) == N or pictures.dtype != torch.uint8:
            raise ValueError(f"{len(names)} names, {len(cameras)} cameras, {N} pictures")
        views = Views(names, fitted, cameras, pictures)
        if "errors" not in tensors:
            return views, None
        return views, Errors(need_tensor(tensors, "errors", ("V",)), str(state["title"]))
