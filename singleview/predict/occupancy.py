"""From an observation to a mesh with a trained occupancy network, and shapes made up from nothing.

The pipeline is the paper's (§3.3): MISE, marching cubes, simplification, refinement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor

from sdfrender import InputError, Lattice, save_lattice, save_mesh
from sdfrender.files.arrays import need_numbers
from sdfrender.files.atomic import write_json
from sdfrender.files.extensions import MESHES
from sdfrender.files.tensors import expect
from sdfrender.geometry.mesh_files import Doubles, load_mesh, load_points
from sdfrender.io.cameras import read_arrays
from sdfrender.meshes.refine import refine_mesh, simplify_mesh
from singleview.data.objects import LONGEST_SIDE
from singleview.measures.occupancy import extract
from singleview.models.encoders import Code
from singleview.models.image_encoders import SmallImageEncoder
from singleview.models.occupancy import OccupancyNetwork
from singleview.predict.inputs import distinct, each_input, framed_picture
from singleview.settings.prediction import PredictConfig

LEVELS = 2  # 32³ to 128³, as in the paper


@dataclass(frozen=True)
class OccupancyPredictor:
    """A trained occupancy network.

    Args:
        model: the network.
        threshold: τ, stored with the weights.
        cloud: points of a cloud, as in the training.
        voxels: along each side of a grid, as in the training.
    """

    model: OccupancyNetwork
    threshold: float
    cloud: int
    voxels: int

    @classmethod
    def of(cls, model: OccupancyNetwork, about: dict[str, Any], path: Path) -> OccupancyPredictor:
        """A predictor from what is stored beside the weights in `path`."""
        with expect(path, "the weights of an occupancy network"):
            seen = about["observations"]
            threshold = float(about["threshold"])
            if not 0 < threshold < 1:
                raise ValueError(f"a threshold of {threshold}")
            return cls(model, threshold, int(seen["cloud"]), int(seen["voxels"]))

    @torch.no_grad()
    def code(self, observation: Tensor) -> Code:
        """The code of one observation `[1, …]`."""
        return self.model.encode(observation)

    def mesh(
        self, code: Code, levels: int = LEVELS, faces: int | None = None, refine: bool = True
    ) -> trimesh.Trimesh:
        """The shape of a code, watertight, in the canonical frame.

        Args:
            code: of one object.
            levels: how often 32³ cells are halved.
            faces: triangles to simplify to. Default: all.
            refine: move the vertices onto the surface of the network's field.

        Raises:
            InputError: nothing is occupied.
        """
        mesh = extract(self.model, code, self.threshold, levels=levels).mesh()
        if faces is not None:
            mesh = simplify_mesh(mesh, faces)
        if refine:
            self.model.requires_grad_(False)
            mesh = refine_mesh(mesh, self.model.field(code, self.threshold))
        return mesh

    def lattice(self, code: Code, levels: int = LEVELS) -> Lattice:
        """Distances to the shape of a code, in the padded box."""
        return extract(self.model, code, self.threshold, levels=levels).lattice.redistance()


@dataclass(frozen=True)
class Observed:
    """An input: a name for its folder, the code, and the way back to its own frame."""

    name: str
    code: Code
    scale: float = 1.0
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)


def predict_occupancy(
    predictor: OccupancyPredictor,
    config: PredictConfig,
    draw: Callable[[Lattice, Path], None],
) -> list[tuple[Path, Path, Lattice]]:
    """Predict a shape from each input and write `OUT/NAME/`: mesh.ply, lattice.safetensors, views.

    Args:
        predictor: the network.
        config: the settings.
        draw: writes pictures of a lattice into a folder.

    Returns:
        Input, folder and lattice of each; the lattice in the canonical frame, the mesh in the
        frame of the input.

    Raises:
        InputError: an input that the network cannot take, or in which it sees nothing.
    """

    def write(path: Path, read: Callable[[], Observed]) -> tuple[Path, Path, Lattice]:
        one = read()
        try:
            mesh = predictor.mesh(one.code, config.levels, config.faces, config.refine)
        except InputError as error:
            raise InputError(f"{path}: the network sees no object in it ({error})") from None
        lattice = predictor.lattice(one.code, min(config.levels, 1))
        folder = config.out / one.name
        folder.mkdir(parents=True, exist_ok=True)
        mesh.vertices = mesh.vertices * one.scale + np.array(one.center)
        save_mesh(folder / "mesh.ply", mesh)
        save_lattice(folder / "lattice.safetensors", lattice)
        write_json(folder / "code.json", {"code": one.code.vector[0].tolist()})
        draw(lattice, folder)
        return path, folder, lattice

    inputs = input_readers(predictor, config)
    return each_input([(path, partial(write, path, read)) for path, read in inputs])


def input_readers(
    predictor: OccupancyPredictor, config: PredictConfig
) -> list[tuple[Path, Callable[[], Observed]]]:
    """What reads each input; for a network without input, samples of its prior."""
    kind = predictor.model.shape.input
    if kind == "none":
        if config.images:
            raise InputError(f"{config.images[0]}: need no input for --input none, see --count")
        made_up = prior_codes(predictor, config)
        return [(Path(name), partial(Observed, name, code)) for name, code in made_up]
    if kind == "index":
        raise InputError("--model: need a network with an input, this one knows numbers only")
    if not config.images:
        raise InputError(f"INPUT: need at least one {kind} file, got none")
    readers = {"image": read_image, "points": read_cloud, "voxels": read_voxels}
    folders = [config.out / name for name in distinct([path.stem for path in config.images])]
    return [
        (path, partial(readers[kind], predictor, path, folder, config))
        for path, folder in zip(config.images, folders, strict=True)
    ]


def prior_codes(predictor: OccupancyPredictor, config: PredictConfig) -> list[tuple[str, Code]]:
    """Codes z ~ N(0, 1), and `config.between` of them on the line from each to the next."""
    generator = torch.Generator().manual_seed(config.seed)
    z = torch.randn(config.count, predictor.model.shape.code, generator=generator)
    found = []
    steps = config.between + 1
    for n in range(config.count):
        found.append((f"sample-{n}", Code(z[n : n + 1])))
        if n + 1 < config.count:
            for k in range(1, steps):
                mixed = torch.lerp(z[n : n + 1], z[n + 1 : n + 2], k / steps)
                found.append((f"sample-{n}-{k}", Code(mixed)))
    return found


# ---------------------------------------------------------------------- reading


def read_image(
    predictor: OccupancyPredictor, path: Path, folder: Path, config: PredictConfig
) -> Observed:
    """A picture of one object; how the network sees it is written to `folder`."""
    picture = framed_picture(path, folder, config)
    planes = picture.planes(predictor.model.shape.image_size)
    if not isinstance(predictor.model.encoder, SmallImageEncoder):  # it knows no coverage
        planes = planes[..., :-1]
    return Observed(folder.name, predictor.code(planes[None]))


def read_cloud(
    predictor: OccupancyPredictor, path: Path, folder: Path, config: PredictConfig
) -> Observed:
    """A cloud, see `read_points`.

    The middle of their box is taken for the middle of the object, and the longest side for its.
    """
    points = read_points(path)
    if points.ndim != 2 or points.shape[-1:] != (3,) or not np.isfinite(points).all():
        raise InputError(f"{path}: need finite points [N, 3], got shape {list(points.shape)}")
    low, high = points.min(0), points.max(0)
    scale = float((high - low).max()) / LONGEST_SIDE
    if len(points) < 8 or not scale > 0:
        raise InputError(f"{path}: need at least 8 points at different places, got {len(points)}")
    generator = torch.Generator().manual_seed(config.seed)
    x = torch.from_numpy((points - (low + high) / 2) / scale).float()
    if len(x) > predictor.cloud:
        x = x[torch.randperm(len(x), generator=generator)[: predictor.cloud]]
    center = tuple(((low + high) / 2).tolist())
    return Observed(folder.name, predictor.code(x[None]), scale, center)


def read_voxels(
    predictor: OccupancyPredictor, path: Path, folder: Path, config: PredictConfig
) -> Observed:
    """A grid `voxels` `[R, R, R]` of an npz file, true inside.

    Over the padded box; for networks of the paper's size over the cube around the object.
    """
    return Observed(folder.name, predictor.code(read_grid(path)[None]))


def read_points(path: Path) -> Doubles:
    """Points `[N, 3]` of an npz file, or of a mesh: its vertices, or points on its faces.

    Raises:
        InputError: missing, damaged, or of another kind.
    """
    if path.suffix.lower() == ".npz":
        return need_numbers(path, "points", read_arrays(path, ("points",))["points"], ("N", 3))
    if path.suffix.lower() not in MESHES:
        raise InputError(f"{path}: need a cloud: .npz with 'points', or {' '.join(MESHES)}")
    points = load_points(path)
    if points is not None:
        return points
    return np.asarray(load_mesh(path).sample(20_000, seed=0), dtype=np.float64)


def read_grid(path: Path) -> Tensor:
    """`voxels` `[R, R, R]` of an npz file: 1 inside, else 0.

    Raises:
        InputError: missing, damaged, of another shape, or empty.
    """
    grid = read_arrays(path, ("voxels",))["voxels"]
    grid = need_numbers(path, "voxels", grid, ("R", "R", "R"), kinds="fiub")
    if min(grid.shape) < 4:
        raise InputError(f"{path}: need voxels [R, R, R] with R ≥ 4, got {list(grid.shape)}")
    if not (grid > 0).any():
        raise InputError(f"{path}: need an object, all its voxels are empty")
    return torch.from_numpy((grid > 0).astype(np.float32))
