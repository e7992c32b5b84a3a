"""Views that take turns, and steps on some of them that stand for all."""

import pytest
import tiny
import torch

from multiview.optimize.gauss_newton import BAND, GaussNewton
from multiview.optimize.normal_equations import LeastSquares
from multiview.photo.appearance import Appearance
from multiview.photo.targets import Targets
from multiview.photo.turns import take_turns
from multiview.recipes import NewtonLevel, NewtonRecipe, Weights
from sdfrender import Cameras, render
from sdfrender.view.lighting import Headlight, Lighting

LEVEL = NewtonLevel(1, 2, 4, laplacian=0.02, smoothing=0.1, largest_step=0.5)


def some_views(count: int, width: int = 19, height: int = 15) -> Targets:
    """A torus, under a headlight of half the usual strength."""
    cameras = tiny.ring(count, width, height)
    lighting = Lighting(headlight=Headlight(0.5))
    out = render(tiny.true_lattice(16), cameras, lighting=lighting)
    ones = torch.ones_like(out.silhouettes)
    return Targets(cameras, out.images, out.silhouettes, ones, ones)


@pytest.mark.parametrize(("count", "most"), [(1, 3), (3, 3), (7, 3), (26, 9), (100, 32)])
def test_every_camera_has_its_turn(count: int, most: int) -> None:
    groups = take_turns(Cameras.orbit(count), torch.zeros(3), most)
    assert sorted(v for views in groups for v in views) == list(range(count))
    sizes = [len(views) for views in groups]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(groups) == -(-count // most)


def in_turns(cameras: Cameras, middle: torch.Tensor, most: int) -> list[list[int]]:
    """The twin of `take_turns`: word for word what it says."""
    directions = torch.nn.functional.normalize(cameras.centers - middle, dim=-1)
    apart = (directions[:, None] - directions).norm(dim=-1)
    groups: list[list[int]] = [[] for _ in range(-(-len(cameras) // most))]
    taken: list[int] = []

    def farness(camera: int, others: list[int]) -> float:
        return float(apart[camera, others].min()) if others else torch.inf

    while len(taken) < len(cameras):
        left = [n for n in range(len(cameras)) if n not in taken]
        camera = max(left, key=lambda n: farness(n, taken))
        taken.append(camera)
        smallest = min(map(len, groups))
        max(
            (group for group in groups if len(group) == smallest),
            key=lambda group: farness(camera, group),
        ).append(camera)
    return [sorted(group) for group in groups]


@pytest.mark.parametrize("most", [1, 4, 11, 40])
def test_cameras_are_taken_farthest_first(most: int) -> None:
    scattered = tiny.ring(41)
    twice = scattered[[*range(20), *range(20)]]  # each view is there twice, at no distance
    for cameras in (scattered, twice, Cameras.orbit(37)):
        middle = torch.tensor([9.0, -2.5, 4.0])
        assert take_turns(cameras, middle, most) == in_turns(cameras, middle, most)


def test_every_group_sees_all_sides() -> None:
    """Cameras that a video would have: one beside the other."""
    cameras = Cameras.orbit(96)
    for views in take_turns(cameras, torch.zeros(3), 12):
        directions = torch.nn.functional.normalize(cameras.centers, dim=-1)
        away = (directions[:, None] - directions[views]).norm(dim=-1).min(1).values
        assert float(away.max()) < 0.65  # evenly spread ones: half of 30 degrees, 0.26
        assert len(views) == 12


def test_views_that_stand_for_others_count_for_them() -> None:
    """Twice the views of a scene are, to the step, each view counting twice."""
    targets, lattice = some_views(3), tiny.true_lattice(14)
    doubled = targets[[0, 1, 2, 0, 1, 2]]
    look = Appearance(1, Lighting())
    weights = Weights(silhouette=0.7, carve=0.3)
    all_six = LeastSquares(lattice, doubled, look, weights, BAND)
    for_six = LeastSquares(lattice, targets, look, weights, BAND, count=2)
    assert float(for_six.terms.total) == pytest.approx(float(all_six.terms.total), rel=1e-4)
    torch.testing.assert_close(
        torch.from_numpy(for_six.gradient), torch.from_numpy(all_six.gradient), rtol=1e-3, atol=1e-5
    )
    steps = [p.step(0.1, 0.01, 200, 1e-5) for p in (for_six, all_six)]
    torch.testing.assert_close(*map(torch.from_numpy, steps), rtol=1e-2, atol=1e-4)


def test_steps_take_turns_and_colours_remember_all_views() -> None:
    targets, shown, used = some_views(5), [], []

    class Watching(Appearance):
        def observe(self, out, targets, lattice):  # type: ignore[no-untyped-def]
            shown.append(len(targets.cameras))
            super().observe(out, targets, lattice)

        def _solve(self, hits, lattice, smoothness):  # type: ignore[no-untyped-def]
            used.append(sum(len(some.points) for some in hits))
            super()._solve(hits, lattice, smoothness)

    look = Watching(1, Lighting())
    recipe = NewtonRecipe((LEVEL,), views=2)
    method = GaussNewton(tiny.true_lattice(14), targets, look, recipe, LEVEL)
    turns = []
    for index in range(LEVEL.passes):
        [(views, terms)] = method.run_pass(index)
        look.solve()
        assert terms.per_view.shape == (len(views),)
        turns.append(views)
    assert sorted(v for views in turns[:3] for v in views) == list(range(5))
    assert turns[3] == turns[0]
    assert sum(shown[:3]) == 5  # all views at first, then those whose turn it is
    assert shown[3:] == [len(views) for views in turns[1:]]
    assert max(used) < 1.2 * min(used)  # pixels of all views every time


def test_the_light_is_estimated_from_all_groups() -> None:
    targets, look = some_views(4), Appearance(1, Lighting())
    recipe = NewtonRecipe((LEVEL,), views=2)
    method = GaussNewton(tiny.true_lattice(16), targets, look, recipe, LEVEL)
    method.estimate_appearance()
    assert float(look.albedo) == pytest.approx(0.5, abs=1e-4)
