"""`multiview cameras` on rendered photographs: what it finds, writes, keeps and refuses."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import photographed
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageFilter

import sdfrender as sr
from multiview.commands import cameras
from multiview.photographs import mapping, pairs, trust
from multiview.photographs.find import find_cameras, read_model
from multiview.photographs.mapping import Group, Work
from multiview.photographs.settings import CameraSettings
from multiview.photographs.world import turn_upright
from multiview.scenes import load_scene
from sdfrender.errors import InputError
from sdfrender.files.locks import locked

pycolmap = pytest.importorskip("pycolmap", reason="needs the extra photos")

COUNT = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs in `images`, masks, and `truth.npz`-like arrays beside them."""
    folder = tmp_path_factory.mktemp("stone")
    photographed.write_photographs(folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A scene and what was told of it."""
    out = tmp_path_factory.mktemp("found") / "scene"
    return out, find_cameras(settings(folder / "images", out))


def settings(photos: Path, out: Path, **changes: Any) -> CameraSettings:
    return CameraSettings(photos, out, **{"threads": 1, **changes})


def truth() -> dict[str, np.ndarray]:
    c2w = photographed.cameras(COUNT).c2w.double().numpy()
    return {photographed.NAMES.format(n): c2w[n, :3] for n in range(COUNT)}


def apart(model: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float, int]:
    """`trust.differences` of a model and the truth."""
    poses = trust.poses
    monkeypatch.setattr(trust, "poses", lambda x: x if isinstance(x, dict) else poses(x))
    return trust.differences(model, truth())


def test_cameras_are_where_they_were(
    found: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, told = found
    model = pycolmap.Reconstruction(out / "sparse" / "0")
    centres, angle, count = apart(model, monkeypatch)
    assert count == COUNT
    assert centres < 0.01  # of the distance between neighbours
    assert angle < 0.2  # degrees
    camera = next(iter(model.cameras.values()))
    assert camera.params[0] == pytest.approx(photographed.FOCAL, rel=0.05)
    assert told["placed"] == sorted(truth())
    assert told["unplaced"] == []
    assert told["unit"] == {"kind": "arbitrary"}
    assert told["refused"] is None
    assert json.loads((out / "cameras.json").read_text()) == told
    colors = np.array([point.color for point in model.points3D.values()])
    assert np.ptp(colors.mean(0)) < 40  # a grey stone
    assert colors.std(0).min() > 10


def test_the_world_stands_upright(found: tuple[Path, dict[str, Any]]) -> None:
    out, told = found
    assert told["up"] == "y"
    model = pycolmap.Reconstruction(out / "sparse" / "0")
    here, there = trust.poses(model), truth()
    names = sorted(there)
    turns = [here[name][:, :3] @ there[name][:, :3].T for name in names]  # from the true world
    for turn in turns:
        assert turn[1, 1] > np.cos(np.radians(2))  # the true +y
    first = here[names[0]]
    assert abs(first[0, 2]) < 1e-9
    assert first[2, 2] < 0  # it looks from +z


def test_a_world_whose_up_is_not_known_is_left_alone() -> None:
    c2w = photographed.cameras(40).c2w.double().numpy()  # all around
    aside = c2w.copy()
    aside[:, :3, :2] = c2w[:, :3, [1, 0]] * [1, -1]
    model = photographed.placed_model(aside)
    before = trust.poses(model)
    assert turn_upright(model) is None
    after = trust.poses(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert turn_upright(pycolmap.Reconstruction()) is None


def test_our_reader_takes_the_scene_and_its_cameras_see_the_stone(
    folder: Path, found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(found[0], scene)
    shutil.copytree(folder / "masks", scene / "masks")
    loaded = load_scene(scene)
    assert len(loaded.names) == COUNT
    model = pycolmap.Reconstruction(scene / "sparse" / "0")
    points = torch.tensor(np.array([p.xyz for p in model.points3D.values()]), dtype=torch.float32)
    pixels, _ = loaded.cameras.project(points)
    inside = 0.0
    for n in range(COUNT):
        column, row = pixels[n].long().unbind(-1)
        seen = (column >= 0) & (column < photographed.WIDTH)
        seen &= (row >= 0) & (row < photographed.HEIGHT)
        inside += float(loaded.silhouettes[n, row[seen], column[seen]].mean()) / COUNT
    assert inside > 0.97


def test_the_same_result_twice(folder: Path, found: tuple[Path, Any], tmp_path: Path) -> None:
    find_cameras(settings(folder / "images", tmp_path / "again", threads=2))
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        one, other = (out / "sparse" / "0" / name for out in (found[0], tmp_path / "again"))
        assert one.read_bytes() == other.read_bytes(), name


def test_what_is_there_is_kept(
    folder: Path, found: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, told = found
    before = (out / "sparse" / "0" / "images.bin").stat().st_mtime_ns
    monkeypatch.setattr(mapping, "find_features", None)
    assert find_cameras(settings(folder / "images", out)) == told
    assert (out / "sparse" / "0" / "images.bin").stat().st_mtime_ns == before
    with pytest.raises(TypeError):
        find_cameras(settings(folder / "images", out, seed=1))
    assert (out / "sparse" / "0" / "images.bin").stat().st_mtime_ns == before


def test_a_result_that_is_damaged_is_found_anew_if_asked(
    folder: Path,
    found: tuple[Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "scene"
    shutil.copytree(found[0], out)
    wanted = settings(folder / "images", out)
    with locked(out), pytest.raises(InputError, match="no other process writes to"):
        find_cameras(wanted)
    (out / "cameras.json").write_text("{")
    with pytest.raises(InputError, match=r"cameras.json: need valid JSON"):
        find_cameras(wanted)
    monkeypatch.setattr(mapping, "find_features", None)
    with pytest.raises(TypeError):  # it is at work
        find_cameras(settings(folder / "images", out, again=True))


def test_a_damaged_model_does_not_end_the_process(
    found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    model = tmp_path / "0"
    shutil.copytree(found[0] / "sparse" / "0", model)
    assert len(read_model(model).images) > 2
    with pytest.raises(InputError, match=r"0: need a model of COLMAP .*, got one .* in 1e-06 s"):
        read_model(model, limit=1e-6)
    whole = (model / "images.bin").read_bytes()
    (model / "images.bin").write_bytes(b"\xff" * 8 + whole[8:])
    with pytest.raises(InputError, match=r"0: need a model of COLMAP .*, got one that pycolmap"):
        read_model(model, limit=20)


def test_a_scale_bar_between_points(
    folder: Path, found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "scene"
    shutil.copytree(found[0], out)
    names = [photographed.NAMES.format(n) for n in (3, 4)]
    # Two places on the stone's front, as they are in two photographs.
    views = photographed.cameras(COUNT)[[3, 4]]
    places = torch.tensor([[0.1, 0.1, 0.5], [0.45, -0.1, 0.3]])
    pixels, _ = views.project(places)
    bars = [
        "+".join(f"{name}:{x:.3f},{y:.3f}" for name, (x, y) in zip(names, row, strict=True))
        for row in pixels.swapaxes(0, 1).tolist()
    ]
    length = float((places[0] - places[1]).norm()) * 1000
    told = find_cameras(settings(folder / "images", out, scale_bar=(*bars, length)))
    assert told["unit"]["length"] == length
    model = pycolmap.Reconstruction(out / "sparse" / "0")
    centres = np.array([model.find_image_with_name(n).projection_center() for n in truth()])
    true = np.array([pose[:, 3] for pose in truth().values()])
    ratio = np.linalg.norm(centres[0] - centres[-1]) / np.linalg.norm(true[0] - true[-1])
    assert ratio == pytest.approx(1000, rel=0.03)
    ids = sorted(model.points3D)[:2]
    find_cameras(settings(folder / "images", out, scale_bar=(str(ids[0]), str(ids[1]), 7.0)))
    scaled = pycolmap.Reconstruction(out / "sparse" / "0")
    a, b = (scaled.points3D[i].xyz for i in ids)
    assert np.linalg.norm(a - b) == pytest.approx(7.0)


BARS = {
    "no point": (("999999999", "1", 2.0), "999999999"),
    "words": (("here", "1", 2.0), "'here'"),
    "one picture": (("stone 01.jpg:3,4", "1", 2.0), "2 placed pictures"),
    "no picture": (("x.jpg:3,4+stone 01.jpg:3,4", "1", 2.0), "'x.jpg'"),
    "not one place": (("stone 01.jpg:180,130+stone 02.jpg:10,250", "1", 2.0), "pixels off"),
    "no tag": (("tag:3", "tag:4", 2.0), "tag:3"),
}


@pytest.mark.parametrize("case", BARS)
def test_scale_bars_that_are_none(
    folder: Path, found: tuple[Path, dict[str, Any]], case: str
) -> None:
    bar, needle = BARS[case]
    if "tag" in case:
        pytest.importorskip("cv2", reason="needs the extra photos")
    before = (found[0] / "sparse" / "0" / "points3D.bin").read_bytes()
    with pytest.raises(InputError, match=r"--scale-bar") as caught:
        find_cameras(settings(folder / "images", found[0], scale_bar=bar))
    assert needle in str(caught.value)
    assert (found[0] / "sparse" / "0" / "points3D.bin").read_bytes() == before


def test_a_video(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs the extra photos")
    size = (photographed.WIDTH, photographed.HEIGHT)
    writer = ffmpeg.write_frames(
        str(tmp_path / "walk.mp4"), size, quality=10, macro_block_size=1, fps=10
    )
    writer.send(None)
    for name in truth():
        with Pillow.open(folder / "images" / name) as picture:
            sharp = np.asarray(picture)
            blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(6)))
        for frame in (blurred, sharp, blurred):
            writer.send(np.ascontiguousarray(frame))
    writer.close()
    told = find_cameras(settings(tmp_path / "walk.mp4", tmp_path / "out", video_frames=COUNT))
    frames = [f"walk_{3 * n + 1:06d}.jpg" for n in range(COUNT)]
    assert told["placed"] == frames
    model = pycolmap.Reconstruction(tmp_path / "out" / "sparse" / "0")
    for image in model.images.values():
        image.name = photographed.NAMES.format(frames.index(image.name))
    centres, angle, count = apart(model, monkeypatch)
    assert count == COUNT
    assert centres < 0.05
    assert angle < 0.5


TAG = 0xD5D628584  # number 0 of the family 36h11, its 6×6 cells row by row
CELLS = 10  # of the tag with its black frame and a white rim


def paste_tag(file: Path, camera: sr.Cameras, corners: torch.Tensor) -> None:
    """Lay a tag onto a square of the world `[4, 3]`, from the top left on, in a photograph."""
    cells = np.full((CELLS, CELLS), 255, np.uint8)
    cells[1:-1, 1:-1] = 0
    bits = np.array([TAG >> (35 - n) & 1 for n in range(36)], np.uint8).reshape(6, 6)
    cells[2:-2, 2:-2] = 255 * bits
    tag = Pillow.fromarray(cells.repeat(16, 0).repeat(16, 1))
    seen = camera.project(corners)[0][0].double().numpy()
    flat = np.array(((0, 0), (1, 0), (1, 1), (0, 1))) * tag.width
    rows, values = [], []
    for (x, y), (u, v) in zip(seen, flat, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    inverse = np.linalg.solve(np.array(rows), np.array(values))
    with Pillow.open(file) as opened:
        picture = opened.convert("RGB")
    how = {"data": inverse.tolist(), "resample": Pillow.Resampling.BICUBIC}
    warped = tag.transform(picture.size, Pillow.Transform.PERSPECTIVE, **how)
    inside = Pillow.new("L", tag.size, 255)
    mask = inside.transform(picture.size, Pillow.Transform.PERSPECTIVE, **how)
    picture.paste(warped.convert("RGB"), mask=mask)
    picture.save(file, quality=95)


def test_the_side_of_a_tag(
    folder: Path, found: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("cv2", reason="needs the extra photos")
    out = tmp_path / "scene"
    shutil.copytree(found[0], out)
    views = photographed.cameras(COUNT)
    square = 0.25 * torch.tensor([[-1.0, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]])
    square = square + torch.tensor([0.44, 0.1, 0.65])
    for n in (3, 4, 5):
        paste_tag(out / "images" / photographed.NAMES.format(n), views[n : n + 1], square)
    told = find_cameras(settings(folder / "images", out, scale_bar=("tag:0", "tag:0", 50.0)))
    assert told["unit"] == {"kind": "scale bar", "between": ["tag:0", "tag:0"], "length": 50.0}
    model = pycolmap.Reconstruction(out / "sparse" / "0")
    centres = np.array([model.find_image_with_name(n).projection_center() for n in truth()])
    true = np.array([pose[:, 3] for pose in truth().values()])
    ratio = np.linalg.norm(centres[0] - centres[-1]) / np.linalg.norm(true[0] - true[-1])
    side = 0.5 * (CELLS - 2) / CELLS  # of its black square, in the rendered world
    assert ratio == pytest.approx(50 / side, rel=0.04)


def before_still_paper(folder: Path, out: Path) -> None:
    """The photographs as of a turntable: the same newspaper stands still behind the stone."""
    random = np.random.default_rng(3)
    paper = random.integers(0, 255, (photographed.HEIGHT // 9, photographed.WIDTH // 9, 3))
    paper = paper.astype(np.uint8).repeat(9, 0).repeat(9, 1)
    out.mkdir()
    for n in range(COUNT):
        name = photographed.NAMES.format(n)
        picture = np.asarray(Pillow.open(folder / "images" / name))
        mask = np.asarray(Pillow.open(folder / "masks" / Path(name).with_suffix(".png"))) > 127
        mixed = np.where(mask[..., None], picture, paper[: picture.shape[0], : picture.shape[1]])
        Pillow.fromarray(mixed).save(out / name, quality=95)


@pytest.mark.slow
def test_a_turntable_before_a_still_background(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_still_paper(folder, tmp_path / "photos")
    out = tmp_path / "scene"
    with pytest.raises(InputError, match="turntable") as caught:
        find_cameras(settings(tmp_path / "photos", out))
    assert "--masks" in str(caught.value)
    assert not (out / "sparse" / "0").exists()
    assert json.loads((out / "cameras.json").read_text())["refused"] in str(caught.value)
    assert "Not to be believed" in (out / "cameras.html").read_text()
    find_cameras(settings(tmp_path / "photos", out, masks=folder / "masks"))
    model = pycolmap.Reconstruction(out / "sparse" / "0")
    centres, angle, count = apart(model, monkeypatch)
    assert count == COUNT
    assert centres < 0.03
    assert angle < 0.5
    assert sorted(p.name for p in (out / "masks").iterdir()) == sorted(
        p.name for p in (folder / "masks").iterdir()
    )


def test_alike_pictures_are_matched_where_there_are_many(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "ALL", 4)
    monkeypatch.setattr(pairs, "ALIKE", 2)
    work = Work(tmp_path, settings(folder / "images", tmp_path / "out"), quiet=True)
    work.images.mkdir()
    names = [f"{n}.jpg" for n in range(COUNT)]
    for n, name in enumerate(names):
        shutil.copy(folder / "images" / photographed.NAMES.format(n), work.images / name)
    size = (photographed.WIDTH, photographed.HEIGHT)
    mapping.find_features(work, [Group(names, size)])
    chosen = pairs.choose_pairs(work, names, ordered=False)
    assert chosen == pairs.choose_pairs(work, names, ordered=False)
    assert {(names[n], names[n + 1]) for n in range(COUNT - 1)} <= set(chosen)
    assert len(chosen) < COUNT * (COUNT - 1) / 2 * 0.7
    steps = [int(b[0]) - int(a[0]) for a, b in chosen]
    assert np.mean(steps) < 2.5  # of those by lot it is 3


def test_pictures_that_do_not_overlap(folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(4):
        random = np.random.default_rng(n)
        pixels = random.integers(0, 255, (40, 60, 3)).astype(np.uint8).repeat(5, 0).repeat(5, 1)
        Pillow.fromarray(pixels).save(photos / f"{n}.png")
    Pillow.new("RGB", (300, 200), (90, 90, 90)).save(photos / "blank.png")
    with pytest.raises(InputError, match="no two of the 5 pictures fit together"):
        find_cameras(settings(photos, tmp_path / "scene"))
    whole = (photos / "3.png").read_bytes()
    (photos / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"3\.png: need a complete image"):
        find_cameras(settings(photos, tmp_path / "scene"))
    photos = tmp_path / "apart"
    photos.mkdir()
    for n in (0, 4, 7):
        shutil.copy(folder / "images" / photographed.NAMES.format(n), photos)
    with pytest.raises(InputError):
        find_cameras(settings(photos, tmp_path / "scene"))
    assert not (tmp_path / "scene" / "sparse" / "0").exists()


def test_a_group_apart_is_told(folder: Path, tmp_path: Path) -> None:
    """Six of the stone, and five of another one that shares nothing with it."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(6):
        shutil.copy(folder / "images" / photographed.NAMES.format(n), photos / f"a{n}.jpg")
    for n in range(5):
        with Pillow.open(folder / "images" / photographed.NAMES.format(n)) as picture:
            Pillow.fromarray(255 - np.asarray(picture)[:, ::-1]).save(photos / f"b{n}.jpg")
    told = find_cameras(settings(photos, tmp_path / "scene"))
    assert told["placed"] == [f"a{n}.jpg" for n in range(6)]
    warning = next(w for w in told["warnings"] if "placed" in w)
    assert "6 of 11 pictures placed" in warning
    assert "take photographs between 'a5.jpg' and 'b0.jpg'" in warning


def test_another_ones_model_is_not_written_over(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sparse" / "0").mkdir(parents=True)
    with pytest.raises(InputError, match="without cameras of others"):
        find_cameras(settings(folder / "images", tmp_path))


def test_too_few_photographs(folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(2):
        shutil.copy(folder / "images" / photographed.NAMES.format(n), photos)
    with pytest.raises(InputError, match="at least 3 photographs, got 2"):
        find_cameras(settings(photos, tmp_path / "scene"))


@pytest.mark.parametrize(
    ("spoil", "needle"),
    [
        (lambda f: Pillow.new("L", (9, 9), 255).save(f / "stone 01.png"), "360×270"),
        (lambda f: Pillow.new("L", (360, 270)).save(f / "stone 01.png"), "it is black"),
        (lambda f: [file.unlink() for file in f.iterdir()], "there is none"),
        (lambda f: shutil.rmtree(f), "need a folder"),
    ],
)
def test_masks_that_are_wrong(folder: Path, tmp_path: Path, spoil: Any, needle: str) -> None:
    shutil.copytree(folder / "masks", tmp_path / "masks")
    spoil(tmp_path / "masks")
    with pytest.raises(InputError, match="masks") as caught:
        find_cameras(settings(folder / "images", tmp_path / "out", masks=tmp_path / "masks"))
    assert needle in str(caught.value)


def test_without_the_library(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(InputError, match=r"need the package pycolmap.*sdfrender\[photos\]"):
        find_cameras(settings(folder / "images", tmp_path / "scene"))


def test_the_command(
    folder: Path, found: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    cameras.command(settings(folder / "images", found[0]))
    assert "8 of 8 pictures placed" in capsys.readouterr().out
    cameras.command(settings(folder / "images", found[0]), as_json=True)
    assert json.loads(capsys.readouterr().out) == found[1]


def test_settings_out_of_range(tmp_path: Path) -> None:
    for name, value in (("focal", -1.0), ("video_frames", 2), ("image_size", 3), ("threads", 0)):
        with pytest.raises(InputError, match=f"--{name.replace('_', '-')}"):
            settings(tmp_path, tmp_path / "out", **{name: value})
    with pytest.raises(InputError, match="--out"):
        settings(tmp_path, tmp_path)
    with pytest.raises(InputError, match="positive length"):
        settings(tmp_path, tmp_path / "out", scale_bar=("1", "2", 0.0))


def test_the_renderer_is_the_camera() -> None:
    """What the tests rely on: the photographs' cameras look at the stone."""
    lattice, _ = photographed.stone()
    out = sr.render(lattice, photographed.cameras(COUNT))
    assert 0.2 < float((out.silhouettes > 0.5).float().mean()) < 0.6
