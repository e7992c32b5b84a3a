"""What is fuzzed: each reader with bytes of any kind, which may raise `InputError` and no more.

Seeds lie in `tests/corpus/TARGET`. `mutated` makes other inputs of them by lot; `tests/fuzz/run.py`
has atheris do it.
"""

from __future__ import annotations

import atexit
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from places import ROOT
from scene_folders import write_middlebury, write_transforms

from multiview.scenes.maps.files import read_depths, read_normals
from multiview.scenes.readers.colmap import read_colmap
from multiview.scenes.readers.middlebury import read_middlebury
from multiview.scenes.readers.npz import read_npz
from multiview.scenes.readers.transforms import read_transforms
from multiview.scenes.rotations import check_camera, orthonormal
from multiview.scenes.scene import Description
from sdfrender.errors import InputError
from sdfrender.files.images import read_image
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.io.lattices import load_lattice
from sdfrender.io.lights import read_lighting

CORPUS = ROOT / "tests" / "corpus"
TOKENS = [
    b"nan", b"-1", b"0", b"1e39", b"1e400", b"-1e200", b"9" * 400, b"1" * 5000, b"Infinity", b"[]",
    b"{}", b"null", b'"x"', b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\xef\xbb\xbf",
    b"\x80", b"\n", b"\r\n", b"\t", b" ", b"-", b".", b"/", b"#", b"\\\n",
]  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d*)?([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Target:
    """A reader.

    Args:
        read: what is done with the file.
        place: the file's path in a folder of its own.
        prepare: writes what else is in that folder.
        member: of a zip archive, whose other members stay: the bytes are this one's.
        executions: in the suite; some readers are slow.
    """

    read: Callable[[Path], object]
    place: str
    prepare: Callable[[Path], object] | None = None
    member: str = ""
    executions: int = 400


def _cameras(read: Callable[[Path], Description]) -> Callable[[Path], object]:
    """A scene's file of cameras, and the checks that each camera goes through."""

    def checked(path: Path) -> object:
        scene = read(path)
        for view in scene.views:
            check_camera(path, view)
        return orthonormal(scene.views)

    return checked


def _pictures(folder: Path) -> None:
    write_transforms(folder)
    for name in ("image", "images"):
        (folder / name).mkdir()
        for n in range(2):
            shutil.copy(folder / f"v_{n}.png", folder / name)


def _colmap(folder: Path) -> None:
    """The other of a model's two files is the one of the corpus."""
    _pictures(folder)
    for file in ("cameras.txt", "images.txt", "cameras.bin", "images.bin"):
        shutil.copy(CORPUS / f"colmap_{file.replace('.', '_')}" / "plain", folder / file)


def _archive(folder: Path) -> None:
    _pictures(folder)
    shutil.copy(CORPUS / "npz_cameras" / "plain", folder / "cameras.npz")


def _of_images(path: Path) -> object:
    return read_colmap(path.with_name(path.name.replace("images", "cameras")))


TARGETS: dict[str, Target] = {
    "obj": Target(load_mesh, "a.obj"),
    "ply": Target(load_mesh, "a.ply"),
    "stl": Target(load_mesh, "a.stl"),
    "off": Target(load_mesh, "a.off"),
    "glb": Target(load_mesh, "a.glb"),
    "sdf": Target(load_lattice, "a.sdf"),
    "npz_lattice": Target(load_lattice, "a.npz"),
    "npz_values": Target(load_lattice, "a.npz", member="values.npy",
                         prepare=lambda f: shutil.copy(CORPUS / "npz_lattice/plain", f / "a.npz")),
    "safetensors": Target(load_lattice, "a.safetensors"),
    # The limit is what a user may raise: at the default a picture takes a gigabyte.
    "picture": Target(lambda p: read_image(p, max_pixels=10_000_000), "a.png"),
    "exr": Target(read_image, "a.exr", executions=100),
    "transforms": Target(_cameras(read_transforms), "transforms.json", _pictures),
    "middlebury": Target(_cameras(read_middlebury), "x_par.txt", lambda f: write_middlebury(f, 2)),
    "colmap_cameras_txt": Target(_cameras(read_colmap), "cameras.txt", _colmap),
    "colmap_images_txt": Target(_of_images, "images.txt", _colmap),
    "colmap_cameras_bin": Target(_cameras(read_colmap), "cameras.bin", _colmap),
    "colmap_images_bin": Target(_of_images, "images.bin", _colmap),
    "npz_cameras": Target(_cameras(read_npz), "cameras.npz", _pictures),
    "npz_matrix": Target(_cameras(read_npz), "cameras.npz", _archive, member="world_mat_0.npy"),
    "depths_npy": Target(lambda p: read_depths(p, 0.1), "d.npy"),
    "depths_npz": Target(lambda p: read_depths(p, 0.1), "d.npz"),
    "normals_png": Target(read_normals, "n.png"),
    "light": Target(read_lighting, "light.json"),
}  # fmt: skip


@cache
def folder_of(name: str) -> Path:
    """A target's own folder, with what is beside its file."""
    folder = Path(mkdtemp(prefix=f"fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = TARGETS[name]
    if target.prepare is not None:
        target.prepare(folder)
    return folder


def run(name: str, data: bytes) -> bool:
    """Read bytes; whether they were accepted. Raises what is not an `InputError`."""
    target, folder = TARGETS[name], folder_of(name)
    file = folder / target.place
    if target.member:
        _replace_member(file, target.member, data)
    else:
        file.write_bytes(data)
    said = ""
    try:
        with np.errstate(all="raise", under="ignore"):
            target.read(file)
    except InputError as error:
        said = str(error)
    if not said:
        return True
    assert str(folder) in said, f"names no file: {said}"
    assert "\n" not in said, f"more than a line: {said}"
    assert len(said) < 2000, f"long: {said}"
    return False


def _replace_member(file: Path, member: str, data: bytes) -> None:
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, stored in {**members, member: data}.items():
            archive.writestr(name, stored)


def seeds(name: str) -> list[bytes]:
    """The corpus of a target, sorted by name."""
    found = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    assert found, f"{name} has no corpus"
    return found


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Another input made of one, by a few changes."""
    bytes_ = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(bytes_) + 1)
        end = min(len(bytes_), at + rng.choice((1, 1, 2, 4, 16, 200)))
        kind = rng.randrange(9)
        if kind == 0 and at < len(bytes_):
            bytes_[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(bytes_):
            bytes_[at] = rng.choice((0, 1, 0x20, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del bytes_[at:end]
        elif kind == 3:
            bytes_[at:at] = bytes_[at:end] * rng.choice((1, 1, 3, 50))
        elif kind == 4:
            del bytes_[at:]
        elif kind == 5:
            bytes_[at:at] = rng.choice(TOKENS)
        elif kind == 6:
            bytes_[at:end] = rng.choice(TOKENS)
        elif kind == 7:
            other = rng.choice(others)
            bytes_[at:] = other[rng.randrange(len(other) + 1) :]
        else:
            found = list(_NUMBER.finditer(bytes_[:20_000]))
            if found:
                match = rng.choice(found)
                bytes_[match.start() : match.end()] = rng.choice(TOKENS)
    return bytes(bytes_[:50_000])
