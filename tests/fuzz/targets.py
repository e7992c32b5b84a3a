"""What is fuzzed: each reader with bytes of any kind, which may raise `InputError` and no more.

Seeds lie in `tests/corpus/TARGET`. `mutated` makes other inputs of them by lot; `tests/fuzz/run.py`
has atheris do it.
"""

from __future__ import annotations

import atexit
import io
import random
import re
import shutil
import struct
import zipfile
import zlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from learning_targets import LEARNING
from run_targets import RUNS
from scene_targets import SCENES
from target import CORPUS, Target

from sdfrender.errors import InputError
from sdfrender.files.images import read_image
from sdfrender.geometry.mesh_files import load_mesh
from sdfrender.io.lattices import load_lattice
from sdfrender.io.lights import read_lighting

MEMORY = Path("/dev/shm")  # files there are made in half the time
TOKENS = [
    b"nan", b"-1", b"0", b"1e39", b"1e400", b"-1e200", b"9" * 400, b"1" * 5000, b"Infinity", b"[]",
    b"{}", b"null", b'"x"', b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\xef\xbb\xbf",
    b"$\\frac{a$", b"../../", b"\x80", b"\n", b"\r\n", b"\t", b" ", b"-", b".", b"/", b"#", b"\\\n",
]  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(\.\d*)?([eE][-+]?\d+)?")


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
    "light": Target(read_lighting, "light.json"),
    **SCENES,
    **RUNS,
    **LEARNING,
}  # fmt: skip


@cache
def folder_of(name: str) -> Path:
    """A target's own folder, with what is beside its file."""
    folder = Path(mkdtemp(prefix=f"fuzz-{name}-", dir=MEMORY if MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = TARGETS[name]
    if target.prepare is not None:
        target.prepare(folder)
    (folder / target.place).parent.mkdir(parents=True, exist_ok=True)
    return folder


def run(name: str, data: bytes) -> bool:
    """Read bytes; whether they were accepted. Raises what is not an `InputError`."""
    return not told(name, data)


def told(name: str, data: bytes) -> str:
    """Read bytes; why they were refused, nothing if they were not."""
    target, folder = TARGETS[name], folder_of(name)
    file = folder / target.place
    file.write_bytes(archive(name, data) if target.member else data)
    said = ""
    try:
        with np.errstate(all="raise", under="ignore"):
            target.read(file)
    except InputError as error:
        said = str(error)
        assert said, "says nothing"
        assert str(folder) in said, f"names no file: {said}"
        assert "\n" not in said, f"more than a line: {said}"
        assert len(said) < 2000, f"long: {said}"
    return said


def archive(name: str, data: bytes) -> bytes:
    """A target's archive with other bytes as its member, which comes last.

    The others and what the archive lists of them are the same each time: they are made once.
    """
    before, listed, count = others(name)
    entry = zipfile.ZipInfo(TARGETS[name].member)
    entry.CRC, entry.file_size, entry.compress_size = zlib.crc32(data), len(data), len(data)
    own = entry.FileHeader() + data
    title = entry.filename.encode()
    # version, flags, kind, time, date: as zipfile writes them; where the member begins
    about = struct.pack("<4s4B4H3L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, entry.CRC, len(data),
                        len(data), len(title), 0, 0, 0, 0, 0o600 << 16, len(before))  # fmt: skip
    places = listed + about + title
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count + 1, count + 1, len(places),
                      len(before) + len(own), 0)  # fmt: skip
    return before + own + places + end


@cache
def others(name: str) -> tuple[bytes, bytes, int]:
    """Of a target's archive without its member: the other members, the list of them, how many."""
    with zipfile.ZipFile(folder_of(name) / TARGETS[name].place) as found:
        kept = {name: found.read(name) for name in found.namelist()}
    kept.pop(TARGETS[name].member, None)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as made:
        for member, stored in kept.items():
            made.writestr(member, stored)
    whole = written.getvalue()
    return whole[: made.start_dir], whole[made.start_dir : -22], len(kept)


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
            match = _NUMBER.search(bytes_, at) or _NUMBER.search(bytes_)
            if match:
                bytes_[match.start() : match.end()] = rng.choice(TOKENS)
    return bytes(bytes_[:50_000])
