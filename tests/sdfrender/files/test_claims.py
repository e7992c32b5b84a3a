"""Files of a few bytes that say they hold much: refused before memory is taken for it."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from target import corpus

from multiview.config import FitConfig
from multiview.run_folder import RunFolder
from sdfrender.errors import InputError
from sdfrender.files.formats.exr import read_exr
from sdfrender.files.formats.torch_files import read_torch
from sdfrender.files.images import read_image
from sdfrender.files.tensors import load_tensors, save_tensors
from sdfrender.looks.run_look import RunLook
from sdfrender.materials.surface import MaterialMesh

write_torch = torch.serialization.save  # as the authors' code wrote their files


def refused(read: Callable[[], Any], said: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=said):
            read()
        assert tracemalloc.get_traced_memory()[1] < 20e6  # numpy's and Python's
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (torch.zeros(1).expand(100_000, 100_000), "a tensor takes 40000000000"),
        (torch.zeros(5, 5).to_sparse(), "not dense"),
        ([torch.zeros(2), {"deep": torch.zeros(1).expand(10**6)}], "a tensor takes"),
    ],
)
def test_tensors_that_torch_wrote_are_as_large_as_their_numbers(
    weights: Any, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.pt"
    write_torch({"model": weights}, file)
    refused(lambda: read_torch(file, "weights"), f"a.pt: need weights, .*{said}")


def test_packed_members_of_what_torch_wrote_are_refused(tmp_path: Path) -> None:
    write_torch({"model": torch.zeros(1_000_000)}, tmp_path / "plain.pt")
    file = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.namelist():
            packed.writestr(member, plain.read(member))
    assert file.stat().st_size < 20_000
    refused(lambda: read_torch(file, "weights"), "packed.pt: .*its members unpack 4")
    found = read_torch(tmp_path / "plain.pt", "weights")["model"]
    assert found.shape == (1_000_000,)


def look(run: Path, **changes: torch.Tensor) -> Path:
    """A run's folder whose tensors of colours are changed."""
    for name, source in (
        ("lattice.safetensors", "safetensors"),
        ("appearance.json", "appearance_told"),
        ("appearance.safetensors", "appearance"),
    ):
        (run / name).write_bytes(corpus(source))
    tensors, _ = load_tensors(run / "appearance.safetensors", "colours")
    assert set(changes) <= set(tensors)
    save_tensors(run / "appearance.safetensors", {**tensors, **changes}, {})
    return run


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "shape",
            [100_000, 100_000, 10, 1],
            "a lattice of 100000×100000×10 colours over",
        ),
        ("view.0.shape", [1200, 1200, 1200], "a lattice of 1200×1200×1200 colours"),
        ("shape", [4, 4, 4, 3], "do not fit its colours"),
        ("ids", [-70, 3], "do not fit its colours"),
        ("view.0.ids", [1, 2, 3, 64], "ids: need numbers of 64 vertices"),
        ("view.1.degrees", [1, 3], "values: need"),
        ("sh", [[float("nan")]] * 9, "'sh' with numbers that are not finite"),
        ("view.0.values", [[[1.0]], [[float("inf")]], [[0.0]], [[0.0]]], "view.0.values' with"),
        ("albedo", [0.5, 0.5], "'colors' as float32"),
    ],
)
def test_colours_of_a_run_are_as_fine_as_its_shape(
    name: str, value: list[Any], said: str, tmp_path: Path
) -> None:
    assert RunLook.load(look(tmp_path)).beyond is not None
    run = look(tmp_path, **{name: torch.tensor(value)})
    refused(lambda: RunLook.load(run), f"appearance.safetensors: need .*{said}")


def test_a_snapshot_is_of_one_cell(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "progress" / "000001.safetensors"
    file.parent.mkdir(parents=True)
    bounds = torch.tensor([[-1.0] * 3, [1.0] * 3])
    values = torch.ones(30_000, 2, 2).half()
    save_tensors(
        file, {"values": values, "cell": torch.ones(30_000, 1, 1, 1), "bounds": bounds}, {}
    )
    run = object.__new__(RunFolder)
    run.path = tmp_path
    refused(run.load_snapshots, "'cell' as float32")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("roughness", 2.0, "'roughness' with numbers beyond 0 to 1"),
        ("normals", float("nan"), "'normals' with numbers that are not finite"),
        ("verts", 1e25, "'verts' with"),
        ("environment", -1.0, "radiance below 0"),
        ("faces", 12, "a vertex that does not exist"),
    ],
)
def test_materials_are_such(name: str, value: float, said: str, tmp_path: Path) -> None:
    file = tmp_path / "materials.safetensors"
    file.write_bytes(corpus("materials"))
    tensors, _ = load_tensors(file, "materials")
    tensors[name].view(-1)[3] = value
    save_tensors(file, tensors, {})
    refused(lambda: MaterialMesh.load(file), f"materials.safetensors: need .*{said}")


