"""Principal points: found where photographs tell, else left in the middle of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from multiview.photographs.principal_point import with_principal_points

pycolmap = pytest.importorskip("pycolmap", reason="needs the extra photos")

FOCAL, WIDTH, HEIGHT = 801.0, 721, 543
MIDDLE = np.array([WIDTH / 2, HEIGHT / 2])
ASIDE = np.add(MIDDLE, (9.0, -6.0))


def adjusted(point: np.ndarray, views: int = 12, points: int = 300, noise: float = 0.3) -> Any:
    """A model of photographs with one principal point, mapped as if it were in the middle."""
    pycolmap.set_random_seed(3)
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_frames_per_rig = 1, views
    options.num_points3D = points
    options.camera_width, options.camera_height = WIDTH, HEIGHT
    options.camera_params = [FOCAL, *point, 0.01]
    model = pycolmap.synthesize_dataset(options)
    dirt = pycolmap.SyntheticNoiseOptions()
    dirt.point2D_stddev = noise
    pycolmap.synthesize_noise(dirt, model)
    model.cameras[1].params = [FOCAL, *MIDDLE, 0.01]
    settings = pycolmap.BundleAdjustmentOptions()
    settings.print_summary = False
    settings.ceres.solver_options.num_threads = 1
    pycolmap.bundle_adjustment(model, settings)
    return model


def test_it_is_found_and_all_else_fits_it() -> None:
    middle = adjusted(ASIDE)
    before = middle.compute_mean_reprojection_error()
    model = with_principal_points(middle)
    assert model is not None
    focal, x, y, _ = model.cameras[1].params
    assert np.abs((x, y) - ASIDE).max() < 1
    assert focal == pytest.approx(FOCAL, rel=2e-3)
    told = model.compute_mean_reprojection_error()
    model.update_point_3d_errors()  # poses, points and errors belong together
    assert model.compute_mean_reprojection_error() == pytest.approx(told, rel=1e-9)
    assert told < before


def test_twice_the_same() -> None:
    one, two = with_principal_points(adjusted(ASIDE)), with_principal_points(adjusted(ASIDE))
    assert one is not None
    assert two is not None
    np.testing.assert_array_equal(one.cameras[1].params, two.cameras[1].params)


@pytest.mark.parametrize(
    ("point", "options"),
    [
        (MIDDLE, {}),  # it is in the middle
        (np.add(MIDDLE, (60.0, 0.0)), {}),  # no lens is so far off
        (ASIDE, {"noise": 6.0, "points": 40, "views": 3}),  # who could tell
    ],
)
def test_a_model_is_left_as_it_was(point: np.ndarray, options: dict[str, Any]) -> None:
    model = adjusted(point, **options)
    params = model.cameras[1].params.copy()
    poses = {i: frame.rig_from_world.matrix() for i, frame in model.frames.items()}
    assert with_principal_points(model) is None
    np.testing.assert_array_equal(model.cameras[1].params, params)
    for i, frame in model.frames.items():
        np.testing.assert_array_equal(frame.rig_from_world.matrix(), poses[i])
