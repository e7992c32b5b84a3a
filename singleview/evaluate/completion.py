"""How well shapes are completed from one depth image, beside what needs no learning; and noise.

Depth images are ray traced from meshes. Lengths are in units in which the true mesh touches the
unit ball, and measures are those of `singleview.evaluate.deepsdf`. Methods:

    completion              `singleview.predict.completion`
    nearest, by what is seen    the known mesh that the points seen are nearest to, on average
    nearest, told the truth     the known mesh with the least Chamfer distance to the true one
    hull                    of the image's silhouette, in the box: all that it allows

Under noise of standard deviation σ (canonical units, along the camera's axis) the Chamfer distance
of completions to the true mesh is set beside that of the points seen, to those without noise.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from rich.table import Table
from scipy.spatial import KDTree
from torch import Tensor
from tqdm import tqdm

from sdfrender import Cameras, InputError, extract_mesh
from sdfrender.files.atomic import atomic_write, write_bytes, write_json
from sdfrender.geometry.grid import UNIT_BOX
from sdfrender.geometry.mesh_files import Doubles
from sdfrender.latent.field import LatentField
from sdfrender.meshes.metrics import squared_chamfer
from sdfrender.meshes.mise import mise
from sdfrender.rendering.raytrace import raytrace
from sdfrender.report.plot import COLORS, figure
from sdfrender.view.lighting import STUDIO
from singleview.data.hull import visual_hull
from singleview.data.meshes import canonical_mesh, find_meshes, protocol_split
from singleview.data.samples import PADDED_BOX
from singleview.evaluate.deepsdf import NEAREST_SAMPLES, Numbers, ball, nearest, surface_numbers
from singleview.models.latent import need_canonical
from singleview.pictures.contact_sheet import write_picture
from singleview.predict.complete import depth_picture
from singleview.predict.completion import complete
from singleview.predict.depth_view import DepthView
from singleview.settings.evaluation import CompletionStudy
from singleview.settings.prediction import CompletionSettings

COARSE, LEVELS = 48, 1  # cells of the grid that completions are extracted from: 96³
MEASURES = ("chamfer", "earth_mover", "accuracy", "completion", "cosine")
HULL = 64  # samples along each side of its lattice
DISTANCE, ELEVATION = 3.2, math.radians(25)  # of the camera
PICTURE = 128  # pixels

Meshes = dict[str, trimesh.Trimesh]


def evaluate_completion(config: CompletionStudy, quiet: bool = False) -> dict[str, Any]:
    """Run the study; writes completion.json, completion.md, noise.png and shapes.png.

    Raises:
        InputError: weights or meshes that cannot be used, or an object that the network knows.
    """
    family = LatentField.load(config.model)
    need_canonical(family, config.model)
    judged, known = read_meshes(config, family)
    config.out.mkdir(parents=True, exist_ok=True)
    objects: dict[str, dict[str, Numbers]] = {}
    noisy: dict[str, list[Numbers]] = {}
    rows = []
    for name, mesh in tqdm(judged.items(), desc="completing", unit="object", disable=quiet):
        view = depth_view(mesh, config)
        methods = predictions(family, view, mesh, known, config.settings)
        objects[name] = {
            method: _numbers(found, mesh, config.settings.seed) for method, found in methods.items()
        }
        noisy[name] = [
            _mean(
                [
                    under_noise(family, view, mesh, sigma, methods["completion"], draw, config)
                    for draw in range(config.draws if sigma else 1)
                ]
            )
            for sigma in config.noise
        ]
        rows.append(picture(view, methods["completion"], mesh))
    result: dict[str, Any] = {
        "model": str(config.model),
        "split": config.split,
        "methods": {method: _mean([o[method] for o in objects.values()]) for method in METHODS},
        "noise": [
            {"sigma": sigma, **_mean([runs[n] for runs in noisy.values()])}
            for n, sigma in enumerate(config.noise)
        ],
        "objects": objects,
    }
    write_json(config.out / "completion.json", result)
    write_bytes(config.out / "completion.md", markdown_of(result).encode())
    plot_noise(config.out / "noise.png", result["noise"])
    write_picture(config.out / "shapes.png", torch.cat(rows)[..., None])
    return result


METHODS = ("completion", "nearest, by what is seen", "nearest, told the truth", "hull")


def predictions(
    family: LatentField,
    view: DepthView,
    truth: trimesh.Trimesh,
    known: Meshes,
    settings: CompletionSettings,
) -> dict[str, trimesh.Trimesh | None]:
    """The mesh of each method; None where it finds none."""
    seen = view.points().numpy()
    by_seen = min(known.values(), key=lambda mesh: distance_from(seen, mesh, settings.seed))
    return {
        "completion": completed(family, view, settings),
        "nearest, by what is seen": by_seen,
        "nearest, told the truth": nearest(truth, list(known.values()), settings.seed),
        "hull": hull_of(view),
    }


def distance_from(points: Doubles, mesh: trimesh.Trimesh, seed: int) -> float:
    """Mean distance of points `[P, 3]` to samples of a mesh; both in the canonical frame."""
    samples = trimesh.sample.sample_surface(mesh, NEAREST_SAMPLES, seed=seed)[0]
    return float(KDTree(samples).query(points)[0].mean())


def completed(
    family: LatentField, view: DepthView, settings: CompletionSettings
) -> trimesh.Trimesh | None:
    """The mesh of the code that explains a depth image; None where it has no surface."""
    field = family.field(complete(family, view, settings).code)
    try:
        return mise(field, PADDED_BOX, COARSE, LEVELS).mesh()
    except InputError:
        return None


def hull_of(view: DepthView) -> trimesh.Trimesh:
    """All that the silhouette of a depth image allows in the box."""
    silhouettes = view.seen[None].float()
    return extract_mesh(visual_hull(silhouettes, view.camera, torch.tensor(UNIT_BOX), HULL))


def under_noise(
    family: LatentField,
    view: DepthView,
    truth: trimesh.Trimesh,
    sigma: float,
    clean_mesh: trimesh.Trimesh | None,
    draw: int,
    config: CompletionStudy,
) -> Numbers:
    """Chamfer distances, of the completion and of the points seen, under the noise of one draw.

    `clean_mesh` is the completion without noise.
    """
    seed = config.settings.seed
    noisy = view.noisy(sigma, torch.Generator().manual_seed(seed + draw))
    mesh = completed(family, noisy, config.settings) if sigma else clean_mesh
    clean, points = view.points().numpy(), noisy.points().numpy()
    there, back = KDTree(clean).query(points)[0], KDTree(points).query(clean)[0]
    unit = ball(truth)[0] ** 2
    numbers = {"points": float((there**2).mean() + (back**2).mean()) / unit}
    if mesh is not None:
        numbers["chamfer"] = squared_chamfer(mesh, truth, seed=seed) / unit
    return numbers


def depth_view(mesh: trimesh.Trimesh, config: CompletionStudy) -> DepthView:
    """A depth image of a mesh in the canonical frame."""
    azimuth = math.radians(config.azimuth_deg)
    c, s = math.cos(ELEVATION), math.sin(ELEVATION)
    eye = [DISTANCE * x for x in (c * math.sin(azimuth), s, c * math.cos(azimuth))]
    camera = Cameras.look_at([eye], width=config.image_size)
    return DepthView(raytrace(mesh, camera, supersampling=1).depths[0], camera)


def read_meshes(config: CompletionStudy, family: LatentField) -> tuple[Meshes, Meshes]:
    """The objects to judge, and those that the network knows, in the canonical frame."""
    sources = {s.name: s for s in find_meshes(config.meshes, categories=config.categories)}
    splits = protocol_split(list(sources))
    judged = [name for name, split in splits.items() if split == config.split]
    known = [name for name in sources if name in family.names]
    both = sorted(set(judged) & set(known))
    if both:
        raise InputError(f"--model: need a network that does not know {both[0]} ({config.split})")
    if not judged or not known:
        raise InputError(
            f"{config.meshes}: need objects to judge and objects that the network knows, "
            f"got {len(judged)} and {len(known)}"
        )
    read = {name: canonical_mesh(sources[name]) for name in (*judged, *known)}
    return {n: read[n] for n in judged}, {n: read[n] for n in known}


# ---------------------------------------------------------------------- showing


@torch.no_grad()
def picture(view: DepthView, mesh: trimesh.Trimesh | None, truth: trimesh.Trimesh) -> Tensor:
    """`[S, 7 S]`: the depth image; the completion from its camera and two others; the truth."""
    camera = view.camera.resized(PICTURE, PICTURE)
    others = Cameras.orbit(8, width=PICTURE)[[4, 6]]
    cameras = Cameras(
        torch.cat((camera.c2w, others.c2w)), torch.cat((camera.Ks, others.Ks)), PICTURE, PICTURE
    )
    parts = [depth_picture(view, PICTURE, PICTURE)]
    for shape in (mesh, truth):
        if shape is None:
            parts += [torch.zeros(PICTURE, PICTURE)] * 3
        else:
            parts += list(raytrace(shape, cameras, lighting=STUDIO).images[..., 0])
    return torch.cat(parts, 1).clamp(0, 1)


def plot_noise(path: Path, rows: list[dict[str, float]]) -> None:
    """Chamfer ×10³ of completions and of points over the noise."""
    made, axes = figure(5.0, 3.2)
    sigmas = [row["sigma"] for row in rows]
    for key, label, color, style in (
        ("chamfer", "completion", COLORS[1], "o-"),
        ("points", "points seen", COLORS[2], "s--"),
    ):
        axes.plot(sigmas, [1000 * row[key] for row in rows], style, color=color, label=label)
    axes.set_xlabel("standard deviation of the depths (longest side 1.5)")
    axes.set_ylabel("Chamfer ×10³")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    with atomic_write(path) as partial:
        made.savefig(partial, dpi=150)


Rows = tuple[str, list[str], list[list[str]]]  # a title, headings, and cells


def tables(result: dict[str, Any]) -> list[Rows]:
    """Both tables."""
    methods, noise = [], []
    for method, row in result["methods"].items():
        numbers = [1000 * row["chamfer"], *(row[key] for key in MEASURES[1:])]
        methods.append([method, *(f"{x:.3f}" for x in numbers)])
    for row in result["noise"]:
        points = f"{1000 * row['points']:.3f}"
        noise.append([f"{row['sigma']:g}", f"{1000 * row['chamfer']:.3f}", points])
    first = ["method", "Chamfer ×10³", "EMD", "accuracy", "completion", "cosine"]
    return [
        (f"{len(result['objects'])} {result['split']} objects", first, methods),
        ("under noise, Chamfer ×10³", ["σ", "completion", "points seen"], noise),
    ]


def markdown_of(result: dict[str, Any]) -> str:
    """Both tables in Markdown."""
    lines = []
    for title, headings, rows in tables(result):
        lines += [title, "", "| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    return "\n".join(lines)


def terminal(result: dict[str, Any]) -> list[Table]:
    """Both tables for the terminal."""
    found = []
    for title, headings, rows in tables(result):
        table = Table(headings[0], title=title)
        for heading in headings[1:]:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        found.append(table)
    return found


def _numbers(mesh: trimesh.Trimesh | None, truth: trimesh.Trimesh, seed: int) -> Numbers:
    return {} if mesh is None else surface_numbers(mesh, truth, None, seed)


def _mean(rows: list[Numbers]) -> Numbers:
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
