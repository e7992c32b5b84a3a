"""Numbers that are finite and too large: refused at every door, never NaN or a crash later."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from processes.forked import in_a_fork, needs_fork

from sdfrender import (
    Cameras,
    Directional,
    Headlight,
    InputError,
    Lattice,
    Lighting,
    cli,
    extract_field,
    linearize,
    load_lattice,
    load_mesh,
    primitives,
    render,
    render_field,
    save_lattice,
)
from sdfrender.rendering.raytrace import raytrace

BALL = Lattice.sphere(0.5, resolution=9)
EYE = Cameras.look_at([[0.0, 0.0, 3.0]], width=7, height=5)
BAD = (math.nan, math.inf, 1e39, -1e30)


def box(size: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor([[0.0, 0.0, 0.0], [size, 1.0, 1.0]], dtype=dtype)


def full(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value, dtype=torch.float64)


@pytest.mark.parametrize("size", [1e39, 1e200, 1e30, math.inf, 1e-30])
def test_boxes_that_cannot_be_computed_with_are_refused(size: float) -> None:
    doors: list[Callable[[], object]] = [
        lambda: Lattice(torch.zeros(2, 2, 2), box(size)),
        lambda: Lattice(torch.zeros(2, 2, 2).double(), box(size)),
        lambda: Lattice.sphere(bounds=box(size)),
        lambda: Lattice.from_mesh(trimesh.creation.box(), bounds=box(size).tolist()),
        lambda: extract_field(primitives.sphere(0.5), box(size).tolist()),
        lambda: render_field(primitives.sphere(0.5), EYE, box(size).tolist()),
    ]
    for door in doors:
        with pytest.raises(ValueError, match="bounds: need "):
            door()


@needs_fork
@pytest.mark.parametrize("coordinate", [1e39, 1e200, -1e300])
@pytest.mark.parametrize("extension", [".obj", ".off"])
def test_a_mesh_of_huge_coordinates_is_an_error_that_names_the_vertex(
    coordinate: float, extension: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, points = tmp_path / f"huge{extension}", ["0 0 0", f"{coordinate} 0 0", "0 1 0", "0 0 1"]
    if extension == ".obj":
        file.write_text("\n".join([*(f"v {p}" for p in points), "f 1 2 3", "f 1 3 4", ""]))
    else:
        file.write_text("\n".join(["OFF", "4 2 0", *points, "3 0 1 2", "3 0 2 3", ""]))
    with pytest.raises(InputError, match=r"huge.*coordinates of at most 1e\+18, vertex 1 is"):
        load_mesh(file)
    monkeypatch.setattr(sys, "argv", ["sdfrender", "convert", str(file), str(tmp_path / "o.npz")])
    done = in_a_fork(cli.main)
    assert done.code == 2, done.err  # not by a signal
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1


def test_meshes_that_do_not_come_from_a_file() -> None:
    mesh = trimesh.creation.box()
    mesh.vertices = mesh.vertices * 1e200
    for door in (Lattice.from_mesh, lambda m: raytrace(m, EYE)):
        with pytest.raises(ValueError, match="finite"):
            door(mesh)
    tiny = trimesh.creation.box()
    tiny.vertices = tiny.vertices * 1e-200
    with pytest.raises(InputError, match="longest side of at least 1e-18"):
        Lattice.from_mesh(tiny)


@pytest.mark.parametrize("bad", BAD)
def test_every_number_of_the_api_is_checked(bad: float) -> None:
    huge = torch.tensor([0.5, bad, 0.5], dtype=torch.float64)
    doors: dict[str, Callable[[], object]] = {
        "values": lambda: Lattice(full(bad, 2, 2, 2), box(1.0)),
        "intensity": lambda: Directional((0.0, 0.0, 1.0), huge),
        "intensity ": lambda: Headlight(bad),
        "ambient": lambda: Lighting(ambient=huge),
        "sh": lambda: Lighting(sh=full(bad, 9)),
        "to_light": lambda: Directional((bad, 0.0, 1.0)),
        "c2w": lambda: Cameras(EYE.c2w.double() + torch.eye(4)[3] * bad, EYE.Ks, 7, 5),
        "Ks": lambda: Cameras(EYE.c2w, EYE.Ks * abs(bad), 7, 5),
        "albedo": lambda: render(BALL, EYE, albedo=huge),
        "albedo ": lambda: render(BALL, EYE, albedo=bad, engine="reference"),
        "albedo  ": lambda: linearize(BALL, EYE, albedo=full(bad, 2, 2, 2, 3)),
        "albedo   ": lambda: render_field(primitives.sphere(0.5), EYE, albedo=bad),
        "background": lambda: render(BALL, EYE, background=huge),
        "background ": lambda: render(BALL, EYE, background=full(bad, 1, 5, 7, 3)),
        "background  ": lambda: linearize(BALL, EYE, background=bad),
        "background   ": lambda: render_field(primitives.sphere(0.5), EYE, background=bad),
    }
    for name, door in doors.items():
        with pytest.raises(ValueError, match=f"^{name.strip()}: need "):
            door()


def test_a_file_of_huge_numbers_is_told_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "huge.npz"
    np.savez(file, values=np.zeros((2, 2, 2)), bounds=np.array([[0, 0, 0], [1e200, 1, 1]]))
    with pytest.raises(InputError, match=r"huge\.npz: bounds: need finite numbers of at most"):
        load_lattice(file)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e6, 1e12])
def test_what_is_allowed_is_computed_as_at_a_usual_size(scale: float, tmp_path: Path) -> None:
    ball = Lattice(BALL.values * scale, BALL.bounds.double() * scale)
    eye = Cameras.look_at([[0.0, 0.0, 3.0 * scale]], width=7, height=5)
    out, usual = render(ball, eye), render(BALL, EYE)
    torch.testing.assert_close(out.images, usual.images, atol=1e-4, rtol=0)
    torch.testing.assert_close(out.normals, usual.normals, atol=1e-4, rtol=0)
    again = ball.redistance().values / scale
    torch.testing.assert_close(again, BALL.redistance().values, atol=1e-4, rtol=1e-4)
    save_lattice(tmp_path / "ball.npz", ball)
    assert load_lattice(tmp_path / "ball.npz") == ball
