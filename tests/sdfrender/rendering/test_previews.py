"""What a notebook shows of lattices and renderings."""

from __future__ import annotations

import re

import pytest
import torch

import sdfrender as sr
from sdfrender.geometry.preview import AMBIENT, SIDES, sides

BOX = torch.tensor([[-1.0, -0.7, -0.6], [1.0, 0.7, 0.8]])


def pictures(page: str) -> list[str]:
    found = re.findall(r'<img src="data:image/webp;base64,[^"]+" alt="([^"]+)"', page)
    assert "http" not in page
    return found


def test_the_sides_of_a_sphere_are_discs_lit_from_the_front() -> None:
    lattice = sr.Lattice.sphere(0.5, resolution=(41, 33, 29), bounds=BOX)
    shown = sides(lattice.values, lattice.spacing)
    assert list(shown) == list(SIDES)
    x, y, z = lattice.resolution
    assert [tuple(p.shape[:2]) for p in shown.values()] == [(z, y), (z, x), (y, x)]
    for axis, picture in zip(SIDES.values(), shown.values(), strict=True):
        across = [k for k in range(3) if k != axis]
        a, b = (torch.linspace(*BOX[:, k].tolist(), lattice.resolution[k]) for k in across)
        r2 = (a[None] ** 2 + b.flip(0)[:, None] ** 2) / 0.25
        inner = r2 < 0.6  # where differences of heights are those of a sphere
        expected = AMBIENT + (1 - AMBIENT) * (1 - r2.clamp(max=1)).sqrt()
        assert picture[..., 0][inner].double() == pytest.approx(expected[inner].double(), abs=0.03)
        assert (picture[..., 0][r2 > 1.3] == 0).all()


def test_sides_are_seen_the_right_way_round() -> None:
    """A ball in the corner of +x, +y, +z is at the right and at the top of each side."""
    ball = sr.primitives.sphere(0.2, (0.5, 0.5, 0.5))
    lattice = sr.Lattice.from_function(ball, resolution=24)
    for picture in sides(lattice.values, lattice.spacing).values():
        rows, columns = picture[..., 0].nonzero().double().mean(0).tolist()
        assert rows < 11 < 12 < columns


@pytest.mark.parametrize(("side", "behind"), [(0, -1), (1, 1), (2, -1)])
def test_the_near_side_is_shown(side: int, behind: int) -> None:
    """Half a ball that lies away from the viewer shows its flat side."""
    middle = [0.0, 0.0, 0.0]
    middle[side] = behind * 0.5
    half = [1.0, 1.0, 1.0]
    half[side] = 0.5
    solid = sr.primitives.intersection(sr.primitives.sphere(0.6), sr.primitives.box(half, middle))
    lattice = sr.Lattice.from_function(solid, resolution=33)
    picture = list(sides(lattice.values, lattice.spacing).values())[side][11:-11, 11:-11]
    assert picture == pytest.approx(torch.ones_like(picture), abs=0.01)


@pytest.mark.parametrize("values", [torch.ones(3, 4, 5), -torch.ones(3, 4, 5)])
def test_lattices_without_a_surface_are_shown(values: torch.Tensor) -> None:
    page = sr.Lattice(values, BOX)._repr_html_()
    assert pictures(page) == list(SIDES)
    assert "3×4×5" in page


def test_a_rendering_shows_its_views_and_what_else_there_is() -> None:
    lattice = sr.Lattice.sphere(0.5, resolution=12)
    cameras = sr.Cameras.cube(distance=3.0, width=20, height=14)[[0, 3, 9, 11, 12]]
    rest = ["silhouettes[0]", "depths[0]", "normals[0]"]
    for count in (1, 2, 5):
        seen = sr.render(lattice, cameras[list(range(count))])
        images = [f"images[{n}]" for n in range(min(count, 4))]
        assert pictures(seen._repr_html_()) == images + rest
    both = sr.Lattice(torch.stack([lattice.values, lattice.values + 9]), lattice.bounds)
    seen = sr.render(both, cameras)
    assert "2×5×14×20" in seen._repr_html_()
    assert "2 × 12×12×12" in both._repr_html_()
    nothing = sr.render(lattice.with_values(lattice.values + 9), cameras)
    assert pictures(nothing._repr_html_())[-3:] == rest
