"""Depth and normal maps: each kind of file, what is unknown, other sizes and lenses, bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from scene_folders import HEIGHT, WIDTH, disc, edit_frame, write_transforms

from multiview.map_settings import MapSettings
from multiview.scenes import load_scene
from multiview.scenes.maps.files import read_depths, read_normals
from multiview.scenes.maps.maps import Maps, mean_of_known, median_of_known, scattered
from sdfrender import InputError, render
from sdfrender.files.formats.pngs import write_png

Z = np.linspace(2, 3, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)


def write_depths(file: Path, depths: np.ndarray = Z) -> None:
    """In any of the formats; 16-bit PNG in thousandths."""
    file.parent.mkdir(exist_ok=True)
    if file.suffix == ".npz":
        np.savez(file, depths=depths)
    elif file.suffix == ".npy":
        with file.open("wb") as opened:
            np.lib.format.write_array(opened, 1000 * depths, allow_pickle=False)
    elif file.suffix == ".png":
        write_png(file, (1000 * depths[..., None]).round().astype(np.uint16))
    else:
        write_exr(file, Z=depths)


def write_exr(file: Path, **channels: np.ndarray) -> None:
    OpenEXR = pytest.importorskip("OpenEXR", reason="the extra `exr` is not installed")
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    planes = {name: np.ascontiguousarray(x, np.float32) for name, x in channels.items()}
    OpenEXR.File(header, planes).write(str(file))


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["npz", "npy", "png", "exr"])
def test_depths_of_each_kind(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"d.{kind}"
    holes = Z.copy()
    holes[3, 4] = 0
    write_depths(file, holes)
    depths, weights = read_depths(file, 0.001)
    np.testing.assert_allclose(depths, holes, atol=0.0006 if kind == "png" else 1e-6)
    assert weights[3, 4] == 0
    assert weights.sum() == Z.size - 1


def test_what_is_not_finite_is_unknown_and_weights_are_kept(tmp_path: Path) -> None:
    depths, sure = Z.astype(np.float64), np.full(Z.shape, 0.5)
    depths[0, :3] = np.inf, np.nan, 0
    np.savez(tmp_path / "d.npz", depths=depths, weights=sure)
    found, weights = read_depths(tmp_path / "d.npz", 7.0)
    assert (found[0, :3] == 0).all()
    assert (weights[0, :3] == 0).all()
    assert (weights.ravel()[3:] == 0.5).all()
    np.testing.assert_allclose(found.ravel()[3:], Z.ravel()[3:])


@pytest.mark.parametrize("kind", ["8", "16", "npz", "exr"])
def test_normals_of_each_kind(tmp_path: Path, kind: str) -> None:
    n = np.random.default_rng(0).standard_normal((5, 4, 3))
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    n[2, 3] = 0
    file = tmp_path / ("n." + (kind if kind.isalpha() else "png"))
    if kind == "npz":
        np.savez(file, normals=n)
    elif kind == "exr":
        write_exr(file, **dict(zip("RGB", np.moveaxis(n, -1, 0), strict=True)))
    else:
        top = 2 ** int(kind) - 1
        write_png(file, ((n / 2 + 0.5) * top).round().astype(f"uint{kind}"))
    found, weights = read_normals(file)
    assert weights[2, 3] == 0
    assert weights.sum() == 19
    np.testing.assert_allclose(found, n * weights[..., None], atol=0.01 if kind == "8" else 1e-4)


def test_bad_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "less.npz", depths=-Z)
    with pytest.raises(InputError, match=r"less.npz: need depths in front .* 384 are negative"):
        read_depths(tmp_path / "less.npz", 1)
    np.savez(tmp_path / "two.npz", a=Z, b=Z)
    with pytest.raises(InputError, match=r"two.npz: need the array 'depths', it has a, b"):
        read_depths(tmp_path / "two.npz", 1)
    write_png(tmp_path / "eight.png", np.zeros((4, 4, 1), np.uint8))
    with pytest.raises(InputError, match=r"eight.png: need depths as grey of 16 bits, got 8 bits"):
        read_depths(tmp_path / "eight.png", 1)
    (tmp_path / "objects.npy").write_bytes(b"\x93NUMPY\x01\x00 cut off")
    with pytest.raises(InputError, match=r"objects.npy: not a readable .npy file"):
        read_depths(tmp_path / "objects.npy", 1)
    np.savez(tmp_path / "w.npz", depths=Z, weights=-Z)
    with pytest.raises(InputError, match=r"w.npz: need 'weights' of at least 0"):
        read_depths(tmp_path / "w.npz", 1)
    (tmp_path / "d.exr").write_bytes(b"no")
    with pytest.raises(InputError, match=r"d.exr: "):
        read_depths(tmp_path / "d.exr", 1)
    np.savez(tmp_path / "flat.npz", normals=Z)
    with pytest.raises(InputError, match=r"flat.npz: need normals \[H, W, 3\]"):
        read_normals(tmp_path / "flat.npz")
    with pytest.raises(InputError, match=r"need depths as .npz, .npy, .exr, .png, got '.tif'"):
        read_depths(tmp_path / "d.tif", 1)


# ---------------------------------------------------------------------- sizes


def test_a_smaller_depth_is_one_of_its_block_and_of_known_ones() -> None:
    """Beside an edge, and with holes: never between the sides, never the 0 of the unknown."""
    depths = torch.full((12, 15), 2.0)
    depths[:, 7:] = 5.0
    weights = (torch.rand(12, 15, generator=torch.Generator().manual_seed(0)) > 0.4).float()
    weights[:6, :5] = 0
    small, sure = median_of_known(depths * weights, weights, 5, 4)
    assert set(small[sure > 0].tolist()) == {2.0, 5.0}
    assert (sure[:2, 0] == 0).all()
    torch.testing.assert_close(sure[3, 4], weights[9:, 12:].mean())


def test_normals_of_two_surfaces_have_no_mean() -> None:
    normals = torch.zeros(4, 8, 3)
    normals[..., 2] = 1
    normals[:, 5:] = torch.tensor([0.0, 0.0, -1.0])
    weights = torch.ones(4, 8)
    weights[0, 0] = 0
    small, sure = mean_of_known(normals, weights, 4, 2)
    assert (sure[:, 2] == 0).all()
    assert sure[0, 0] == 0.75
    torch.testing.assert_close(small[:, :2, 2], torch.ones(2, 2))
    torch.testing.assert_close(small[:, 3, 2], -torch.ones(2))


def test_a_smaller_map_is_known_where_its_pixels_are() -> None:
    depths = torch.arange(1.0, 13.0).reshape(3, 4)
    large, sure = scattered(depths, torch.ones(3, 4), 12, 9)
    assert sure.sum() == 12
    torch.testing.assert_close(large[1::3, 1::3], depths)


# ---------------------------------------------------------------------- scenes


@pytest.mark.parametrize("unit", [None, 0.002])
def test_nerfstudios_depths(tmp_path: Path, unit: float | None) -> None:
    """Beside the picture's folder, in thousandths unless the scene, or the user, says otherwise."""
    scene = write_transforms(tmp_path / "s", depth_unit_scale_factor=unit)
    write_depths(scene / "sensor" / "z.png")
    edit_frame(scene, depth_file_path="sensor/z.png")
    maps = load_scene(scene).maps
    assert maps is not None
    assert maps.depths is not None
    assert maps.depth_weights is not None
    assert maps.depth_weights.mean((1, 2)).tolist() == [0, 1, 0]
    scale = 1 if unit is None else 2
    torch.testing.assert_close(maps.depths[1], scale * torch.from_numpy(Z), atol=0.0011, rtol=0)
    told = load_scene(scene, maps=MapSettings(depth_unit=0.003)).maps
    assert told is not None
    torch.testing.assert_close(told.depths, maps.depths * 3 / scale)
    edit_frame(scene, depth_file_path="sensor/none.png")
    with pytest.raises(InputError, match=r"none.png: need the depth map that .* frame 'v_1.png'"):
        load_scene(scene)


