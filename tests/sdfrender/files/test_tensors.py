"""Tensors written straight from memory, read by safetensors itself."""

import json
from pathlib import Path

import pytest
import safetensors
import torch

from sdfrender.files.tensors import TYPES, load_tensors, save_tensors, write_tensors


def test_safetensors_reads_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    made = {str(kind): torch.arange(7).to(kind) for kind in TYPES}  # no even number of bytes
    made |= {"none": torch.zeros(0, 3), "one": torch.tensor(2.5), "turned": torch.rand(3, 4).T}
    write_tensors(file, made, {"kind": "é"})
    with safetensors.safe_open(file, "pt") as opened:
        assert opened.metadata() == {"kind": "é"}
        assert set(opened.keys()) == set(made)
        for name, expected in made.items():
            found = opened.get_tensor(name)
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            assert torch.equal(found, expected)
    save_tensors(file, made, {"a": [1]})
    tensors, state = load_tensors(file, "a test")
    assert state == {"a": [1]}
    assert torch.equal(tensors["turned"], made["turned"])


def test_numbers_begin_at_a_multiple_of_eight_bytes(tmp_path: Path) -> None:
    """As safetensors wants it: what is mapped into memory can then be used as it lies."""
    file = tmp_path / "x.safetensors"
    for name in ("a", "ab", "abc"):
        write_tensors(file, {name: torch.ones(3), "b": torch.ones(1, dtype=torch.uint8)}, {})
        data = file.read_bytes()
        length = int.from_bytes(data[:8], "little")
        assert length % 8 == 0
        header = json.loads(data[8 : 8 + length])
        assert header[name]["data_offsets"] == [0, 12]
        assert len(data) == 8 + length + 13


def test_a_disk_that_is_full_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.safetensors"
    write_tensors(file, {"a": torch.zeros(2)}, {})
    before = file.read_bytes()

    def full(x: torch.Tensor) -> torch.Tensor:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.Tensor, "contiguous", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(file, {"a": torch.ones(2)}, {})
    assert file.read_bytes() == before
    assert [x.name for x in tmp_path.iterdir()] == [file.name]
