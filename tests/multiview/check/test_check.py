"""`multiview check` names the mistake in broken copies of the demo scene."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from places import ROOT

from multiview.check.inspect import Inspection, inspect
from multiview.check.page import text, write_picture

DEMO = ROOT / "assets" / "demo"
Change = Callable[[Path, dict[str, Any]], None]


def pictures(folder: Path, numbers: list[int]) -> list[Path]:
    return [folder / kind / f"view_{n:03d}.png" for n in numbers for kind in ("images", "masks")]


def matrices(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def broken(_: Path, table: dict[str, Any]) -> None:
        for frame in table["frames"]:
            frame["transform_matrix"] = change(np.array(frame["transform_matrix"])).tolist()

    return broken


def intrinsics(**factors: float) -> Change:
    def broken(_: Path, table: dict[str, Any]) -> None:
        for key, factor in factors.items():
            table[key] *= factor
        del table["w"], table["h"]

    return broken


def stored(
    numbers: list[int], change: Callable[[np.ndarray], np.ndarray], kinds: str = "im"
) -> Change:
    def broken(folder: Path, _: dict[str, Any]) -> None:
        for file in pictures(folder, numbers):
            if file.parent.name[0] in kinds:
                iio.imwrite(file, np.ascontiguousarray(change(iio.imread(file))))

    return broken


def kept(choose: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Only some frames, chosen by their eyes `[N, 3]`."""

    def broken(_: Path, table: dict[str, Any]) -> None:
        eyes = np.array([f["transform_matrix"] for f in table["frames"]])[:, :3, 3]
        table["frames"] = [table["frames"][n] for n in choose(eyes)]
        for key in [key for key in table if key.endswith("_filenames")]:
            del table[key]

    return broken


def shuffled(_: Path, table: dict[str, Any]) -> None:
    order = np.random.default_rng(1).permutation(len(table["frames"]))
    poses = [frame["transform_matrix"] for frame in table["frames"]]
    for frame, n in zip(table["frames"], order, strict=True):
        frame["transform_matrix"] = poses[n]


def swapped(folder: Path, _: dict[str, Any]) -> None:
    one, other = (folder / "masks" / f"view_{n:03d}.png" for n in (4, 9))
    one.rename(folder / "kept.png")
    other.rename(one)
    (folder / "kept.png").rename(other)


def moved(_: Path, table: dict[str, Any]) -> None:
    table["frames"][3]["transform_matrix"][0][3] += 0.3


def doubled(folder: Path, _: dict[str, Any]) -> None:
    for one, other in zip(pictures(folder, [3]), pictures(folder, [7]), strict=True):
        shutil.copy(one, other)


def missing(folder: Path, _: dict[str, Any]) -> None:
    for n in (2, 8):
        (folder / "images" / f"view_{n:03d}.png").unlink()


def cut(folder: Path, table: dict[str, Any]) -> None:
    stored([5, 6], lambda x: np.concatenate((x[:, 90:], 0 * x[:, :90]), 1))(folder, table)
    for n in (5, 6):
        table["frames"][n]["cx"] = table["cx"] - 90


def to_opencv(m: np.ndarray) -> np.ndarray:
    return m * np.array([1, -1, -1, 1])


def far(m: np.ndarray) -> np.ndarray:
    m[:3, 3] *= 1000
    return m


ALL = list(range(32))
MISTAKES: dict[str, tuple[Change, str, tuple[str, ...]]] = {
    "flipped axes": (matrices(lambda m: m * np.array([-1, -1, 1, 1])), "flipped axes", ()),
    "focal length doubled": (intrinsics(fl_x=2, fl_y=2), "focal length", ()),
    "principal point off": (intrinsics(cx=1.2), "principal point", ()),
    "masks inverted": (stored(ALL, lambda x: 255 - x, "m"), "masks inverted", ()),
    "masks swapped": (swapped, "masks swapped", ("view_004", "view_009")),
    "pictures shuffled": (shuffled, "pictures shuffled", ()),
    "one camera moved": (moved, "one camera moved", ("view_003",)),
    "world to camera": (matrices(np.linalg.inv), "c2w and w2c swapped", ()),
    "opencv for opengl": (matrices(to_opencv), "OpenCV and OpenGL mixed", ()),
    "turned": (stored([1, 2], np.rot90), "pictures turned", ()),
    "exposure": (stored([6], lambda x: (x * 0.4).astype(np.uint8), "i"), "exposure", ("view_006",)),
    "half resolution": (
        intrinsics(fl_x=0.5, fl_y=0.5, cx=0.5, cy=0.5), "intrinsics of another size", (),
    ),
    "mirrored": (stored(ALL, lambda x: x[:, ::-1]), "mirrored", ()),
    "duplicates": (doubled, "duplicate pictures", ("view_003", "view_007")),
    "missing": (missing, "missing pictures", ()),
    "empty mask": (stored([11], lambda x: 0 * x, "m"), "empty mask", ("view_011",)),
    "cut by the frame": (cut, "cut by the frame", ("view_005", "view_006")),
    "too few views": (kept(lambda eyes: np.arange(3)), "too few views", ()),
    "one side": (
        kept(lambda eyes: np.argsort(-eyes @ np.array([0.6, 0.5, 0.62]))[:9]),
        "all views on one side", (),
    ),
    "scale": (matrices(far), "scale", ()),
}  # fmt: skip


def broken_copy(folder: Path, change: Change) -> Inspection:
    shutil.copytree(DEMO, folder)
    table = json.loads((folder / "transforms.json").read_text())
    change(folder, table)
    (folder / "transforms.json").write_text(json.dumps(table))
    return inspect(folder)


def test_there_are_twenty_mistakes() -> None:
    assert len(MISTAKES) == 20


@pytest.mark.parametrize(
    "name",
    [  # some always, the others before a release
        pytest.param(name, marks=pytest.mark.release if n % 4 else pytest.mark.slow)
        for n, name in enumerate(MISTAKES)
    ],
)
def test_the_mistake_is_named(name: str, tmp_path: Path) -> None:
    change, kind, views = MISTAKES[name]
    found = broken_copy(tmp_path / "scene", change)
    findings = found.told["findings"]
    assert kind in [finding["kind"] for finding in findings], text(found)
    named = next(finding for finding in findings if finding["kind"] == kind)
    if views:
        assert named["views"] == views
    # Nothing grave is made up beside it, but for what follows: copies do not fit their cameras.
    others = {finding["kind"] for finding in findings if finding["grave"]} - {kind}
    assert others <= ({"one camera moved"} if name == "duplicates" else set()), text(found)
    assert named["advice"] in text(found)


def test_nothing_is_wrong_with_the_demo(tmp_path: Path) -> None:
    found = inspect(DEMO)
    assert found.told["findings"] == []
    assert found.told["agreement"] > 0.99
    assert "nothing looks wrong" in text(found)
    json.dumps(found.told)
    write_picture(tmp_path / "check.png", found)
    assert iio.imread(tmp_path / "check.png").shape[1] == 8 * 160


def test_a_folder_without_cameras_is_told(tmp_path: Path) -> None:
    found = inspect(tmp_path)
    assert [finding["kind"] for finding in found.told["findings"]] == ["no cameras"]