def test_maps_of_another_shape_than_their_picture(tmp_path: Path) -> None:
    scene = write_transforms(tmp_path / "s")
    write_depths(scene / "depth" / "v_0.npz", Z[::2, ::2])
    maps = load_scene(scene).maps
    assert maps is not None
    assert maps.depth_weights is not None
    assert maps.depth_weights[0].sum() == Z.size / 4
    write_depths(scene / "depth" / "v_0.npz", Z[::2])
    with pytest.raises(InputError, match=r"v_0.npz: need a map of the same sides' ratio .* 24×8"):
        load_scene(scene)


def test_maps_follow_the_lens(tmp_path: Path) -> None:
    """A depth that is an edge in the distorted picture is one in the straight one."""
    scene = write_transforms(tmp_path / "s", k1=0.3)
    edge = np.where(disc(), 2, 4).astype(np.float32)
    write_depths(scene / "depth" / "v_0.npz", edge)
    loaded = load_scene(scene)
    assert loaded.maps is not None
    assert loaded.maps.depths is not None
    depths = loaded.maps.depths[0]
    assert set(depths.unique().tolist()) <= {0.0, 2.0, 4.0}
    inside = loaded.silhouettes[0] > 0.5
    assert ((depths == 2) == inside).float().mean() > 0.97


@pytest.mark.parametrize("frame", ["opengl", "opencv", "world"])
def test_frames_of_normals(tmp_path: Path, frame: str) -> None:
    """What the renderer sees comes back in world axes; in a wrong frame it is refused."""
    out = render(tiny.true_lattice(), tiny.ring())
    scene = tiny.write_torus(tmp_path / "s", depths=out.depths, normals=out.normals)
    if frame != "opengl":
        for n, file in enumerate(sorted((scene / "normal").glob("*.png"))):
            file.unlink()
            normals = out.normals[n].double()
            if frame == "opencv":
                normals = normals @ tiny.ring().c2w[n, :3, :3].double()
            np.savez(file.with_suffix(".npz"), normals=normals.numpy())
        with pytest.raises(InputError, match="need normals that face their cameras"):
            load_scene(scene)
    maps = load_scene(scene, maps=MapSettings(normal_frame=frame)).maps  # type: ignore[arg-type]
    assert maps is not None
    assert maps.normals is not None
    torch.testing.assert_close(maps.normals, out.normals, atol=1e-4, rtol=0)
    seen = torch.where(out.hit_mask, out.depths, 0)
    torch.testing.assert_close(maps.depths, seen)


def test_chosen_views_keep_their_maps() -> None:
    maps = Maps(torch.rand(4, 6, 8), torch.ones(4, 6, 8))
    some = maps[[2, 0]].resized(4, 3)
    assert maps.depths is not None
    assert some.depths is not None
    assert some.normals is None
    assert some.depths.shape == (2, 3, 4)
    assert set(some.depths[0].flatten().tolist()) <= set(maps.depths[2].flatten().tolist())
