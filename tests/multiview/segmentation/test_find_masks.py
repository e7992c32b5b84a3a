"""Masks from cameras and points alone, against true silhouettes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from table_scene import CENTER, HEIGHT, RADIUS, WIDTH, TableScene, write_table_scene

from multiview.scenes import describe_scene, load_scene
from multiview.scenes.distortion import Lens
from multiview.scenes.readers.points import SparsePoints, read_sparse_points
from multiview.segmentation.find_masks import find_masks
from multiview.segmentation.mask_files import as_taken
from multiview.segmentation.mask_scene import mask_scene
from multiview.segmentation.object_box import find_box, find_fixation, find_plane
from multiview.segmentation.photograph import Photograph, read_photographs
from multiview.segmentation.settings import MaskSettings
from multiview.segmentation.stereo_points import stereo_points
from multiview.segmentation.support import look_of
from sdfrender.errors import InputError
from sdfrender.files.locks import locked


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> TableScene:
    return write_table_scene(tmp_path_factory.mktemp("table") / "ball")


@pytest.fixture(scope="module")
def masked(table: TableScene, tmp_path_factory: pytest.TempPathFactory) -> TableScene:
    folder = tmp_path_factory.mktemp("masked") / "ball"
    shutil.copytree(table.folder, folder)
    told = mask_scene(MaskSettings(folder))
    assert told["written"] == len(table.silhouettes)
    assert told["stands_on_a_plane"]
    return replace(table, folder=folder)


@pytest.fixture
def copied(masked: TableScene, tmp_path: Path) -> TableScene:
    shutil.copytree(masked.folder, tmp_path / "ball")
    return replace(masked, folder=tmp_path / "ball")


def photographs(table: TableScene) -> tuple[list[Photograph], SparsePoints]:
    views = sorted(describe_scene(table.folder).views, key=lambda view: view.name)
    sparse = read_sparse_points(table.folder / "sparse" / "0" / "points3D.txt")
    return read_photographs(views, max(WIDTH, HEIGHT)), sparse


def written(folder: Path, kind: str) -> np.ndarray:
    return np.stack([iio.imread(file) > 127 for file in sorted((folder / kind).iterdir())])


def test_plane_and_box_of_what_stands_on_it(table: TableScene) -> None:
    views, sparse = photographs(table)
    fixation = find_fixation(views)
    assert np.abs(fixation.point - CENTER).max() < 0.02
    plane = find_plane(sparse.positions, views, fixation)
    assert plane is not None
    assert abs(plane.offset) < 0.01
    assert np.degrees(np.arccos(plane.normal[2])) < 0.5  # up, towards the cameras
    box = find_box(sparse, views, fixation, plane)
    assert np.abs(np.linalg.norm(box.points - CENTER, axis=-1) - RADIUS).max() < 0.02
    ends = np.stack((box.corners.min(0), box.corners.max(0)))
    assert (ends[0] < CENTER - [RADIUS, RADIUS, 0]).all()
    assert (ends[1] > CENTER + RADIUS).all()
    assert ends[0, 2] > -0.02


def test_the_table_looks_as_it_looks_and_the_ball_does_not(table: TableScene) -> None:
    views, sparse = photographs(table)
    fixation = find_fixation(views)
    plane = find_plane(sparse.positions, views, fixation)
    assert plane is not None
    support = look_of(plane, views, fixation, list(table.silhouettes))
    yellow = table.silhouettes & ~table.dark
    for n in range(len(views)):
        difference, known = support.difference(views, n)
        away = known & ~table.silhouettes[n]
        assert np.quantile(difference[away], 0.9) < 0.05
        if (known & yellow[n]).sum() > 50:
            assert np.quantile(difference[known & yellow[n]], 0.1) > 0.1


def test_masks_are_found_and_dark_parts_are_not_carved(masked: TableScene) -> None:
    masks, known = (written(masked.folder, kind) for kind in ("masks", "mask_weights"))
    truth = masked.silhouettes
    both, either = (masks & truth & known).sum((1, 2)), ((masks | truth) & known).sum((1, 2))
    assert (both / either).mean() > 0.95
    carved = masked.dark & known & ~masks
    assert carved.sum() < 0.02 * masked.dark.sum()
    assert (known & truth).sum() > 0.6 * truth.sum()  # and not by knowing nothing


def test_the_scene_is_read_with_weights_and_a_loose_box(masked: TableScene) -> None:
    scene = load_scene(masked.folder)
    known = written(masked.folder, "mask_weights")
    assert np.array_equal(scene.silhouette_weights.numpy() > 0.5, known)
    assert scene.loose
    assert scene.bounds is not None
    lower, upper = scene.bounds.numpy()
    assert (lower < CENTER - 0.9 * RADIUS).all()
    assert (upper > CENTER + 0.9 * RADIUS).all()
    assert (upper - lower).max() < 4 * RADIUS


@pytest.mark.slow
def test_a_corrected_mask_stays_and_is_known_everywhere(copied: TableScene) -> None:
    mask, other = (copied.folder / "masks" / f"p{n:02d}.png" for n in (3, 4))
    truth = copied.silhouettes[3].astype(np.uint8) * 255
    iio.imwrite(mask, truth)
    before, time = mask.read_bytes(), other.stat().st_mtime_ns
    assert mask_scene(MaskSettings(copied.folder))["written"] == 0  # all have masks
    assert other.stat().st_mtime_ns == time
    told = mask_scene(MaskSettings(copied.folder, again=True))
    assert (told["given"], told["written"]) == (1, len(copied.silhouettes) - 1)
    assert mask.read_bytes() == before
    assert other.stat().st_mtime_ns > time
    scene = load_scene(copied.folder)
    assert bool((scene.silhouette_weights[3] == 1).all())
    assert not bool((scene.silhouette_weights[4] == 1).all())


@pytest.mark.slow
def test_masks_without_a_record_are_a_persons(copied: TableScene) -> None:
    (copied.folder / "masks.json").unlink()
    before = {file: file.read_bytes() for file in (copied.folder / "masks").iterdir()}
    told = mask_scene(MaskSettings(copied.folder, again=True))
    assert told["written"] == 0
    assert all(file.read_bytes() == data for file, data in before.items())


def test_nothing_that_rises_is_told(table: TableScene) -> None:
    views, sparse = photographs(table)
    flat = sparse.positions[:, 2] < 0.02
    ground = SparsePoints(sparse.positions[flat], sparse.views[flat], sparse.errors[flat])
    with pytest.raises(InputError, match=r"need 30 points above the plane .* give masks"):
        find_masks(views, ground)


@pytest.fixture(scope="module")
def without_points(tmp_path_factory: pytest.TempPathFactory) -> TableScene:
    """Neighbours are nearer to each other there, so that depths can be found."""
    scene = write_table_scene(tmp_path_factory.mktemp("without") / "ball", views=20)
    (scene.folder / "sparse" / "0" / "points3D.txt").unlink()
    return scene


def test_points_are_found_where_photographs_agree(
    without_points: TableScene, tmp_path: Path
) -> None:
    views = read_photographs(describe_scene(without_points.folder).views, WIDTH)
    found = stereo_points(without_points.folder, find_fixation(views), WIDTH)
    ball = np.abs(np.linalg.norm(found.positions - CENTER, axis=-1) - RADIUS)
    table = np.abs(found.positions[:, 2])
    away = np.minimum(ball, table)
    assert len(away) > 2000
    assert (ball < 0.05).sum() > 500
    assert (table < 0.05).sum() > 500
    assert np.median(away) < 0.02
    assert np.quantile(away, 0.98) < 0.05
    assert (found.views >= 3).all()
    again = stereo_points(without_points.folder, find_fixation(views), WIDTH)
    assert np.array_equal(found.positions, again.positions)


@pytest.mark.slow
def test_masks_without_points(without_points: TableScene) -> None:
    told = mask_scene(MaskSettings(without_points.folder))
    assert told["stands_on_a_plane"]
    masks, known = (written(without_points.folder, kind) for kind in ("masks", "mask_weights"))
    truth = without_points.silhouettes
    both, either = (masks & truth & known).sum((1, 2)), ((masks | truth) & known).sum((1, 2))
    assert (both / either).mean() > 0.95
    assert (known & truth).sum() > 0.6 * truth.sum()


def test_one_process_at_a_time_finds_masks(table: TableScene, tmp_path: Path) -> None:
    shutil.copytree(table.folder, tmp_path / "ball")
    settings = MaskSettings(tmp_path / "ball", again=True)
    with locked(tmp_path / "ball"), pytest.raises(InputError, match="no other process writes to"):
        mask_scene(settings)


def test_photographs_that_agree_on_nothing_are_told(table: TableScene, tmp_path: Path) -> None:
    shutil.copytree(table.folder, tmp_path / "ball")
    (tmp_path / "ball" / "sparse" / "0" / "points3D.txt").unlink()
    random = np.random.default_rng(3)
    for file in (tmp_path / "ball" / "images").iterdir():
        iio.imwrite(file, random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(InputError, match=r"need points .* neighbouring views agree on "):
        mask_scene(MaskSettings(tmp_path / "ball"))
    assert not (tmp_path / "ball" / "masks").exists()


def test_cameras_that_look_the_same_way_are_told(table: TableScene) -> None:
    views, _ = photographs(table)
    alike = []
    for n, view in enumerate(views):
        c2w = views[0].c2w.copy()
        c2w[:3, 3] += 0.1 * n
        alike.append(replace(view, c2w=c2w))
    with pytest.raises(InputError, match="different directions"):
        find_fixation(alike)


@pytest.mark.parametrize(
    "box", ["[]", '{"lower": [0, 0, 0]}', '{"lower": [0,0,0], "upper": [1,0,1]}']
)
def test_a_damaged_box_names_its_file(copied: TableScene, box: str) -> None:
    (copied.folder / "box.json").write_text(box)
    with pytest.raises(InputError, match=r"box\.json: need .*lower"):
        load_scene(copied.folder)


def test_a_damaged_record_names_its_file(copied: TableScene) -> None:
    (copied.folder / "masks.json").write_text(json.dumps({"files": 3}))
    with pytest.raises(InputError, match=r"masks\.json: need the record"):
        load_scene(copied.folder)


def test_masks_are_written_as_the_lens_shows_them(table: TableScene) -> None:
    view = replace(describe_scene(table.folder).views[0], lens=Lens((0.3, -0.1)))
    v, u = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    K = view.K
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    straight = np.hypot(x - 0.1, y) < 0.2  # a disc in the pinhole's picture
    lens = view.lens
    assert lens is not None
    there = lens.straighten(x, y)
    back = lens.distort(*there)
    assert np.abs(back[0] - x).max() < 1e-6
    assert np.abs(back[1] - y).max() < 1e-6
    expected = np.hypot(there[0] - 0.1, there[1]) < 0.2
    taken = as_taken(straight, view) > 0
    assert (taken ^ expected).sum() < 0.05 * expected.sum()  # pixels of the outline
    assert (straight ^ expected).sum() > 3 * (taken ^ expected).sum()  # the lens did something


def test_points_are_read_from_text_and_binary_alike(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model = pycolmap.Reconstruction()
    random = np.random.default_rng(1)
    for xyz in random.normal(size=(5, 3)):
        model.add_point3D(xyz, pycolmap.Track(), np.zeros(3, np.uint8))
    (tmp_path / "a").mkdir()
    model.write_binary(tmp_path)
    model.write_text(tmp_path / "a")
    one = read_sparse_points(tmp_path / "points3D.bin")
    other = read_sparse_points(tmp_path / "a" / "points3D.txt")
    assert one.positions.shape == (5, 3)
    order = [np.lexsort(p.positions.T) for p in (one, other)]
    assert np.abs(one.positions[order[0]] - other.positions[order[1]]).max() < 1e-6
    (tmp_path / "points3D.bin").write_bytes((tmp_path / "points3D.bin").read_bytes()[:-3])
    with pytest.raises(InputError, match=r"points3D\.bin: .* cut short"):
        read_sparse_points(tmp_path / "points3D.bin")