LAUGHS = b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(40))  # each is twice the last


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            b"c" + b"m" * 2000 + b"\n" + b"f" * 3000 + b"\n.",
            "the name of a function, 5001 characters",
        ),
        (b"]q\0" + LAUGHS + b")R.", "a call of something that is no function"),
        (b"]q\0" + LAUGHS + b")\x81.", "a call of something that is no function"),
        (b"X\2\0\0\0ab)R.", "a call of something that is no function"),
        (b"ccollections\nOrderedDict\n)R", "pickle exhausted before seeing STOP"),
        (b"e.", "IndexError"),
        (b"R.", "a call of something"),
        (b"a.", "steps that take more than there is"),
    ],
)
@pytest.mark.parametrize("archived", [True, False])
def test_what_torch_would_describe_at_length(
    steps: bytes, said: str, archived: bool, tmp_path: Path
) -> None:
    """Its messages have what a pickle calls, written out, and are searched: for hours."""
    file = tmp_path / "a.pt"
    write_torch({"a": 1}, file, _use_new_zipfile_serialization=archived)
    assert read_torch(file, "weights") == {"a": 1}
    if archived:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\2" + steps)
    else:
        stored = file.read_bytes()
        file.write_bytes(stored[: stored.rindex(b"\x80\2}q\0X\1")] + b"\x80\2" + steps)
    refused(lambda: read_torch(file, "weights"), f"a.pt: need weights, .*{said}")


def test_steps_of_all_kinds_are_followed(tmp_path: Path) -> None:
    """What `torch.save` writes has calls within lists, tuples, sets and dictionaries."""
    file = tmp_path / "a.pt"
    shared = torch.arange(3.0)
    stored = {
        "a": [shared, (shared, {"b": OrderedDict(c=shared)})],
        "d": np.float64(2),
        "e": {1, 2},
    }
    for archived in (True, False):
        write_torch(stored, file, _use_new_zipfile_serialization=archived)
        found = read_torch(file, "weights")
        assert torch.equal(found["a"][1][1]["b"]["c"], shared)
        assert found["d"] == 2
        assert found["e"] == {1, 2}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_png_is_as_large_as_its_bytes_can_be(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 15_000, 15_000, 8, 6, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    file = tmp_path / "a.png"
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    refused(lambda: read_image(file), "a.png: .* bytes cannot hold 15000×15000 pixels")


def test_a_chunk_of_a_png_is_as_large_as_its_bytes_can_be(tmp_path: Path) -> None:
    """Pillow makes room for what such a chunk claims, and then finds its pixels in it."""
    file = tmp_path / "a.png"
    pixels = chunk(b"IDAT", zlib.compress(bytes(3 * 2 + 3)))
    for claimed in (len(pixels) - 12, 4_000_000_000):
        pixels = struct.pack(">I", claimed) + pixels[4:]
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 3, 8, 0, 0, 0, 0))
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + head + pixels + chunk(b"IEND", b""))
        if claimed < 100:
            assert read_image(file)[0].shape == (3, 2, 1)
    refused(lambda: read_image(file), "a.png: .* bytes cannot hold a chunk of 4,000,000,000")


def test_an_openexr_file_is_measured_before_it_is_unpacked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    file = tmp_path / "a.exr"
    with OpenEXR.File(header, {"Y": np.zeros((2000, 1500), np.float32)}) as opened:
        opened.write(str(file))
    refused(lambda: read_image(file, max_pixels=2_000_000), "a.exr: need at most 2,000,000 pixels")
    monkeypatch.setattr("sdfrender.files.formats.exr.MOST_NUMBERS", 2_000_000)
    refused(lambda: read_exr(file), "a.exr: need at most 2,000,000 numbers, got 1500×2000 of 1")
    monkeypatch.undo()
    whole = file.read_bytes()
    file.write_bytes(whole[:-40] + bytes(40))
    with pytest.raises(InputError, match="its pixels are damaged or cut off"):
        read_exr(file)
    assert not capfd.readouterr().out  # the library's own warnings


def test_whole_numbers_of_a_log_are_drawn(tmp_path: Path) -> None:
    run = RunFolder(FitConfig(tmp_path, tmp_path))
    run.begin()
    log = corpus("losses").decode().splitlines()
    assert len(log) > 2
    (tmp_path / "losses.csv").write_text("\n".join([log[0], "9" * 400 + log[1][1:], *log[2:], ""]))
    with pytest.raises(InputError, match=r"losses.csv: need the log of a run, .*update 999"):
        RunFolder(FitConfig(tmp_path, tmp_path, resume=True)).read_log()
